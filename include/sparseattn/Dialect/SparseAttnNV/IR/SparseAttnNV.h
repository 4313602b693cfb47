//===- SparseAttnNV.h - the sparseattn_nv dialect (level L2) ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_SPARSEATTNNV_IR_SPARSEATTNNV_H
#define SPARSEATTN_DIALECT_SPARSEATTNNV_IR_SPARSEATTNNV_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVDialect.h.inc"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVTypes.h.inc"

namespace sparseattn::nv {
/// Unit attribute of the loop in a kernel's body whose iterations are the query
/// tiles that a block works on, one after the other.
inline constexpr llvm::StringLiteral kTilesAttr = "sparseattn_nv.tiles";

/// Attributes of a kernel: the tensors that it works on, and its parameters in terms of them, which the artefact's
/// manifest tells a launcher.
inline constexpr llvm::StringLiteral kOperandsAttr = "sparseattn_nv.operands";
inline constexpr llvm::StringLiteral kParametersAttr = "sparseattn_nv.parameters";

/// Attribute of a kernel: bytes of dynamic shared memory that a launch must ask for.
inline constexpr llvm::StringLiteral kSharedBytesAttr = "sparseattn_nv.shared_bytes";

/// Counters of taken tiles that a kernel has: one for each launch that may run at
/// once, or that a graph holds.
inline constexpr int64_t kTileCounters = 1 << 16;
} // namespace sparseattn::nv

#define GET_OP_CLASSES
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVOps.h.inc"

namespace sparseattn::nv {
/// Operations on channels, tiles and turns that only the producer, or only the
/// consumers, may run; `sparseattn-nv-lower-channels` removes them.
inline bool isProducerOp(mlir::Operation *op) { return mlir::isa<FillOp, PostOp, NextTileOp>(op); }
inline bool isConsumerOp(mlir::Operation *op) {
  return mlir::isa<AwaitOp, TakeOp, ReleaseOp, TakeTurnOp, PassTurnOp>(op);
}
} // namespace sparseattn::nv

#endif // SPARSEATTN_DIALECT_SPARSEATTNNV_IR_SPARSEATTNNV_H
