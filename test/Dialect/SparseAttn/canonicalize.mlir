// RUN: sparseattn-opt %s --canonicalize --cse | FileCheck %s

!q = tensor<1x4x8x16xf32>
!kv = tensor<1x2x8x16xf32>
!lse = tensor<1x4x8xf32>
!idx = tensor<1x2x8x2xi32>

// CHECK-LABEL: func.func @uniform_head_table
func.func @uniform_head_table(%q: !q, %k: !kv, %i: !idx) -> (!q, !q, !q) {
  // CHECK: sparseattn.attention {{.*}} keys(#sparseattn.window<4>)
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.head_table<[#sparseattn.window<4>, #sparseattn.window<4>]>)
    : (!q, !kv, !kv) -> !q
  // CHECK: sparseattn.attention {{.*}} keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<4>]>)
  %b = sparseattn.attention %q, %k, %k keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<4>]>)
    : (!q, !kv, !kv) -> !q
  // CHECK: sparseattn.sparse_attention {{.*}} keys(#sparseattn.causal)
  %c = sparseattn.sparse_attention %q, %k, %k selection(%i) block 4
    keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.causal]>) : (!q, !kv, !kv, !idx) -> !q
  return %a, %b, %c : !q, !q, !q
}

// CHECK-LABEL: func.func @unused_results
func.func @unused_results(%q: !q, %k: !kv, %i: !idx) -> (!q, !lse, !q, !idx, !q, !q) {
  // The score goes, the lse stays.
  // CHECK: %[[O0:.*]], %[[L0:.*]] = sparseattn.attention %{{.*}} keys(#sparseattn.causal) return_lse {layer = 1 : i64} : {{.*}} -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  %o0, %l0, %s0 = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 4>)
    return_lse {layer = 1 : i64} : (!q, !kv, !kv) -> (!q, !lse, tensor<1x2x8x2xf32>)
  // The lse goes, the indices stay.
  // CHECK: %[[O1:.*]], %[[I1:.*]] = sparseattn.attention %{{.*}} select <k = 2, block = 4> : {{.*}} -> (tensor<1x4x8x16xf32>, tensor<1x2x8x2xi32>)
  %o1, %l1, %i1 = sparseattn.attention %q, %k, %k keys(#sparseattn.window<6>) emit(#sparseattn.block_score<block = 4>)
    select <k = 2, block = 4> return_lse : (!q, !kv, !kv) -> (!q, !lse, !idx)
  // Both go.
  // CHECK: %[[O2:.*]] = sparseattn.attention %{{.*}} keys(#sparseattn.window<7>) : {{.*}} -> tensor<1x4x8x16xf32>
  %o2, %l2, %i2 = sparseattn.attention %q, %k, %k keys(#sparseattn.window<7>) emit(#sparseattn.block_score<block = 4>)
    select <k = 2, block = 4> return_lse : (!q, !kv, !kv) -> (!q, !lse, !idx)
  // CHECK: %[[O3:.*]] = sparseattn.sparse_attention {{.*}} keys(#sparseattn.causal) : {{.*}} -> tensor<1x4x8x16xf32>
  %o3, %l3 = sparseattn.sparse_attention %q, %k, %k selection(%i) block 4 keys(#sparseattn.causal) return_lse
    : (!q, !kv, !kv, !idx) -> (!q, !lse)
  // CHECK: return %[[O0]], %[[L0]], %[[O1]], %[[I1]], %[[O2]], %[[O3]]
  return %o0, %l0, %o1, %i1, %o2, %o3 : !q, !lse, !q, !idx, !q, !q
}

// CHECK-LABEL: func.func @single_partial
// CHECK-SAME: (%[[O:[a-z0-9]+]]: {{[^,]*}}, %[[L:[a-z0-9]+]]:
func.func @single_partial(%o: !q, %l: !lse, %s: tensor<4xf32>) -> (!q, !lse, !q) {
  %m, %ml = sparseattn.lse_merge %o lse(%l) : (!q, !lse) -> (!q, !lse)
  // A sink changes the result.
  // CHECK: %[[M:.*]], %{{.*}} = sparseattn.lse_merge %[[O]] lse(%[[L]]) sink
  %n, %nl = sparseattn.lse_merge %o lse(%l) sink(%s) : (!q, !lse, tensor<4xf32>) -> (!q, !lse)
  // CHECK: return %[[O]], %[[L]], %[[M]]
  return %m, %ml, %n : !q, !lse, !q
}

// CHECK-LABEL: func.func @mask_round_trip
// CHECK-SAME: (%[[MASK:.*]]: tensor<1x2x8x2xi32>)
func.func @mask_round_trip(%mask: tensor<1x2x8x2xi32>) -> (tensor<1x2x8x2xi32>, tensor<1x2x8x2xi32>, tensor<1x2x8x2xi32>) {
  %i, %c = sparseattn.mask_to_index %mask cap 64 : (tensor<1x2x8x2xi32>) -> (tensor<1x2x8x64xi32>, tensor<1x2x8xi32>)
  %all = sparseattn.index_to_mask %i num_blocks 64 : (tensor<1x2x8x64xi32>) -> tensor<1x2x8x2xi32>
  // A list that is too short loses bits; fewer blocks than bits drop some.
  // CHECK: %[[SHORT:.*]], %{{.*}} = sparseattn.mask_to_index %[[MASK]] cap 63
  %j, %d = sparseattn.mask_to_index %mask cap 63 : (tensor<1x2x8x2xi32>) -> (tensor<1x2x8x63xi32>, tensor<1x2x8xi32>)
  // CHECK: %[[A:.*]] = sparseattn.index_to_mask %[[SHORT]]
  %short = sparseattn.index_to_mask %j num_blocks 64 : (tensor<1x2x8x63xi32>) -> tensor<1x2x8x2xi32>
  // CHECK: %[[B:.*]] = sparseattn.index_to_mask %{{.*}} num_blocks 40
  %fewer = sparseattn.index_to_mask %i num_blocks 40 : (tensor<1x2x8x64xi32>) -> tensor<1x2x8x2xi32>
  // CHECK: return %[[MASK]], %[[A]], %[[B]]
  return %all, %short, %fewer : tensor<1x2x8x2xi32>, tensor<1x2x8x2xi32>, tensor<1x2x8x2xi32>
}

// Operations without effects: equal ones are one, unused ones go.
// CHECK-LABEL: func.func @effects
func.func @effects(%q: !q, %k: !kv) -> (!q, !q) {
  // CHECK: %[[O:.*]] = sparseattn.attention
  // CHECK-NEXT: return %[[O]], %[[O]]
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q
  %b = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q
  %z = sparseattn.rms_norm %q : (!q) -> !q
  %y = sparseattn.extern "aten.neg.default"(%q) : (!q) -> !q
  return %a, %b : !q, !q
}
