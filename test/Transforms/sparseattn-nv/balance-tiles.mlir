// Blocks that take the next free tile, and what has no way to tell the consumers.
//
// RUN: sparseattn-opt %s --sparseattn-nv-balance-tiles --remarks-filter-missed=sparseattn-nv-balance-tiles 2> %t | FileCheck %s
// RUN: FileCheck %s --input-file=%t --check-prefix=REMARK
// The protocol holds, before and after it is lowered.
// RUN: sparseattn-opt %s --sparseattn-nv-balance-tiles --sparseattn-nv-plan-smem --sparseattn-nv-verify-channels \
// RUN:   --sparseattn-nv-lower-channels --sparseattn-nv-verify-barriers 2>&1 | FileCheck %s --check-prefix=VERIFIED
// VERIFIED-NOT: not verified

!tile = !sparseattn_nv.channel<64x64xbf16, stages = 2>
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 2>
gpu.module @kernels {
  // REMARK-NOT: Function=balanced
  // CHECK-LABEL: gpu.func @balanced(
  // CHECK-SAME: %[[MAP:.*]]: !sparseattn_nv.tensor_map, %[[TILES:.*]]: i32, %[[COUNTER:.*]]: i32, %[[N:.*]]: i32)
  gpu.func @balanced(%map: !sparseattn_nv.tensor_map, %tiles: i32, %counter: i32, %n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %id = gpu.block_id x
    %dim = gpu.grid_dim x
    // CHECK: %[[BLOCK:.*]] = arith.index_cast
    %block = arith.index_cast %id : index to i32
    %blocks = arith.index_cast %dim : index to i32
    // CHECK: %[[Q:.*]] = sparseattn_nv.channel "query"
    %q = sparseattn_nv.channel "query" : !tile
    %k = sparseattn_nv.channel "key" : !keys
    // The producer begins with the tile of its block.
    // CHECK: %[[END:.*]]:3 = scf.while (%[[AT:.*]] = %[[BLOCK]], %[[ITEM:.*]] = %{{.*}}, %[[KEY:.*]] = %{{.*}}) : (i32, i32, i32) -> (i32, i32, i32) {
    // CHECK-NEXT: %[[MORE:.*]] = arith.cmpi slt, %[[AT]], %[[TILES]] : i32
    // CHECK-NEXT: scf.condition(%[[MORE]]) %[[AT]], %[[ITEM]], %[[KEY]]
    // CHECK: ^bb0(%[[TILE:.*]]: i32, %[[P:.*]]: i32, %[[F:.*]]: i32):
    // Its number goes before the tile of queries.
    // CHECK: sparseattn_nv.post %[[Q]][%[[P]]], %[[TILE]] :
    // CHECK-NEXT: sparseattn_nv.fill %[[Q]][%[[P]]] from %[[MAP]][%{{.*}}, %[[TILE]], %{{.*}}]
    // CHECK: scf.for
    // It asks last.
    // CHECK: %[[NEXT:.*]] = sparseattn_nv.next_tile %[[COUNTER]] of %[[TILES]] : i32
    // CHECK-NEXT: scf.yield %[[NEXT]],
    // At the end there is no tile: -1.
    // CHECK: %[[NONE:.*]] = arith.constant -1 : i32
    // CHECK-NEXT: sparseattn_nv.post %[[Q]][%[[END]]#1], %[[NONE]] alone
    sparseattn_nv.specialize producer registers(24) {
      %end:2 = scf.for %t = %block to %tiles step %blocks iter_args(%p = %c0, %f = %c0) -> (i32, i32) : i32 {
        %next = sparseattn_nv.next_tile %counter of %tiles : i32
        sparseattn_nv.fill %q[%p] from %map[%c0, %t, %c0] : !tile
        scf.for %i = %c0 to %n step %c1 : i32 {
          %at = arith.addi %f, %i : i32
          sparseattn_nv.fill %k[%at] from %map[%c0, %i, %c0] : !keys
        }
        %p1 = arith.addi %p, %c1 : i32
        %f1 = arith.addi %f, %n : i32
        scf.yield %p1, %f1 : i32, i32
      } {sparseattn_nv.tiles}
    // The consumers go on until there is none, and give that item back too.
    // CHECK: } consumers(2)
    // CHECK: %[[DONE:.*]]:4 = scf.while (%[[Y:.*]] = %{{.*}}, %[[X:.*]] = %{{.*}}, %{{.*}} = %{{.*}}) : (i32, i32, i32) -> (i32, i32, i32, i32) {
    // CHECK-NEXT: %[[TAKEN:.*]] = sparseattn_nv.take %[[Q]][%[[X]]]
    // CHECK: %[[IS:.*]] = arith.cmpi sge, %[[TAKEN]], %{{.*}} : i32
    // CHECK-NEXT: scf.condition(%[[IS]]) %[[TAKEN]], %[[Y]], %[[X]],
    // CHECK: ^bb0(%[[T:.*]]: i32, %[[Y1:.*]]: i32, %[[X1:.*]]: i32, %{{.*}}: i32):
    // CHECK: arith.addi %[[Y1]], %[[T]]
    // CHECK: sparseattn_nv.await %[[Q]][%[[X1]]]
    // CHECK: sparseattn_nv.release %[[Q]][%[[X1]]]
    // CHECK: scf.yield
    // CHECK: sparseattn_nv.release %[[Q]][%[[DONE]]#2]
    // CHECK-NOT: sparseattn_nv.tiles
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %end:3 = scf.for %t = %block to %tiles step %blocks iter_args(%sum = %c0, %p = %c0, %f = %c0) -> (i32, i32, i32) : i32 {
        %s = arith.addi %sum, %t : i32
        %item = sparseattn_nv.await %q[%p] : !tile
        scf.for %i = %c0 to %n step %c1 : i32 {
          %at = arith.addi %f, %i : i32
          %key = sparseattn_nv.await %k[%at] : !keys
          sparseattn_nv.release %k[%at] : !keys
        }
        sparseattn_nv.release %q[%p] : !tile
        %p1 = arith.addi %p, %c1 : i32
        %f1 = arith.addi %f, %n : i32
        scf.yield %s, %p1, %f1 : i32, i32, i32
      } {sparseattn_nv.tiles}
    }
    gpu.return
  }

  // Only keys: nothing comes once for each tile. The loops stay, and nobody asks.
  // REMARK: [Missed] NotBalanced | Category:sparseattn-nv-balance-tiles | Function=no_item | Reason="no channel has one item for each tile"
  // CHECK-LABEL: gpu.func @no_item(
  // CHECK-NOT: sparseattn_nv.next_tile
  // CHECK-COUNT-2: {sparseattn_nv.tiles}
  gpu.func @no_item(%map: !sparseattn_nv.tensor_map, %tiles: i32, %counter: i32, %n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      %end = scf.for %t = %c0 to %tiles step %c1 iter_args(%f = %c0) -> (i32) : i32 {
        %next = sparseattn_nv.next_tile %counter of %tiles : i32
        scf.for %i = %c0 to %n step %c1 : i32 {
          %at = arith.addi %f, %i : i32
          sparseattn_nv.fill %k[%at] from %map[%c0, %i, %c0] : !keys
        }
        %f1 = arith.addi %f, %n : i32
        scf.yield %f1 : i32
      } {sparseattn_nv.tiles}
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %end = scf.for %t = %c0 to %tiles step %c1 iter_args(%f = %c0) -> (i32) : i32 {
        scf.for %i = %c0 to %n step %c1 : i32 {
          %at = arith.addi %f, %i : i32
          %key = sparseattn_nv.await %k[%at] : !keys
          sparseattn_nv.release %k[%at] : !keys
        }
        %f1 = arith.addi %f, %n : i32
        scf.yield %f1 : i32
      } {sparseattn_nv.tiles}
    }
    gpu.return
  }

  // REMARK: NotBalanced | {{.*}}Function=no_question | Reason="the producer does not ask once for the next tile"
  // CHECK-LABEL: gpu.func @no_question(
  // CHECK-COUNT-2: {sparseattn_nv.tiles}
  gpu.func @no_question(%map: !sparseattn_nv.tensor_map, %tiles: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %q = sparseattn_nv.channel "query" : !tile
    sparseattn_nv.specialize producer registers(24) {
      %end = scf.for %t = %c0 to %tiles step %c1 iter_args(%p = %c0) -> (i32) : i32 {
        sparseattn_nv.fill %q[%p] from %map[%c0, %t, %c0] : !tile
        %p1 = arith.addi %p, %c1 : i32
        scf.yield %p1 : i32
      } {sparseattn_nv.tiles}
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %end = scf.for %t = %c0 to %tiles step %c1 iter_args(%p = %c0) -> (i32) : i32 {
        %item = sparseattn_nv.await %q[%p] : !tile
        sparseattn_nv.release %q[%p] : !tile
        %p1 = arith.addi %p, %c1 : i32
        scf.yield %p1 : i32
      } {sparseattn_nv.tiles}
    }
    gpu.return
  }

  // REMARK: NotBalanced | {{.*}}Function=no_loop | Reason="a role has no loop over tiles"
  // CHECK-LABEL: gpu.func @no_loop(
  gpu.func @no_loop(%map: !sparseattn_nv.tensor_map) kernel {
    %c0 = arith.constant 0 : i32
    %q = sparseattn_nv.channel "query" : !tile
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %q[%c0] from %map[%c0, %c0, %c0] : !tile
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %item = sparseattn_nv.await %q[%c0] : !tile
      sparseattn_nv.release %q[%c0] : !tile
    }
    gpu.return
  }

  // A kernel without roles is none of this pass's.
  // REMARK-NOT: Function=no_roles
  // CHECK-LABEL: gpu.func @no_roles(
  gpu.func @no_roles() kernel {
    gpu.return
  }
}
