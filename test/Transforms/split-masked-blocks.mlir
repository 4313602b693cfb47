// RUN: sparseattn-opt %s --sparseattn-split-masked-blocks | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-split-masked-blocks --canonicalize | FileCheck %s --check-prefix=FOLDED

!s = tensor<16x32xf32>
!r = tensor<16xindex>

// Without a lower bound: blocks that some row does not see, then full blocks.
// CHECK-LABEL: func.func @upper_bound(
// CHECK-SAME: %[[LAST:[^ ]*]]: index, %[[N:[^ ]*]]: index, %[[FROM:[^ ]*]]: index, %[[TO:[^ ]*]]: index
// CHECK: %[[END:.*]] = arith.divui %[[TO]], %c32
// CHECK: %[[DIFF:.*]] = arith.subi %[[LAST]], %[[END]]
// CHECK: %[[COUNT:.*]] = arith.addi %[[DIFF]], %c1
// CHECK: %[[MOST:.*]] = arith.minsi %[[COUNT]], %[[N]]
// CHECK: %[[MIDDLE:.*]] = arith.maxsi %[[MOST]], %c0
// CHECK: %[[TAIL:.*]] = scf.for %{{.*}} = %c0{{.*}} to %[[MIDDLE]] step %{{.*}} iter_args(%{{.*}} = %{{.*}})
// CHECK: sparseattn.tile_mask %{{.*}} end(%{{.*}}) at(%{{.*}}) : tensor<16x32xf32>
// CHECK: %[[FULL:.*]] = scf.for %{{.*}} = %[[MIDDLE]] to %[[N]] step %{{.*}} iter_args(%{{.*}} = %[[TAIL]])
// CHECK-NOT: tile_mask
// CHECK: return %[[FULL]]
func.func @upper_bound(%x: !s, %end: !r, %last: index, %n: index, %from: index, %to: index) -> !s {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c32 = arith.constant 32 : index
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%y = %x) -> !s {
    %block = arith.subi %last, %i : index
    %column = arith.muli %block, %c32 : index
    %m = sparseattn.tile_mask %y end(%end) at(%column) full(%from, %to) : !s
    scf.yield %m : !s
  }
  return %r : !s
}

// With a lower bound: masked, full, masked.
// CHECK-LABEL: func.func @both_bounds(
// CHECK: %[[TAIL:.*]] = scf.for %{{.*}} = %{{.*}} to %[[A:.*]] step
// CHECK: sparseattn.tile_mask %{{.*}} begin(%{{.*}}) end(%{{.*}}) at(%{{.*}}) : tensor<16x32xf32>
// CHECK: %[[FULL:.*]] = scf.for %{{.*}} = %[[A]] to %[[B:.*]] step %{{.*}} iter_args(%{{.*}} = %[[TAIL]])
// CHECK-NOT: tile_mask
// CHECK: %[[HEAD:.*]] = scf.for %{{.*}} = %[[B]] to %{{.*}} step %{{.*}} iter_args(%{{.*}} = %[[FULL]])
// CHECK: sparseattn.tile_mask %{{.*}} begin(%{{.*}}) end(%{{.*}}) at(%{{.*}}) : tensor<16x32xf32>
// CHECK: return %[[HEAD]]
func.func @both_bounds(%x: !s, %begin: !r, %end: !r, %last: index, %n: index, %from: index, %to: index) -> !s {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c32 = arith.constant 32 : index
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%y = %x) -> !s {
    %block = arith.subi %last, %i : index
    %column = arith.muli %block, %c32 : index
    %m = sparseattn.tile_mask %y begin(%begin) end(%end) at(%column) full(%from, %to) : !s
    scf.yield %m : !s
  }
  return %r : !s
}

// All rows end with the same key: at most one block is partial, the first one visited.
// CHECK-LABEL: func.func @shared_end(
// CHECK-SAME: %[[N:[^ ]*]]: index, %[[FROM:[^ ]*]]: index, %[[TO:[^ ]*]]: index
// CHECK: %[[MOST:.*]] = arith.maxsi
// CHECK: %[[ONE:.*]] = arith.minsi %[[MOST]], %c1
// CHECK: scf.for %{{.*}} = %c0{{.*}} to %[[ONE]] step
// CHECK: scf.for %{{.*}} = %[[ONE]] to %[[N]] step
func.func @shared_end(%x: !s, %end: !r, %n: index, %from: index, %to: index) -> !s {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c31 = arith.constant 31 : index
  %c32 = arith.constant 32 : index
  %up = arith.addi %to, %c31 : index
  %blocks = arith.divui %up, %c32 : index
  %last = arith.subi %blocks, %c1 : index
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%y = %x) -> !s {
    %block = arith.subi %last, %i : index
    %column = arith.muli %block, %c32 : index
    %m = sparseattn.tile_mask %y end(%end) at(%column) full(%from, %to) : !s
    scf.yield %m : !s
  }
  return %r : !s
}

