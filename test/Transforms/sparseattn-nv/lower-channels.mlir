// RUN: sparseattn-opt %s --sparseattn-nv-lower-channels --split-input-file | FileCheck %s

// CHECK: llvm.mlir.global external @dsmem() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
// CHECK-LABEL: gpu.func @pair(
// CHECK-SAME: %[[MAP:.*]]: !sparseattn_nv.tensor_map, %[[I:.*]]: i32)
// CHECK-SAME: known_block_size = array<i32: 384, 1, 1>
gpu.module @kernels {
  gpu.func @pair(%map: !sparseattn_nv.tensor_map, %i: i32) kernel {
    // CHECK-NOT: sparseattn_nv.channel
    %k = sparseattn_nv.channel "key" offset(0) barriers(32768) : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    %c3 = sparseattn_nv.channel "third" offset(16384) barriers(32800) : !sparseattn_nv.channel<8x64xbf16, stages = 3>
    // One thread initialises: one arrival fills a slot, the 256 threads of 2 consumers empty it.
    // CHECK: %[[THREAD:.*]] = nvvm.read.ptx.sreg.tid.x : i32
    // CHECK: scf.if
    // CHECK: %[[FULL_COUNT:.*]] = arith.constant 1 : i32
    // CHECK: nvvm.mbarrier.init %{{.*}}, %[[FULL_COUNT]]
    // CHECK-NEXT: %[[EMPTY_COUNT:.*]] = arith.constant 256 : i32
    // CHECK: nvvm.mbarrier.init %{{.*}}, %[[EMPTY_COUNT]]
    // CHECK-COUNT-8: nvvm.mbarrier.init
    // CHECK-NOT: nvvm.mbarrier.init
    // CHECK: nvvm.fence.mbarrier.init
    // CHECK: nvvm.barrier0
    // The number of the warp, the same in its lanes for the assembler.
    // CHECK: %[[WARP:.*]] = nvvm.redux.sync  or
    // CHECK: scf.if
    // CHECK: nvvm.setmaxregister decrease 24
    // CHECK: scf.if
    // CHECK: nvvm.elect.sync
    // CHECK: scf.if
    // Wait for the opposite parity of the item's round, announce the bytes, load.
    // CHECK: arith.andi %[[I]], %{{.*}} : i32
    // CHECK: arith.shrui %[[I]], %{{.*}} : i32
    // CHECK: arith.xori
    // CHECK: nvvm.mbarrier.try_wait.parity
    // CHECK: nvvm.mbarrier.arrive.expect_tx
    // CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global {{.*}} box[%[[I]], %[[I]], %[[I]]] {isCTAOnly = true}
    // A number of stages that is no power of two divides.
    // CHECK: arith.remui %[[I]]
    // CHECK: arith.divui %[[I]]
    // CHECK: nvvm.cp.async.bulk.tensor
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %k[%i] from %map[%i, %i, %i] : !sparseattn_nv.channel<128x64xbf16, stages = 2>
      sparseattn_nv.fill %c3[%i] from %map[%i, %i, %i] : !sparseattn_nv.channel<8x64xbf16, stages = 3>
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      // CHECK: } else {
      // CHECK: nvvm.setmaxregister increase 240
      // CHECK: nvvm.mbarrier.try_wait.parity
      // CHECK: sparseattn_nv.tile_at %{{.*}} : !sparseattn_nv.tile<128x64xbf16>
      // All lanes arrive: no branch on the lane.
      // CHECK-NOT: scf.if
      // CHECK: nvvm.mbarrier.arrive %{{.*}} : !llvm.ptr<3> -> i64
      // CHECK-NEXT: }
      %t = sparseattn_nv.await %k[%i] : !sparseattn_nv.channel<128x64xbf16, stages = 2>
      sparseattn_nv.release %k[%i] : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    }
    gpu.return
  }
}

// -----

// 96 columns are two blocks of 64, the second of which the map fills with zeros from 96 on: one load each, on one barrier
// that expects the bytes of both.
// CHECK-LABEL: gpu.func @blocks(
// CHECK-SAME: %[[MAP:.*]]: !sparseattn_nv.tensor_map, %[[I:.*]]: i32)
// CHECK: %[[BYTES:.*]] = arith.constant 32768 : i32
// CHECK: nvvm.mbarrier.arrive.expect_tx %[[FULL:.*]], %[[BYTES]]
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %{{.*}}, %[[FULL]], box[%[[I]], %[[I]], %[[I]]]
// CHECK: %[[C64:.*]] = arith.constant 64 : i32
// CHECK: %[[NEXT:.*]] = arith.addi %[[I]], %[[C64]]
// CHECK: %[[BEHIND:.*]] = arith.constant 16384 : i32
// CHECK: %[[OFFSET:.*]] = arith.addi %[[BEHIND]],
// CHECK: %[[PLACE:.*]] = llvm.getelementptr %{{.*}}[%[[OFFSET]]]
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %[[PLACE]], %{{.*}}, %[[FULL]], box[%[[NEXT]], %[[I]], %[[I]]]
gpu.module @kernels {
  gpu.func @blocks(%map: !sparseattn_nv.tensor_map, %i: i32) kernel {
    %k = sparseattn_nv.channel "key" offset(0) barriers(65536) : !sparseattn_nv.channel<128x96xbf16, stages = 2>
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %k[%i] from %map[%i, %i, %i] : !sparseattn_nv.channel<128x96xbf16, stages = 2>
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %t = sparseattn_nv.await %k[%i] : !sparseattn_nv.channel<128x96xbf16, stages = 2>
      sparseattn_nv.release %k[%i] : !sparseattn_nv.channel<128x96xbf16, stages = 2>
    }
    gpu.return
  }
}

