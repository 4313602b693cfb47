// RUN: sparseattn-opt %s -split-input-file --sparseattn-extract-layers | FileCheck %s
// RUN: sparseattn-opt %s -split-input-file --sparseattn-extract-layers="kernels-only" | FileCheck %s --check-prefix=KERNELS
// RUN: sparseattn-opt %s -split-input-file --sparseattn-extract-layers > %t.once
// RUN: sparseattn-opt %t.once -split-input-file --sparseattn-extract-layers | diff %t.once -

// Framework operations stay, the sharing edge stays, facts are on the function.

// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[Q:.*]]: tensor<1x4x8x16xf32>, %[[K:.*]]: tensor<1x2x8x16xf32>, %[[V:.*]]: tensor<1x2x8x16xf32>)
// CHECK: %[[O0:.*]] = call @layer_0(%[[Q]], %[[K]], %[[V]])
// CHECK: %[[Q1:.*]] = sparseattn.extern "aten.relu"(%[[O0]])
// CHECK: %[[KS:.*]], %[[VS:.*]] = sparseattn.kv_share %[[K]], %[[V]] from 0
// CHECK: %[[O1:.*]] = call @layer_1(%[[Q1]], %[[KS]], %[[VS]])
// CHECK: return %[[O1]]
func.func @main(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32> {
  %o0 = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {layer = 0 : i64}
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  %q1 = sparseattn.extern "aten.relu"(%o0) : (tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  %ks, %vs = sparseattn.kv_share %k, %v from 0 : tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>
  %o1 = sparseattn.attention %q1, %ks, %vs keys(#sparseattn.window<4>) scale 0.5 {layer = 1 : i64, kv_source = 0 : i64}
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return %o1 : tensor<1x4x8x16xf32>
}
// CHECK: func.func @layer_0(%{{.*}}: tensor<1x4x8x16xf32> {sparseattn.layout = "bhsd", sparseattn.name = "query"},
// CHECK-SAME: sparseattn.name = "key"}, {{.*}} sparseattn.name = "value"}) -> (tensor<1x4x8x16xf32> {sparseattn.layout = "bhsd", sparseattn.name = "out"})
// CHECK-SAME: sparseattn.kind = "causal", sparseattn.layer = 0 : i64
// CHECK-SAME: sparseattn.operations = [{keys = ["causal"], layout = "bhsd", operation = "attention", scale = 2.500000e-01 : f64}]
// CHECK-NEXT: %[[OUT:.*]] = sparseattn.attention %arg0, %arg1, %arg2 keys(#sparseattn.causal)
// CHECK-NEXT: return %[[OUT]]
// CHECK: func.func @layer_1
// CHECK-SAME: sparseattn.kind = "window", sparseattn.layer = 1 : i64
// CHECK-SAME: [{keys = ["window<4>"], kv_source = 0 : i64, layout = "bhsd", operation = "attention", scale = 5.000000e-01 : f64, window = 4 : i64}]

// KERNELS-NOT: @main
// KERNELS: func.func @layer_0
// KERNELS: func.func @layer_1

// -----

// HySparse: the selection goes with the layer that scores, gates with the layer that they combine.

// CHECK-LABEL: func.func @hysparse
// CHECK: %[[L0:.*]]:2 = call @layer_0(%arg0, %arg1, %arg2)
// CHECK: call @layer_1(%arg3, %{{.*}}, %{{.*}}, %[[L0]]#1, %arg4, %arg5, %arg6, %arg7)
func.func @hysparse(%q0: tensor<1x2x8x16xf32>, %k: tensor<1x1x8x16xf32>, %v: tensor<1x1x8x16xf32>, %q1: tensor<1x2x8x16xf32>,
    %kw: tensor<1x1x8x16xf32>, %vw: tensor<1x1x8x16xf32>, %g0: tensor<1x2x8x16xf32>, %g1: tensor<1x2x8x16xf32>)
    -> (tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) {
  %o0, %score = sparseattn.attention %q0, %k, %v keys(#sparseattn.causal)
    emit(#sparseattn.block_score<block = 2, kind = prob_max, group = max>) {layer = 0 : i64}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> (tensor<1x2x8x16xf32>, tensor<1x1x8x4xf32>)
  %i = sparseattn.select_topk %score <k = 2, block = 2> : (tensor<1x1x8x4xf32>) -> tensor<1x1x8x2xi32>
  %ks, %vs = sparseattn.kv_share %k, %v from 0 : tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>
  %s = sparseattn.sparse_attention %q1, %ks, %vs selection(%i) block 2 keys(#sparseattn.causal) {layer = 1 : i64, kv_source = 0 : i64, sparseattn.index_source = array<i64: 0>}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x2xi32>) -> tensor<1x2x8x16xf32>
  %w = sparseattn.attention %q1, %kw, %vw keys(#sparseattn.window<4>) {layer = 1 : i64}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
  %o1 = sparseattn.gated_combine %s, %w gates(%g0, %g1)
    : (tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x2x8x16xf32>
  return %o0, %o1 : tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>
}
// CHECK: func.func @layer_0
// CHECK-SAME: -> (tensor<1x2x8x16xf32> {sparseattn.layout = "bhsd", sparseattn.name = "out"}, tensor<1x1x8x2xi32> {sparseattn.name = "indices"})
// CHECK: sparseattn.select_topk
// CHECK: func.func @layer_1
// CHECK-SAME: sparseattn.name = "query"}, {{.*}}"key"}, {{.*}}"value"}, %arg3: tensor<1x1x8x2xi32> {sparseattn.name = "selection"}, {{.*}}"key_1"}, {{.*}}"value_1"}
// CHECK-SAME: %arg6: tensor<1x2x8x16xf32> {sparseattn.name = "gate0"}, %arg7: tensor<1x2x8x16xf32> {sparseattn.name = "gate1"}) -> (tensor<1x2x8x16xf32> {sparseattn.name = "out"})
// CHECK-SAME: sparseattn.kind = "sparse+window"
// CHECK-SAME: index_source = [0], {{.*}}kv_source = 0 : i64

// -----

// Dash: what prepares the selection goes with the layer that needs it; constants go inside.

// CHECK-LABEL: func.func @dash
// CHECK: call @layer_3(%arg2, %arg0, %arg1)
func.func @dash(%q: tensor<1x2x8x16xf32>, %k: tensor<1x1x8x16xf32>, %x: tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32> {
  %c5 = arith.constant 5 : index
  %s = sparseattn.chunk_summarize %x block 2 mode(mean) : (tensor<1x1x8x16xf32>) -> tensor<1x1x4x16xf32>
  %z = sparseattn.block_logits %q, %s block 2 visibility(before_own) : (tensor<1x2x8x16xf32>, tensor<1x1x4x16xf32>) -> tensor<1x2x8x4xf32>
  %m, %b = sparseattn.entmax_route %z kv_heads 1 block 2 : (tensor<1x2x8x4xf32>) -> (tensor<1x1x8x1xi32>, tensor<1x1x8x4xf32>)
  %o = sparseattn.sparse_attention %q, %k, %k selection(%m) block 2 format(bitmask) keys(#sparseattn.causal) bias(%b) q_offset(%c5) {layer = 3 : i64}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x1xi32>, tensor<1x1x8x4xf32>, index) -> tensor<1x2x8x16xf32>
  return %o : tensor<1x2x8x16xf32>
}
// CHECK: func.func @layer_3(%arg0: {{.*}} {sparseattn.name = "chunk_summarize_0"}, %arg1: {{.*}}sparseattn.name = "query"}, %arg2: {{.*}}sparseattn.name = "key_value"})
// CHECK: arith.constant 5 : index
// CHECK: sparseattn.chunk_summarize

// -----

// A framework's operation between two attentions of one layer; a use between first and last moves behind.

// CHECK-LABEL: func.func @interrupted
// CHECK: %[[A:.*]] = call @layer_0(
// CHECK: %[[R:.*]] = sparseattn.extern "aten.relu"(%[[A]])
// CHECK: call @layer_0_0(%[[R]]
// CHECK: %[[B:.*]]:2 = call @layer_1(
// CHECK: sparseattn.extern "aten.neg"(%[[B]]#0)
func.func @interrupted(%q: tensor<1x2x8x16xf32>, %k: tensor<1x1x8x16xf32>, %k1: tensor<1x1x8x16xf32>)
    -> (tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) {
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 0 : i64}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
  %r = sparseattn.extern "aten.relu"(%a) : (tensor<1x2x8x16xf32>) -> tensor<1x2x8x16xf32>
  %b = sparseattn.attention %r, %k, %k keys(#sparseattn.causal) {layer = 0 : i64}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
  %c = sparseattn.attention %q, %k1, %k1 keys(#sparseattn.causal) {layer = 1 : i64}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
  %n = sparseattn.extern "aten.neg"(%c) : (tensor<1x2x8x16xf32>) -> tensor<1x2x8x16xf32>
  %d = sparseattn.attention %q, %k1, %k1 keys(#sparseattn.window<2>) {layer = 1 : i64}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
  return %b, %n, %d : tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>
}

// -----

// Several functions: names say which. A layer that nobody uses is a layer.

// CHECK-LABEL: func.func @prefill
// CHECK: call @prefill_layer_0
// CHECK-LABEL: func.func @decode
// CHECK: call @decode_layer_0
// CHECK: func.func @prefill_layer_0({{.*}}) -> (tensor<1x2x8x16xf32>
// CHECK: func.func @decode_layer_0
func.func @prefill(%q: tensor<1x2x8x16xf32>, %k: tensor<1x1x8x16xf32>) {
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.causal)
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
  return
}
func.func @decode(%q: tensor<1x2x1x16xf32>, %k: tensor<1x1x8x16xf32>) -> tensor<1x2x1x16xf32> {
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.causal)
    : (tensor<1x2x1x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x1x16xf32>
  return %o : tensor<1x2x1x16xf32>
}