// Four blocks of which every row sees 96 of 128 keys, or all: one masked block and three full ones, or no mask at all.
// FOLDED-LABEL: func.func @one_partial_block(
// FOLDED: tile_mask
// FOLDED: scf.for
// FOLDED-NOT: tile_mask
// FOLDED-LABEL: func.func @no_partial_block(
// FOLDED: scf.for
// FOLDED-NOT: tile_mask
// FOLDED-LABEL: func.func @end
func.func @one_partial_block(%x: !s, %end: !r) -> !s {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %c32 = arith.constant 32 : index
  %c96 = arith.constant 96 : index
  %r = scf.for %i = %c0 to %c4 step %c1 iter_args(%y = %x) -> !s {
    %block = arith.subi %c3, %i : index
    %column = arith.muli %block, %c32 : index
    %m = sparseattn.tile_mask %y end(%end) at(%column) full(%c0, %c96) : !s
    %z = arith.addf %m, %m : !s
    scf.yield %z : !s
  }
  return %r : !s
}
func.func @no_partial_block(%x: !s, %end: !r) -> !s {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %c32 = arith.constant 32 : index
  %c128 = arith.constant 128 : index
  %r = scf.for %i = %c0 to %c4 step %c1 iter_args(%y = %x) -> !s {
    %block = arith.subi %c3, %i : index
    %column = arith.muli %block, %c32 : index
    %m = sparseattn.tile_mask %y end(%end) at(%column) full(%c0, %c128) : !s
    %z = arith.addf %m, %m : !s
    scf.yield %z : !s
  }
  return %r : !s
}
func.func @end() { return }

// Blocks from a list: the mask stands in a condition.
// CHECK-LABEL: func.func @list(
// CHECK-SAME: %[[X:[^ ]*]]: tensor<16x32xf32>
// CHECK: scf.for
// CHECK: %[[COL:.*]] = tensor.extract
// CHECK: %[[NEXT:.*]] = arith.addi %[[COL]], %c32
// CHECK: %[[BELOW:.*]] = arith.cmpi sle, %[[NEXT]],
// CHECK: %[[ABOVE:.*]] = arith.cmpi sle, %{{.*}}, %[[COL]]
// CHECK: %[[FULL:.*]] = arith.andi %[[BELOW]], %[[ABOVE]]
// CHECK: scf.if %[[FULL]]
// CHECK-NEXT: scf.yield
// CHECK-NEXT: } else {
// CHECK-NEXT: sparseattn.tile_mask %{{.*}} begin(%{{.*}}) end(%{{.*}}) at(%[[COL]]) : tensor<16x32xf32>
func.func @list(%x: !s, %begin: !r, %end: !r, %columns: tensor<?xindex>, %n: index, %from: index, %to: index) -> !s {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%y = %x) -> !s {
    %column = tensor.extract %columns[%i] : tensor<?xindex>
    %m = sparseattn.tile_mask %y begin(%begin) end(%end) at(%column) full(%from, %to) : !s
    scf.yield %m : !s
  }
  return %r : !s
}

// One loop where the schedule says so.
// CHECK-LABEL: func.func @guarded(
// CHECK: scf.for
// CHECK: %[[FULL:.*]] = arith.cmpi sle
// CHECK: scf.if %[[FULL]]
// CHECK-NEXT: scf.yield
// CHECK-NEXT: } else {
// CHECK-NEXT: sparseattn.tile_mask %{{.*}} end(%{{.*}}) at(%{{.*}}) : tensor<16x32xf32>
// CHECK-NOT: scf.for %
func.func @guarded(%x: !s, %end: !r, %last: index, %n: index, %from: index, %to: index) -> !s {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c32 = arith.constant 32 : index
  %all = scf.forall (%tile) in (1) shared_outs(%out = %x) -> !s {
    %r = scf.for %i = %c0 to %n step %c1 iter_args(%y = %x) -> !s {
      %block = arith.subi %last, %i : index
      %column = arith.muli %block, %c32 : index
      %m = sparseattn.tile_mask %y end(%end) at(%column) full(%from, %to) : !s
      scf.yield %m : !s
    }
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %r into %out[0, 0] [16, 32] [1, 1] : !s into !s
    }
  } {sparseattn.schedule = #sparseattn.schedule<query_tile = 16, key_tile = 32, guard_masks = true>}
  return %all : !s
}
