// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// Plain attention, grouped heads (4 query, 2 KV), 100 tokens.

!q = tensor<1x4x100x16xf32>
!kv = tensor<1x2x100x16xf32>

func.func @full(%query: !q, %key: !kv, %value: !kv) -> !q {
  %out = sparseattn.attention %query, %key, %value keys(#sparseattn.full) : (!q, !kv, !kv) -> !q
  return %out : !q
}

func.func @causal(%query: !q, %key: !kv, %value: !kv) -> !q {
  %out = sparseattn.attention %query, %key, %value keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q
  return %out : !q
}

// Gemma 3: the window counts the query itself; logits are soft-capped as in Gemma 2.
func.func @window(%query: !q, %key: !kv, %value: !kv) -> !q {
  %out = sparseattn.attention %query, %key, %value keys(#sparseattn.window<32>) score(#sparseattn.softcap<50.0>)
    : (!q, !kv, !kv) -> !q
  return %out : !q
}

// gpt-oss, MiMo-V2-Flash: a learnable sink for each query head joins the denominator.
func.func @window_with_sink(%query: !q, %key: !kv, %value: !kv, %sink: tensor<4xf32>) -> !q {
  %out = sparseattn.attention %query, %key, %value keys(#sparseattn.window<32>) sink(%sink)
    : (!q, !kv, !kv, tensor<4xf32>) -> !q
  return %out : !q
}

// One decode step: the query stands at the end of the keys.
func.func @decode(%query: tensor<1x4x1x16xf32>, %key: !kv, %value: !kv) -> tensor<1x4x1x16xf32> {
  %out = sparseattn.attention %query, %key, %value keys(#sparseattn.window<32>)
    : (tensor<1x4x1x16xf32>, !kv, !kv) -> tensor<1x4x1x16xf32>
  return %out : tensor<1x4x1x16xf32>
}

// Two documents of 40 and 60 tokens, packed.
func.func @packed(%query: tensor<100x4x16xf32>, %key: tensor<100x2x16xf32>, %value: tensor<100x2x16xf32>,
                  %documents: tensor<3xi32>) -> tensor<100x4x16xf32> {
  %out = sparseattn.attention %query, %key, %value keys(#sparseattn.causal) cu_seqlens(%documents, %documents) layout(thd)
    : (tensor<100x4x16xf32>, tensor<100x2x16xf32>, tensor<100x2x16xf32>, tensor<3xi32>, tensor<3xi32>)
    -> tensor<100x4x16xf32>
  return %out : tensor<100x4x16xf32>
}
