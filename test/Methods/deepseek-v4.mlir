// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// DeepSeek-V4 (specification 6.4): one KV head whose keys are its values; a window of raw entries and
// compressed entries share a single softmax with a sink; the output is rotated back by the query's position.

!q = tensor<1x4x100x16xf32>
!kv = tensor<1x1x100x16xf32>
!sink = tensor<4xf32>

// CSA: overlapping windows of 8 tokens every 4; an indexer over compressed keys chooses 5 entries.
func.func @csa(%query: !q, %kv: !kv, %gate: !kv, %position: tensor<8x16xf32>, %sink: !sink,
               %index_query: tensor<1x2x100x8xf32>, %index_key: tensor<1x1x24x8xf32>,
               %head_weight: tensor<1x100x2xf32>) -> (!q, tensor<1x1x100x5xi32>) {
  %compressed = sparseattn.chunk_summarize %kv block 8 stride 4 mode(gated_softmax) gate(%gate) position(%position)
    complete_only : (!kv, !kv, tensor<8x16xf32>) -> tensor<1x1x24x16xf32>
  %score = sparseattn.block_logits %index_query, %index_key head_weight(%head_weight) block 8 stride 4 scale 1.0
    activation(relu) visibility(complete)
    : (tensor<1x2x100x8xf32>, tensor<1x1x24x8xf32>, tensor<1x100x2xf32>) -> tensor<1x1x100x24xf32>
  %indices = sparseattn.select_topk %score <k = 5, block = 4> : (tensor<1x1x100x24xf32>) -> tensor<1x1x100x5xi32>
  %attended = sparseattn.concat_kv_attention %query, [%kv, %compressed], [%kv, %compressed]
    keys([#sparseattn.window<12>, #sparseattn.complete_blocks<block = 8, stride = 4>]) selected [false, true]
    selections(%indices) sink(%sink)
    : (!q, !kv, tensor<1x1x24x16xf32>, !kv, tensor<1x1x24x16xf32>, tensor<1x1x100x5xi32>, !sink) -> !q
  %out = sparseattn.rope %attended dims 8 inverse tail : (!q) -> !q
  return %out, %indices : !q, tensor<1x1x100x5xi32>
}

// HCA: heavy compression (16 to 1, no overlap), every complete entry visible, no indexer.
func.func @hca(%query: !q, %kv: !kv, %gate: !kv, %position: tensor<16x16xf32>, %sink: !sink) -> !q {
  %compressed = sparseattn.chunk_summarize %kv block 16 mode(gated_softmax) gate(%gate) position(%position) complete_only
    : (!kv, !kv, tensor<16x16xf32>) -> tensor<1x1x6x16xf32>
  %attended = sparseattn.concat_kv_attention %query, [%kv, %compressed], [%kv, %compressed]
    keys([#sparseattn.window<12>, #sparseattn.complete_blocks<block = 16, stride = 16>]) selected [false, false] sink(%sink)
    : (!q, !kv, tensor<1x1x6x16xf32>, !kv, tensor<1x1x6x16xf32>, !sink) -> !q
  %out = sparseattn.rope %attended dims 8 inverse tail : (!q) -> !q
  return %out : !q
}
