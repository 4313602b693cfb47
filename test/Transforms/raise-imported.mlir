// RUN: sparseattn-opt %s --allow-unregistered-dialect --sparseattn-raise-imported --verify-diagnostics --split-input-file | FileCheck %s

!q = tensor<1x64x4x32xf32>
!kv = tensor<1x64x2x32xf32>

// CHECK-LABEL: func @bnth
// CHECK: sparseattn.attention %arg0, %arg1, %arg1 keys(#sparseattn.full) scale 5.000000e-01 score(#sparseattn.softcap<3.000000e+01>) :
func.func @bnth(%q: tensor<1x4x64x32xf32>, %k: tensor<1x2x64x32xf32>) -> tensor<1x4x64x32xf32> {
  %0 = "stablehlo.composite"(%q, %k, %k) <{composite_attributes = {causal = false, layout = "BNTH", scale = 5.0e-01 : f64, softcap = 30.0 : f64}, name = "sparseattn.attention", version = 1 : i32}>
    : (tensor<1x4x64x32xf32>, tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>) -> tensor<1x4x64x32xf32>
  return %0 : tensor<1x4x64x32xf32>
}

// The result that leaves in cuDNN's order keeps it.
// CHECK-LABEL: func @cudnn_result_order
// CHECK: %[[O:.*]] = sparseattn.attention %arg0, %arg1, %arg1 keys(#sparseattn.full) scale 1.250000e-01 layout(bshd)
// CHECK: %[[T:.*]] = sparseattn.extern "stablehlo.transpose"(%[[O]]) {attributes = {permutation = array<i64: 0, 2, 1, 3>}}
// CHECK: return %[[T]], %[[O]]
func.func @cudnn_result_order(%q: !q, %k: !kv) -> (tensor<1x4x64x32xf32>, !q) {
  %0:2 = "stablehlo.custom_call"(%q, %k, %k) <{backend_config = "{\22cudnn_fmha_backend_config\22: {\22fmha_scale\22: 0.125, \22mask_type\22: \22NO_MASK\22, \22bmm1_dot_dimension_numbers\22: {\22lhs_batch_dimensions\22: [\220\22, \222\22]}}}", call_target_name = "__cudnn$fmhaSoftmax"}>
    : (!q, !kv, !kv) -> (tensor<1x4x64x32xf32>, tensor<0xui8>)
  %1 = "stablehlo.transpose"(%0#0) <{permutation = array<i64: 0, 2, 1, 3>}> : (tensor<1x4x64x32xf32>) -> !q
  return %0#0, %1 : tensor<1x4x64x32xf32>, !q
}

// cuDNN's mask is aligned top-left.
// CHECK-LABEL: func @cudnn_alignment
// CHECK: %[[P:.*]] = arith.constant 0 : index
// CHECK: sparseattn.attention %arg0, %arg1, %arg1 keys(#sparseattn.causal) scale 1.250000e-01 q_offset(%[[P]]) :
func.func @cudnn_alignment(%q: tensor<1x4x8x32xf32>, %k: tensor<1x2x64x32xf32>) -> tensor<1x4x8x32xf32> {
  %0:2 = "stablehlo.custom_call"(%q, %k, %k) <{backend_config = "{\22cudnn_fmha_backend_config\22: {\22fmha_scale\22: 0.125, \22mask_type\22: \22CAUSAL\22, \22sliding_window_length\22: 0, \22bmm1_dot_dimension_numbers\22: {\22lhs_batch_dimensions\22: [\220\22, \221\22]}}}", call_target_name = "__cudnn$fmhaSoftmax"}>
    : (tensor<1x4x8x32xf32>, tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>) -> (tensor<1x4x8x32xf32>, tensor<0xui8>)
  return %0#0 : tensor<1x4x8x32xf32>
}

// Data flow around attention stays; effects, symbols and regions are not glue.
// CHECK-LABEL: func @glue
// CHECK: sparseattn.extern "stablehlo.add"(%arg0, %arg0) :
// CHECK: "stablehlo.custom_call"(%{{.*}}) <{call_target_name = "print", has_side_effect = true}>
// CHECK: "stablehlo.composite"(%{{.*}}) <{decomposition = @other
// CHECK: "stablehlo.reduce"
// CHECK-NEXT: ^bb0
// CHECK-NEXT: "stablehlo.add"
func.func @glue(%x: tensor<8xf32>, %z: tensor<f32>) -> tensor<f32> {
  %0 = "stablehlo.add"(%x, %x) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %1 = "stablehlo.custom_call"(%0) <{call_target_name = "print", has_side_effect = true}> : (tensor<8xf32>) -> tensor<8xf32>
  %2 = "stablehlo.composite"(%1) <{decomposition = @other, name = "my.gelu"}> : (tensor<8xf32>) -> tensor<8xf32>
  %3 = "stablehlo.reduce"(%2, %z) <{dimensions = array<i64: 0>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %s = "stablehlo.add"(%a, %b) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    "stablehlo.return"(%s) : (tensor<f32>) -> ()
  }) : (tensor<8xf32>, tensor<f32>) -> tensor<f32>
  return %3 : tensor<f32>
}
// CHECK: func.func private @other
func.func private @other(%x: tensor<8xf32>) -> tensor<8xf32> {
  return %x : tensor<8xf32>
}

