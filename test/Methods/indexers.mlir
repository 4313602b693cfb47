// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// Lightning indexers: a few small index heads choose tokens (DSA) or blocks (MSA) for all or some heads.

!q = tensor<1x8x100x24xf32>
!k = tensor<1x1x100x24xf32>
!v = tensor<1x1x100x16xf32>
!o = tensor<1x8x100x16xf32>

// DeepSeek DSA (specification 6.3): sum over 4 index heads of weight * relu(product), one shared index key,
// the 12 best tokens for all query heads; latent attention with 24-wide keys and 16-wide values.
func.func @dsa(%query: !q, %key: !k, %value: !v, %index_query: tensor<1x4x100x8xf32>, %index_key: tensor<1x1x100x8xf32>,
               %head_weight: tensor<1x100x4xf32>) -> (!o, tensor<1x1x100x12xi32>) {
  %score = sparseattn.block_logits %index_query, %index_key head_weight(%head_weight) block 1 scale 1.0 activation(relu)
    visibility(complete) : (tensor<1x4x100x8xf32>, tensor<1x1x100x8xf32>, tensor<1x100x4xf32>) -> tensor<1x1x100x100xf32>
  %indices = sparseattn.select_topk %score <k = 12, block = 1> : (tensor<1x1x100x100xf32>) -> tensor<1x1x100x12xi32>
  %out = sparseattn.sparse_attention %query, %key, %value selection(%indices) block 1 keys(#sparseattn.causal)
    : (!q, !k, !v, tensor<1x1x100x12xi32>) -> !o
  return %out, %indices : !o, tensor<1x1x100x12xi32>
}

// MiniMax-M3 MSA (specification 6.5): one index head for each KV head, the maximum over blocks of 16 tokens,
// 3 blocks with the local one forced.
func.func @msa(%query: tensor<1x4x100x16xf32>, %key: tensor<1x2x100x16xf32>, %value: tensor<1x2x100x16xf32>,
               %index_query: tensor<1x2x100x8xf32>, %index_key: tensor<1x1x100x8xf32>)
    -> (tensor<1x4x100x16xf32>, tensor<1x2x100x3xi32>) {
  %tokens = sparseattn.block_logits %index_query, %index_key block 1 scale 1.0 visibility(complete)
    : (tensor<1x2x100x8xf32>, tensor<1x1x100x8xf32>) -> tensor<1x2x100x100xf32>
  %score = sparseattn.pool_scores %tokens kernel 16 stride 16 mode(max) ceil_mode
    : (tensor<1x2x100x100xf32>) -> tensor<1x2x100x7xf32>
  %indices = sparseattn.select_topk %score <k = 3, block = 16, force_local = 1>
    : (tensor<1x2x100x7xf32>) -> tensor<1x2x100x3xi32>
  %out = sparseattn.sparse_attention %query, %key, %value selection(%indices) block 16 keys(#sparseattn.causal)
    : (tensor<1x4x100x16xf32>, tensor<1x2x100x16xf32>, tensor<1x2x100x16xf32>, tensor<1x2x100x3xi32>)
    -> tensor<1x4x100x16xf32>
  return %out, %indices : tensor<1x4x100x16xf32>, tensor<1x2x100x3xi32>
}
