// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// NSA (specification 6.1): compressed, selected and window branch, three softmaxes, three gates. Chunks of
// 32 keys every 16, selection blocks of 64 (one first and two local ones forced), window 40.

!q = tensor<1x4x256x16xf32>
!kv = tensor<1x2x256x16xf32>
!chunks = tensor<1x2x15x16xf32>
!idx = tensor<1x2x256x3xi32>
!gate = tensor<1x4x256xf32>

func.func @nsa(%query: !q, %compressed_key: !kv, %compressed_value: !kv, %selected_key: !kv, %selected_value: !kv,
               %local_key: !kv, %local_value: !kv, %gate_compressed: !gate, %gate_selected: !gate, %gate_local: !gate,
               %key_in: tensor<512x32xf32>, %key_out: tensor<32x16xf32>, %key_position: tensor<32x16xf32>,
               %value_in: tensor<512x32xf32>, %value_out: tensor<32x16xf32>, %value_position: tensor<32x16xf32>)
    -> (!q, !idx) {
  // Compressed branch: attention over MLP summaries of complete chunks.
  %k_cmp = sparseattn.chunk_summarize %compressed_key block 32 stride 16 mode(mlp) position(%key_position)
    weight_in(%key_in) weight_out(%key_out) complete_only
    : (!kv, tensor<32x16xf32>, tensor<512x32xf32>, tensor<32x16xf32>) -> !chunks
  %v_cmp = sparseattn.chunk_summarize %compressed_value block 32 stride 16 mode(mlp) position(%value_position)
    weight_in(%value_in) weight_out(%value_out) complete_only
    : (!kv, tensor<32x16xf32>, tensor<512x32xf32>, tensor<32x16xf32>) -> !chunks
  %out_cmp = sparseattn.attention %query, %k_cmp, %v_cmp keys(#sparseattn.complete_blocks<block = 32, stride = 16>)
    : (!q, !chunks, !chunks) -> !q

  // Selected branch: the chunks' probabilities, summed over the group and over the chunks that a block touches.
  %logits = sparseattn.block_logits %query, %k_cmp block 32 stride 16 visibility(complete)
    : (!q, !chunks) -> tensor<1x4x256x15xf32>
  %probability = sparseattn.block_softmax %logits kv_heads 2 group(sum)
    : (tensor<1x4x256x15xf32>) -> tensor<1x2x256x15xf32>
  %importance = sparseattn.pool_scores %probability kernel 5 stride 4 pad 1 mode(sum) ceil_mode
    : (tensor<1x2x256x15xf32>) -> tensor<1x2x256x4xf32>
  %indices = sparseattn.select_topk %importance <k = 3, block = 64, force_first = 1, force_local = 2>
    : (tensor<1x2x256x4xf32>) -> !idx
  %out_slc = sparseattn.sparse_attention %query, %selected_key, %selected_value selection(%indices) block 64
    keys(#sparseattn.causal) : (!q, !kv, !kv, !idx) -> !q

  %out_win = sparseattn.attention %query, %local_key, %local_value keys(#sparseattn.window<40>) : (!q, !kv, !kv) -> !q

  %out = sparseattn.gated_combine %out_cmp, %out_slc, %out_win gates(%gate_compressed, %gate_selected, %gate_local)
    gate(headwise) : (!q, !q, !q, !gate, !gate, !gate) -> !q
  return %out, %indices : !q, !idx
}
