// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// HySparse2 (specification 3): tokens instead of blocks, the window forced into the selection, and keys of
// cross-decoder layers projected from a hidden state of the self-decoder. 10 tokens and a window of 8.

!q = tensor<1x4x100x16xf32>
!kv = tensor<1x1x100x16xf32>
!idx = tensor<1x1x100x18xi32>

// The window comes on top of the best tokens: every row has 10 + 8 places.
func.func @full_layer(%query: !q, %key: !kv, %value: !kv) -> (!q, !idx) {
  %out, %indices = sparseattn.attention %query, %key, %value keys(#sparseattn.causal)
    emit(#sparseattn.block_score<block = 1, kind = log_prob_max, group = max>)
    select <k = 10, block = 1, force_local = 8, count_forced = false> : (!q, !kv, !kv) -> (!q, !idx)
  return %out, %indices : !q, !idx
}

// One softmax over the chosen tokens, a sink, and a gate on the output.
func.func @sparse_layer(%query: !q, %full_key: !kv, %full_value: !kv, %indices: !idx, %output_gate: !q,
                        %sink: tensor<4xf32>) -> !q {
  %selected = sparseattn.sparse_attention %query, %full_key, %full_value selection(%indices) block 1
    keys(#sparseattn.causal) sink(%sink) : (!q, !kv, !kv, !idx, tensor<4xf32>) -> !q
  %out = sparseattn.gated_combine %selected gates(%output_gate) : (!q, !q) -> !q
  return %out : !q
}

// A full layer of the cross-decoder owns keys that come from the input of self-decoder layer 12.
func.func @cross_full_layer(%query: !q, %hidden: tensor<1x100x32xf32>, %weight_key: tensor<32x16xf32>,
                            %weight_value: tensor<32x16xf32>) -> (!q, !idx) {
  %key, %value = sparseattn.kv_bridge %hidden, %weight_key, %weight_value source_layer 12 kv_heads 1
    : (tensor<1x100x32xf32>, tensor<32x16xf32>, tensor<32x16xf32>) -> (!kv, !kv)
  %out, %indices = sparseattn.attention %query, %key, %value keys(#sparseattn.causal)
    emit(#sparseattn.block_score<block = 1, kind = log_prob_max>)
    select <k = 10, block = 1, force_local = 8, count_forced = false> {layer = 25 : i64} : (!q, !kv, !kv) -> (!q, !idx)
  return %out, %indices : !q, !idx
}
