// RUN: sparseattn-opt %s --sparseattn-resolve-kv-sharing --allow-unregistered-dialect | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-resolve-kv-sharing --allow-unregistered-dialect > %t.once
// RUN: sparseattn-opt %t.once --sparseattn-resolve-kv-sharing --allow-unregistered-dialect | diff %t.once -

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
!idx = tensor<1x2x64x4xi32>
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32, access = read_only>

// Shared K/V arrive through copies that keep the element type, as in exported Gemma models.
// CHECK-LABEL: func @through_copies
// CHECK: sparseattn.attention %arg0, %arg1, %arg2 keys(#sparseattn.window<32>) {layer = 3 : i64}
// CHECK: %[[K:.*]] = sparseattn.extern "aten.to.dtype"(%arg1)
// CHECK: %[[V:.*]] = sparseattn.extern "aten.contiguous.default"
// CHECK: %[[SK:.*]], %[[SV:.*]] = sparseattn.kv_share %[[K]], %[[V]] from 3
// CHECK: sparseattn.attention %arg0, %[[SK]], %[[SV]] keys(#sparseattn.window<32>) {kv_source = 3 : i64, layer = 5 : i64}
func.func @through_copies(%q: !q, %k: !kv, %v: !kv) -> (!q, !q) {
  %a = sparseattn.attention %q, %k, %v keys(#sparseattn.window<32>) {layer = 3 : i64} : (!q, !kv, !kv) -> !q
  %k1 = sparseattn.extern "aten.to.dtype"(%k) : (!kv) -> !kv
  %v0 = "stablehlo.transpose"(%v) <{permutation = array<i64: 0, 2, 1, 3>}> : (!kv) -> tensor<1x64x2x32xf32>
  %v1 = "stablehlo.transpose"(%v0) <{permutation = array<i64: 0, 2, 1, 3>}> : (tensor<1x64x2x32xf32>) -> !kv
  %v2 = sparseattn.extern "aten.contiguous.default"(%v1) : (!kv) -> !kv
  %b = sparseattn.attention %q, %k1, %v2 keys(#sparseattn.window<32>) {layer = 5 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}

// A conversion of the element type or an operation that computes makes new K/V.
// CHECK-LABEL: func @not_a_copy
// CHECK-NOT: kv_share
// CHECK-NOT: kv_source
func.func @not_a_copy(%q: !q, %k: !kv, %v: !kv) -> (!q, tensor<1x4x64x32xbf16>, !q) {
  %qb = sparseattn.extern "aten.to.dtype"(%q) : (!q) -> tensor<1x4x64x32xbf16>
  %k1 = sparseattn.extern "aten.to.dtype"(%k) : (!kv) -> tensor<1x2x64x32xbf16>
  %v1 = sparseattn.extern "aten.to.dtype"(%v) : (!kv) -> tensor<1x2x64x32xbf16>
  %k2 = sparseattn.extern "aten.mul.Tensor"(%k, %k) : (!kv, !kv) -> !kv
  %v2 = sparseattn.extern "aten.mul.Tensor"(%v, %v) : (!kv, !kv) -> !kv
  %a = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  %b = sparseattn.attention %qb, %k1, %v1 keys(#sparseattn.causal) {layer = 1 : i64}
    : (tensor<1x4x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>) -> tensor<1x4x64x32xbf16>
  %c = sparseattn.attention %q, %k2, %v2 keys(#sparseattn.causal) {layer = 2 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b, %c : !q, tensor<1x4x64x32xbf16>, !q
}

// Nobody numbered the layers: program order does. The two branches of the
// second layer meet in gated_combine.
// CHECK-LABEL: func @numbered_by_program_order
// CHECK: sparseattn.attention {{.*}} {layer = 0 : i64}
// CHECK: kv_share %arg1, %arg2 from 0
// CHECK: sparseattn.sparse_attention {{.*}} {kv_source = 0 : i64, layer = 1 : i64, sparseattn.index_source = array<i64: 0>}
// CHECK: sparseattn.attention {{.*}} keys(#sparseattn.window<16>) {layer = 1 : i64}
func.func @numbered_by_program_order(%q: !q, %k: !kv, %v: !kv, %k2: !kv, %v2: !kv, %g: !q) -> (!q, !q) {
  %a, %i = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    select <k = 4, block = 16> : (!q, !kv, !kv) -> (!q, !idx)
  %b = sparseattn.sparse_attention %q, %k, %v selection(%i) block 16 keys(#sparseattn.causal)
    : (!q, !kv, !kv, !idx) -> !q
  %c = sparseattn.attention %q, %k2, %v2 keys(#sparseattn.window<16>) : (!q, !kv, !kv) -> !q
  %d = sparseattn.gated_combine %b, %c gates(%g, %g) : (!q, !q, !q, !q) -> !q
  return %a, %d : !q, !q
}

// HySparse: K, V and indices of the full layer, and an own window in one operation.
// CHECK-LABEL: func @hysparse
// CHECK: %[[A:.*]], %[[S:.*]] = sparseattn.attention
// CHECK: %[[I:.*]] = sparseattn.select_topk %[[S]]
// CHECK: %[[SK:.*]], %[[SV:.*]] = sparseattn.kv_share %arg1, %arg2 from 12
// CHECK: sparseattn.branched_attention %arg0, [%[[SK]], %arg3], [%[[SV]], %arg4]
// CHECK-SAME: {kv_source = 12 : i64, layer = 13 : i64, sparseattn.index_source = array<i64: 12>}
func.func @hysparse(%q: !q, %k: !kv, %v: !kv, %k2: !kv, %v2: !kv, %g: !q) -> (!q, !q) {
  %a, %s = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    {layer = 12 : i64} : (!q, !kv, !kv) -> (!q, tensor<1x2x64x4xf32>)
  %i = sparseattn.select_topk %s <k = 4, block = 16> : (tensor<1x2x64x4xf32>) -> !idx
  %b = sparseattn.branched_attention %q, [%k, %k2], [%v, %v2] branches([
      #sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 16>,
      #sparseattn.branch<keys = #sparseattn.window<16>>])
    gates(%g, %g) selections(%i) {layer = 13 : i64} : (!q, !kv, !kv, !kv, !kv, !q, !q, !idx) -> !q
  return %a, %b : !q, !q
}

// IndexCache: the indices of another layer on own keys.
// CHECK-LABEL: func @index_only
// CHECK: sparseattn.sparse_attention {{.*}} {layer = 0 : i64}
// CHECK-NOT: kv_share
// CHECK: sparseattn.sparse_attention {{.*}} {layer = 1 : i64, sparseattn.index_source = array<i64: 0>}
func.func @index_only(%q: !q, %k: !kv, %v: !kv, %k2: !kv, %v2: !kv, %s: tensor<1x2x64x4xf32>) -> (!q, !q) {
  %i = sparseattn.select_topk %s <k = 4, block = 16> : (tensor<1x2x64x4xf32>) -> !idx
  %a = sparseattn.sparse_attention %q, %k, %v selection(%i) block 16 keys(#sparseattn.causal) {layer = 0 : i64}
    : (!q, !kv, !kv, !idx) -> !q
  %b = sparseattn.sparse_attention %q, %k2, %v2 selection(%i) block 16 keys(#sparseattn.causal) {layer = 1 : i64}
    : (!q, !kv, !kv, !idx) -> !q
  return %a, %b : !q, !q
}

// A decode step: the producer appends and reads, the consumer reads a view.
// CHECK-LABEL: func @through_a_cache
// CHECK: %[[VIEW:.*]] = sparseattn.kv_cache.view
// CHECK: %[[K:.*]], %[[V:.*]] = sparseattn.kv_cache.read %[[VIEW]]
// CHECK: %[[SK:.*]], %[[SV:.*]] = sparseattn.kv_share %[[K]], %[[V]] from 0
// CHECK: sparseattn.attention %{{.*}}, %[[SK]], %[[SV]] {{.*}} {kv_source = 0 : i64, layer = 1 : i64}
func.func @through_a_cache(%c: !cache, %q: tensor<1x4x1x32xf32>, %k: tensor<1x2x1x32xf32>, %p: index, %n: index)
    -> (!cache, tensor<1x4x1x32xf32>, tensor<1x4x1x32xf32>) {
  %u = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, tensor<1x2x1x32xf32>, tensor<1x2x1x32xf32>, index) -> !cache
  %k0, %v0 = sparseattn.kv_cache.read %u length %n : (!cache, index) -> (tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
  %q0 = sparseattn.rope %q dims 32 q_offset(%p) : (tensor<1x4x1x32xf32>, index) -> tensor<1x4x1x32xf32>
  %a = sparseattn.attention %q0, %k0, %v0 keys(#sparseattn.causal) {layer = 0 : i64}
    : (tensor<1x4x1x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>) -> tensor<1x4x1x32xf32>
  %view = sparseattn.kv_cache.view %u : (!cache) -> !view
  %k1, %v1 = sparseattn.kv_cache.read %view length %n : (!view, index) -> (tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
  %q1 = sparseattn.rope %q dims 32 q_offset(%p) : (tensor<1x4x1x32xf32>, index) -> tensor<1x4x1x32xf32>
  %b = sparseattn.attention %q1, %k1, %v1 keys(#sparseattn.causal) {layer = 1 : i64}
    : (tensor<1x4x1x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>) -> tensor<1x4x1x32xf32>
  return %u, %a, %b : !cache, tensor<1x4x1x32xf32>, tensor<1x4x1x32xf32>
}

// A prompt attends to its own tokens and stores them; the consumer reads the store.
// CHECK-LABEL: func @prompt_then_cache
// CHECK: sparseattn.kv_share {{.*}} from 0
// CHECK: {kv_source = 0 : i64, layer = 1 : i64}
func.func @prompt_then_cache(%c: !cache, %q: !q, %k: !kv, %v: !kv, %n: index) -> (!q, !q) {
  %zero = arith.constant 0 : index
  %u = sparseattn.kv_cache.append %c, %k, %v at %zero : (!cache, !kv, !kv, index) -> !cache
  %a = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  %k1, %v1 = sparseattn.kv_cache.read %u length %n : (!cache, index) -> (!kv, !kv)
  %b = sparseattn.attention %q, %k1, %v1 keys(#sparseattn.window<8>) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}

// The producer is in another function; both ways of saying so agree.
// CHECK-LABEL: func @producer_elsewhere
// CHECK: sparseattn.kv_share %arg1, %arg1 from 2
// CHECK: sparseattn.attention %arg0, %{{.*}}, %{{.*}} keys(#sparseattn.causal) {kv_source = 2 : i64, layer = 4 : i64}
// CHECK: sparseattn.kv_share %arg2, %arg2 from 3
// CHECK: sparseattn.attention %arg0, %{{.*}}, %{{.*}} keys(#sparseattn.causal) {kv_source = 3 : i64, layer = 5 : i64}
func.func @producer_elsewhere(%q: !q, %k: !kv, %k2: !kv) -> (!q, !q) {
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 4 : i64, kv_source = 2 : i64} : (!q, !kv, !kv) -> !q
  %k3, %v3 = sparseattn.kv_share %k2, %k2 from 3 : !kv, !kv
  %b = sparseattn.attention %q, %k3, %v3 keys(#sparseattn.causal) {layer = 5 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}

// Functions are separate: prefill and decode both have a layer 0.
// CHECK-LABEL: func @other_function
// CHECK-NOT: kv_share
func.func @other_function(%q: !q, %k: !kv, %v: !kv) -> !q {
  %a = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  return %a : !q
}
