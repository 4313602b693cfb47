//===- FuseGroups.h - the groups of sparseattn-fuse ------------------------===//
//
// Part of the sparseattn project.
//
// One function for each group. It looks at one operation that may end the
// group, rewrites when every condition holds, and emits a missed remark when
// the pieces are there but a condition does not hold. It returns true when it
// rewrote; `op` is gone then.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_FUSE_FUSEGROUPS_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_FUSE_FUSEGROUPS_H

#include "mlir/IR/PatternMatch.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"

namespace sparseattn::fuse {

/// {2+6}: attention with emit and select_topk.
bool fuseSelect(mlir::RewriterBase &rewriter, SelectTopKOp op);
/// {9+1+10}: attentions and gated_combine.
bool fuseBranches(mlir::RewriterBase &rewriter, GatedCombineOp op);
/// {4+7}: block_logits and entmax_route.
bool fuseRoute(mlir::RewriterBase &rewriter, EntmaxRouteOp op);
/// {4+7+9}: route and sparse_attention; `always` also for many queries.
bool fuseRoutedAttention(mlir::RewriterBase &rewriter, SparseAttentionOp op, bool always);
/// {12}: attentions over slices of the heads and the operation that joins them.
bool fuseHeads(mlir::RewriterBase &rewriter, mlir::Operation *op);
/// {3}: chunk_summarize and kv_cache.append of the same keys.
bool fuseSummarize(mlir::RewriterBase &rewriter, ChunkSummarizeOp op);

/// Emits a missed remark of category `sparseattn-fuse` and returns false.
bool miss(mlir::Operation *op, llvm::StringRef group, const llvm::Twine &reason, const llvm::Twine &suggestion);

/// Position of query 0 of an operation: an operand, or a default.
struct Position {
  /// Null for the default.
  mlir::Value offset;
  /// Default: the difference of the lengths of these, or 0 when they are null.
  mlir::Value query = {}, key = {};
  Layout layout = Layout::BHSD;
};
/// True when both are the same for certain.
bool isSamePosition(const Position &a, const Position &b);

/// True for an absent normaliser and for the softmax that it defaults to.
bool isDefaultNormalizer(NormalizerAttrInterface normalizer);
/// True when both scales are the same number; absent is 1/sqrt(dim).
bool isSameScale(const std::optional<llvm::APFloat> &a, const std::optional<llvm::APFloat> &b, int64_t dim);

} // namespace sparseattn::fuse

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_FUSE_FUSEGROUPS_H
