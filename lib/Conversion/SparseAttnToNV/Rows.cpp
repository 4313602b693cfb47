//===- Rows.cpp - one number for each query row ----------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"

using namespace mlir;
using namespace sparseattn;

/// A number for each row that this warpgroup holds, beside numbers that all
/// threads share.
bool KernelEmitter::isRows(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && isa_and_nonnull<nv::RowAttr>(type.getEncoding());
}

/// Rows count from the beginning of the query tile, of which this warpgroup
/// holds 64.
Value KernelEmitter::buildRows() {
  Value rows = nv::RowsOp::create(builder, loc);
  Value first = tensor::SplatOp::create(builder, loc, rows.getType(), firstRow);
  return arith::AddIOp::create(builder, loc, rows, first);
}

LogicalResult KernelEmitter::emitRows(TileRowsOp op) {
  map.map(op.getRows(), buildRows());
  return success();
}

/// The body is emitted once, for all rows of the warpgroup: what depends on the
/// row becomes a number for each of them.
LogicalResult KernelEmitter::emitGenerate(tensor::GenerateOp op) {
  auto type = dyn_cast_or_null<RankedTensorType>(convert(op.getType()));
  if (!type || type.getRank() != 1)
    return op.emitOpError("is no number for each of ") << schedule.getQueryTile() << " query rows, so no warpgroup holds it";
  Block &body = op.getBody().front();
  map.map(body.getArgument(0), buildRows());
  for (Operation &inner : body.without_terminator())
    if (failed(emitOp(&inner)))
      return failure();
  Value result = lookup(cast<tensor::YieldOp>(body.getTerminator()).getValue());
  if (!result)
    return failure();
  if (!isRows(result))
    result = tensor::SplatOp::create(builder, op.getLoc(), type, result);
  map.map(op.getResult(), result);
  return success();
}

/// The number of one row, for all threads: the body again, for that row.
LogicalResult KernelEmitter::emitElement(tensor::ExtractOp op, tensor::GenerateOp generate, Value index) {
  Block &body = generate.getBody().front();
  map.map(body.getArgument(0), index);
  for (Operation &inner : body.without_terminator())
    if (failed(emitOp(&inner)))
      return failure();
  Value result = lookup(cast<tensor::YieldOp>(body.getTerminator()).getValue());
  if (result)
    map.map(op.getResult(), result);
  return success(result != nullptr);
}

/// An operation on numbers of which some differ from row to row.
LogicalResult KernelEmitter::emitRowArithmetic(Operation *op, ValueRange operands) {
  auto getRowsType = [&](Type element) {
    return RankedTensorType::get(cast<RankedTensorType>((*llvm::find_if(operands, isRows)).getType()).getShape(), element,
                                 nv::RowAttr::get(builder.getContext()));
  };
  Type type = getRowsType(convert(op->getResult(0).getType()));
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(op) && operands[0].getType() == type) {
    map.map(op->getResult(0), operands[0]);
    return success();
  }
  SmallVector<Value> rows;
  for (Value operand : operands)
    rows.push_back(isRows(operand) ? operand
                                   : tensor::SplatOp::create(builder, op->getLoc(), getRowsType(operand.getType()), operand)
                                         .getResult());
  OperationState state(op->getLoc(), op->getName().getIdentifier(), rows, type, op->getAttrs());
  map.map(op->getResults(), builder.create(state)->getResults());
  return success();
}

/// One number for each row from memory; one axis of the operand counts rows.
LogicalResult KernelEmitter::emitGather(tensor::ExtractOp op, unsigned operand, ArrayRef<Value> indices) {
  const auto *rows = llvm::find_if(indices, isRows);
  if (llvm::count_if(indices, isRows) != 1 || !op.getType().isInteger(32))
    return op.emitOpError("must read 32-bit integers that differ from row to row along one axis, on the GPU");
  int64_t axis = rows - indices.begin();
  SmallVector<Value> first(indices);
  first[axis] = constant(0);
  Value address = emitAddress(operand, op.getType(), first);
  map.map(op.getResult(), nv::GatherRowsOp::create(builder, op.getLoc(), rows->getType(), address, *rows,
                                                   parameters.getStride(operand, axis)).getResult());
  return success();
}
