// RUN: sparseattn-opt %s --convert-sparseattn-to-scf --canonicalize --split-input-file | FileCheck %s

// Angles are f64; one sine and cosine serves all heads of a token.

// CHECK-LABEL: func @rope
func.func @rope(%x: tensor<2x4x50x24xbf16>, %o: index) -> tensor<2x4x50x24xbf16> {
  // CHECK: scf.parallel
  // CHECK: math.cos {{.*}} : f64
  // CHECK: scf.for
  // CHECK: scf.for
  // CHECK-COUNT-2: memref.store
  // CHECK-NOT: sparseattn.
  %r = sparseattn.rope %x dims 16 q_offset(%o) : (tensor<2x4x50x24xbf16>, index) -> tensor<2x4x50x24xbf16>
  return %r : tensor<2x4x50x24xbf16>
}

// -----

// CHECK-LABEL: func @norm
func.func @norm(%x: tensor<2x50x24xf32>, %w: tensor<24xf32>) -> tensor<2x50x24xf32> {
  // CHECK: math.sqrt
  // CHECK-NOT: sparseattn.
  %r = sparseattn.rms_norm %x weight(%w) : (tensor<2x50x24xf32>, tensor<24xf32>) -> tensor<2x50x24xf32>
  return %r : tensor<2x50x24xf32>
}

// -----

// A bridge projects into new buffers; a share is no operation at all.

// CHECK-LABEL: func @edges
func.func @edges(%h: tensor<2x50x64xbf16>, %wk: tensor<64x32xbf16>, %wv: tensor<64x16xbf16>)
    -> (tensor<2x50x2x16xbf16>, tensor<2x50x2x8xbf16>) {
  // CHECK: %[[K:.*]] = memref.alloc() : memref<2x50x2x16xbf16>
  // CHECK: %[[V:.*]] = memref.alloc() : memref<2x50x2x8xbf16>
  // CHECK-NOT: memref.alloc
  // CHECK-NOT: sparseattn.
  %k, %v = sparseattn.kv_bridge %h, %wk, %wv source_layer 3 kv_heads 2 layout(bshd)
    : (tensor<2x50x64xbf16>, tensor<64x32xbf16>, tensor<64x16xbf16>) -> (tensor<2x50x2x16xbf16>, tensor<2x50x2x8xbf16>)
  %sk, %sv = sparseattn.kv_share %k, %v from 3 : tensor<2x50x2x16xbf16>, tensor<2x50x2x8xbf16>
  return %sk, %sv : tensor<2x50x2x16xbf16>, tensor<2x50x2x8xbf16>
}
