//===- CacheOps.td - KV caches and edges between layers -----*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_CACHE_OPS_TD
#define SPARSEATTN_CACHE_OPS_TD

include "sparseattn/Dialect/SparseAttn/IR/AttentionOps.td"

def SparseAttn_KVCacheCreateOp : SparseAttn_Op<"kv_cache.create", [Pure]> {
  let summary = "an empty cache";
  let description = [{
    Every slot reads as zero until it is written (operator 14). `layer` names
    the layer that owns the cache.

    Constraints:
    - (C1) the result's access is `owner`.
    - (C2) `layer >= 0`.
  }];
  let arguments = (ins OptionalAttr<SparseAttn_IntAttr>:$layer);
  let results = (outs SparseAttn_KVCacheType:$cache);
  let assemblyFormat = "attr-dict `:` custom<FullType>(type($cache))";
  let hasVerifier = 1;
}

def SparseAttn_KVCacheAppendOp : SparseAttn_Op<"kv_cache.append", [Pure]> {
  let summary = "the cache with n more tokens";
  let description = [{
    Token `position + t` of every head takes `key[t]`, `value[t]`; a ring of
    `w` slots keeps the last `w` tokens (operator 15). `position` is the number
    of tokens before the call: it is also the `q_offset` of the queries and of
    their rotary embedding.

    With `summarize`, the chunk summaries of the appended keys leave as second
    result, as `chunk_summarize` computes them (fusion target {3}).

    *Preconditions.* `position + n <= length` of the cache type.

    Constraints:
    - (C1) the cache is not `read_only`: a consumer layer never writes a cache.
    - (C2) `key` is `[batch,heads,n,key_dim]` and `value` `[batch,heads,n,value_dim]` in the order of `layout`.
    - (C3) key and value have the cache's dtype when that is f32, f16 or bf16.
    - (C4) the result has the type of the cache.
    - (C5) the cache is appended to at most once: it has a single writer.
    - (C6) `summary_query` is present exactly for summarize mode `learned_query`; results are those that the attributes ask for.
  }];
  let arguments = (ins SparseAttn_KVCacheType:$cache, SparseAttn_Float:$key, SparseAttn_Float:$value,
    Index:$position, Optional<SparseAttn_Float>:$summary_query,
    OptionalAttr<SparseAttn_SummaryAttr>:$summarize,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout);
  let results = (outs SparseAttn_KVCacheType:$updated, Optional<SparseAttn_Float>:$summary);
  let assemblyFormat = [{
    $cache `,` $key `,` $value `at` $position (`summarize` $summarize^)?
    (`summary_query` `(` $summary_query^ `)`)? (`layout` `(` $layout^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def SparseAttn_KVCacheReadOp : SparseAttn_Op<"kv_cache.read", [Pure]> {
  let summary = "keys and values by token position";
  let description = [{
    `key` `[batch,heads,length,key_dim]` and `value`
    `[batch,heads,length,value_dim]` in the order of `layout`: row `t` is token
    `t`. Tokens that a ring has dropped read as zero; the reader's own pattern
    must not see them: a window is a property of the attention, never of the
    cache (operator 15).

    Constraints:
    - (C1) key and value have rank 4 and the cache's batch, heads and dimensions in the order of `layout`, and one length.
    - (C2) key and value have the cache's dtype when that is f32, f16 or bf16.
    - (C3) every attention that uses the result directly states a pattern that fits the cache: no more keys per head than the ring has slots.
  }];
  let arguments = (ins SparseAttn_KVCacheType:$cache, Index:$length,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout);
  let results = (outs SparseAttn_Float:$key, SparseAttn_Float:$value);
  let assemblyFormat = [{
    $cache `length` $length (`layout` `(` $layout^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def SparseAttn_KVCacheViewOp : SparseAttn_Op<"kv_cache.view", [Pure]> {
  let summary = "a read-only alias for a consumer layer";
  let description = [{
    Constraints:
    - (C1) the result has the type of the cache with access `read_only`.
    - (C2) `layer >= 0`.
  }];
  let arguments = (ins SparseAttn_KVCacheType:$cache, OptionalAttr<SparseAttn_IntAttr>:$layer);
  let results = (outs SparseAttn_KVCacheType:$view);
  let assemblyFormat = "$cache attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def SparseAttn_KVShareOp : SparseAttn_Op<"kv_share", [Pure, AllTypesMatch<["key", "shared_key"]>, AllTypesMatch<["value", "shared_value"]>]> {
  let summary = "read-only edge from a producer layer's K/V to a consumer layer";
  let description = [{
    Identity on values; states that the user does not own these keys and values
    but reads those of layer `producer` (operator 16). Inserted and checked by
    `sparseattn-resolve-kv-sharing`.

    Constraints:
    - (C1) `producer >= 0`.
    - (C2) every attention that uses the result has a `layer` after `producer`, or none.
  }];
  let arguments = (ins SparseAttn_Float:$key, SparseAttn_Float:$value, SparseAttn_IntAttr:$producer);
  let results = (outs SparseAttn_Float:$shared_key, SparseAttn_Float:$shared_value);
  let assemblyFormat = "$key `,` $value `from` $producer attr-dict `:` type($key) `,` type($value)";
  let hasVerifier = 1;
}

def SparseAttn_KVBridgeOp : SparseAttn_InferredOp<"kv_bridge"> {
  let summary = "keys and values projected from another layer's hidden state";
  let description = [{
    `k = hidden W_k`, `v = hidden W_v`, split into heads (specification 3.1,
    6.7; operator 17): the input of self-decoder layer `source_layer` feeds a
    cross-decoder layer, which owns the resulting cache.

    *Operands.* `hidden` `[B,N,D]`, `weight_key` `[D,Hkv*d]`, `weight_value`
    `[D,Hkv*dv]`. *Results.* `[B,Hkv,N,d]` and `[B,Hkv,N,dv]` in the order of
    `layout`; f32 accumulation.

    Constraints:
    - (C1) `hidden` has rank 3, the weights rank 2, all one element type and one D.
    - (C2) `kv_heads >= 1` divides the columns of both weights.
    - (C3) layout is not `thd`.
    - (C4) `source_layer >= 0`.
    - (C5) the results have the inferred types.
  }];
  let arguments = (ins SparseAttn_Float:$hidden, SparseAttn_Float:$weight_key, SparseAttn_Float:$weight_value,
    SparseAttn_IntAttr:$source_layer, SparseAttn_IntAttr:$kv_heads,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout);
  let results = (outs SparseAttn_Float:$key, SparseAttn_Float:$value);
  let assemblyFormat = [{
    $hidden `,` $weight_key `,` $weight_value `source_layer` $source_layer `kv_heads` $kv_heads
    (`layout` `(` $layout^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

#endif // SPARSEATTN_CACHE_OPS_TD
