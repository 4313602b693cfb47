// RUN: sparseattn-opt %s --convert-sparseattn-to-scf --canonicalize --split-input-file | FileCheck %s

// CHECK-LABEL: func @gated
func.func @gated(%a: tensor<2x4x50x24xbf16>, %b: tensor<2x4x50x24xbf16>, %g: tensor<2x4x50xbf16>)
    -> tensor<2x4x50x24xbf16> {
  // CHECK: scf.parallel
  // CHECK: arith.extf {{.*}} : bf16 to f32
  // CHECK: arith.truncf {{.*}} : f32 to bf16
  // CHECK-NOT: sparseattn.
  %o = sparseattn.gated_combine %a, %b gates(%g, %g) gate(headwise)
    : (tensor<2x4x50x24xbf16>, tensor<2x4x50x24xbf16>, tensor<2x4x50xbf16>, tensor<2x4x50xbf16>) -> tensor<2x4x50x24xbf16>
  return %o : tensor<2x4x50x24xbf16>
}

// -----

// Packed documents: no batch; lse stays head-major.

// CHECK-LABEL: func @merge
func.func @merge(%a: tensor<50x4x24xf32>, %l: tensor<4x50xf32>, %m: tensor<4x50xf32>, %s: tensor<4xf32>)
    -> (tensor<50x4x24xf32>, tensor<4x50xf32>) {
  // CHECK-DAG: %[[LSE:.*]] = memref.alloc() : memref<4x50xf32>
  // CHECK: scf.parallel
  // CHECK-COUNT-3: math.exp
  // CHECK: memref.store {{.*}}, %[[LSE]]
  // CHECK-NOT: sparseattn.
  %o, %r = sparseattn.lse_merge %a, %a lse(%l, %m) sink(%s) layout(thd)
    : (tensor<50x4x24xf32>, tensor<50x4x24xf32>, tensor<4x50xf32>, tensor<4x50xf32>, tensor<4xf32>)
    -> (tensor<50x4x24xf32>, tensor<4x50xf32>)
  return %o, %r : tensor<50x4x24xf32>, tensor<4x50xf32>
}

// -----

// CHECK-LABEL: func @gate
func.func @gate(%a: tensor<8xf32>, %n: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  // CHECK-COUNT-2: math.log
  // CHECK-COUNT-2: math.exp
  // CHECK-NOT: sparseattn.
  %z, %p = sparseattn.hard_concrete_gate %a, %n : (tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
  return %z, %p : tensor<8xf32>, tensor<8xf32>
}
