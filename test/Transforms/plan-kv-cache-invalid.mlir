// RUN: sparseattn-opt %s --sparseattn-plan-kv-cache --split-input-file --verify-diagnostics
// RUN: not sparseattn-opt %s --sparseattn-plan-kv-cache="length=0" 2>&1 | FileCheck %s --check-prefix=LENGTH
// RUN: not sparseattn-opt %s --sparseattn-plan-kv-cache="dtype=float8" 2>&1 | FileCheck %s --check-prefix=DTYPE
// RUN: not sparseattn-opt %s --sparseattn-plan-kv-cache="length=8 batch=1 dtype=i8" 2>&1 | FileCheck %s --check-prefix=INT
// RUN: not sparseattn-opt %s --sparseattn-plan-kv-cache="length=4611686018427387904 batch=1" 2>&1 | FileCheck %s --check-prefix=BIG

// LENGTH: error: expected length and batch of at least 1, found length=0 and batch=-1
// DTYPE: error: expected dtype to be an element type such as bf16 or f8E4M3FN, found 'float8'
// INT: error: {{.*}}expected a cache dtype of f32, f16, bf16 or an 8-bit float, found 'i8'
// BIG: error: the bytes of the KV caches do not fit 64 bits; plan for fewer tokens or sequences

func.func @dynamic_length(%q: tensor<1x4x1x32xf32>, %k: tensor<1x2x?x32xf32>) -> tensor<1x4x1x32xf32> {
  // expected-error @below {{the number of keys of 'tensor<1x2x?x32xf32>' is dynamic: give the context length to plan for, option length=<tokens>}}
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.causal)
    : (tensor<1x4x1x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>) -> tensor<1x4x1x32xf32>
  return %o : tensor<1x4x1x32xf32>
}

// -----

func.func @dynamic_batch(%q: tensor<?x4x1x32xf32>, %k: tensor<?x2x8x32xf32>) -> tensor<?x4x1x32xf32> {
  // expected-error @below {{the batch size of 'tensor<?x2x8x32xf32>' is dynamic: give the number of sequences to plan for, option batch=<n>}}
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.causal)
    : (tensor<?x4x1x32xf32>, tensor<?x2x8x32xf32>, tensor<?x2x8x32xf32>) -> tensor<?x4x1x32xf32>
  return %o : tensor<?x4x1x32xf32>
}

// -----

func.func @dynamic_heads(%q: tensor<1x4x1x32xf32>, %k: tensor<1x?x8x32xf32>) -> tensor<1x4x1x32xf32> {
  // expected-error @below {{expected a static number of KV heads and a static head dimension to plan a cache}}
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.causal)
    : (tensor<1x4x1x32xf32>, tensor<1x?x8x32xf32>, tensor<1x?x8x32xf32>) -> tensor<1x4x1x32xf32>
  return %o : tensor<1x4x1x32xf32>
}
