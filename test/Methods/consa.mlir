// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// ConSA (specification 5): after learning, every KV head is either full or windowed.

!q = tensor<1x4x100x16xf32>
!kv = tensor<1x2x100x16xf32>

func.func @layer(%query: !q, %key: !kv, %value: !kv) -> !q {
  %out = sparseattn.attention %query, %key, %value
    keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<32>]>) : (!q, !kv, !kv) -> !q
  return %out : !q
}

// While learning: a sampled gate for each KV head mixes the two outputs.
func.func @learning(%query: !q, %key: !kv, %value: !kv, %log_alpha: tensor<2xf32>, %noise: tensor<2xf32>)
    -> (!q, tensor<2xf32>) {
  %z, %open = sparseattn.hard_concrete_gate %log_alpha, %noise : (tensor<2xf32>, tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>)
  %one = arith.constant 1.0 : f32
  // KV head r gates the query heads 2r and 2r + 1.
  %empty = tensor.empty() : tensor<1x4x100xf32>
  %gate_full = linalg.generic {
    indexing_maps = [affine_map<(b, h, i) -> (h floordiv 2)>, affine_map<(b, h, i) -> (b, h, i)>],
    iterator_types = ["parallel", "parallel", "parallel"]}
    ins(%z : tensor<2xf32>) outs(%empty : tensor<1x4x100xf32>) {
  ^bb0(%g: f32, %o: f32):
    linalg.yield %g : f32
  } -> tensor<1x4x100xf32>
  %gate_window = linalg.generic {
    indexing_maps = [affine_map<(b, h, i) -> (h floordiv 2)>, affine_map<(b, h, i) -> (b, h, i)>],
    iterator_types = ["parallel", "parallel", "parallel"]}
    ins(%z : tensor<2xf32>) outs(%empty : tensor<1x4x100xf32>) {
  ^bb0(%g: f32, %o: f32):
    %rest = arith.subf %one, %g : f32
    linalg.yield %rest : f32
  } -> tensor<1x4x100xf32>
  %full = sparseattn.attention %query, %key, %value keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q
  %window = sparseattn.attention %query, %key, %value keys(#sparseattn.window<32>) : (!q, !kv, !kv) -> !q
  %out = sparseattn.gated_combine %full, %window gates(%gate_full, %gate_window) gate(headwise) activation(none)
    : (!q, !q, tensor<1x4x100xf32>, tensor<1x4x100xf32>) -> !q
  return %out, %open : !q, tensor<2xf32>
}
