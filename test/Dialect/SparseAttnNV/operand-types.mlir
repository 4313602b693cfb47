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

// -----
func.func @post(%p: i32) {
  // expected-error@+1 {{operand #0 must be ring of tiles from the producer to all consumers, but got 'i32'}}
  sparseattn_nv.post %p[%p], %p : i32
  return
}

// -----
func.func @rescale(%x: tensor<64x16xf32, #sparseattn_nv.acc>, %f: tensor<64xf32, #sparseattn_nv.row_partial>) {
  // expected-error@+1 {{operand #1 must be}}
  %r = sparseattn_nv.rescale %x, %f : tensor<64x16xf32, #sparseattn_nv.acc>, tensor<64xf32, #sparseattn_nv.row_partial>
  return
}
