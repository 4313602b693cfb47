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
    // One thread initialises: one arrival fills a slot, 8 warps of 2 consumers empty it.
    // CHECK: %[[THREAD:.*]] = nvvm.read.ptx.sreg.tid.x : i32
    // CHECK: scf.if
    // CHECK-DAG: %[[FULL_COUNT:.*]] = arith.constant 1 : i32
    // CHECK-DAG: %[[EMPTY_COUNT:.*]] = arith.constant 8 : i32
    // CHECK-COUNT-10: nvvm.mbarrier.init
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
      // CHECK: scf.if
      // CHECK-NEXT: nvvm.mbarrier.arrive
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
