//===- KernelEmitter.h - the program of a warpgroup ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CONVERSION_SPARSEATTNTONV_KERNELEMITTER_H
#define SPARSEATTN_LIB_CONVERSION_SPARSEATTNTONV_KERNELEMITTER_H

#include "KernelParameters.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

namespace sparseattn {

/// Translates the body of a grid loop (level L1) into what one consumer
/// warpgroup does for a query tile (level L2, before channels). Tiles of
/// 64 * consumers query rows become 64 rows held in registers, `index` becomes
/// i32, loads become copies into shared memory, arithmetic stays.
class KernelEmitter {
public:
  KernelEmitter(mlir::OpBuilder &builder, mlir::scf::ForallOp grid, ScheduleAttr schedule,
                KernelParameters &parameters)
      : builder(builder), loc(grid.getLoc()), grid(grid), schedule(schedule), parameters(parameters) {}

  /// Emits everything, or diagnoses what a warpgroup cannot do.
  mlir::LogicalResult emit();

private:
  mlir::LogicalResult emitGrid();

  mlir::Value lookup(mlir::Value value);
  mlir::Value lookup(mlir::OpFoldResult number);
  mlir::LogicalResult lookupAll(mlir::ValueRange values, llvm::SmallVectorImpl<mlir::Value> &found);
  mlir::Value lookupFragment(mlir::Operation *op, mlir::Value value);
  mlir::Type convert(mlir::Type type);
  mlir::Value constant(int64_t value);
  std::optional<unsigned> getOperandNumber(mlir::Value value);

  mlir::LogicalResult emitOp(mlir::Operation *op);
  mlir::LogicalResult emitArithmetic(mlir::Operation *op);
  mlir::LogicalResult emitConstant(mlir::arith::ConstantOp op);
  mlir::LogicalResult emitFor(mlir::scf::ForOp op);
  mlir::LogicalResult emitIf(mlir::scf::IfOp op);
  mlir::LogicalResult emitBody(mlir::Block &from, mlir::Block &to);
  mlir::LogicalResult emitSplat(mlir::tensor::SplatOp op);
  mlir::LogicalResult emitMask(TileMaskOp op);
  mlir::LogicalResult emitReduce(TileReduceOp op);
  mlir::LogicalResult emitBroadcast(TileBroadcastOp op);
  mlir::LogicalResult emitDot(TileDotOp op);

  // Numbers of each row (Rows.cpp).
  static bool isRows(mlir::Value value);
  mlir::Value buildRows();
  mlir::LogicalResult emitRows(TileRowsOp op);
  mlir::LogicalResult emitGenerate(mlir::tensor::GenerateOp op);
  mlir::LogicalResult emitElement(mlir::tensor::ExtractOp op, mlir::tensor::GenerateOp generate, mlir::Value index);
  mlir::LogicalResult emitRowArithmetic(mlir::Operation *op, mlir::ValueRange operands);
  mlir::LogicalResult emitGather(mlir::tensor::ExtractOp op, unsigned operand, llvm::ArrayRef<mlir::Value> indices);

  // Memory (Memory.cpp).
  mlir::LogicalResult emitDim(mlir::tensor::DimOp op);
  mlir::LogicalResult emitExtract(mlir::tensor::ExtractOp op);
  mlir::LogicalResult emitLoad(LoadTileOp op);
  mlir::LogicalResult emitStore(mlir::tensor::ParallelInsertSliceOp op);
  mlir::Value emitAddress(unsigned operand, mlir::Type element, llvm::ArrayRef<mlir::Value> indices);

  mlir::OpBuilder &builder;
  mlir::Location loc;
  mlir::scf::ForallOp grid;
  ScheduleAttr schedule;
  KernelParameters &parameters;
  mlir::IRMapping map;
  /// What is computed before the grid loop is computed again before this.
  mlir::Operation *outerPoint = nullptr;
  /// First row of the warpgroup in the query tile.
  mlir::Value firstRow;
};

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CONVERSION_SPARSEATTNTONV_KERNELEMITTER_H
