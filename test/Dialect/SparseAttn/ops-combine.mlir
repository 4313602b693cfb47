// RUN: sparseattn-opt --allow-unregistered-dialect %s > %t.text
// RUN: sparseattn-opt --allow-unregistered-dialect %t.text | diff %t.text -
// RUN: sparseattn-opt --allow-unregistered-dialect %s --mlir-print-op-generic | sparseattn-opt --allow-unregistered-dialect | diff %t.text -
// RUN: sparseattn-opt --allow-unregistered-dialect %s --emit-bytecode | sparseattn-opt --allow-unregistered-dialect | diff %t.text -
// RUN: FileCheck %s < %t.text

!o = tensor<1x4x8x16xf32>
!lse = tensor<1x4x8xf32>

// CHECK-LABEL: func.func @gated_combine
func.func @gated_combine(%a: !o, %b: !o, %g: !o, %h: !lse) {
  // CHECK: sparseattn.gated_combine %{{.*}}, %{{.*}} gates(%{{.*}}, %{{.*}}) : (
  %o0 = sparseattn.gated_combine %a, %b gates(%g, %g) : (!o, !o, !o, !o) -> !o
  // CHECK: sparseattn.gated_combine %{{.*}} gates(%{{.*}}) gate(headwise) activation(none) : (
  %o1 = sparseattn.gated_combine %a gates(%h) gate(headwise) activation(none) : (!o, !lse) -> !o
  return
}

// CHECK-LABEL: func.func @lse_merge
func.func @lse_merge(%a: !o, %b: !o, %la: !lse, %lb: !lse, %sink: tensor<4xf32>, %t: tensor<9x4x16xf32>,
                     %lt: tensor<4x9xf32>) {
  // CHECK: sparseattn.lse_merge %{{.*}}, %{{.*}} lse(%{{.*}}, %{{.*}}) : (
  %o0, %l0 = sparseattn.lse_merge %a, %b lse(%la, %lb) : (!o, !o, !lse, !lse) -> (!o, !lse)
  // CHECK: lse(%{{.*}}, %{{.*}}) sink(%{{.*}})
  %o1, %l1 = sparseattn.lse_merge %a, %b lse(%la, %lb) sink(%sink)
    : (!o, !o, !lse, !lse, tensor<4xf32>) -> (!o, !lse)
  // CHECK: layout(thd)
  %o2, %l2 = sparseattn.lse_merge %t, %t lse(%lt, %lt) layout(thd)
    : (tensor<9x4x16xf32>, tensor<9x4x16xf32>, tensor<4x9xf32>, tensor<4x9xf32>) -> (tensor<9x4x16xf32>, tensor<4x9xf32>)
  return
}

// A merge may reach itself in a graph region; counting sinks must end.
// CHECK-LABEL: module @cyclic_merge
module @cyclic_merge {
  %a, %la = "test.partial"() : () -> (!o, !lse)
  // CHECK: sparseattn.lse_merge
  %o, %l = sparseattn.lse_merge %o, %a lse(%l, %la) : (!o, !o, !lse, !lse) -> (!o, !lse)
}

// CHECK-LABEL: func.func @hard_concrete_gate
func.func @hard_concrete_gate(%a: tensor<6xf32>, %u: tensor<6xf32>) {
  // CHECK: sparseattn.hard_concrete_gate %{{.*}}, %{{.*}} : (
  %g0, %p0 = sparseattn.hard_concrete_gate %a, %u : (tensor<6xf32>, tensor<6xf32>) -> (tensor<6xf32>, tensor<6xf32>)
  // CHECK: beta {{.*}} gamma {{.*}} zeta
  %g1, %p1 = sparseattn.hard_concrete_gate %a, %u beta 0.5 gamma -0.2 zeta 1.2
    : (tensor<6xf32>, tensor<6xf32>) -> (tensor<6xf32>, tensor<6xf32>)
  return
}