// -----

// Numbers beside the items: 8 bytes for each slot behind the channel's 4 barriers. Counters are the kernel's own memory, 0
// at first.
// CHECK-LABEL: gpu.module @numbers
// CHECK-DAG: llvm.mlir.global external @dsmem()
// CHECK-DAG: llvm.mlir.global internal @tiled_tiles() {addr_space = 1 : i32} : !llvm.array<65536 x i32> {
// CHECK-DAG: llvm.mlir.zero : !llvm.array<65536 x i32>
// CHECK-LABEL: gpu.func @tiled(
// CHECK-SAME: %{{.*}}: !sparseattn_nv.tensor_map, %[[I:.*]]: i32, %[[COUNTER:.*]]: i32, %[[TILES:.*]]: i32)
!queries = !sparseattn_nv.channel<64x64xbf16, stages = 2>
gpu.module @numbers {
  gpu.func @tiled(%map: !sparseattn_nv.tensor_map, %i: i32, %counter: i32, %tiles: i32) kernel {
    %q = sparseattn_nv.channel "query" offset(0) barriers(16384) : !queries
    sparseattn_nv.specialize producer registers(24) {
      // The number is stored when the slot is free, before the arrival that publishes it.
      // CHECK: nvvm.elect.sync
      // CHECK: nvvm.mbarrier.try_wait.parity
      // CHECK: %[[PLACES:.*]] = arith.constant 16416 : i32
      // CHECK-NEXT: %[[OFFSET:.*]] = arith.addi %[[PLACES]],
      // CHECK-NEXT: %[[PLACE:.*]] = llvm.getelementptr %{{.*}}[%[[OFFSET]]] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
      // CHECK-NEXT: llvm.store %[[I]], %[[PLACE]] : i32, !llvm.ptr<3>
      // CHECK-NOT: nvvm.mbarrier.arrive %
      // CHECK: nvvm.mbarrier.arrive.expect_tx
      sparseattn_nv.post %q[%i], %i : !queries
      sparseattn_nv.fill %q[%i] from %map[%i, %i, %i] : !queries
      // Tiles behind the first of each block; the count wraps to 0 with the last of them.
      // CHECK: %[[COUNTERS:.*]] = llvm.mlir.addressof @tiled_tiles : !llvm.ptr<1>
      // CHECK-NEXT: %[[AT:.*]] = llvm.getelementptr %[[COUNTERS]][%[[COUNTER]]] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
      // CHECK: %[[LAST:.*]] = arith.subi %[[TILES]], %{{.*}} : i32
      // CHECK-NEXT: %[[TAKEN:.*]] = llvm.atomicrmw uinc_wrap %[[AT]], %[[LAST]] syncscope("device") monotonic
      // CHECK: %[[GRID:.*]] = gpu.grid_dim x
      // CHECK-NEXT: %[[BLOCKS:.*]] = arith.index_cast %[[GRID]] : index to i32
      // CHECK-NEXT: %[[NEXT:.*]] = arith.addi %[[BLOCKS]], %[[TAKEN]] : i32
      %next = sparseattn_nv.next_tile %counter of %tiles : i32
      // Without a tile an arrival completes the item.
      // CHECK: nvvm.mbarrier.try_wait.parity
      // CHECK: llvm.store %[[NEXT]], %{{.*}} : i32, !llvm.ptr<3>
      // CHECK: nvvm.mbarrier.arrive %{{.*}} : !llvm.ptr<3> -> i64
      sparseattn_nv.post %q[%i], %next alone : !queries
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      // CHECK: } else {
      // CHECK: nvvm.mbarrier.try_wait.parity
      // CHECK: %[[NUMBERS:.*]] = arith.constant 16416 : i32
      // CHECK: %[[NUMBER:.*]] = llvm.load volatile %{{.*}} : !llvm.ptr<3> -> i32
      // CHECK: arith.addi %[[NUMBER]]
      %n = sparseattn_nv.take %q[%i] : !queries -> i32
      %use = arith.addi %n, %wg : i32
      sparseattn_nv.release %q[%i] : !queries
    }
    gpu.return
  }
}
