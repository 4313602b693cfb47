// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// MoBA and Quest (specification 6.6): block selection without parameters, for each query head by itself.

!q = tensor<1x4x100x16xf32>
!kv = tensor<1x2x100x16xf32>
!summary = tensor<1x2x7x16xf32>
!idx = tensor<1x4x100x3xi32>

// MoBA: unscaled product with the mean key; the own chunk is +inf and therefore always chosen.
func.func @moba(%query: !q, %key: !kv, %value: !kv) -> (!q, !idx) {
  %summary = sparseattn.chunk_summarize %key block 16 mode(mean) : (!kv) -> !summary
  %logits = sparseattn.block_logits %query, %summary block 16 scale 1.0 visibility(own_inf)
    : (!q, !summary) -> tensor<1x4x100x7xf32>
  %indices = sparseattn.select_topk %logits <k = 3, block = 16> : (tensor<1x4x100x7xf32>) -> !idx
  %out = sparseattn.sparse_attention %query, %key, %value selection(%indices) block 16 keys(#sparseattn.causal)
    : (!q, !kv, !kv, !idx) -> !q
  return %out, %indices : !q, !idx
}

// Quest, one decode step at the end of the keys: pages by an upper bound from minimum and maximum keys.
func.func @quest(%query: tensor<1x4x1x16xf32>, %key: !kv, %value: !kv) -> (tensor<1x4x1x16xf32>, tensor<1x4x1x3xi32>) {
  %last = arith.constant 99 : index
  %low, %high = sparseattn.chunk_summarize %key block 16 mode(minmax) : (!kv) -> (!summary, !summary)
  %bound = sparseattn.block_logits %query, %low max(%high) block 16 scale 1.0 visibility(all) bound(minmax)
    : (tensor<1x4x1x16xf32>, !summary, !summary) -> tensor<1x4x1x7xf32>
  %indices = sparseattn.select_topk %bound <k = 3, block = 16> q_offset(%last)
    : (tensor<1x4x1x7xf32>, index) -> tensor<1x4x1x3xi32>
  %out = sparseattn.sparse_attention %query, %key, %value selection(%indices) block 16 keys(#sparseattn.causal)
    : (tensor<1x4x1x16xf32>, !kv, !kv, tensor<1x4x1x3xi32>) -> tensor<1x4x1x16xf32>
  return %out, %indices : tensor<1x4x1x16xf32>, tensor<1x4x1x3xi32>
}
