// RUN: sparseattn-opt %s -split-input-file --sparseattn-extract-layers -verify-diagnostics -o /dev/null

func.func @loop(%q: tensor<1x2x8x16xf32>, %k: tensor<1x1x8x16xf32>, %n: index) -> tensor<1x2x8x16xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%x = %q) -> tensor<1x2x8x16xf32> {
    // expected-remark @below {{stays in 'loop': attention inside a region of another operation is not extracted}}
    %o = sparseattn.attention %x, %k, %k keys(#sparseattn.causal)
      : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
    scf.yield %o : tensor<1x2x8x16xf32>
  }
  return %r : tensor<1x2x8x16xf32>
}

// -----

func.func @disagrees(%q: tensor<1x2x8x16xf32>, %k: tensor<1x1x8x16xf32>, %v: tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32> {
  // expected-note @below {{layer 0, the source by data flow}}
  %o0 = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {layer = 0 : i64}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
  // expected-error @below {{kv_source}}
  // expected-note @below {{layer 1, the stated source}}
  %o1 = sparseattn.attention %o0, %k, %v keys(#sparseattn.causal) {layer = 1 : i64, kv_source = 1 : i64}
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
  return %o1 : tensor<1x2x8x16xf32>
}
