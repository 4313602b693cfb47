// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// HySparse (specification 2): a full layer chooses key blocks, the sparse layers after it attend to them
// and to a window of their own. Blocks of 16 keys, 3 of them per query and KV head, window 8.

!q = tensor<1x4x100x16xf32>
!kv = tensor<1x2x100x16xf32>
!lse = tensor<1x4x100xf32>
!score = tensor<1x2x100x7xf32>
!idx = tensor<1x2x100x3xi32>
!sink = tensor<4xf32>

// F: the score of a block is the largest probability of its keys, over all heads of the group.
func.func @full_layer(%query: !q, %key: !kv, %value: !kv) -> (!q, !lse, !idx) {
  %out, %lse, %score = sparseattn.attention %query, %key, %value keys(#sparseattn.causal)
    emit(#sparseattn.block_score<block = 16, kind = prob_max, group = max>) return_lse {layer = 0 : i64}
    : (!q, !kv, !kv) -> (!q, !lse, !score)
  %indices = sparseattn.select_topk %score <k = 3, block = 16> : (!score) -> !idx
  return %out, %lse, %indices : !q, !lse, !idx
}

// S: one query, two softmaxes with a sink each, two gates. The block branch owns no keys.
func.func @sparse_layer(%query: !q, %full_key: !kv, %full_value: !kv, %indices: !idx, %own_key: !kv, %own_value: !kv,
                        %gate_sparse: !q, %gate_window: !q, %sink_sparse: !sink, %sink_window: !sink) -> !q {
  %selected = sparseattn.sparse_attention %query, %full_key, %full_value selection(%indices) block 16
    keys(#sparseattn.causal) sink(%sink_sparse) {layer = 1 : i64, kv_source = 0 : i64}
    : (!q, !kv, !kv, !idx, !sink) -> !q
  %local = sparseattn.attention %query, %own_key, %own_value keys(#sparseattn.window<8>) sink(%sink_window)
    {layer = 1 : i64} : (!q, !kv, !kv, !sink) -> !q
  %out = sparseattn.gated_combine %selected, %local gates(%gate_sparse, %gate_window) : (!q, !q, !q, !q) -> !q
  return %out : !q
}

// One hybrid block: F and two S layers that read its keys, values and selection.
func.func @hybrid_block(%q0: !q, %k0: !kv, %v0: !kv, %q1: !q, %k1: !kv, %v1: !kv, %q2: !q, %k2: !kv, %v2: !kv,
                        %gates: !q, %sink: !sink) -> (!q, !q, !q) {
  %out0, %indices = sparseattn.attention %q0, %k0, %v0 keys(#sparseattn.causal)
    emit(#sparseattn.block_score<block = 16>) select <k = 3, block = 16> {layer = 0 : i64}
    : (!q, !kv, !kv) -> (!q, !idx)
  %key, %value = sparseattn.kv_share %k0, %v0 from 0 : !kv, !kv
  %out1 = sparseattn.branched_attention %q1, [%key, %k1], [%value, %v1]
    branches([#sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 16, sink = true>,
              #sparseattn.branch<keys = #sparseattn.window<8>, sink = true>])
    gates(%gates, %gates) selections(%indices) sinks(%sink, %sink) {layer = 1 : i64}
    : (!q, !kv, !kv, !kv, !kv, !q, !q, !idx, !sink, !sink) -> !q
  %out2 = sparseattn.branched_attention %q2, [%key, %k2], [%value, %v2]
    branches([#sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 16, sink = true>,
              #sparseattn.branch<keys = #sparseattn.window<8>, sink = true>])
    gates(%gates, %gates) selections(%indices) sinks(%sink, %sink) {layer = 2 : i64}
    : (!q, !kv, !kv, !kv, !kv, !q, !q, !idx, !sink, !sink) -> !q
  return %out0, %out1, %out2 : !q, !q, !q
}
