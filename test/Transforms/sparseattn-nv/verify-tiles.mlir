// A persistent kernel is right; each change of its text breaks one rule, which the models of channels and of barriers
// find.
//
// RUN: sparseattn-opt %s --sparseattn-nv-verify-channels 2>&1 | FileCheck %s --check-prefix=RIGHT
// RUN: sparseattn-opt %s --sparseattn-nv-plan-smem --sparseattn-nv-lower-channels > %t
// RUN: sparseattn-opt %t --sparseattn-nv-verify-barriers 2>&1 | FileCheck %s --check-prefix=RIGHT
// RIGHT-NOT: not verified
// RIGHT: gpu.func @tiles
// RIGHT-NOT: not verified
//
// DEFINE: %{change} =
// DEFINE: %{expected} =
// DEFINE: %{check} = sed -z -e %{change} %s > %t.changed && not cmp -s %s %t.changed && \
// DEFINE:   not sparseattn-opt %t.changed --sparseattn-nv-verify-channels 2>&1 | FileCheck %s --check-prefix=%{expected}
//
// A tile has no number.
// REDEFINE: %{change} = 's/sparseattn_nv.post %q\[%a\], %u : !queries//'
// REDEFINE: %{expected} = NUMBER
// RUN: %{check}
// Nothing tells the end.
// REDEFINE: %{change} = 's/sparseattn_nv.post %q\[%end#1\], %none alone : !queries//'
// RUN: %{check}
// NUMBER: 'sparseattn_nv.take' op breaks the protocol of channels: a consumer takes the number of item {{[0-9]}} of channel query, with which the producer posts none
// NUMBER: found for block {{[0-9]}} with arguments #1 =
//
// The consumers look at the first tile again and again.
// REDEFINE: %{change} = 's/take %q\[%x\]/take %q[%zero]/'
// REDEFINE: %{expected} = AGAIN
// RUN: %{check}
// AGAIN: a consumer takes the number of item 0 of channel query, which it released
//
// They look at the tile behind.
// REDEFINE: %{change} = 's/%number = sparseattn_nv.take %q\[%x\]/%behind = arith.addi %x, %c1 : i32 %number = sparseattn_nv.take %q[%behind]/'
// REDEFINE: %{expected} = BEHIND
// RUN: %{check}
// BEHIND: breaks the protocol of channels: consumer 0 releases item 0 of channel query, which it does not hold
//
// The item that told the end is never given back.
// REDEFINE: %{change} = 's/sparseattn_nv.release %q\[%done#1\] : !queries//'
// REDEFINE: %{expected} = LAST
// RUN: %{check}
// LAST: breaks the protocol of channels: consumer 0 never releases item {{[0-9]}} of channel query
//
// A tile's item is never given back.
// REDEFINE: %{change} = 's/sparseattn_nv.release %q\[%own\] : !queries//'
// RUN: %{check}
//
// A number comes, the tile does not.
// REDEFINE: %{change} = 's/sparseattn_nv[.]fill %q[^\n]*//'
// REDEFINE: %{expected} = NOTILE
// RUN: %{check}
// NOTILE: breaks the protocol of channels: no role can go on
//
// The consumers number the keys of each tile from 0 on.
// REDEFINE: %{change} = 's/%item = arith.addi %g, %[i]/%item = arith.addi %zero, %i/'
// REDEFINE: %{expected} = RESTART
// RUN: %{check}
// RESTART: breaks the protocol of channels: consumer 0 awaits item 0 of channel key
//
// The same for barriers.
// REDEFINE: %{check} = sed -z -e %{change} %t > %t.changed && not cmp -s %t %t.changed && \
// REDEFINE:   not sparseattn-opt %t.changed --sparseattn-nv-verify-barriers 2>&1 | FileCheck %s --check-prefix=%{expected}
//
// Nobody stores the numbers.
// REDEFINE: %{change} = 's/llvm.store [^\n]*//g'
// REDEFINE: %{expected} = STORED
// RUN: %{check}
// The consumers look for all numbers in one place.
// REDEFINE: %{change} = 's/\(.*\)\(llvm.load volatile\) %[0-9]*/\1%where = llvm.mlir.addressof @dsmem : !llvm.ptr<3> \2 %where/;s/\(%[0-9]* =\) \(%where = [^\n]*ptr<3>\) llvm.load/\2 \1 llvm.load/'
// RUN: %{check}
// STORED: 'llvm.load' op reads a number that the producer has not stored there
// STORED: found for block {{[0-9]}} with arguments #1 =
//
// The item without a tile is never complete.
// REDEFINE: %{change} = 's/%[0-9]* = nvvm.mbarrier.arrive [^\n]*//'
// REDEFINE: %{expected} = ALONE
// RUN: %{check}
// ALONE: waits for the barrier at byte {{[0-9]+}}, which no load completes
//
// The last arrival of the consumers is missing.
// REDEFINE: %{change} = 's/\(.*\)\n[^\n]*nvvm.mbarrier.arrive [^\n]*/\1/'
// REDEFINE: %{expected} = RELEASE
// RUN: %{check}
// RELEASE: breaks the protocol of barriers: consumer 0 never releases item {{[0-9]}} of channel in the slot at byte
//
// One lane of each warp gives the last item back.
// REDEFINE: %{change} = 's/\(.*\n\)[^\n]*nvvm.mbarrier.arrive %\([0-9]*\) [^\n]*/\1%lane = nvvm.read.ptx.sreg.tid.x : i32 %mask = arith.constant 31 : i32 %in = arith.andi %lane, %mask : i32 %none = arith.constant 0 : i32 %first = arith.cmpi eq, %in, %none : i32 scf.if %first { %arrived = nvvm.mbarrier.arrive %\2 : !llvm.ptr<3> -> i64 }/'
// REDEFINE: %{expected} = LANES
// RUN: %{check}
// LANES: arrives at barriers with some lanes of a warp only, expected all
//
// Barriers count one arrival of each warp.
// REDEFINE: %{change} = 's/arith.constant 256 : i32/arith.constant 8 : i32/g'
// REDEFINE: %{expected} = COUNT
// RUN: %{check}
// COUNT: initialises the barrier at byte {{[0-9]+}} for 8 arrivals, expected 256

