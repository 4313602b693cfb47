// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// DashAttention (specification 4): entmax over chunk summaries routes every query to a variable number of
// chunks, and the routing weights bias the softmax. Chunks of 16 keys, 4 query heads on 2 KV heads.

!q = tensor<1x4x100x16xf32>
!kv = tensor<1x2x100x16xf32>
!summary = tensor<1x2x7x16xf32>
!logits = tensor<1x4x100x7xf32>
!mask = tensor<1x2x100x1xi32>
!bias = tensor<1x2x100x7xf32>

// The package's form: learned summary query, alpha 1.5, centred prior.
func.func @learned_query_tempered(%query: !q, %key: !kv, %value: !kv, %summary_query: tensor<2x16xf32>)
    -> (!q, !mask, !bias) {
  %summary = sparseattn.chunk_summarize %key block 16 mode(learned_query) summary_query(%summary_query)
    : (!kv, tensor<2x16xf32>) -> !summary
  // scale = gamma / sqrt(d) with gamma = 2.
  %logits = sparseattn.block_logits %query, %summary block 16 scale 0.5 visibility(before_own) : (!q, !summary) -> !logits
  %mask, %bias = sparseattn.entmax_route %logits kv_heads 2 block 16 alpha 1.5 prior(tempered) sigma 1.0e6
    : (!logits) -> (!mask, !bias)
  %out = sparseattn.sparse_attention %query, %key, %value selection(%mask) block 16 format(bitmask)
    keys(#sparseattn.causal) bias(%bias) : (!q, !kv, !kv, !mask, !bias) -> !q
  return %out, %mask, %bias : !q, !mask, !bias
}

// Mean summaries, the weights themselves as prior, and the previous chunk always on.
func.func @mean_raw_local(%query: !q, %key: !kv, %value: !kv) -> (!q, !mask, !bias) {
  %summary = sparseattn.chunk_summarize %key block 16 mode(mean) : (!kv) -> !summary
  %logits = sparseattn.block_logits %query, %summary block 16 scale 0.5 visibility(before_own) : (!q, !summary) -> !logits
  %mask, %bias = sparseattn.entmax_route %logits kv_heads 2 block 16 solver(#sparseattn.halley<3>) local_blocks 1
    prior(raw) : (!logits) -> (!mask, !bias)
  %out = sparseattn.sparse_attention %query, %key, %value selection(%mask) block 16 format(bitmask)
    keys(#sparseattn.causal) bias(%bias) : (!q, !kv, !kv, !mask, !bias) -> !q
  return %out, %mask, %bias : !q, !mask, !bias
}

// Any alpha in (1, 2] by bisection; without a prior the result is a plain softmax on the support.
func.func @general_alpha_no_prior(%query: !q, %key: !kv, %value: !kv) -> (!q, !mask) {
  %summary = sparseattn.chunk_summarize %key block 16 mode(mean) : (!kv) -> !summary
  %logits = sparseattn.block_logits %query, %summary block 16 scale 0.5 visibility(before_own) : (!q, !summary) -> !logits
  %mask, %bias = sparseattn.entmax_route %logits kv_heads 2 block 16 alpha 1.25 solver(#sparseattn.bisect<50>)
    prior(none) : (!logits) -> (!mask, !bias)
  %out = sparseattn.sparse_attention %query, %key, %value selection(%mask) block 16 format(bitmask)
    keys(#sparseattn.causal) : (!q, !kv, !kv, !mask) -> !q
  return %out, %mask : !q, !mask
}

// Decode: the whole method in one operation, summaries kept beside the cache.
func.func @decode(%query: tensor<1x4x1x16xf32>, %key: !kv, %value: !kv, %summary: !summary) -> tensor<1x4x1x16xf32> {
  %out = sparseattn.routed_attention %query, %key, %value summary(%summary) block 16 routing_scale 0.5
    : (tensor<1x4x1x16xf32>, !kv, !kv, !summary) -> tensor<1x4x1x16xf32>
  return %out : tensor<1x4x1x16xf32>
}
