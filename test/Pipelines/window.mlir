// A sliding-window layer with grouped heads and a sink through every level.

// RUN: sparseattn-opt %s | FileCheck %s --check-prefix=L0
// RUN: sparseattn-opt %s --sparseattn-select-schedule --sparseattn-graph-to-tiles | FileCheck %s --check-prefix=TILES
// RUN: sparseattn-opt %s --convert-sparseattn-to-scf | FileCheck %s --check-prefix=LOOPS
// RUN: sparseattn-opt %s --sparseattn-to-cpu | FileCheck %s --check-prefix=LLVM
// RUN: sparseattn-opt %s --sparseattn-to-cpu="parallel=false" | FileCheck %s --check-prefix=SERIAL

// L0 says what is computed: which keys, which scale, a sink per query head.
// L0-LABEL: func.func @layer
// L0: sparseattn.attention {{.*}} keys(#sparseattn.window<128>) scale 0.0883{{.*}} sink(
//
// L1 cuts it into tiles, still without hardware: a grid of query tiles, and loops over key blocks, the last first. Blocks
// at the query's own position and at the far edge of the window are masked; those between are seen by every row.
// TILES-LABEL: func.func @layer
// TILES: scf.forall (%{{.*}}, %[[H:.*]], %{{.*}}) in (1, 16, %{{.*}})
// TILES: sparseattn.load_tile %{{.*}} -> tensor<192x128xbf16>
// TILES: %[[TAIL:.*]]:3 = scf.for
// TILES: sparseattn.tile_dot %{{.*}} transpose_b : tensor<192x128xbf16>, tensor<64x128xbf16> -> tensor<192x64xf32>
// TILES: sparseattn.tile_mask %{{.*}} begin(%{{.*}}) end(%{{.*}})
// TILES: math.exp2
// TILES: sparseattn.tile_dot
// TILES: %[[FULL:.*]]:3 = scf.for {{.*}} = %[[TAIL]]#0
// TILES-NOT: sparseattn.tile_mask
// TILES: scf.for {{.*}} = %[[FULL]]#0
// TILES: sparseattn.tile_mask
// TILES: tensor.parallel_insert_slice
// TILES: mapping = [#sparseattn.grid<batch>, #sparseattn.grid<head>, #sparseattn.grid<query_tile>], sparseattn.schedule = #sparseattn.schedule<query_tile = 192, key_tile = 64, consumers = 3, stages = 4, producer_registers = 32, consumer_registers = 160>
//
// As loops: tiles of query rows in parallel, key tiles inside the window.
// LOOPS-LABEL: func.func @layer
// LOOPS: scf.parallel
// LOOPS: arith.subi
// LOOPS: scf.for
// LOOPS: math.exp
//
// In the LLVM dialect: OpenMP threads, and a C interface for callers.
// LLVM: llvm.func @layer
// LLVM: omp.parallel
// LLVM: llvm.func @_mlir_ciface_layer(
//
// SERIAL: llvm.func @layer
// SERIAL-NOT: omp.parallel

func.func @layer(%q: tensor<1x16x?x128xbf16>, %k: tensor<1x4x?x128xbf16>, %v: tensor<1x4x?x128xbf16>,
                 %sink: tensor<16xf32>) -> tensor<1x16x?x128xbf16> {
  %out = sparseattn.attention %q, %k, %v keys(#sparseattn.window<128>) scale 0.08838834764831845 sink(%sink)
      {layer = 1 : i64}
    : (tensor<1x16x?x128xbf16>, tensor<1x4x?x128xbf16>, tensor<1x4x?x128xbf16>, tensor<16xf32>)
   -> tensor<1x16x?x128xbf16>
  return %out : tensor<1x16x?x128xbf16>
}
