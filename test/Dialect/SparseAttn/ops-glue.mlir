// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --emit-bytecode | sparseattn-opt | diff %t.text -
// RUN: FileCheck %s < %t.text

!x = tensor<1x4x8x16xf32>

// CHECK-LABEL: func.func @rope
func.func @rope(%x: !x, %y: tensor<1x8x4x16xf16>, %offset: index) {
  // CHECK: sparseattn.rope %{{.*}} dims 16 : (
  %r0 = sparseattn.rope %x dims 16 : (!x) -> !x
  // CHECK: dims 8 base {{.*}} inverse interleaved tail q_offset(%{{.*}}) :
  %r1 = sparseattn.rope %x dims 8 base 1000000.0 inverse interleaved tail q_offset(%offset) : (!x, index) -> !x
  // CHECK: layout(bshd)
  %r2 = sparseattn.rope %y dims 16 layout(bshd) : (tensor<1x8x4x16xf16>) -> tensor<1x8x4x16xf16>
  return
}

// CHECK-LABEL: func.func @rms_norm
func.func @rms_norm(%x: !x, %w: tensor<16xf32>) {
  // CHECK: sparseattn.rms_norm %{{.*}} : (
  %n0 = sparseattn.rms_norm %x : (!x) -> !x
  // CHECK: sparseattn.rms_norm %{{.*}} weight(%{{.*}}) eps
  %n1 = sparseattn.rms_norm %x weight(%w) eps 1.0e-5 : (!x, tensor<16xf32>) -> !x
  return
}

// CHECK-LABEL: func.func @extern
func.func @extern(%x: !x, %n: i64) -> !x {
  // CHECK: sparseattn.extern "aten.arange.default"() : () -> tensor<8xi64>
  %e0 = sparseattn.extern "aten.arange.default"() : () -> tensor<8xi64>
  // CHECK: sparseattn.extern "aten.mul.Tensor"(%{{.*}}, %{{.*}}) {fx = "mul_3"} : (tensor<1x4x8x16xf32>, i64) -> (tensor<1x4x8x16xf32>, i1)
  %e1:2 = sparseattn.extern "aten.mul.Tensor"(%x, %n) {fx = "mul_3"} : (!x, i64) -> (!x, i1)
  return %e1#0 : !x
}
