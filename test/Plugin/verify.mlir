// RUN: %mlir_opt --load-dialect-plugin=%plugin --verify-diagnostics %s

func.func @heads(%q: tensor<1x4x8x16xf32>, %k: tensor<1x3x8x16xf32>) {
  // expected-error@+1 {{(C5) expected the number of query heads to be a positive multiple}}
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x3x8x16xf32>, tensor<1x3x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}
