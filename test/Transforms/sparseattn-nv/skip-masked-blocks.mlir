// A consumer computes on the blocks of keys that some of its own rows sees.
//
// RUN: sparseattn-opt %s --sparseattn-nv-skip-masked-blocks --remarks-filter-missed=sparseattn-nv-skip-masked-blocks -o %t 2> %t.remarks
// RUN: FileCheck %s < %t
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks
// It keeps the protocol: every consumer awaits and releases every item.
// RUN: sparseattn-opt %t --sparseattn-nv-verify-channels > /dev/null
// RUN: sparseattn-opt %t --sparseattn-nv-overlap-softmax --sparseattn-nv-ping-pong --sparseattn-nv-verify-channels > /dev/null
//
// A window of 100: rows r see the keys from p + r - 99 to p + r, where p is the position of the tile's row 0.
// CHECK-LABEL: gpu.func @window
// CHECK: ^bb0(%[[WG:.*]]: i32):
// CHECK: %[[FIRSTROW:.*]] = arith.muli %[[WG]]
// What the last of the 64 rows sees ends here.
// CHECK: %[[LASTROW:.*]] = arith.constant 63 : i32
// CHECK: arith.addi %[[LASTROW]], %[[FIRSTROW]]
// CHECK: %[[VALID:.*]] = arith.subi %{{.*}}, %[[FIRSTROW]]
// CHECK: %[[SOME:.*]] = arith.cmpi sgt, %[[VALID]]
// CHECK: %[[TO:.*]] = arith.select %[[SOME]], %{{.*}}, %[[FROM:.*]] : i32
// CHECK: scf.for %[[I:.*]] = %{{.*}} to %[[FROM]]
// CHECK: sparseattn_nv.await %{{.*}}[%[[I]]]
// CHECK-NEXT: sparseattn_nv.release %{{.*}}[%[[I]]]
// CHECK-NEXT: }
// CHECK: %[[A:.*]] = scf.for %{{.*}} = %[[FROM]] to %[[FULL:.*]] step
// CHECK: sparseattn_nv.mask
// CHECK: %[[B:.*]] = scf.for %{{.*}} = %[[FULL]] to %[[CUT:.*]] step {{.*}} iter_args(%{{.*}} = %[[A]])
// CHECK-NOT: sparseattn_nv.mask
// CHECK: scf.for %{{.*}} = %[[CUT]] to %[[TO]] step {{.*}} iter_args(%{{.*}} = %[[B]])
// CHECK: sparseattn_nv.mask
// CHECK: scf.for %[[J:.*]] = %[[TO]] to
// CHECK: sparseattn_nv.await %{{.*}}[%[[J]]]
// CHECK-NEXT: sparseattn_nv.release %{{.*}}[%[[J]]]
// CHECK-NEXT: }
// CHECK-NEXT: arith.truncf
//
// A mask under a branch, in one loop.
// CHECK-LABEL: gpu.func @guarded
// CHECK: } consumers
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[FROM:.*]] step
// CHECK-NOT: sparseattn_nv.dot
// CHECK: scf.for %{{.*}} = %[[FROM]] to %[[TO:.*]] step {{.*}} iter_args
// CHECK: scf.if
// CHECK: sparseattn_nv.mask
// CHECK: scf.for %{{.*}} = %[[TO]] to
// CHECK-NOT: sparseattn_nv.dot
//
// A bound that all rows share leaves nothing to skip but what a warpgroup without rows has.
// CHECK-LABEL: gpu.func @shared
// CHECK-SAME: %[[N:[^ ]*]]: i32, %[[COUNT:[^ ]*]]: i32
// CHECK: } consumers
// CHECK: %[[MOST:.*]] = arith.maxsi %[[N]], %{{.*}} : i32
// CHECK: %[[TO:.*]] = arith.select %{{.*}}, %[[MOST]], %[[ZERO:.*]] : i32
// CHECK: scf.for %{{.*}} = %[[ZERO]] to %[[TO]]
// CHECK: sparseattn_nv.mask
// CHECK: scf.for %{{.*}} = %[[TO]] to %[[N]]
// CHECK-NOT: sparseattn_nv.mask
//
// Ranges from memory come in no order.
// CHECK-LABEL: gpu.func @ranges
// CHECK-COUNT-2: scf.for %{{.*}} = %c0_i32 to %arg1
// CHECK-NOT: scf.for
// CHECK-LABEL: gpu.func @unmasked
// CHECK-COUNT-2: scf.for %{{.*}} = %c0_i32 to %arg1
// CHECK-NOT: scf.for
// REMARK: Function=ranges | Reason="it is not known whether the ranges of keys grow from row to row"
// REMARK: Function=unmasked | Reason="there is no mask"

