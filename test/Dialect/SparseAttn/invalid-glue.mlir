// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One function for each numbered constraint, named after it.
func.func @rope_c1(%x: tensor<4x8x16xf32>) {
  // expected-error@+1 {{(C1) expected input of rank 4 for layout bhsd, found rank 3}}
  %y = sparseattn.rope %x dims 16 : (tensor<4x8x16xf32>) -> tensor<4x8x16xf32>
  return
}

// -----
func.func @rope_c1_layout(%x: tensor<8x4x16xf32>) {
  // expected-error@+1 {{(C1) expected layout bhsd or bshd, found thd}}
  %y = sparseattn.rope %x dims 16 layout(thd) : (tensor<8x4x16xf32>) -> tensor<8x4x16xf32>
  return
}

// -----
func.func @rope_c2(%x: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C2) expected an even dims in [2, head dimension], found 15 for input 'tensor<1x4x8x16xf32>'}}
  %y = sparseattn.rope %x dims 15 : (tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @rope_c2_large(%x: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C2) expected an even dims in [2, head dimension], found 18 for input 'tensor<1x4x8x16xf32>'}}
  %y = sparseattn.rope %x dims 18 : (tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @rope_c5(%x: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C5) expected stride >= 1, found 0}}
  %y = sparseattn.rope %x dims 16 stride 0 : (tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----

func.func @rope_c3(%x: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C3) expected a finite positive base, found -1}}
  %y = sparseattn.rope %x dims 16 base -1.0 : (tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @rope_c4(%x: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C4) expected result #0 of type 'tensor<1x4x8x16xf32>', found 'tensor<1x4x8x8xf32>'}}
  %y = sparseattn.rope %x dims 16 : (tensor<1x4x8x16xf32>) -> tensor<1x4x8x8xf32>
  return
}

// -----
func.func @rms_norm_c1(%x: tensor<1x4x8x16xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{(C1) expected weight of shape [16], found [8]}}
  %y = sparseattn.rms_norm %x weight(%w) : (tensor<1x4x8x16xf32>, tensor<8xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @rms_norm_c1_scalar(%x: tensor<f32>) {
  // expected-error@+1 {{(C1) expected an input of rank at least 1}}
  %y = sparseattn.rms_norm %x : (tensor<f32>) -> tensor<f32>
  return
}

// -----
func.func @rms_norm_c2(%x: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C2) expected a finite eps >= 0, found -1}}
  %y = sparseattn.rms_norm %x eps -1.0 : (tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @rms_norm_c3(%x: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C3) expected result #0 of type 'tensor<1x4x8x16xf32>', found 'tensor<1x4x8x16xf16>'}}
  %y = sparseattn.rms_norm %x : (tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf16>
  return
}

// -----
func.func @extern_c1() {
  // expected-error@+1 {{(C1) expected the name of a framework operation, found an empty string}}
  sparseattn.extern ""() : () -> ()
  return
}
