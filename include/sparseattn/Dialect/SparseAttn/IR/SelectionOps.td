//===- SelectionOps.td - from keys to a selection of blocks -*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_SELECTION_OPS_TD
#define SPARSEATTN_SELECTION_OPS_TD

include "sparseattn/Dialect/SparseAttn/IR/AttentionOps.td"

def SparseAttn_ChunkSummarizeOp : SparseAttn_InferredOp<"chunk_summarize", [AttrSizedOperandSegments]> {
  let summary = "one summary vector for each block of keys";
  let description = [{
    Block `c` covers the tokens `[c*stride, c*stride + block)`; `stride`
    defaults to `block` (specification 4.1, 6.1, 6.2, 6.4, 6.6; operator 3).

    | mode | summary of block c | operands |
    |---|---|---|
    | `mean` | mean of k_t | |
    | `learned_query` | sum_t softmax_t(scale * <q_c, k_t>) k_t | `summary_query` `[Hkv,d]` or `[Hkv,M,d]`; `scale` defaults to 1/sqrt(d) |
    | `minmax` | element-wise minimum and maximum (two results) | |
    | `mlp` | relu(vec(k_block + position) W_in) W_out | `position` `[block,d]` optional, `weight_in` `[block*d,h]`, `weight_out` `[h,d']` |
    | `gated_softmax` | per channel: sum_t softmax_t(gate_t + position_t) k_t | `gate` like `key`; `position` `[block,d]` optional |

    With `complete_only`, `M = max(0, (Nk - block) div stride + 1)`; without,
    `M = ceil(Nk/stride)` and the last blocks use the keys that exist. Results
    follow `layout` with `Nk` replaced by `M`, in the element type of `key`.

    Constraints:
    - (C1) `key` has rank 4; layout is not `thd`.
    - (C2) `block >= 1`, `stride >= 1`.
    - (C3) exactly the operands of the mode are present.
    - (C4) `summary_query` is `[Hkv,d]` or `[Hkv,M,d]`.
    - (C5) `gate` has the shape of `key`.
    - (C6) `position` is `[block,d]`.
    - (C7) `weight_in` is `[block*d,h]`, `weight_out` is `[h,d']`; `mlp` needs `complete_only`.
    - (C8) all operands have the element type of `key`.
    - (C9) results have the inferred types.
    - (C10) `scale` is finite.
  }];
  let arguments = (ins SparseAttn_Float:$key, Optional<SparseAttn_Float>:$summary_query,
    Optional<SparseAttn_Float>:$gate, Optional<SparseAttn_Float>:$position,
    Optional<SparseAttn_Float>:$weight_in, Optional<SparseAttn_Float>:$weight_out,
    SparseAttn_IntAttr:$block, OptionalAttr<SparseAttn_IntAttr>:$stride,
    DefaultValuedAttr<SparseAttn_SummaryModeAttr, "::sparseattn::SummaryMode::Mean">:$mode,
    UnitAttr:$complete_only, OptionalAttr<F64Attr>:$scale,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout);
  let results = (outs Variadic<SparseAttn_Float>:$summaries);
  let assemblyFormat = [{
    $key `block` $block (`stride` $stride^)? (`mode` `(` $mode^ `)`)? (`summary_query` `(` $summary_query^ `)`)?
    (`gate` `(` $gate^ `)`)? (`position` `(` $position^ `)`)? (`weight_in` `(` $weight_in^ `)`)?
    (`weight_out` `(` $weight_out^ `)`)? (`complete_only` $complete_only^)? (`scale` $scale^)?
    (`layout` `(` $layout^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    int64_t getStrideOrBlock() { return getStride() ? *getStride() : getBlock(); }
  }];
}

def SparseAttn_BlockLogitsOp : SparseAttn_InferredOp<"block_logits", [AttrSizedOperandSegments]> {
  let summary = "scores of block summaries, before normalisation";
  let description = [{
    ```
    z[b,h,i,c] = scale * <q_i, summary_c>                                   bound dot
    z[b,h,i,c] = scale * sum_e max(q_ie * min_ce, q_ie * max_ce)            bound minmax (Quest)
    z[b,0,i,c] = sum_h head_weight[b,i,h] * act(scale * <q_i^h, summary_c>) with head_weight (DSA)
    ```

    `scale` defaults to `1/sqrt(d)`; DashAttention passes `gamma/sqrt(d)`, MoBA
    1. Visibility (specification 4.1, 4.2, 6.6; operator 4): `all`;
    `before_own`, `c < p div block`; `complete`, `c*stride + block - 1 <= p`
    (with `block = 1` this is token causality); `own_inf`, the own block is
    +inf and later ones -inf. Invisible entries are -inf.

    Constraints:
    - (C1) query and summaries have rank 4; layout is not `thd`.
    - (C2) query and summaries have one element type, batch size and head dimension.
    - (C3) the number of query heads is a multiple of the number of summary heads.
    - (C4) `summary_max` is present exactly for bound `minmax`, with the shape of `summary`.
    - (C5) `head_weight` is f32 `[B,Nq,Hq]`.
    - (C6) `block >= 1`, `stride >= 1`.
    - (C7) `scale` is finite.
    - (C8) the result has the inferred type.
  }];
  let arguments = (ins SparseAttn_Float:$query, SparseAttn_Float:$summary, Optional<SparseAttn_Float>:$summary_max,
    Optional<SparseAttn_F32>:$head_weight, Optional<Index>:$q_offset,
    SparseAttn_IntAttr:$block, OptionalAttr<SparseAttn_IntAttr>:$stride, OptionalAttr<F64Attr>:$scale,
    DefaultValuedAttr<SparseAttn_ScoreActivationAttr, "::sparseattn::ScoreActivation::None">:$activation,
    DefaultValuedAttr<SparseAttn_VisibilityAttr, "::sparseattn::Visibility::BeforeOwn">:$visibility,
    DefaultValuedAttr<SparseAttn_LogitBoundAttr, "::sparseattn::LogitBound::Dot">:$bound,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout);
  let results = (outs SparseAttn_F32:$logits);
  let assemblyFormat = [{
    $query `,` $summary (`max` `(` $summary_max^ `)`)? (`head_weight` `(` $head_weight^ `)`)?
    (`q_offset` `(` $q_offset^ `)`)? `block` $block (`stride` $stride^)? (`scale` $scale^)?
    (`activation` `(` $activation^ `)`)? (`visibility` `(` $visibility^ `)`)? (`bound` `(` $bound^ `)`)?
    (`layout` `(` $layout^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    int64_t getStrideOrBlock() { return getStride() ? *getStride() : getBlock(); }
    double getScaleOrDefault();
  }];
}

def SparseAttn_BlockSoftmaxOp : SparseAttn_InferredOp<"block_softmax"> {
  let summary = "softmax over blocks, reduced over the heads of a group";
  let description = [{
    `p[b,r,i,:] = reduce_{h in group r} softmax(logits[b,h,i,:])` (specification
    1.6, 6.1, 6.2; operator 5). A row of -inf yields zeros. With group `none`
    the heads stay apart.

    Constraints:
    - (C1) `logits` has rank 4.
    - (C2) `kv_heads >= 1` divides the number of heads.
    - (C3) the result has the inferred type.
  }];
  let arguments = (ins SparseAttn_F32:$logits, SparseAttn_IntAttr:$kv_heads,
    DefaultValuedAttr<SparseAttn_GroupReduceAttr, "::sparseattn::GroupReduce::Sum">:$group);
  let results = (outs SparseAttn_F32:$probabilities);
  let assemblyFormat = [{
    $logits `kv_heads` $kv_heads (`group` `(` $group^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

def SparseAttn_PoolScoresOp : SparseAttn_InferredOp<"pool_scores"> {
  let summary = "one-dimensional pooling of scores over overlapping blocks";
  let description = [{
    `out[..,c] = max or sum over scores[.., c*stride - pad + t], 0 <= t < kernel`;
    positions outside the input are ignored (specification 6.2, 6.5; operator
    5). The result has `floor((M + 2*pad - kernel)/stride) + 1` columns, with
    `ceil_mode` the ceiling; a maximum over nothing is -inf, a sum 0.

    Constraints:
    - (C1) `scores` has rank 4.
    - (C2) `kernel`, `stride >= 1`, `0 <= pad < kernel`.
    - (C3) the result has the inferred type.
  }];
  let arguments = (ins SparseAttn_F32:$scores, SparseAttn_IntAttr:$kernel, SparseAttn_IntAttr:$stride,
    DefaultValuedAttr<SparseAttn_IntAttr, "0">:$pad,
    DefaultValuedAttr<SparseAttn_PoolModeAttr, "::sparseattn::PoolMode::Max">:$mode, UnitAttr:$ceil_mode);
  let results = (outs SparseAttn_F32:$pooled);
  let assemblyFormat = [{
    $scores `kernel` $kernel `stride` $stride (`pad` $pad^)? (`mode` `(` $mode^ `)`)? (`ceil_mode` $ceil_mode^)?
    attr-dict `:` functional-type(operands, results)
  }];
}

def SparseAttn_SelectTopKOp : SparseAttn_InferredOp<"select_topk", [AttrSizedOperandSegments]> {
  let summary = "indices of the best score columns, ascending, padded with -1";
  let description = [{
    Column `c` is eligible when its first key is visible: `c*block <= p`
    (absolute; with `valid_range`, block `c` must also meet `[begin, end)`), or
    `begin + c*block < end` (`range_begin`), and its score is neither -inf nor
    NaN. Forced columns need no finite score. Ties go to the lower index. The
    width of the result is constant (specification 2.1, 2.5, 3.1; operator 6).
    Not differentiable.

    The heads of `score` say who shares the selection: Hkv, Hq or 1.

    Constraints:
    - (C1) `score` has rank 4.
    - (C2) `valid_range` is `[B,Nq,2]`.
    - (C3) origin `range_begin` needs `valid_range`.
    - (C4) results are those that the attributes ask for, with the inferred types.
  }];
  let arguments = (ins SparseAttn_F32:$score, Optional<SparseAttn_I32>:$valid_range, Optional<Index>:$q_offset,
    SparseAttn_TopKAttr:$select,
    DefaultValuedAttr<SparseAttn_BlockOriginAttr, "::sparseattn::BlockOrigin::Absolute">:$origin,
    UnitAttr:$return_count);
  let results = (outs Variadic<SparseAttn_I32>:$outputs);
  let assemblyFormat = [{
    $score $select (`origin` `(` $origin^ `)`)? (`valid_range` `(` $valid_range^ `)`)?
    (`q_offset` `(` $q_offset^ `)`)? (`return_count` $return_count^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    ::mlir::Value getIndices() { return getOutputs()[0]; }
    /// Null unless `return_count`.
    ::mlir::Value getCount() { return getReturnCount() ? getOutputs()[1] : ::mlir::Value(); }
  }];
}

def SparseAttn_EntmaxRouteOp : SparseAttn_InferredOp<"entmax_route"> {
  let summary = "alpha-entmax over blocks: a variable-size selection and its prior";
  let description = [{
    Per query head: `w_c = [(alpha-1) z_c - kappa]_+^{1/(alpha-1)}`, `sum_c w_c
    = 1` over columns with `z_c > -inf`; then the mean over the group. The
    support `{w > 0}` is the union over heads; the query's own block and
    `local_blocks` before it are always routed, with bias 0 (specification 4.1,
    4.2, 4.6; operator 7).

    | prior | bias of a routed block that is not forced |
    |---|---|
    | `none` | 0 |
    | `raw` | log w |
    | `tempered` | (log w - mean over the support of log w) / sigma |

    Bias is 0 for blocks not routed. `alpha = 1` is softmax, 2 is sparsemax.
    `solver` defaults to `halley<5>` for alpha 1.5 and to `bisect<50>`
    otherwise.

    *Results.* `mask` `[B,Hkv,Nq,ceil(M/32)]` i32, `bias` `[B,Hkv,Nq,M]` f32,
    `count` `[B,Hkv,Nq]` i32, the number of routed blocks (with
    `return_count`). `M` must be the number of key blocks, the own included.

    Constraints:
    - (C1) `logits` has rank 4.
    - (C2) `kv_heads >= 1` divides the number of heads.
    - (C3) `1 <= alpha <= 2`.
    - (C4) solver `halley` needs alpha 1.5, `sort` needs alpha 1.5 or 2.
    - (C5) `block >= 1`, `local_blocks >= 0`.
    - (C6) `sigma` is finite and positive.
    - (C7) results are those that the attributes ask for, with the inferred types.
  }];
  let arguments = (ins SparseAttn_F32:$logits, Optional<Index>:$q_offset, SparseAttn_IntAttr:$kv_heads, SparseAttn_IntAttr:$block,
    DefaultValuedAttr<F64Attr, "1.5">:$alpha, OptionalAttr<SparseAttn_SolverParam>:$solver,
    DefaultValuedAttr<SparseAttn_IntAttr, "0">:$local_blocks,
    DefaultValuedAttr<SparseAttn_PriorAttr, "::sparseattn::Prior::Tempered">:$prior,
    DefaultValuedAttr<F64Attr, "1.0e6">:$sigma, UnitAttr:$return_count);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = [{
    $logits `kv_heads` $kv_heads `block` $block (`alpha` $alpha^)? (`solver` `(` $solver^ `)`)?
    (`local_blocks` $local_blocks^)? (`prior` `(` $prior^ `)`)? (`sigma` $sigma^)?
    (`q_offset` `(` $q_offset^ `)`)? (`return_count` $return_count^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    ::mlir::Value getMask() { return getOutputs()[0]; }
    ::mlir::Value getBias() { return getOutputs()[1]; }
    /// Null unless `return_count`.
    ::mlir::Value getCount() { return getReturnCount() ? getOutputs()[2] : ::mlir::Value(); }
    ::mlir::Attribute getSolverOrDefault();
  }];
}

def SparseAttn_RouteOp : SparseAttn_InferredOp<"route"> {
  let summary = "block logits and entmax routing in one operation";
  let description = [{
    `block_logits` (visibility `before_own`) followed by `entmax_route`, with
    logits that never leave the operation (fusion target {4+7}).
    `sparseattn-decompose` rewrites it into the two.

    Constraints:
    - (C1) the decomposed operations are valid.
    - (C2) results are those that the attributes ask for, with the inferred types.
  }];
  let arguments = (ins SparseAttn_Float:$query, SparseAttn_Float:$summary, Optional<Index>:$q_offset,
    SparseAttn_IntAttr:$block, OptionalAttr<F64Attr>:$scale,
    DefaultValuedAttr<F64Attr, "1.5">:$alpha, OptionalAttr<SparseAttn_SolverParam>:$solver,
    DefaultValuedAttr<SparseAttn_IntAttr, "0">:$local_blocks,
    DefaultValuedAttr<SparseAttn_PriorAttr, "::sparseattn::Prior::Tempered">:$prior,
    DefaultValuedAttr<F64Attr, "1.0e6">:$sigma, UnitAttr:$return_count,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = [{
    $query `,` $summary `block` $block (`scale` $scale^)? (`alpha` $alpha^)? (`solver` `(` $solver^ `)`)?
    (`local_blocks` $local_blocks^)? (`prior` `(` $prior^ `)`)? (`sigma` $sigma^)?
    (`q_offset` `(` $q_offset^ `)`)? (`return_count` $return_count^)? (`layout` `(` $layout^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
}

def SparseAttn_MaskToIndexOp : SparseAttn_InferredOp<"mask_to_index"> {
  let summary = "set bits of every row as ascending indices";
  let description = [{
    *Results.* `indices` `[...,cap]` i32, the first `cap` set bits, padded with
    -1; `count` `[...]` i32, `min(popcount, cap)` (operator 8).

    Constraints:
    - (C1) `mask` has rank at least 1.
    - (C2) `cap >= 1`.
    - (C3) the results have the inferred types.
  }];
  let arguments = (ins SparseAttn_I32:$mask, SparseAttn_IntAttr:$cap);
  let results = (outs SparseAttn_I32:$indices, SparseAttn_I32:$count);
  let assemblyFormat = "$mask `cap` $cap attr-dict `:` functional-type(operands, results)";
}

def SparseAttn_IndexToMaskOp : SparseAttn_InferredOp<"index_to_mask"> {
  let summary = "rows of indices as bit masks";
  let description = [{
    `mask` `[...,ceil(num_blocks/32)]` i32; entries outside `[0, num_blocks)`
    are skipped (operator 8).

    Constraints:
    - (C1) `indices` has rank at least 1.
    - (C2) `num_blocks >= 1`.
    - (C3) the result has the inferred type.
  }];
  let arguments = (ins SparseAttn_I32:$indices, SparseAttn_IntAttr:$num_blocks);
  let results = (outs SparseAttn_I32:$mask);
  let assemblyFormat = "$indices `num_blocks` $num_blocks attr-dict `:` functional-type(operands, results)";
  let hasFolder = 1;
}

def SparseAttn_UnionTileOp : SparseAttn_InferredOp<"union_tile"> {
  let summary = "union of the selections of adjacent queries, with one bit per query and entry";
  let description = [{
    Queries `[T*tile, (T+1)*tile)` form tile `T`. `tile_indices`
    `[B,H,ceil(Nq/tile),cap]` i32 holds the distinct valid indices of the tile,
    ascending, padded with -1; bit `u` of `bits` `[B,H,Nq,ceil(cap/32)]` is set
    for a query that selected `tile_indices[u]` (specification 7, remedy 2a;
    operator 8). `cap` defaults to `tile * K`, which always suffices; a smaller
    cap drops the largest indices.

    Constraints:
    - (C1) `indices` has rank 4.
    - (C2) `tile >= 1`, `cap >= 1`; without `cap`, K is static.
    - (C3) the results have the inferred types.
  }];
  let arguments = (ins SparseAttn_I32:$indices, SparseAttn_IntAttr:$tile, OptionalAttr<SparseAttn_IntAttr>:$cap);
  let results = (outs SparseAttn_I32:$tile_indices, SparseAttn_I32:$bits);
  let assemblyFormat = "$indices `tile` $tile (`cap` $cap^)? attr-dict `:` functional-type(operands, results)";
}

#endif // SPARSEATTN_SELECTION_OPS_TD