// -----

// A decomposition that something else still calls stays.
// CHECK-LABEL: func @decomposition_used
// CHECK: sparseattn.attention
// CHECK: call @f
// CHECK: func.func private @f
// CHECK-NOT: @only_g
!q = tensor<1x64x4x32xf32>
func.func @decomposition_used(%q: !q) -> (!q, !q, !q) {
  %0 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {causal = true, layout = "BTNH", scale = 1.0 : f64}, decomposition = @f, name = "sparseattn.attention", version = 1 : i32}> : (!q, !q, !q) -> !q
  %1 = call @f(%q, %q, %q) : (!q, !q, !q) -> !q
  %2 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {causal = true, layout = "BTNH", scale = 1.0 : f64}, decomposition = @g, name = "sparseattn.attention", version = 1 : i32}> : (!q, !q, !q) -> !q
  return %0, %1, %2 : !q, !q, !q
}
func.func private @f(%q: !q, %k: !q, %v: !q) -> !q { return %q : !q }
func.func private @g(%q: !q, %k: !q, %v: !q) -> !q {
  %0 = call @only_g(%q) : (!q) -> !q
  return %0 : !q
}
func.func private @only_g(%q: !q) -> !q { return %q : !q }

// -----

!q = tensor<1x64x4x32xf32>
func.func @refused_composites(%q: !q, %i: tensor<1x64x4x32xi32>) {
  // expected-remark @below {{composite 'sparseattn.routed' is not known; use sparseattn.attention}}
  %0 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {}, name = "sparseattn.routed", version = 1 : i32}> : (!q, !q, !q) -> !q
  // expected-remark @below {{the version of the composite is not known}}
  %1 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {}, name = "sparseattn.attention", version = 2 : i32}> : (!q, !q, !q) -> !q
  // expected-remark @below {{the composite has no attributes}}
  %2 = "stablehlo.composite"(%q, %q, %q) <{name = "sparseattn.attention"}> : (!q, !q, !q) -> !q
  // expected-remark @below {{expected query, key and value as the last three operands}}
  %3 = "stablehlo.composite"(%q, %q) <{composite_attributes = {}, name = "sparseattn.attention"}> : (!q, !q) -> !q
  // expected-remark @below {{layout 'NHWC' is not known; use BTNH or BNTH}}
  %4 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {layout = "NHWC"}, name = "sparseattn.attention"}> : (!q, !q, !q) -> !q
  // expected-remark @below {{attribute scale is missing}}
  %5 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {layout = "BTNH", causal = true}, name = "sparseattn.attention"}> : (!q, !q, !q) -> !q
  // expected-remark @below {{a window of 8 keys without causality has no pattern}}
  %6 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {layout = "BTNH", causal = false, scale = 1.0, window = 8 : i64}, name = "sparseattn.attention"}> : (!q, !q, !q) -> !q
  // expected-remark @below {{window is no integer of at least 1}}
  %7 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {layout = "BTNH", causal = true, scale = 1.0, window = 0 : i64}, name = "sparseattn.attention"}> : (!q, !q, !q) -> !q
  // expected-remark @below {{attribute sink is set, but there is no operand before query, key and value}}
  %8 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {layout = "BTNH", causal = true, scale = 1.0, sink = true}, name = "sparseattn.attention"}> : (!q, !q, !q) -> !q
  // expected-remark @below {{expected query, key and value of rank 4 and type f32, f16 or bf16, found tensor<1x64x4x32xi32>}}
  %9 = "stablehlo.composite"(%q, %q, %i) <{composite_attributes = {layout = "BTNH", causal = true, scale = 1.0}, name = "sparseattn.attention"}> : (!q, !q, tensor<1x64x4x32xi32>) -> !q
  // expected-remark @below {{it would be invalid: 'sparseattn.attention' op (C16) expected layer >= 0, found -1}}
  %10 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {layout = "BTNH", causal = true, scale = 1.0, layer = -1 : i64}, name = "sparseattn.attention"}> : (!q, !q, !q) -> !q
  // expected-remark @below {{softcap is no finite positive number}}
  %11 = "stablehlo.composite"(%q, %q, %q) <{composite_attributes = {layout = "BTNH", causal = true, scale = 1.0, softcap = -1.0}, name = "sparseattn.attention"}> : (!q, !q, !q) -> !q
  return
}

