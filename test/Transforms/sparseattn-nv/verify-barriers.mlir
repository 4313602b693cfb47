// The lowered attention loop is right; each change of the text below breaks one rule.
//
// RUN: sparseattn-opt %s --sparseattn-nv-plan-smem --sparseattn-nv-lower-channels --sparseattn-nv-verify-barriers > %t
//
// DEFINE: %{change} =
// DEFINE: %{expected} =
// DEFINE: %{check} = sed -e %{change} %t > %t.changed && not cmp -s %t %t.changed && \
// DEFINE:   not sparseattn-opt %t.changed --sparseattn-nv-verify-barriers 2>&1 | FileCheck %s --check-prefix=%{expected}
//
// The producer always waits for odd rounds.
// REDEFINE: %{change} = 's/arith.xori/arith.ori/'
// REDEFINE: %{expected} = PARITY
// RUN: %{check}
// PARITY: waits with parity 1 for round 1 of its slot, expected 0
//
// The consumers do not wait.
// REDEFINE: %{change} = '/} else {/,$ {/try_wait/d}'
// REDEFINE: %{expected} = NOWAIT
// RUN: %{check}
// NOWAIT: names the tile at byte {{[0-9]+}}, which the warp has not waited for or has released
//
// The producer does not wait.
// REDEFINE: %{change} = '/try_wait/d'
// REDEFINE: %{expected} = OVERWRITE
// RUN: %{check}
// OVERWRITE: does not wait until its slot is empty
//
// The consumers never release.
// REDEFINE: %{change} = '/nvvm.mbarrier.arrive /d'
// REDEFINE: %{expected} = RELEASE
// RUN: %{check}
// RELEASE: breaks the protocol of barriers: consumer 0 never releases item 0 of channel in the slot at byte
//
// Nobody announces the bytes of a load.
// REDEFINE: %{change} = '/expect_tx/d'
// REDEFINE: %{expected} = BYTES
// RUN: %{check}
// BYTES: is not preceded by mbarrier.arrive.expect_tx on its own barrier
//
// The initialised barriers are not published to the copy engine, or to the other threads.
// REDEFINE: %{change} = '/nvvm.fence.mbarrier.init/d'
// REDEFINE: %{expected} = FENCE
// RUN: %{check}
// REDEFINE: %{change} = '/nvvm.barrier0/d'
// RUN: %{check}
// FENCE: initialises barriers without fence.mbarrier.init and a barrier of the block behind it
//
// Only one lane of each warp arrives.
// REDEFINE: %{change} = 's/%[0-9]* = nvvm.mbarrier.arrive %\([0-9]*\) .*/%lane\1 = nvvm.read.ptx.sreg.tid.x : i32 %mask\1 = arith.constant 31 : i32 %in\1 = arith.andi %lane\1, %mask\1 : i32 %zero\1 = arith.constant 0 : i32 %first\1 = arith.cmpi eq, %in\1, %zero\1 : i32 scf.if %first\1 { %arrived = nvvm.mbarrier.arrive %\1 : !llvm.ptr<3> -> i64 }/'
// REDEFINE: %{expected} = LANES
// RUN: %{check}
// LANES: arrives at barriers with some lanes of a warp only, expected all
//
// The block has a consumer warpgroup more than its barriers count.
// REDEFINE: %{change} = 's/array<i32: 384, 1, 1>/array<i32: 512, 1, 1>/'
// REDEFINE: %{expected} = COUNT
// RUN: %{check}
// COUNT: initialises the barrier at byte {{[0-9]+}} for 256 arrivals, expected 384
//
// Nobody passes turns, only one consumer takes them, or a barrier counts the threads of one consumer.
// REDEFINE: %{change} = '/nvvm.barrier.arrive/d'
// REDEFINE: %{expected} = TURN
// RUN: %{check}
// TURN: breaks the protocol of barriers: no role can go on: consumer 0 waits for its turn
// REDEFINE: %{change} = '/nvvm.barrier id/d'
// REDEFINE: %{expected} = UNTAKEN
// RUN: %{check}
// UNTAKEN: breaks the protocol of barriers: consumer {{[01]}} passes consumer {{[01]}} a turn before that took the last one
// REDEFINE: %{change} = 's/number_of_threads = %[a-z0-9_]*/number_of_threads = %c128_i32/'
// REDEFINE: %{expected} = THREADS
// RUN: %{check}
// THREADS: is a barrier of 128 threads, expected those of two consumers, 256

!keys = !sparseattn_nv.channel<128x64xbf16, stages = 2>
gpu.module @kernels {
  gpu.func @attention(%map: !sparseattn_nv.tensor_map, %nk: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c127 = arith.constant 127 : i32
    %c128 = arith.constant 128 : i32
    %up = arith.addi %nk, %c127 : i32
    %n = arith.divui %up, %c128 : i32
    %last = arith.subi %n, %c1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    %v = sparseattn_nv.channel "value" : !keys
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %k[%c0] from %map[%c0, %c0, %c0] : !keys
      scf.for %i = %c1 to %n step %c1 : i32 {
        %b = arith.subi %i, %c1 : i32
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
        sparseattn_nv.fill %v[%b] from %map[%c0, %c0, %c0] : !keys
      }
      sparseattn_nv.fill %v[%last] from %map[%c0, %c0, %c0] : !keys
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %next = arith.subi %c1, %wg : i32
      %begins = arith.cmpi eq, %wg, %c1 : i32
      scf.if %begins {
        sparseattn_nv.pass_turn %c0
      }
      %k0 = sparseattn_nv.await %k[%c0] : !keys
      sparseattn_nv.release %k[%c0] : !keys
      scf.for %i = %c1 to %n step %c1 : i32 {
        %b = arith.subi %i, %c1 : i32
        %ki = sparseattn_nv.await %k[%i] : !keys
        %vi = sparseattn_nv.await %v[%b] : !keys
        sparseattn_nv.take_turn %wg
        sparseattn_nv.pass_turn %next
        sparseattn_nv.release %k[%i] : !keys
        sparseattn_nv.release %v[%b] : !keys
      }
      %vl = sparseattn_nv.await %v[%last] : !keys
      sparseattn_nv.release %v[%last] : !keys
    }
    gpu.return
  }
}
