// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// KV sharing without selection (specification 6.7).

!q = tensor<1x4x100x16xf32>
!kv = tensor<1x2x100x16xf32>
!hidden = tensor<1x100x32xf32>
!weight = tensor<32x32xf32>

// YOCO: keys and values are projected once from the self-decoder's hidden state and read by every cross layer.
func.func @yoco(%hidden: !hidden, %weight_key: !weight, %weight_value: !weight, %query2: !q, %query3: !q) -> (!q, !q) {
  %key, %value = sparseattn.kv_bridge %hidden, %weight_key, %weight_value source_layer 1 kv_heads 2
    : (!hidden, !weight, !weight) -> (!kv, !kv)
  %out2 = sparseattn.attention %query2, %key, %value keys(#sparseattn.causal) {layer = 2 : i64} : (!q, !kv, !kv) -> !q
  %shared_key, %shared_value = sparseattn.kv_share %key, %value from 2 : !kv, !kv
  %out3 = sparseattn.attention %query3, %shared_key, %shared_value keys(#sparseattn.causal)
    {layer = 3 : i64, kv_source = 2 : i64} : (!q, !kv, !kv) -> !q
  return %out2, %out3 : !q, !q
}

// CLA: pairs of adjacent layers share keys and values.
func.func @cla(%query0: !q, %query1: !q, %key0: !kv, %value0: !kv, %query2: !q, %query3: !q, %key2: !kv, %value2: !kv)
    -> (!q, !q, !q, !q) {
  %out0 = sparseattn.attention %query0, %key0, %value0 keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  %key1, %value1 = sparseattn.kv_share %key0, %value0 from 0 : !kv, !kv
  %out1 = sparseattn.attention %query1, %key1, %value1 keys(#sparseattn.causal) {layer = 1 : i64, kv_source = 0 : i64}
    : (!q, !kv, !kv) -> !q
  %out2 = sparseattn.attention %query2, %key2, %value2 keys(#sparseattn.causal) {layer = 2 : i64} : (!q, !kv, !kv) -> !q
  %key3, %value3 = sparseattn.kv_share %key2, %value2 from 2 : !kv, !kv
  %out3 = sparseattn.attention %query3, %key3, %value3 keys(#sparseattn.causal) {layer = 3 : i64, kv_source = 2 : i64}
    : (!q, !kv, !kv) -> !q
  return %out0, %out1, %out2, %out3 : !q, !q, !q, !q
}

// Gemma 3n: the last layers read the cache of the last earlier layer of their own kind, window or full.
func.func @gemma3n(%query0: !q, %key0: !kv, %value0: !kv, %query1: !q, %key1: !kv, %value1: !kv, %query2: !q, %query3: !q)
    -> (!q, !q, !q, !q) {
  %out0 = sparseattn.attention %query0, %key0, %value0 keys(#sparseattn.window<32>) scale 1.0 {layer = 0 : i64}
    : (!q, !kv, !kv) -> !q
  %out1 = sparseattn.attention %query1, %key1, %value1 keys(#sparseattn.causal) scale 1.0 {layer = 1 : i64}
    : (!q, !kv, !kv) -> !q
  %key2, %value2 = sparseattn.kv_share %key0, %value0 from 0 : !kv, !kv
  %out2 = sparseattn.attention %query2, %key2, %value2 keys(#sparseattn.window<32>) scale 1.0
    {layer = 2 : i64, kv_source = 0 : i64} : (!q, !kv, !kv) -> !q
  %key3, %value3 = sparseattn.kv_share %key1, %value1 from 1 : !kv, !kv
  %out3 = sparseattn.attention %query3, %key3, %value3 keys(#sparseattn.causal) scale 1.0
    {layer = 3 : i64, kv_source = 1 : i64} : (!q, !kv, !kv) -> !q
  return %out0, %out1, %out2, %out3 : !q, !q, !q, !q
}
