// RUN: sparseattn-opt %s --sparseattn-nv-plan-smem -split-input-file -verify-diagnostics | FileCheck %s

// Slots in the order of the channels, then a full and an empty barrier for each slot.
// CHECK-LABEL: gpu.func @fits()
// CHECK-SAME: sparseattn_nv.shared_bytes = 213072 : i32
// CHECK: channel "query" offset(0) barriers(212992)
// CHECK: channel "key" offset(32768) barriers(213008)
// CHECK: channel "value" offset(122880) barriers(213040)
gpu.module @kernels {
  gpu.func @fits() kernel {
    %q = sparseattn_nv.channel "query" : !sparseattn_nv.channel<128x128xbf16, stages = 1>
    %k = sparseattn_nv.channel "key" : !sparseattn_nv.channel<176x128xbf16, stages = 2>
    %v = sparseattn_nv.channel "value" : !sparseattn_nv.channel<176x128xbf16, stages = 2>
    gpu.return
  }
}

// -----
gpu.module @kernels {
  // expected-error@+1 {{needs 278640 bytes of shared memory, 46192 more than the 232448 that a block can have; use fewer stages or smaller tiles}}
  gpu.func @too_large() kernel {
    // expected-note@+1 {{channel query: 1 x 32768 bytes}}
    %q = sparseattn_nv.channel "query" : !sparseattn_nv.channel<128x128xbf16, stages = 1>
    // expected-note@+1 {{channel key: 3 x 40960 bytes}}
    %k = sparseattn_nv.channel "key" : !sparseattn_nv.channel<160x128xbf16, stages = 3>
    // expected-note@+1 {{channel without name: 3 x 40960 bytes}}
    %v = sparseattn_nv.channel : !sparseattn_nv.channel<160x128xbf16, stages = 3>
    gpu.return
  }
}

// -----
// Numbers lie behind the barriers of the channel that has some: 8 bytes for each slot.
// CHECK-LABEL: gpu.func @numbers(
// CHECK-SAME: sparseattn_nv.shared_bytes = 65648 : i32
// CHECK: channel "query" offset(0) barriers(65536)
// CHECK: channel "key" offset(32768) barriers(65584)
// CHECK: channel "value" offset(49152) barriers(65616)
gpu.module @kernels {
  gpu.func @numbers(%map: !sparseattn_nv.tensor_map, %i: i32) kernel {
    %q = sparseattn_nv.channel "query" : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    %k = sparseattn_nv.channel "key" : !sparseattn_nv.channel<64x64xbf16, stages = 2>
    %v = sparseattn_nv.channel "value" : !sparseattn_nv.channel<64x64xbf16, stages = 2>
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.post %q[%i], %i : !sparseattn_nv.channel<128x64xbf16, stages = 2>
      sparseattn_nv.fill %q[%i] from %map[%i, %i, %i] : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %n = sparseattn_nv.take %q[%i] : !sparseattn_nv.channel<128x64xbf16, stages = 2> -> i32
      sparseattn_nv.release %q[%i] : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    }
    gpu.return
  }
}

// -----
// A kernel without channels needs no shared memory.
// CHECK-LABEL: gpu.func @none()
// CHECK-NOT: shared_bytes
gpu.module @kernels {
  gpu.func @none() kernel {
    gpu.return
  }
}
