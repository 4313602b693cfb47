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
// What is left takes tiles on their way out, 16 rows for each warp of the consumers: all 256 columns of 8 warps would be
// 8 x 16 x 528 bytes.
// CHECK-LABEL: gpu.func @stores(
// CHECK-SAME: sparseattn_nv.shared_bytes = 231504 : i32
// CHECK: store_tile {{.*}} staging(196688) columns(128) : tensor<64x256xbf16
!wide = tensor<64x256xbf16, #sparseattn_nv.acc>
gpu.module @kernels {
  gpu.func @stores(%map: !sparseattn_nv.tensor_map, %i: i32, %out: !llvm.ptr<1>, %stride: i64) kernel {
    %q = sparseattn_nv.channel "query" : !sparseattn_nv.channel<128x256xbf16, stages = 1>
    %k = sparseattn_nv.channel "key" : !sparseattn_nv.channel<64x256xbf16, stages = 2>
    %v = sparseattn_nv.channel "value" : !sparseattn_nv.channel<64x256xbf16, stages = 2>
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %q[%i] from %map[%i, %i, %i] : !sparseattn_nv.channel<128x256xbf16, stages = 1>
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %wide = arith.constant dense<1.0> : !wide
      sparseattn_nv.release %q[%i] : !sparseattn_nv.channel<128x256xbf16, stages = 1>
      sparseattn_nv.store_tile %wide, %out row_stride(%stride) rows(%i) : !wide, !llvm.ptr<1>
    }
    gpu.return
  }
}

// -----
// A warp uses its place for one tile after the other, so that they have as many columns in it.
// CHECK-LABEL: gpu.func @two_stores(
// CHECK: store_tile {{.*}} staging(65568) columns(32) : tensor<64x128xbf16
// CHECK: store_tile {{.*}} staging(65568) columns(32) : tensor<64x96xbf16
!even = tensor<64x128xbf16, #sparseattn_nv.acc>
!odd = tensor<64x96xbf16, #sparseattn_nv.acc>
gpu.module @kernels {
  gpu.func @two_stores(%map: !sparseattn_nv.tensor_map, %i: i32, %out: !llvm.ptr<1>, %stride: i64) kernel {
    %k = sparseattn_nv.channel "key" : !sparseattn_nv.channel<64x256xbf16, stages = 2>
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %k[%i] from %map[%i, %i, %i] : !sparseattn_nv.channel<64x256xbf16, stages = 2>
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %even = arith.constant dense<1.0> : !even
      %odd = arith.constant dense<1.0> : !odd
      sparseattn_nv.release %k[%i] : !sparseattn_nv.channel<64x256xbf16, stages = 2>
      sparseattn_nv.store_tile %even, %out row_stride(%stride) rows(%i) : !even, !llvm.ptr<1>
      sparseattn_nv.store_tile %odd, %out row_stride(%stride) rows(%i) : !odd, !llvm.ptr<1>
    }
    gpu.return
  }
}

// -----
// No room for 32 columns: lanes exchange them, and a place from before goes.
// CHECK-LABEL: gpu.func @no_room(
// CHECK-SAME: sparseattn_nv.shared_bytes = 229456 : i32
// CHECK: store_tile %{{.*}}, %{{.*}} row_stride(%{{.*}}) rows(%{{.*}}) : tensor<64x64xbf16
!narrow = tensor<64x64xbf16, #sparseattn_nv.acc>
gpu.module @kernels {
  gpu.func @no_room(%map: !sparseattn_nv.tensor_map, %i: i32, %out: !llvm.ptr<1>, %stride: i64) kernel {
    %q = sparseattn_nv.channel "query" : !sparseattn_nv.channel<128x256xbf16, stages = 1>
    %k = sparseattn_nv.channel "key" : !sparseattn_nv.channel<80x256xbf16, stages = 4>
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %q[%i] from %map[%i, %i, %i] : !sparseattn_nv.channel<128x256xbf16, stages = 1>
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %narrow = arith.constant dense<1.0> : !narrow
      sparseattn_nv.release %q[%i] : !sparseattn_nv.channel<128x256xbf16, stages = 1>
      sparseattn_nv.store_tile %narrow, %out row_stride(%stride) rows(%i) staging(1024) columns(64) : !narrow, !llvm.ptr<1>
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
