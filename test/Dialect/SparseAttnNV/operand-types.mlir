// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// Result types are inferred before operands are verified: a wrong operand is an error there already.

func.func @reduce(%x: tensor<f32>) {
  // expected-error@+1 {{expected a tensor with encoding #sparseattn_nv.acc, found 'tensor<f32>'}}
  %r = sparseattn_nv.reduce max %x : tensor<f32>
  return
}

// -----
func.func @to_operand(%x: tensor<4xbf16>) {
  // expected-error@+1 {{expected a tensor with encoding #sparseattn_nv.acc, found 'tensor<4xbf16>'}}
  %r = sparseattn_nv.to_operand %x : tensor<4xbf16>
  return
}

// -----
func.func @combine(%x: tensor<64xf32, #sparseattn_nv.row>) {
  // expected-error@+1 {{expected a tensor with encoding #sparseattn_nv.row_partial, found 'tensor<64xf32, #sparseattn_nv.row>'}}
  %r = sparseattn_nv.combine %x : tensor<64xf32, #sparseattn_nv.row>
  return
}

// -----
func.func @wait(%x: i32) {
  // expected-error@+1 {{expected pending accumulators, found 'i32'}}
  %r = sparseattn_nv.wait %x outstanding(0) : i32
  return
}

// -----
func.func @dot(%x: i32, %b: !sparseattn_nv.tile<64x64xbf16>) {
  // expected-error@+1 {{operand #0 must be a tile in shared memory or tensor with encoding #sparseattn_nv.operand, but got 'i32'}}
  %p = sparseattn_nv.dot %x, %b : i32, !sparseattn_nv.tile<64x64xbf16>
  return
}
