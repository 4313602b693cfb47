// What level L1 looks like: a grid, and loops over key blocks of which only those at the edge of the pattern have a mask.

// RUN: sparseattn-opt %s --sparseattn-graph-to-tiles="query-tile=64 key-tile=32" | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-tiles-to-cpu="query-tile=64 key-tile=32" | FileCheck %s --check-prefix=LLVM
// RUN: not sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-check-tiles 2>&1 | FileCheck %s --check-prefix=GRID
// RUN: not sparseattn-opt %s --sparseattn-check-tiles 2>&1 | FileCheck %s --check-prefix=GRAPH

// GRID: error: 'sparseattn.streaming_attention' op is left at level L1: run sparseattn-tile-kv
// GRAPH: error: 'sparseattn.attention' op is left at level L1: sparseattn-tile-to-grid says why

// CHECK-LABEL: func.func @window(
// CHECK: scf.forall
// CHECK: %[[TAIL:.*]]:3 = scf.for
// CHECK: sparseattn.tile_dot
// CHECK: sparseattn.tile_mask
// CHECK: sparseattn.tile_dot
// CHECK: scf.yield
// CHECK: %[[FULL:.*]]:3 = scf.for
// CHECK: sparseattn.tile_dot
// CHECK-NOT: sparseattn.tile_mask
// CHECK: scf.yield
// CHECK: %[[HEAD:.*]]:3 = scf.for
// CHECK: sparseattn.tile_mask
// CHECK: scf.yield
// CHECK: scf.forall.in_parallel
// LLVM-LABEL: llvm.func @window(
// LLVM: omp.parallel
func.func @window(%q: tensor<1x4x?x16xbf16>, %k: tensor<1x2x?x16xbf16>) -> tensor<1x4x?x16xbf16> {
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.window<200>)
    : (tensor<1x4x?x16xbf16>, tensor<1x2x?x16xbf16>, tensor<1x2x?x16xbf16>) -> tensor<1x4x?x16xbf16>
  return %o : tensor<1x4x?x16xbf16>
}

// Every size is known and a multiple of the tiles: one loop without a mask, over 8 blocks, and whole tiles.
// CHECK-LABEL: func.func @full(
// CHECK: scf.forall {{.*}} in (1, 4, 2)
// CHECK: scf.for %{{.*}} = %c0{{.*}} to %c8{{.*}} step %c1
// CHECK-NOT: sparseattn.tile_mask
// CHECK: scf.forall.in_parallel
// CHECK: tensor.parallel_insert_slice %{{.*}} into %{{.*}} [1, 1, 64, 16] [1, 1, 1, 1]
func.func @full(%q: tensor<1x4x128x16xbf16>, %k: tensor<1x2x256x16xbf16>) -> tensor<1x4x128x16xbf16> {
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.full)
    : (tensor<1x4x128x16xbf16>, tensor<1x2x256x16xbf16>, tensor<1x2x256x16xbf16>) -> tensor<1x4x128x16xbf16>
  return %o : tensor<1x4x128x16xbf16>
}

// Causal has no lower bound: two loops.
// CHECK-LABEL: func.func @causal(
// CHECK: scf.for
// CHECK: sparseattn.tile_mask %{{.*}} end(
// CHECK: scf.for
// CHECK-NOT: sparseattn.tile_mask
// CHECK: scf.forall.in_parallel
func.func @causal(%q: tensor<1x4x?x16xbf16>) -> tensor<1x4x?x16xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal)
    : (tensor<1x4x?x16xbf16>, tensor<1x4x?x16xbf16>, tensor<1x4x?x16xbf16>) -> tensor<1x4x?x16xbf16>
  return %o : tensor<1x4x?x16xbf16>
}
