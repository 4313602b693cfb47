//===- Patterns.h - operators of the dialect as loops ----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_PATTERNS_H
#define SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_PATTERNS_H

namespace mlir {
class RewritePatternSet;
} // namespace mlir

namespace sparseattn {

/// attention, sparse_attention, concat_kv_attention: one skeleton.
void populateAttentionPatterns(mlir::RewritePatternSet &patterns);
/// chunk_summarize.
void populateSummaryPatterns(mlir::RewritePatternSet &patterns);
/// block_logits, block_softmax, pool_scores, select_topk.
void populateSelectionPatterns(mlir::RewritePatternSet &patterns);
/// entmax_route.
void populateEntmaxPatterns(mlir::RewritePatternSet &patterns);
/// mask_to_index, index_to_mask, union_tile.
void populateMaskPatterns(mlir::RewritePatternSet &patterns);
/// gated_combine, lse_merge, hard_concrete_gate.
void populateCombinePatterns(mlir::RewritePatternSet &patterns);
/// rope, rms_norm, kv_bridge, kv_share.
void populateGluePatterns(mlir::RewritePatternSet &patterns);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_PATTERNS_H
