// Consumers start the products of a block in turns.
//
// RUN: sparseattn-opt %s --sparseattn-nv-ping-pong | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-nv-ping-pong --canonicalize --sparseattn-warpgroups-to-nvvm | FileCheck %s --check-prefix=L3
//
// The turn ends before the wait for the scores, so that the weighted values, started in it too, do not wait for others.
// CHECK-LABEL: gpu.func @turns
// CHECK: ^bb0(%[[OWN:.*]]: i32):
// CHECK: %[[LAST:.*]] = arith.constant 2 : i32
// CHECK: %[[FIRST:.*]] = arith.constant 0 : i32
// CHECK: %[[ISLAST:.*]] = arith.cmpi eq, %[[OWN]], %[[LAST]]
// CHECK: %[[NEXT:.*]] = arith.select %[[ISLAST]], %[[FIRST]], %{{.*}}
// CHECK: scf.if %[[ISLAST]] {
// CHECK-NEXT: sparseattn_nv.pass_turn %[[FIRST]]
// CHECK: scf.for
// CHECK: sparseattn_nv.await
// CHECK: sparseattn_nv.take_turn %[[OWN]]
// CHECK-NEXT: sparseattn_nv.dot {{.*}} transpose_b
// CHECK: sparseattn_nv.dot
// CHECK-NEXT: sparseattn_nv.pass_turn %[[NEXT]]
// CHECK-NEXT: sparseattn_nv.wait {{.*}} outstanding(1)
// CHECK-NOT: _turn
// CHECK-LABEL: gpu.func @alone
// CHECK-NOT: _turn
// CHECK-LABEL: gpu.func @unordered
// CHECK-NOT: _turn
//
// A barrier of two warpgroups for each consumer; 0 is the block's.
// L3-LABEL: llvm.func @turns
// L3: nvvm.setmaxregister increase
// L3: %[[ISLAST:.*]] = arith.cmpi eq, %[[OWN:.*]], %{{.*}}
// L3: %[[TURN:.*]] = arith.addi %[[OWN]], %{{.*}}
// L3: %[[NEXT:.*]] = arith.select %[[ISLAST]]
// L3: scf.if %[[ISLAST]] {
// L3: nvvm.barrier.arrive id = %{{.*}} number_of_threads = %c256_i32
// L3: scf.for
// L3: nvvm.barrier id = %[[TURN]] number_of_threads = %[[BOTH:.*]]
// L3: wgmma.mma_async
// L3: %[[AFTER:.*]] = arith.addi %[[NEXT]]
// L3: nvvm.barrier.arrive id = %[[AFTER]] number_of_threads = %[[BOTH]]

!keys = !sparseattn_nv.channel<64x64xbf16, stages = 2>
!tile = !sparseattn_nv.tile<64x64xbf16>
!acc = tensor<64x64xf32, #sparseattn_nv.acc>
#turns = #sparseattn.schedule<query_tile = 192, key_tile = 64, consumers = 3, producer_registers = 32, consumer_registers = 160, ping_pong = true>
#alone = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1, ping_pong = true>
#unordered = #sparseattn.schedule<query_tile = 128, key_tile = 64>

gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx86">] {
  gpu.func @turns(%map: !sparseattn_nv.tensor_map, %n: i32, %out: !llvm.ptr<1>) kernel attributes {sparseattn.schedule = #turns} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %stride = arith.constant 64 : i64
    %zero = arith.constant dense<0.0> : !acc
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(32) {
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(3) registers(160) {
    ^bb0(%wg: i32):
      %sum = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %zero) -> (!acc) : i32 {
        %tile = sparseattn_nv.await %k[%i] : !keys
        %s = sparseattn_nv.dot %tile, %tile transpose_b : !tile, !tile
        %o = sparseattn_nv.dot %tile, %tile acc(%acc : !acc) : !tile, !tile
        %scores = sparseattn_nv.wait %s outstanding(1) : !sparseattn_nv.pending<!acc>
        %next = sparseattn_nv.wait %o outstanding(0) : !sparseattn_nv.pending<!acc>
        %both = arith.addf %scores, %next : !acc
        sparseattn_nv.release %k[%i] : !keys
        scf.yield %both : !acc
      }
      %half = arith.truncf %sum : !acc to tensor<64x64xbf16, #sparseattn_nv.acc>
      sparseattn_nv.store_tile %half, %out row_stride(%stride) rows(%n) : tensor<64x64xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
    }
    gpu.return
  }

  gpu.func @alone(%map: !sparseattn_nv.tensor_map) kernel attributes {sparseattn.schedule = #alone} {
    %c0 = arith.constant 0 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %k[%c0] from %map[%c0, %c0, %c0] : !keys
    } consumers(1) registers(240) {
    ^bb0(%wg: i32):
      %tile = sparseattn_nv.await %k[%c0] : !keys
      %s = sparseattn_nv.dot %tile, %tile transpose_b : !tile, !tile
      %scores = sparseattn_nv.wait %s outstanding(0) : !sparseattn_nv.pending<!acc>
      sparseattn_nv.release %k[%c0] : !keys
    }
    gpu.return
  }

  gpu.func @unordered(%map: !sparseattn_nv.tensor_map) kernel attributes {sparseattn.schedule = #unordered} {
    %c0 = arith.constant 0 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %k[%c0] from %map[%c0, %c0, %c0] : !keys
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %tile = sparseattn_nv.await %k[%c0] : !keys
      %s = sparseattn_nv.dot %tile, %tile transpose_b : !tile, !tile
      %scores = sparseattn_nv.wait %s outstanding(0) : !sparseattn_nv.pending<!acc>
      sparseattn_nv.release %k[%c0] : !keys
    }
    gpu.return
  }
}
