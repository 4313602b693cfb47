//===- AttentionOps.td - operations that attend to keys -----*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_ATTENTION_OPS_TD
#define SPARSEATTN_ATTENTION_OPS_TD

include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "sparseattn/Dialect/SparseAttn/IR/SparseAttnAttrs.td"

//===----------------------------------------------------------------------===//
// Shared vocabulary
//===----------------------------------------------------------------------===//

def SparseAttn_Float : RankedTensorOf<[F16, BF16, F32]>;
def SparseAttn_F32 : RankedTensorOf<[F32]>;
def SparseAttn_I32 : RankedTensorOf<[I32]>;

/// Type inference of SparseAttn_InferredOp. The verifier compares the types and
/// cites its own constraint, so compatibility is not decided twice.
def SparseAttn_InferTypes : InferTypeOpAdaptorBase<[{
    static bool isCompatibleReturnTypes(::mlir::TypeRange, ::mlir::TypeRange) { return true; }
}]>;

/// Result types follow from operands and attributes.
class SparseAttn_InferredOp<string mnemonic, list<Trait> traits = []>
    : SparseAttn_Op<mnemonic, !listconcat([Pure, SparseAttn_InferTypes], traits)> {
  let hasVerifier = 1;
}

/// Attention-like: implements AttentionOpInterface and OpAsmOpInterface names.
class SparseAttn_AttentionLikeOp<string mnemonic, list<Trait> traits = []>
    : SparseAttn_InferredOp<mnemonic, !listconcat([
        AttrSizedOperandSegments,
        DeclareOpInterfaceMethods<SparseAttn_AttentionOpInterface>,
        DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>], traits)>;

//===----------------------------------------------------------------------===//
// attention
//===----------------------------------------------------------------------===//

