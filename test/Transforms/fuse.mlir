// RUN: sparseattn-opt %s --sparseattn-fuse | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-decompose --sparseattn-fuse | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-fuse=groups=summarize | FileCheck %s --check-prefix=ONLY

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
!idx = tensor<1x2x64x4xi32>
!score = tensor<1x2x64x4xf32>
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32>

// CHECK-LABEL: func @select
// CHECK: %[[O:.*]], %[[L:.*]], %[[I:.*]] = sparseattn.attention %arg0, %arg1, %arg2 keys(#sparseattn.causal)
// CHECK-SAME: emit(#sparseattn.block_score<block = 16>) select <k = 4, block = 16> return_lse {fx = "a", layer = 0 : i64}
// CHECK-NOT: select_topk
// CHECK: return %[[O]], %[[L]], %[[I]]
// ONLY-LABEL: func @select
// ONLY: sparseattn.select_topk
func.func @select(%q: !q, %k: !kv, %v: !kv) -> (!q, tensor<1x4x64xf32>, !idx) {
  %o, %l, %s = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    return_lse {fx = "a", layer = 0 : i64} : (!q, !kv, !kv) -> (!q, tensor<1x4x64xf32>, !score)
  %i = sparseattn.select_topk %s <k = 4, block = 16> : (!score) -> !idx
  return %o, %l, %i : !q, tensor<1x4x64xf32>, !idx
}

// Nk - Nq is computed for select_topk, which would take 0.
// CHECK-LABEL: func @select_dynamic
// CHECK: sparseattn.attention {{.*}} select <k = 4, block = 16> :
// CHECK-NOT: select_topk
func.func @select_dynamic(%q: tensor<1x4x?x32xf32>, %k: tensor<1x2x?x32xf32>) -> tensor<1x2x?x4xi32> {
  %c2 = arith.constant 2 : index
  %o, %s = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    : (tensor<1x4x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>) -> (tensor<1x4x?x32xf32>, tensor<1x2x?x?xf32>)
  %nk = tensor.dim %k, %c2 : tensor<1x2x?x32xf32>
  %nq = tensor.dim %q, %c2 : tensor<1x4x?x32xf32>
  %p = arith.subi %nk, %nq : index
  %i = sparseattn.select_topk %s <k = 4, block = 16> q_offset(%p) : (tensor<1x2x?x?xf32>, index) -> tensor<1x2x?x4xi32>
  return %i : tensor<1x2x?x4xi32>
}

