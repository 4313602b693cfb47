// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One function for each numbered constraint, named after it.
func.func @gated_combine_c1() {
  // expected-error@+1 {{(C1) expected one gate per input and at least one input, found 0 inputs and 0 gates}}
  %o = "sparseattn.gated_combine"() : () -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @gated_combine_c2(%a: tensor<1x4x8x16xf32>, %b: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C2) expected input of shape [1,4,8,16], found [1,2,8,16]}}
  %o = sparseattn.gated_combine %a, %b gates(%a, %a) : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @gated_combine_c2_type(%a: tensor<1x4x8x16xf32>, %b: tensor<1x4x8x16xf16>) {
  // expected-error@+1 {{(C2) expected one element type, found 'f32' and 'f16'}}
  %o = sparseattn.gated_combine %a, %b gates(%a, %a) : (tensor<1x4x8x16xf32>, tensor<1x4x8x16xf16>, tensor<1x4x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @gated_combine_c3(%a: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C3) expected gate of shape [1,4,8], found [1,4,8,16]}}
  %o = sparseattn.gated_combine %a gates(%a) gate(headwise) : (tensor<1x4x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @gated_combine_c3_scalar(%a: tensor<f32>) {
  // expected-error@+1 {{(C3) head-wise gates need inputs of rank at least 1}}
  %o = sparseattn.gated_combine %a gates(%a) gate(headwise) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  return
}

// -----
func.func @gated_combine_c4(%a: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C4) expected result #0 of type 'tensor<1x4x8x16xf32>', found 'tensor<1x4x8x16xf16>'}}
  %o = sparseattn.gated_combine %a gates(%a) : (tensor<1x4x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf16>
  return
}

// -----
func.func @lse_merge_c1(%a: tensor<1x4x8x16xf32>, %l0: tensor<1x4x8xf32>) {
  // expected-error@+1 {{(C1) expected one lse per output and at least one output, found 2 outputs and 1 lses}}
  %o, %l = sparseattn.lse_merge %a, %a lse(%l0) : (tensor<1x4x8x16xf32>, tensor<1x4x8x16xf32>, tensor<1x4x8xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  return
}

// -----
func.func @lse_merge_c2(%a: tensor<1x4x8x16xf32>, %b: tensor<1x4x8x8xf32>, %l0: tensor<1x4x8xf32>) {
  // expected-error@+1 {{(C2) expected output of shape [1,4,8,16], found [1,4,8,8]}}
  %o, %l = sparseattn.lse_merge %a, %b lse(%l0, %l0) : (tensor<1x4x8x16xf32>, tensor<1x4x8x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  return
}

// -----
func.func @lse_merge_c3(%a: tensor<1x4x8x16xf32>, %l0: tensor<1x8x4xf32>) {
  // expected-error@+1 {{(C3) expected lse of shape [1,4,8], found [1,8,4]}}
  %o, %l = sparseattn.lse_merge %a lse(%l0) : (tensor<1x4x8x16xf32>, tensor<1x8x4xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  return
}

// -----
func.func @lse_merge_c4(%a: tensor<1x4x8x16xf32>, %l0: tensor<1x4x8xf32>, %s: tensor<8xf32>) {
  // expected-error@+1 {{(C4) expected sink of shape [4], found [8]}}
  %o, %l = sparseattn.lse_merge %a lse(%l0) sink(%s) : (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>, tensor<8xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  return
}

// -----
func.func @lse_merge_c5(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %s: tensor<4xf32>) {
  %a, %la = sparseattn.attention %q, %k, %k keys(#sparseattn.window<4>) sink(%s) return_lse
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<4xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  %b, %lb = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) return_lse : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  // expected-error@+1 {{(C5) expected the sink to be added once, found it in 2 places}}
  %o, %l = sparseattn.lse_merge %a, %b lse(%la, %lb) sink(%s) : (tensor<1x4x8x16xf32>, tensor<1x4x8x16xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<4xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  return
}

// -----
func.func @lse_merge_c5_nested(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %m: tensor<1x2x2x16xf32>, %s: tensor<4xf32>) {
  %a, %la = sparseattn.routed_attention %q, %k, %k summary(%m) block 4 routing_scale 1.0 sink(%s) return_lse
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x2x16xf32>, tensor<4xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  %b, %lb = sparseattn.lse_merge %a lse(%la) : (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  // expected-error@+1 {{(C5) expected the sink to be added once, found it in 2 places}}
  %o, %l = sparseattn.lse_merge %b lse(%lb) sink(%s) : (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>, tensor<4xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>)
  return
}

// -----
func.func @lse_merge_c6(%a: tensor<1x4x8x16xf32>, %l0: tensor<1x4x8xf32>) {
  // expected-error@+1 {{(C6) expected result #0 of type 'tensor<1x4x8x16xf32>', found 'tensor<1x4x8x8xf32>'}}
  %o, %l = sparseattn.lse_merge %a lse(%l0) : (tensor<1x4x8x16xf32>, tensor<1x4x8xf32>) -> (tensor<1x4x8x8xf32>, tensor<1x4x8xf32>)
  return
}

// -----
func.func @hard_concrete_gate_c1(%a: tensor<6xf32>, %u: tensor<5xf32>) {
  // expected-error@+1 {{(C1) expected noise of shape [6], found [5]}}
  %g, %p = sparseattn.hard_concrete_gate %a, %u : (tensor<6xf32>, tensor<5xf32>) -> (tensor<6xf32>, tensor<6xf32>)
  return
}

// -----
func.func @hard_concrete_gate_c2(%a: tensor<6xf32>, %u: tensor<6xf32>) {
  // expected-error@+1 {{(C2) expected beta > 0, gamma < 0 and zeta > 1, found 0.000000e+00, -1.000000e-01 and 1.100000e+00}}
  %g, %p = sparseattn.hard_concrete_gate %a, %u beta 0.0 : (tensor<6xf32>, tensor<6xf32>) -> (tensor<6xf32>, tensor<6xf32>)
  return
}

// -----
func.func @hard_concrete_gate_c3(%a: tensor<6xf32>, %u: tensor<6xf32>) {
  // expected-error@+1 {{(C3) expected result #0 of type 'tensor<6xf32>', found 'tensor<5xf32>'}}
  %g, %p = sparseattn.hard_concrete_gate %a, %u : (tensor<6xf32>, tensor<6xf32>) -> (tensor<5xf32>, tensor<6xf32>)
  return
}