// -----

!q = tensor<1x64x4x32xf32>
!o = tensor<1x4x64x32xf32>
func.func @refused_calls(%q: !q, %n: tensor<1xi32>) -> tensor<0xui8> {
  // expected-remark @below {{only the forward call without bias is known, found '__cudnn$fmhaScaleBiasSoftmax'}}
  %0:2 = "stablehlo.custom_call"(%q, %q, %q) <{backend_config = "{}", call_target_name = "__cudnn$fmhaScaleBiasSoftmax"}> : (!q, !q, !q) -> (!o, tensor<0xui8>)
  // expected-remark @below {{backend_config is no string}}
  %1:2 = "stablehlo.custom_call"(%q, %q, %q) <{call_target_name = "__cudnn$fmhaSoftmax"}> : (!q, !q, !q) -> (!o, tensor<0xui8>)
  // expected-remark @below {{backend_config is no JSON}}
  %2:2 = "stablehlo.custom_call"(%q, %q, %q) <{backend_config = "{", call_target_name = "__cudnn$fmhaSoftmax"}> : (!q, !q, !q) -> (!o, tensor<0xui8>)
  // expected-remark @below {{backend_config has no cudnn_fmha_backend_config}}
  %3:2 = "stablehlo.custom_call"(%q, %q, %q) <{backend_config = "[1]", call_target_name = "__cudnn$fmhaSoftmax"}> : (!q, !q, !q) -> (!o, tensor<0xui8>)
  // expected-remark @below {{paged attention reads page tables at run time}}
  %4:2 = "stablehlo.custom_call"(%q, %q, %q) <{backend_config = "{\22cudnn_fmha_backend_config\22: {\22is_paged_attention\22: true}}", call_target_name = "__cudnn$fmhaSoftmax"}> : (!q, !q, !q) -> (!o, tensor<0xui8>)
  // expected-remark @below {{dropout is on; export for inference, with dropout_rate 0}}
  %5:2 = "stablehlo.custom_call"(%q, %q, %q) <{backend_config = "{\22cudnn_fmha_backend_config\22: {\22dropout_rate\22: 0.1}}", call_target_name = "__cudnn$fmhaSoftmax"}> : (!q, !q, !q) -> (!o, tensor<0xui8>)
  // expected-remark @below {{mask PADDING_CAUSAL reads sequence lengths at run time; pass a valid_range}}
  %6:2 = "stablehlo.custom_call"(%q, %q, %q, %n, %n) <{backend_config = "{\22cudnn_fmha_backend_config\22: {\22fmha_scale\22: 1, \22mask_type\22: \22PADDING_CAUSAL\22, \22bmm1_dot_dimension_numbers\22: {\22lhs_batch_dimensions\22: [\220\22, \222\22]}}}", call_target_name = "__cudnn$fmhaSoftmax"}> : (!q, !q, !q, tensor<1xi32>, tensor<1xi32>) -> (!o, tensor<0xui8>)
  // expected-remark @below {{the layout is not stated in a known form}}
  %7:2 = "stablehlo.custom_call"(%q, %q, %q) <{backend_config = "{\22cudnn_fmha_backend_config\22: {\22fmha_scale\22: 1}}", call_target_name = "__cudnn$fmhaSoftmax"}> : (!q, !q, !q) -> (!o, tensor<0xui8>)
  // expected-remark @below {{a result other than the output is used}}
  %8:2 = "stablehlo.custom_call"(%q, %q, %q) <{backend_config = "{\22cudnn_fmha_backend_config\22: {\22fmha_scale\22: 1, \22bmm1_dot_dimension_numbers\22: {\22lhs_batch_dimensions\22: [0, 2]}}}", call_target_name = "__cudnn$fmhaSoftmax"}> : (!q, !q, !q) -> (!o, tensor<0xui8>)
  // expected-remark @below {{it would be invalid: 'sparseattn.attention' op (C15)}}
  %9:2 = "stablehlo.custom_call"(%q, %q, %q) <{backend_config = "{\22cudnn_fmha_backend_config\22: {\22fmha_scale\22: 1, \22bmm1_dot_dimension_numbers\22: {\22lhs_batch_dimensions\22: [0, 2]}}}", call_target_name = "__cudnn$fmhaSoftmax"}> : (!q, !q, !q) -> (!q, tensor<0xui8>)
  return %8#1 : tensor<0xui8>
}