!queries = !sparseattn_nv.channel<128x64xbf16, stages = 2>
!keys = !sparseattn_nv.channel<64x64xbf16, stages = 2>
gpu.module @kernels {
  gpu.func @tiles(%map: !sparseattn_nv.tensor_map, %tiles: i32, %counter: i32, %nk: i32) kernel {
    %zero = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c63 = arith.constant 63 : i32
    %c64 = arith.constant 64 : i32
    %none = arith.constant -1 : i32
    %up = arith.addi %nk, %c63 : i32
    %n = arith.divui %up, %c64 : i32
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
        scf.for %i = %zero to %n step %c1 : i32 {
          %at = arith.addi %f, %i : i32
          sparseattn_nv.fill %k[%at] from %map[%zero, %i, %zero] : !keys
        }
        %a1 = arith.addi %a, %c1 : i32
        %f1 = arith.addi %f, %n : i32
        %next = sparseattn_nv.next_tile %counter of %tiles : i32
        scf.yield %next, %a1, %f1 : i32, i32, i32
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
        scf.for %i = %zero to %n step %c1 : i32 {
          %item = arith.addi %g, %i : i32
          %key = sparseattn_nv.await %k[%item] : !keys
          sparseattn_nv.release %k[%item] : !keys
        }
        sparseattn_nv.release %q[%own] : !queries
        %own1 = arith.addi %own, %c1 : i32
        %g1 = arith.addi %g, %n : i32
        scf.yield %own1, %g1 : i32, i32
      }
      sparseattn_nv.release %q[%done#1] : !queries
    }
    gpu.return
  }
}
