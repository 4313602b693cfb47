//===- Raise.h - the forms that sparseattn-raise-imported recognises -------===//
//
// Part of the sparseattn project.
//
// StableHLO is not registered here: operations are told by name, and what the
// generic form writes in `<{...}>` is one dictionary.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_RAISE_RAISE_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_RAISE_RAISE_H

#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"

namespace sparseattn::raise {

/// Property or attribute `name` of an operation that may not be registered.
mlir::Attribute getAnyAttr(mlir::Operation *op, llvm::StringRef name);

/// True for an operation of this name, registered or not.
bool isNamed(mlir::Operation *op, llvm::StringRef name);

/// Says why `op` stays as it is and what to do; returns false.
bool refuse(mlir::Operation *op, const llvm::Twine &reason, const llvm::Twine &suggestion);

/// What both forms know about an attention.
struct Spec {
  mlir::Value query, key, value, sink, offset;
  KeyPatternAttrInterface keys;
  double scale = 0.0;
  ScoreModAttrInterface scoreMod;
  Layout layout = Layout::BHSD;
  std::optional<int64_t> layer;
};

/// Builds the attention before `op`, with a result of `type` (null: inferred).
/// A specification that the verifier rejects becomes a remark on `op`, and null.
AttentionOp build(mlir::Operation *op, const Spec &spec, mlir::Type type);

/// Pattern of a causal flag and a window (0: none). Null, with a remark, when they contradict.
KeyPatternAttrInterface makePattern(mlir::Operation *op, bool causal, int64_t window);

/// `stablehlo.composite "sparseattn.attention"`; true when it was replaced.
bool raiseComposite(mlir::Operation *op);
/// `stablehlo.custom_call @__cudnn$fmhaSoftmax`; true when it was replaced.
bool raiseCudnn(mlir::Operation *op);

} // namespace sparseattn::raise

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_RAISE_RAISE_H
