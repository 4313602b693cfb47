// The producer sends along what consumers would divide the number of a tile into.
//
// RUN: sparseattn-opt %s --sparseattn-nv-post-quotients --cse | FileCheck %s
// The protocol holds, before and after it is lowered.
// RUN: sparseattn-opt %s --sparseattn-nv-post-quotients --sparseattn-nv-plan-smem --sparseattn-nv-verify-channels \
// RUN:   --sparseattn-nv-lower-channels --sparseattn-nv-verify-barriers 2>&1 | FileCheck %s --check-prefix=LOWERED

!queries = !sparseattn_nv.channel<64x64xbf16, stages = 2>
!keys = !sparseattn_nv.channel<64x64xbf16, stages = 2>

// Head and row go along, the remainder that only leads to them does not. What the role decides stays with the
// consumer, and so do divisions by constants.
//
// CHECK-LABEL: gpu.func @tiles(
// CHECK-SAME: %[[MAP:[^ ]*]]: !sparseattn_nv.tensor_map, %[[TILES:[^ ]*]]: i32, %[[COUNTER:[^ ]*]]: i32, %[[ROWS:[^ ]*]]: i32, %[[HEADS:[^ ]*]]: i32
// CHECK: ^bb0(%[[TILE:.*]]: i32, %[[ITEM:.*]]: i32, %{{.*}}: i32):
// CHECK-DAG: %[[PAIR:.*]] = arith.divui %[[TILE]], %[[ROWS]]
// CHECK-DAG: %[[ROW:.*]] = arith.remui %[[TILE]], %[[ROWS]]
// CHECK: %[[HEAD:.*]] = arith.remui %[[PAIR]], %[[HEADS]]
// CHECK: sparseattn_nv.post %{{.*}}[%[[ITEM]]], %[[TILE]], %[[ROW]], %[[HEAD]] :
// CHECK: sparseattn_nv.post %{{.*}}, %c-1_i32, %c-1_i32, %c-1_i32 alone
// CHECK: } consumers(2)
// CHECK: scf.while
// CHECK: %[[TAKEN:.*]]:3 = sparseattn_nv.take %{{.*}} -> i32, i32, i32
// CHECK: arith.cmpi sge, %[[TAKEN]]#0
// CHECK: scf.condition(%{{.*}}) %[[TAKEN]]#0, %{{.*}}, %{{.*}}, %[[TAKEN]]#1, %[[TAKEN]]#2
// CHECK: ^bb0(%[[T:.*]]: i32, %[[P:.*]]: i32, %[[F:.*]]: i32, %[[R:.*]]: i32, %[[H:.*]]: i32):
// CHECK-NOT: arith.remui
// CHECK: arith.divui %[[T]], %{{.*}} : i32
// CHECK-NEXT: arith.divui %[[T]], %c3_i32
// CHECK-NOT: arith.remui
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[R]]
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[H]]
//
// Three numbers lie in 16 bytes behind the barriers of each slot.
// LOWERED-NOT: not verified
// LOWERED-LABEL: gpu.func @tiles(
// LOWERED-SAME: sparseattn_nv.shared_bytes = 32864
// LOWERED-LABEL: gpu.func @nothing(
gpu.module @kernels {
  gpu.func @tiles(%map: !sparseattn_nv.tensor_map, %tiles: i32, %counter: i32, %rows: i32, %heads: i32, %out: !llvm.ptr<1>) kernel {
    %zero = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c3 = arith.constant 3 : i32
    %none = arith.constant -1 : i32
    %id = gpu.block_id x
    %block = arith.index_cast %id : index to i32
    %q = sparseattn_nv.channel "query" : !queries
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      %end:3 = scf.while (%tile = %block, %item = %zero, %first = %zero) : (i32, i32, i32) -> (i32, i32, i32) {
        %more = arith.cmpi slt, %tile, %tiles : i32
        scf.condition(%more) %tile, %item, %first : i32, i32, i32
      } do {
      ^bb0(%u: i32, %a: i32, %f: i32):
        sparseattn_nv.post %q[%a], %u : !queries
        sparseattn_nv.fill %q[%a] from %map[%zero, %u, %zero] : !queries
        %a1 = arith.addi %a, %c1 : i32
        %next = sparseattn_nv.next_tile %counter of %tiles : i32
        scf.yield %next, %a1, %f : i32, i32, i32
      }
      sparseattn_nv.post %q[%end#1], %none alone : !queries
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %done:3 = scf.while (%x = %zero, %y = %zero) : (i32, i32) -> (i32, i32, i32) {
        %number = sparseattn_nv.take %q[%x] : !queries -> i32
        %more = arith.cmpi sge, %number, %zero : i32
        scf.condition(%more) %number, %x, %y : i32, i32, i32
      } do {
      ^bb0(%t: i32, %own: i32, %g: i32):
        %queries = sparseattn_nv.await %q[%own] : !queries
        %divisor = arith.addi %wg, %c1 : i32
        %part = arith.divui %t, %divisor : i32
        %third = arith.divui %t, %c3 : i32
        %pair = arith.divui %t, %rows : i32
        %row = arith.remui %t, %rows : i32
        %head = arith.remui %pair, %heads : i32
        %sum = arith.addi %part, %third : i32
        %s = scf.for %i = %zero to %row step %c1 iter_args(%v = %sum) -> (i32) : i32 {
          %w = arith.addi %v, %i : i32
          scf.yield %w : i32
        }
        %s1 = scf.for %i = %zero to %head step %c1 iter_args(%v = %s) -> (i32) : i32 {
          %w = arith.addi %v, %i : i32
          scf.yield %w : i32
        }
        llvm.store volatile %s1, %out : i32, !llvm.ptr<1>
        sparseattn_nv.release %q[%own] : !queries
        %own1 = arith.addi %own, %c1 : i32
        scf.yield %own1, %s1 : i32, i32
      }
      sparseattn_nv.release %q[%done#1] : !queries
    }
    gpu.return
  }

  // A kernel whose tiles come in steps of the grid, one without divisions and one without roles stay as they are.
  // CHECK-LABEL: gpu.func @nothing(
  // CHECK: sparseattn_nv.take %{{.*}} -> i32{{$}}
  gpu.func @nothing(%map: !sparseattn_nv.tensor_map, %tiles: i32, %counter: i32) kernel {
    %zero = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %none = arith.constant -1 : i32
    %q = sparseattn_nv.channel "query" : !queries
    sparseattn_nv.specialize producer registers(24) {
      %end:2 = scf.while (%tile = %zero, %item = %zero) : (i32, i32) -> (i32, i32) {
        %more = arith.cmpi slt, %tile, %tiles : i32
        scf.condition(%more) %tile, %item : i32, i32
      } do {
      ^bb0(%u: i32, %a: i32):
        sparseattn_nv.post %q[%a], %u : !queries
        sparseattn_nv.fill %q[%a] from %map[%zero, %u, %zero] : !queries
        %a1 = arith.addi %a, %c1 : i32
        %next = sparseattn_nv.next_tile %counter of %tiles : i32
        scf.yield %next, %a1 : i32, i32
      }
      sparseattn_nv.post %q[%end#1], %none alone : !queries
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %done:2 = scf.while (%x = %zero) : (i32) -> (i32, i32) {
        %number = sparseattn_nv.take %q[%x] : !queries -> i32
        %more = arith.cmpi sge, %number, %zero : i32
        scf.condition(%more) %number, %x : i32, i32
      } do {
      ^bb0(%t: i32, %own: i32):
        %queries = sparseattn_nv.await %q[%own] : !queries
        sparseattn_nv.release %q[%own] : !queries
        %own1 = arith.addi %own, %c1 : i32
        scf.yield %own1 : i32
      }
      sparseattn_nv.release %q[%done#1] : !queries
    }
    gpu.return
  }
  // CHECK-LABEL: gpu.func @steps(
  // CHECK-COUNT-2: {sparseattn_nv.tiles}
  gpu.func @steps(%map: !sparseattn_nv.tensor_map, %tiles: i32, %rows: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %q = sparseattn_nv.channel "query" : !queries
    sparseattn_nv.specialize producer registers(24) {
      %end = scf.for %t = %c0 to %tiles step %c1 iter_args(%p = %c0) -> (i32) : i32 {
        sparseattn_nv.fill %q[%p] from %map[%c0, %t, %c0] : !queries
        %p1 = arith.addi %p, %c1 : i32
        scf.yield %p1 : i32
      } {sparseattn_nv.tiles}
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %end:2 = scf.for %t = %c0 to %tiles step %c1 iter_args(%p = %c0, %s = %c0) -> (i32, i32) : i32 {
        %item = sparseattn_nv.await %q[%p] : !queries
        sparseattn_nv.release %q[%p] : !queries
        %row = arith.remui %t, %rows : i32
        %p1 = arith.addi %p, %c1 : i32
        scf.yield %p1, %row : i32, i32
      } {sparseattn_nv.tiles}
    }
    gpu.return
  }
}