!keys = !sparseattn_nv.channel<64x64xbf16, stages = 2>
!tile = !sparseattn_nv.tile<64x64xbf16>
!acc = tensor<64x64xf32, #sparseattn_nv.acc>
!half = tensor<64x64xbf16, #sparseattn_nv.acc>
!rows = tensor<64xi32, #sparseattn_nv.row>

#schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64, ping_pong = true>

gpu.module @kernels {
  gpu.func @window(%map: !sparseattn_nv.tensor_map, %p: i32, %count: i32, %n: i32, %a: i32, %b: i32, %out: !llvm.ptr<1>) kernel
      attributes {sparseattn.schedule = #schedule} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c64 = arith.constant 64 : i32
    %stride = arith.constant 64 : i64
    %zero = arith.constant dense<0.0> : !acc
    %last = arith.subi %n, %c1 : i32
    %cut = arith.minsi %a, %n : i32
    %m0 = arith.maxsi %cut, %c0 : i32
    %b0 = arith.minsi %b, %n : i32
    %m1 = arith.maxsi %b0, %m0 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %first = arith.muli %wg, %c64 : i32
      %r = sparseattn_nv.rows : !rows
      %first_splat = tensor.splat %first : !rows
      %position = tensor.splat %p : !rows
      %row = arith.addi %r, %first_splat : !rows
      %key = arith.addi %row, %position : !rows
      %one = arith.constant dense<1> : !rows
      %width = arith.constant dense<99> : !rows
      %end = arith.addi %key, %one : !rows
      %begin = arith.subi %key, %width : !rows
      %x = scf.for %i = %c0 to %m0 step %c1 iter_args(%acc = %zero) -> (!acc) : i32 {
        %block = arith.subi %last, %i : i32
        %column = arith.muli %block, %c64 : i32
        %item = sparseattn_nv.await %k[%i] : !keys
        %d = sparseattn_nv.dot %item, %item transpose_b : !tile, !tile
        %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!acc>
        %masked = sparseattn_nv.mask %s at(%column) begin(%begin : !rows) end(%end : !rows) : !acc
        %next = arith.maximumf %acc, %masked : !acc
        sparseattn_nv.release %k[%i] : !keys
        scf.yield %next : !acc
      }
      %y = scf.for %i = %m0 to %m1 step %c1 iter_args(%acc = %x) -> (!acc) : i32 {
        %item = sparseattn_nv.await %k[%i] : !keys
        %d = sparseattn_nv.dot %item, %item transpose_b : !tile, !tile
        %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!acc>
        %next = arith.maximumf %acc, %s : !acc
        sparseattn_nv.release %k[%i] : !keys
        scf.yield %next : !acc
      }
      %z = scf.for %i = %m1 to %n step %c1 iter_args(%acc = %y) -> (!acc) : i32 {
        %block = arith.subi %last, %i : i32
        %column = arith.muli %block, %c64 : i32
        %item = sparseattn_nv.await %k[%i] : !keys
        %d = sparseattn_nv.dot %item, %item transpose_b : !tile, !tile
        %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!acc>
        %masked = sparseattn_nv.mask %s at(%column) begin(%begin : !rows) end(%end : !rows) : !acc
        %next = arith.maximumf %acc, %masked : !acc
        sparseattn_nv.release %k[%i] : !keys
        scf.yield %next : !acc
      }
      %half = arith.truncf %z : !acc to !half
      %valid = arith.subi %count, %first : i32
      sparseattn_nv.store_tile %half, %out row_stride(%stride) rows(%valid) : !half, !llvm.ptr<1>
    }
    gpu.return
  }

  gpu.func @guarded(%map: !sparseattn_nv.tensor_map, %p: i32, %count: i32, %n: i32, %full: i32, %out: !llvm.ptr<1>) kernel
      attributes {sparseattn.schedule = #schedule} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c64 = arith.constant 64 : i32
    %stride = arith.constant 64 : i64
    %zero = arith.constant dense<0.0> : !acc
    %last = arith.subi %n, %c1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %first = arith.muli %wg, %c64 : i32
      %r = sparseattn_nv.rows : !rows
      %start = arith.addi %first, %p : i32
      %position = tensor.splat %start : !rows
      %end = arith.addi %r, %position : !rows
      %x = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %zero) -> (!acc) : i32 {
        %block = arith.subi %last, %i : i32
        %column = arith.muli %block, %c64 : i32
        %item = sparseattn_nv.await %k[%i] : !keys
        %d = sparseattn_nv.dot %item, %item transpose_b : !tile, !tile
        %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!acc>
        %is_full = arith.cmpi sle, %column, %full : i32
        %masked = scf.if %is_full -> !acc {
          scf.yield %s : !acc
        } else {
          %m = sparseattn_nv.mask %s at(%column) end(%end : !rows) : !acc
          scf.yield %m : !acc
        }
        %next = arith.maximumf %acc, %masked : !acc
        sparseattn_nv.release %k[%i] : !keys
        scf.yield %next : !acc
      }
      %half = arith.truncf %x : !acc to !half
      %valid = arith.subi %count, %first : i32
      sparseattn_nv.store_tile %half, %out row_stride(%stride) rows(%valid) : !half, !llvm.ptr<1>
    }
    gpu.return
  }

  gpu.func @shared(%map: !sparseattn_nv.tensor_map, %n: i32, %count: i32, %keys: i32, %out: !llvm.ptr<1>) kernel attributes {sparseattn.schedule = #schedule} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c64 = arith.constant 64 : i32
    %c0_i64 = arith.constant 0 : i64
    %zero = arith.constant dense<0.0> : !acc
    %last = arith.subi %n, %c1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %first = arith.muli %wg, %c64 : i32
      %valid = arith.subi %count, %first : i32
      %splat = tensor.splat %keys : !rows
      %end = arith.minsi %splat, %splat : !rows
      %out_tile = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %zero) -> (!acc) : i32 {
        %block = arith.subi %last, %i : i32
        %column = arith.muli %block, %c64 : i32
        %item = sparseattn_nv.await %k[%i] : !keys
        %d = sparseattn_nv.dot %item, %item transpose_b : !tile, !tile
        %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!acc>
        %masked = sparseattn_nv.mask %s at(%column) end(%end : !rows) : !acc
        %next = arith.maximumf %acc, %masked : !acc
        sparseattn_nv.release %k[%i] : !keys
        scf.yield %next : !acc
      }
      %half = arith.truncf %out_tile : !acc to !half
      sparseattn_nv.store_tile %half, %out row_stride(%c0_i64) rows(%valid) : !half, !llvm.ptr<1>
    }
    gpu.return
  }

  gpu.func @ranges(%map: !sparseattn_nv.tensor_map, %n: i32, %ends: !llvm.ptr<1>, %stride: i64) kernel attributes {sparseattn.schedule = #schedule} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c64 = arith.constant 64 : i32
    %last = arith.subi %n, %c1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %r = sparseattn_nv.rows : !rows
      %end = sparseattn_nv.gather_rows %ends[%r] stride(%stride) : !llvm.ptr<1>, !rows
      scf.for %i = %c0 to %n step %c1 : i32 {
        %block = arith.subi %last, %i : i32
        %column = arith.muli %block, %c64 : i32
        %item = sparseattn_nv.await %k[%i] : !keys
        %d = sparseattn_nv.dot %item, %item transpose_b : !tile, !tile
        %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!acc>
        %masked = sparseattn_nv.mask %s at(%column) end(%end : !rows) : !acc
        sparseattn_nv.release %k[%i] : !keys
      }
    }
    gpu.return
  }

  gpu.func @unmasked(%map: !sparseattn_nv.tensor_map, %n: i32) kernel attributes {sparseattn.schedule = #schedule} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      scf.for %i = %c0 to %n step %c1 : i32 {
        %item = sparseattn_nv.await %k[%i] : !keys
        %d = sparseattn_nv.dot %item, %item transpose_b : !tile, !tile
        %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!acc>
        sparseattn_nv.release %k[%i] : !keys
      }
    }
    gpu.return
  }
}