// HySparse's sparse layer.
// CHECK-LABEL: func @branches
// CHECK: sparseattn.branched_attention %arg0, [%arg1, %arg3], [%arg2, %arg4]
// CHECK-SAME: branches([#sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 16, sink = true>, #sparseattn.branch<keys = #sparseattn.window<32>, sink = true>])
// CHECK-SAME: gates(%arg5, %arg6) selections(%arg7) sinks(%arg8, %arg9) scale 2.500000e-01 {fx = "g", layer = 1 : i64}
// CHECK-NOT: gated_combine
func.func @branches(%q: !q, %k: !kv, %v: !kv, %k2: !kv, %v2: !kv, %g: !q, %g2: !q, %i: !idx, %s: tensor<4xf32>,
    %s2: tensor<4xf32>) -> !q {
  %a = sparseattn.sparse_attention %q, %k, %v selection(%i) block 16 keys(#sparseattn.causal) scale 0.25 sink(%s)
    {layer = 1 : i64} : (!q, !kv, !kv, !idx, tensor<4xf32>) -> !q
  %b = sparseattn.attention %q, %k2, %v2 keys(#sparseattn.window<32>) scale 0.25 sink(%s2) {layer = 1 : i64}
    : (!q, !kv, !kv, tensor<4xf32>) -> !q
  %o = sparseattn.gated_combine %a, %b gates(%g, %g2) {fx = "g"} : (!q, !q, !q, !q) -> !q
  return %o : !q
}

// HySparse2: one branch and its output gate, indices of layer 0.
// CHECK-LABEL: func @single_gate
// CHECK: sparseattn.branched_attention %arg0, [%arg1], [%arg2] branches([#sparseattn.branch<keys = #sparseattn.causal, selection = index>])
// CHECK-SAME: gate({{ ?}}headwise) {kv_source = 0 : i64, layer = 1 : i64, sparseattn.index_source = array<i64: 0>}
func.func @single_gate(%q: !q, %k: !kv, %v: !kv, %g: tensor<1x4x64xf32>, %i: !idx) -> !q {
  %a = sparseattn.sparse_attention %q, %k, %v selection(%i) block 1 keys(#sparseattn.causal)
    {layer = 1 : i64, kv_source = 0 : i64, sparseattn.index_source = array<i64: 0>} : (!q, !kv, !kv, !idx) -> !q
  %o = sparseattn.gated_combine %a gates(%g) gate(headwise) : (!q, tensor<1x4x64xf32>) -> !q
  return %o : !q
}

// NSA: three branches, one over summaries.
// CHECK-LABEL: func @three_branches
// CHECK: sparseattn.branched_attention %arg0, [%arg1, %arg2, %arg2], [%arg1, %arg2, %arg2]
// CHECK-SAME: #sparseattn.branch<keys = #sparseattn.complete_blocks<block = 32, stride = 16>>
func.func @three_branches(%q: !q, %kc: tensor<1x2x3x32xf32>, %k: !kv, %g: !q, %i: !idx) -> !q {
  %a = sparseattn.attention %q, %kc, %kc keys(#sparseattn.complete_blocks<block = 32, stride = 16>)
    : (!q, tensor<1x2x3x32xf32>, tensor<1x2x3x32xf32>) -> !q
  %b = sparseattn.sparse_attention %q, %k, %k selection(%i) block 16 keys(#sparseattn.causal) : (!q, !kv, !kv, !idx) -> !q
  %c = sparseattn.attention %q, %k, %k keys(#sparseattn.window<32>) : (!q, !kv, !kv) -> !q
  %o = sparseattn.gated_combine %a, %b, %c gates(%g, %g, %g) : (!q, !q, !q, !q, !q, !q) -> !q
  return %o : !q
}

// CHECK-LABEL: func @route
// CHECK: %{{.*}}:3 = sparseattn.route %arg0, %arg1 block 16 scale 5.000000e-01 alpha 1.250000e+00 local_blocks 1 return_count
func.func @route(%q: !q, %s: tensor<1x2x4x32xf32>) -> (tensor<1x2x64x1xi32>, !score, tensor<1x2x64xi32>) {
  %z = sparseattn.block_logits %q, %s block 16 scale 0.5 : (!q, tensor<1x2x4x32xf32>) -> tensor<1x4x64x4xf32>
  %r:3 = sparseattn.entmax_route %z kv_heads 2 block 16 alpha 1.25 local_blocks 1 return_count
    : (tensor<1x4x64x4xf32>) -> (tensor<1x2x64x1xi32>, !score, tensor<1x2x64xi32>)
  return %r#0, %r#1, %r#2 : tensor<1x2x64x1xi32>, !score, tensor<1x2x64xi32>
}

// A decode step; both parts know the position 255 in their own way.
// CHECK-LABEL: func @routed
// CHECK: sparseattn.routed_attention %arg0, %arg1, %arg2 summary(%arg3) block 64 routing_scale
// CHECK-SAME: {layer = 2 : i64}
// CHECK-NOT: sparseattn.route
// CHECK-NOT: sparse_attention
func.func @routed(%q: tensor<1x4x1x32xf32>, %k: tensor<1x2x256x32xf32>, %v: tensor<1x2x256x32xf32>,
    %s: tensor<1x2x4x32xf32>) -> tensor<1x4x1x32xf32> {
  %p = arith.constant 255 : index
  %z = sparseattn.block_logits %q, %s q_offset(%p) block 64 : (tensor<1x4x1x32xf32>, tensor<1x2x4x32xf32>, index) -> tensor<1x4x1x4xf32>
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 64 q_offset(%p)
    : (tensor<1x4x1x4xf32>, index) -> (tensor<1x2x1x1xi32>, tensor<1x2x1x4xf32>)
  %o = sparseattn.sparse_attention %q, %k, %v selection(%m) block 64 format(bitmask) keys(#sparseattn.causal) bias(%b)
    {layer = 2 : i64} : (tensor<1x4x1x32xf32>, tensor<1x2x256x32xf32>, tensor<1x2x256x32xf32>, tensor<1x2x1x1xi32>, tensor<1x2x1x4xf32>) -> tensor<1x4x1x32xf32>
  return %o : tensor<1x4x1x32xf32>
}

// ConSA as two attentions over halves of the heads.
// CHECK-LABEL: func @heads_concat
// CHECK: sparseattn.attention %arg0, %arg1, %arg2 keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<16>]>) sink(%arg3)
// CHECK-NOT: tensor.concat
func.func @heads_concat(%q: !q, %k: !kv, %v: !kv, %s: tensor<4xf32>) -> !q {
  %q0 = tensor.extract_slice %q[0, 0, 0, 0] [1, 2, 64, 32] [1, 1, 1, 1] : !q to tensor<1x2x64x32xf32>
  %k0 = tensor.extract_slice %k[0, 0, 0, 0] [1, 1, 64, 32] [1, 1, 1, 1] : !kv to tensor<1x1x64x32xf32>
  %v0 = tensor.extract_slice %v[0, 0, 0, 0] [1, 1, 64, 32] [1, 1, 1, 1] : !kv to tensor<1x1x64x32xf32>
  %s0 = tensor.extract_slice %s[0] [2] [1] : tensor<4xf32> to tensor<2xf32>
  %q1 = tensor.extract_slice %q[0, 2, 0, 0] [1, 2, 64, 32] [1, 1, 1, 1] : !q to tensor<1x2x64x32xf32>
  %k1 = tensor.extract_slice %k[0, 1, 0, 0] [1, 1, 64, 32] [1, 1, 1, 1] : !kv to tensor<1x1x64x32xf32>
  %v1 = tensor.extract_slice %v[0, 1, 0, 0] [1, 1, 64, 32] [1, 1, 1, 1] : !kv to tensor<1x1x64x32xf32>
  %s1 = tensor.extract_slice %s[2] [2] [1] : tensor<4xf32> to tensor<2xf32>
  %a = sparseattn.attention %q0, %k0, %v0 keys(#sparseattn.causal) sink(%s0)
    : (tensor<1x2x64x32xf32>, tensor<1x1x64x32xf32>, tensor<1x1x64x32xf32>, tensor<2xf32>) -> tensor<1x2x64x32xf32>
  %b = sparseattn.attention %q1, %k1, %v1 keys(#sparseattn.window<16>) sink(%s1)
    : (tensor<1x2x64x32xf32>, tensor<1x1x64x32xf32>, tensor<1x1x64x32xf32>, tensor<2xf32>) -> tensor<1x2x64x32xf32>
  %o = tensor.concat dim(1) %a, %b : (tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>) -> !q
  return %o : !q
}

// CHECK-LABEL: func @heads_insert
// CHECK: sparseattn.attention %arg0, %arg1, %arg1 keys(#sparseattn.head_table<[#sparseattn.window<16>, #sparseattn.causal]>) layout({{ ?}}bshd)
// CHECK-NOT: tensor.insert_slice
func.func @heads_insert(%q: tensor<1x64x4x32xf32>, %k: tensor<1x64x2x32xf32>) -> tensor<1x64x4x32xf32> {
  %q0 = tensor.extract_slice %q[0, 0, 0, 0] [1, 64, 2, 32] [1, 1, 1, 1] : tensor<1x64x4x32xf32> to tensor<1x64x2x32xf32>
  %k0 = tensor.extract_slice %k[0, 0, 0, 0] [1, 64, 1, 32] [1, 1, 1, 1] : tensor<1x64x2x32xf32> to tensor<1x64x1x32xf32>
  %q1 = tensor.extract_slice %q[0, 0, 2, 0] [1, 64, 2, 32] [1, 1, 1, 1] : tensor<1x64x4x32xf32> to tensor<1x64x2x32xf32>
  %k1 = tensor.extract_slice %k[0, 0, 1, 0] [1, 64, 1, 32] [1, 1, 1, 1] : tensor<1x64x2x32xf32> to tensor<1x64x1x32xf32>
  %a = sparseattn.attention %q0, %k0, %k0 keys(#sparseattn.window<16>) layout(bshd)
    : (tensor<1x64x2x32xf32>, tensor<1x64x1x32xf32>, tensor<1x64x1x32xf32>) -> tensor<1x64x2x32xf32>
  %b = sparseattn.attention %q1, %k1, %k1 keys(#sparseattn.causal) layout(bshd)
    : (tensor<1x64x2x32xf32>, tensor<1x64x1x32xf32>, tensor<1x64x1x32xf32>) -> tensor<1x64x2x32xf32>
  %e = tensor.empty() : tensor<1x64x4x32xf32>
  %o1 = tensor.insert_slice %b into %e[0, 0, 2, 0] [1, 64, 2, 32] [1, 1, 1, 1] : tensor<1x64x2x32xf32> into tensor<1x64x4x32xf32>
  %o = tensor.insert_slice %a into %o1[0, 0, 0, 0] [1, 64, 2, 32] [1, 1, 1, 1] : tensor<1x64x2x32xf32> into tensor<1x64x4x32xf32>
  return %o : tensor<1x64x4x32xf32>
}

// The summary comes before the append, and its user too.
// CHECK-LABEL: func @summarize
// CHECK: %[[U:.*]], %[[S:.*]] = sparseattn.kv_cache.append %arg0, %arg1, %arg1 at %arg2 summarize <block = 16, stride = 16, mode = mean>
// CHECK-NEXT: sparseattn.extern "use"(%[[S]])
// CHECK: return %[[U]]
// ONLY-LABEL: func @summarize
// ONLY: summarize <block = 16
func.func @summarize(%c: !cache, %k: !kv, %p: index) -> !cache {
  %s = sparseattn.chunk_summarize %k block 16 complete_only : (!kv) -> tensor<1x2x4x32xf32>
  sparseattn.extern "use"(%s) : (tensor<1x2x4x32xf32>) -> ()
  %u = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, !kv, !kv, index) -> !cache
  return %u : !cache
}