def SparseAttn_AttentionOp : SparseAttn_AttentionLikeOp<"attention"> {
  let summary = "softmax attention over the keys of a static pattern";
  let description = [{
    For every query head `h` and query `i` (specification 1, operators 1, 2, 12):

    ```
    z_ij = score_mod(scale * <q_i, k_j>)            j in keys(p_i), valid_range, document
    out_i = sum_j exp(z_ij - lse_i) v_j             lse_i = log(sum_j exp(z_ij) [+ exp(sink_h)])
    ```

    Full, causal, sliding-window and mixed full/window heads are choices of
    `keys`. `scale` defaults to `1/sqrt(d)`.

    *Operands.* `query` `[B,Hq,Nq,d]`, `key` `[B,Hkv,Nk,d]`, `value`
    `[B,Hkv,Nk,dv]` in the order of `layout`; `sink` `[Hq]` f32, not scaled and
    not masked; `valid_range` `[B,Nq,2]` i32, keys `[begin, end)` that query
    `i` may see; `q_offset`, position of query 0; `cu_seqlens_q`,
    `cu_seqlens_k` `[S+1]` i32, document boundaries of layout `thd`.

    *Results.* `out`, like the query with the last dimension `dv`; `lse`
    `[B,Hq,Nq]` f32, natural logarithm (with `return_lse`); `score`
    `[B,Hkv|Hq,Nq,M]` f32 (with `emit`, unless `select` consumes it); `indices`
    `[B,Hkv|Hq,Nq,K]` i32 (with `select`: the top-k of the score, ascending,
    padded with -1). For `thd` the batch dimension is dropped.

    `schedule` is how a target with tiles computes it and never changes results
    beyond rounding.

    *Preconditions.* `cu_seqlens` begin with 0, do not decrease and end with
    the number of tokens. *Postconditions.* A row without keys yields 0 and
    lse -inf, or with a sink 0 and the sink.

    Constraints:
    - (C1) query, key and value have the rank of the layout.
    - (C2) query, key and value have one element type.
    - (C3) query, key and value have one batch size.
    - (C4) key and value have the same number of heads and the same length.
    - (C5) the number of query heads is a multiple of the number of KV heads.
    - (C6) query and key have one head dimension; head dimensions are 1 to 1024.
    - (C7) `sink` is `[Hq]`.
    - (C8) `valid_range` is `[B,Nq,2]`, and absent for `thd`.
    - (C9) `cu_seqlens_q` and `cu_seqlens_k` have one shape `[S+1]` and are present for `thd` only.
    - (C10) `q_offset` is absent for `thd`.
    - (C11) `keys` fits the operation (a head table has one entry per KV head).
    - (C12) `scale` is finite.
    - (C13) block origin `range_begin` needs `valid_range` or `thd`.
    - (C14) `select` needs `emit`, with the same block size.
    - (C15) results are those that the attributes ask for, with the inferred types.
    - (C16) `layer >= 0`; `kv_source` needs `layer` and lies in `[0, layer]`: the producer comes first.
  }];
  let arguments = (ins
    SparseAttn_Float:$query, SparseAttn_Float:$key, SparseAttn_Float:$value,
    Optional<SparseAttn_F32>:$sink, Optional<SparseAttn_I32>:$valid_range, Optional<Index>:$q_offset,
    Optional<SparseAttn_I32>:$cu_seqlens_q, Optional<SparseAttn_I32>:$cu_seqlens_k,
    SparseAttn_KeyPatternParam:$keys, OptionalAttr<F64Attr>:$scale,
    OptionalAttr<SparseAttn_ScoreModParam>:$score_mod, OptionalAttr<SparseAttn_NormalizerParam>:$normalizer,
    OptionalAttr<SparseAttn_EpilogueParam>:$emit, OptionalAttr<SparseAttn_TopKAttr>:$select,
    UnitAttr:$return_lse,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout,
    OptionalAttr<SparseAttn_IntAttr>:$layer, OptionalAttr<SparseAttn_IntAttr>:$kv_source,
    OptionalAttr<SparseAttn_ScheduleAttr>:$schedule);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = [{
    $query `,` $key `,` $value `keys` `(` $keys `)` (`scale` $scale^)? (`score` `(` $score_mod^ `)`)?
    (`normalizer` `(` $normalizer^ `)`)? (`sink` `(` $sink^ `)`)? (`valid_range` `(` $valid_range^ `)`)?
    (`q_offset` `(` $q_offset^ `)`)? (`cu_seqlens` `(` $cu_seqlens_q^ `,` $cu_seqlens_k `)`)?
    (`emit` `(` $emit^ `)`)? (`select` $select^)? (`return_lse` $return_lse^)? (`layout` `(` $layout^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    ::mlir::Value getOut() { return getOutputs()[0]; }
    /// Null unless `return_lse`.
    ::mlir::Value getLse();
    /// Null unless the block score leaves the operation.
    ::mlir::Value getScore();
    /// Null unless `select`.
    ::mlir::Value getIndices();
    /// Default 1/sqrt(d); d must be static when the attribute is absent.
    double getScaleOrDefault();
    ::sparseattn::NormalizerAttrInterface getNormalizerOrDefault();
  }];
}

//===----------------------------------------------------------------------===//
// sparse_attention
//===----------------------------------------------------------------------===//

def SparseAttn_SparseAttentionOp : SparseAttn_AttentionLikeOp<"sparse_attention"> {
  let summary = "softmax attention over key blocks chosen at run time";
  let description = [{
    As `attention`, with the visible keys further restricted to the blocks that
    `selection` names for the query (specification 2.1, 4.1, operator 9):

    ```
    z_ij = score_mod(scale * <q_i, k_j>) + bias_{i,c(j)}    j in block c, c in selection_i, j in keys(p_i)
    ```

    *Operands.* `query`, `key`, `value` as for `attention`. `selection`: with
    format `index`, `[B,Hs,Nq,K]` i32 block indices (entries below 0 or past
    the last block are skipped; valid entries are distinct); with `bitmask`,
    `[B,Hs,Nq,ceil(M/32)]` i32, block `c` in bit `c mod 32` of word
    `c div 32`. `Hs` is 1 (all heads share), `Hkv` or `Hq`. `bias` f32, natural
    logarithm, added after scale and score modification: `[B,Hkv,Nq,M]` for
    bit masks, `[B,Hkv,Nq,K]` entry by entry for indices. For `thd` the batch
    dimension is dropped everywhere.

    With `query_block` `n`, `n` consecutive queries share a selection: row `t`
    of `selection` and `bias`, of which there are `ceil(Nq/n)`, is that of
    queries `[t*n, (t+1)*n)`.

    `strategy` is a hint to the lowering and never changes results.

    Constraints:
    - (C1) query, key and value have the rank of the layout.
    - (C2) query, key and value have one element type.
    - (C3) query, key, value, selection and bias have one batch size.
    - (C4) key and value have the same number of heads and the same length.
    - (C5) the number of query heads is a multiple of the number of KV heads.
    - (C6) query and key have one head dimension; head dimensions are 1 to 1024.
    - (C7) `sink` is `[Hq]`.
    - (C8) `valid_range` is `[B,Nq,2]`, and absent for `thd`.
    - (C9) `cu_seqlens_q` and `cu_seqlens_k` have one shape `[S+1]` and are present for `thd` only.
    - (C10) `q_offset` is absent for `thd`.
    - (C11) `keys` fits the operation and counts tokens (not `complete_blocks`).
    - (C12) `scale` is finite.
    - (C13) block origin `range_begin` needs `valid_range` or `thd`; `thd` needs `range_begin`.
    - (C14) `block >= 1`.
    - (C15) results are those that the attributes ask for, with the inferred types.
    - (C16) `layer >= 0`; `kv_source` needs `layer` and lies in `[0, layer]`.
    - (C17) `selection` has rank 4 (3 for `thd`), 1, Hkv or Hq heads, and length ceil(Nq/query_block); a bit mask has ceil(M/32) words.
    - (C18) `bias` has Hkv heads, the length of `selection`, and K (index) or M (bit mask) columns.
    - (C19) `query_block >= 1`, and 1 for `thd` and for origin `range_begin`.
  }];
  let arguments = (ins
    SparseAttn_Float:$query, SparseAttn_Float:$key, SparseAttn_Float:$value, SparseAttn_I32:$selection,
    Optional<SparseAttn_F32>:$bias,
    Optional<SparseAttn_F32>:$sink, Optional<SparseAttn_I32>:$valid_range, Optional<Index>:$q_offset,
    Optional<SparseAttn_I32>:$cu_seqlens_q, Optional<SparseAttn_I32>:$cu_seqlens_k,
    SparseAttn_KeyPatternParam:$keys, SparseAttn_IntAttr:$block,
    DefaultValuedAttr<SparseAttn_IntAttr, "1">:$query_block,
    DefaultValuedAttr<SparseAttn_SelectionFormatAttr, "::sparseattn::SelectionFormat::Index">:$format,
    DefaultValuedAttr<SparseAttn_BlockOriginAttr, "::sparseattn::BlockOrigin::Absolute">:$origin,
    OptionalAttr<F64Attr>:$scale,
    OptionalAttr<SparseAttn_ScoreModParam>:$score_mod, OptionalAttr<SparseAttn_NormalizerParam>:$normalizer,
    UnitAttr:$return_lse,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout,
    DefaultValuedAttr<SparseAttn_StrategyAttr, "::sparseattn::Strategy::Auto">:$strategy,
    OptionalAttr<SparseAttn_IntAttr>:$layer, OptionalAttr<SparseAttn_IntAttr>:$kv_source,
    OptionalAttr<SparseAttn_ScheduleAttr>:$schedule);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = [{
    $query `,` $key `,` $value `selection` `(` $selection `)` `block` $block (`query_block` $query_block^)? (`format` `(` $format^ `)`)?
    (`origin` `(` $origin^ `)`)? `keys` `(` $keys `)` (`scale` $scale^)? (`score` `(` $score_mod^ `)`)?
    (`normalizer` `(` $normalizer^ `)`)? (`bias` `(` $bias^ `)`)? (`sink` `(` $sink^ `)`)?
    (`valid_range` `(` $valid_range^ `)`)? (`q_offset` `(` $q_offset^ `)`)?
    (`cu_seqlens` `(` $cu_seqlens_q^ `,` $cu_seqlens_k `)`)? (`return_lse` $return_lse^)?
    (`layout` `(` $layout^ `)`)? (`strategy` `(` $strategy^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    ::mlir::Value getOut() { return getOutputs()[0]; }
    /// Null unless `return_lse`.
    ::mlir::Value getLse() { return getReturnLse() ? getOutputs()[1] : ::mlir::Value(); }
    double getScaleOrDefault();
    ::sparseattn::NormalizerAttrInterface getNormalizerOrDefault();
  }];
}

//===----------------------------------------------------------------------===//
// concat_kv_attention
//===----------------------------------------------------------------------===//

def SparseAttn_ConcatKVAttentionOp : SparseAttn_AttentionLikeOp<"concat_kv_attention"> {
  let summary = "one softmax over several key sources";
  let description = [{
    The sources' keys are attended as if concatenated, each under its own
    pattern (specification 6.4, operator 18): raw keys of a window beside
    compressed entries. `selected[s]` says that source `s` is restricted to
    entries chosen by the next operand of `selections` (`[B,Hs,Nq,K]` i32 key
    indices, block 1).

    `q_offset` is the position of query 0 for every source. Without it, token
    sources align to the end of the first token source; summaries use the same
    position.

    Constraints:
    - (C1) all tensors have rank 4; layout is not `thd`.
    - (C2) query, keys and values have one element type.
    - (C3) all tensors have one batch size.
    - (C4) each key and its value have the same heads and length; all sources have the same number of KV heads.
    - (C5) the number of query heads is a multiple of the number of KV heads.
    - (C6) all keys have the query's head dimension, all values one head dimension; 1 to 1024.
    - (C7) `sink` is `[Hq]`.
    - (C8) there is at least one source, as many values and `keys` entries as keys, and one `selected` flag each.
    - (C9) there are as many `selections` as set flags, each `[B,1|Hkv|Hq,Nq,K]`.
    - (C10) at least one source counts tokens, or `q_offset` is given.
    - (C11) each pattern fits the operation.
    - (C12) `scale` is finite.
    - (C15) results are those that the attributes ask for, with the inferred types.
    - (C16) `layer >= 0`; `kv_source` needs `layer` and lies in `[0, layer]`.
  }];
  let arguments = (ins
    SparseAttn_Float:$query, Variadic<SparseAttn_Float>:$source_keys, Variadic<SparseAttn_Float>:$source_values,
    Variadic<SparseAttn_I32>:$selections, Optional<SparseAttn_F32>:$sink, Optional<Index>:$q_offset,
    SparseAttn_KeyPatternArrayAttr:$keys, DenseBoolArrayAttr:$selected, OptionalAttr<F64Attr>:$scale,
    OptionalAttr<SparseAttn_ScoreModParam>:$score_mod, OptionalAttr<SparseAttn_NormalizerParam>:$normalizer,
    UnitAttr:$return_lse,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout,
    OptionalAttr<SparseAttn_IntAttr>:$layer, OptionalAttr<SparseAttn_IntAttr>:$kv_source);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = [{
    $query `,` `[` $source_keys `]` `,` `[` $source_values `]` `keys` `(` $keys `)`
    `selected` $selected (`selections` `(` $selections^ `)`)? (`scale` $scale^)? (`score` `(` $score_mod^ `)`)?
    (`normalizer` `(` $normalizer^ `)`)? (`sink` `(` $sink^ `)`)? (`q_offset` `(` $q_offset^ `)`)?
    (`return_lse` $return_lse^)? (`layout` `(` $layout^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    ::mlir::Value getOut() { return getOutputs()[0]; }
    /// Null unless `return_lse`.
    ::mlir::Value getLse() { return getReturnLse() ? getOutputs()[1] : ::mlir::Value(); }
    double getScaleOrDefault();
    ::sparseattn::NormalizerAttrInterface getNormalizerOrDefault();
  }];
}

//===----------------------------------------------------------------------===//
// branched_attention
//===----------------------------------------------------------------------===//

def SparseAttn_BranchedAttentionOp : SparseAttn_AttentionLikeOp<"branched_attention"> {
  let summary = "several separately normalised attentions of one query, mixed by gates";
  let description = [{
    `out = sum_b act(gate_b) * attention_b(query, keys_b, values_b)`: the
    sparse layer of HySparse (selected blocks and own window, two sinks, two
    gates), NSA's selected and window branches, HySparse2's gated single
    branch (specification 2.1, 6.1; fusion target {9+1+10}). Branches are never
    merged by lse.

    `branches[b]` gives the pattern of branch `b` and says whether it takes the
    next operand of `selections` and of `sinks`.

    Equivalent to one `attention` or `sparse_attention` per branch followed by
    `gated_combine`; `sparseattn-decompose` rewrites it so.

    Constraints:
    - (C1) there is at least one branch, and as many keys, values and gates as branches.
    - (C2) there are as many `selections` and `sinks` as branches that ask for them.
    - (C3) every branch is a valid `attention` or `sparse_attention`.
    - (C4) every gate has the shape of the output (element-wise) or of the output without its last dimension (head-wise), and its element type.
    - (C5) layout is not `thd`.
    - (C15) results are those that the attributes ask for, with the inferred types.
    - (C16) `layer >= 0`; `kv_source` needs `layer` and lies in `[0, layer]`.
  }];
  let arguments = (ins
    SparseAttn_Float:$query, Variadic<SparseAttn_Float>:$branch_keys, Variadic<SparseAttn_Float>:$branch_values,
    Variadic<SparseAttn_Float>:$gates, Variadic<SparseAttn_I32>:$selections, Variadic<SparseAttn_F32>:$sinks,
    Optional<SparseAttn_I32>:$valid_range, Optional<Index>:$q_offset,
    SparseAttn_BranchArrayAttr:$branches, OptionalAttr<F64Attr>:$scale,
    OptionalAttr<SparseAttn_ScoreModParam>:$score_mod,
    DefaultValuedAttr<SparseAttn_GateShapeAttr, "::sparseattn::GateShape::Elementwise">:$gate,
    DefaultValuedAttr<SparseAttn_GateActivationAttr, "::sparseattn::GateActivation::Sigmoid">:$activation,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout,
    OptionalAttr<SparseAttn_IntAttr>:$layer, OptionalAttr<SparseAttn_IntAttr>:$kv_source);
  let results = (outs SparseAttn_Float:$out);
  let assemblyFormat = [{
    $query `,` `[` $branch_keys `]` `,` `[` $branch_values `]` `branches` `(` $branches `)`
    `gates` `(` $gates `)` (`selections` `(` $selections^ `)`)? (`sinks` `(` $sinks^ `)`)?
    (`valid_range` `(` $valid_range^ `)`)? (`q_offset` `(` $q_offset^ `)`)? (`scale` $scale^)?
    (`score` `(` $score_mod^ `)`)? (`gate` `(` $gate^ `)`)? (`activation` `(` $activation^ `)`)?
    (`layout` `(` $layout^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

//===----------------------------------------------------------------------===//
// routed_attention
//===----------------------------------------------------------------------===//

def SparseAttn_RoutedAttentionOp : SparseAttn_AttentionLikeOp<"routed_attention"> {
  let summary = "entmax routing to key blocks and attention over them, in one operation";
  let description = [{
    DashAttention's stages 1 and 2 (specification 4.1; fusion target {4+7+9},
    meant for decode): block logits of `query` and `summary`, entmax routing,
    attention over the routed and own blocks with the prior as bias. Logits,
    mask and bias never leave the operation.

    Equivalent to `block_logits` (visibility `before_own`), `entmax_route` and
    `sparse_attention` (format `bitmask`, keys `causal`);
    `sparseattn-decompose` rewrites it so.

    `routing_scale` is `gamma * tau`, `scale` is `tau`.

    Constraints:
    - (C1) the decomposed operations are valid.
    - (C5) layout is not `thd`.
    - (C15) results are those that the attributes ask for, with the inferred types.
    - (C16) `layer >= 0`; `kv_source` needs `layer` and lies in `[0, layer]`.
  }];
  let arguments = (ins
    SparseAttn_Float:$query, SparseAttn_Float:$key, SparseAttn_Float:$value, SparseAttn_Float:$summary,
    Optional<SparseAttn_F32>:$sink, Optional<Index>:$q_offset,
    SparseAttn_IntAttr:$block, F64Attr:$routing_scale, OptionalAttr<F64Attr>:$scale,
    DefaultValuedAttr<F64Attr, "1.5">:$alpha, OptionalAttr<SparseAttn_SolverParam>:$solver,
    DefaultValuedAttr<SparseAttn_IntAttr, "0">:$local_blocks,
    DefaultValuedAttr<SparseAttn_PriorAttr, "::sparseattn::Prior::Tempered">:$prior,
    DefaultValuedAttr<F64Attr, "1.0e6">:$sigma,
    UnitAttr:$return_lse,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout,
    OptionalAttr<SparseAttn_IntAttr>:$layer, OptionalAttr<SparseAttn_IntAttr>:$kv_source);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = [{
    $query `,` $key `,` $value `summary` `(` $summary `)` `block` $block `routing_scale` $routing_scale
    (`scale` $scale^)? (`alpha` $alpha^)? (`solver` `(` $solver^ `)`)? (`local_blocks` $local_blocks^)?
    (`prior` `(` $prior^ `)`)? (`sigma` $sigma^)? (`sink` `(` $sink^ `)`)? (`q_offset` `(` $q_offset^ `)`)?
    (`return_lse` $return_lse^)? (`layout` `(` $layout^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    ::mlir::Value getOut() { return getOutputs()[0]; }
    /// Null unless `return_lse`.
    ::mlir::Value getLse() { return getReturnLse() ? getOutputs()[1] : ::mlir::Value(); }
  }];
}

#endif // SPARSEATTN_ATTENTION_OPS_TD
