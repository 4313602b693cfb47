// Over all keys only the block visited first can be partial, and the overlapped form takes that block out of the
// loops: of two key loops one is left, without a mask. A causal kernel keeps both, or has one from the start.
//
// RUN: sparseattn-opt %s --sparseattn-decompose --sparseattn-tile-to-grid="query-tile=128 key-tile=64" --sparseattn-tile-kv \
// RUN:   --sparseattn-split-masked-blocks --cse --sparseattn-tiles-to-warpgroups | FileCheck %s
// And the protocol of what is left.
// RUN: sparseattn-opt %s --sparseattn-to-nvvm > /dev/null

!t = tensor<?x8x?x128xbf16>
#one = #sparseattn.schedule<query_tile = 128, key_tile = 64, guard_masks = true>

// CHECK-LABEL: gpu.func @full(
// CHECK: consumers(2)
// Scores of the first block; scores and values of each other, and scores again where weights are too large; values of
// the last.
// CHECK: sparseattn_nv.dot {{.*}} transpose_b
// CHECK: sparseattn_nv.mask
// CHECK: scf.for
// CHECK: sparseattn_nv.dot {{.*}} transpose_b
// CHECK: sparseattn_nv.dot {{.*}} acc(
// CHECK: sparseattn_nv.any_above
// CHECK: scf.if
// CHECK: sparseattn_nv.dot {{.*}} transpose_b
// CHECK-NOT: sparseattn_nv.dot {{.*}} transpose_b
// CHECK: sparseattn_nv.dot {{.*}} acc(
// CHECK-NOT: sparseattn_nv.{{dot|mask}}
// CHECK-LABEL: gpu.func @causal(
// CHECK: consumers(2)
// CHECK-COUNT-2: sparseattn_nv.mask
// CHECK-LABEL: gpu.func @guarded(
// CHECK: consumers(2)
// The first block needs no question: it has no maximum before it.
// CHECK: sparseattn_nv.dot {{.*}} transpose_b
// CHECK: scf.if
// CHECK: sparseattn_nv.mask
// CHECK-NOT: sparseattn_nv.{{any_above|dot}}
// CHECK: scf.for
// CHECK: scf.if
// CHECK: sparseattn_nv.mask
// CHECK: sparseattn_nv.any_above
// CHECK: sparseattn_nv.mask
// CHECK-NOT: scf.for {{.*}} iter_args
// CHECK: sparseattn_nv.dot {{.*}} acc(
func.func @full(%q: !t, %k: !t, %v: !t) -> !t {
  %0 = sparseattn.attention %q, %k, %v keys(#sparseattn.full) : (!t, !t, !t) -> !t
  return %0 : !t
}
func.func @causal(%q: !t, %k: !t, %v: !t) -> !t {
  %0 = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) : (!t, !t, !t) -> !t
  return %0 : !t
}
func.func @guarded(%q: !t, %k: !t, %v: !t) -> !t {
  %0 = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {schedule = #one} : (!t, !t, !t) -> !t
  return %0 : !t
}
