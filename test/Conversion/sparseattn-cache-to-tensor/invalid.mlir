// RUN: sparseattn-opt %s --convert-sparseattn-cache-to-tensor --allow-unregistered-dialect --split-input-file --verify-diagnostics

!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 1, length = 16, key_dim = 8, value_dim = 8, dtype = f8E4M3FN>
// expected-error @+1 {{cannot be executed on the CPU: expected a cache with dtype f32, f16 or bf16, found 'f8E4M3FN'; give the cache one of those for the CPU}}
func.func @narrow(%c: !cache) -> !cache {
  return %c : !cache
}

// -----

!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 1, length = 16, key_dim = 8, value_dim = 8, dtype = f8E5M2>
func.func @made(%k: tensor<1x1x3x8xf32>, %p: index) {
  // expected-error @+1 {{cannot be executed on the CPU: expected a cache with dtype f32, f16 or bf16, found 'f8E5M2'}}
  %c = sparseattn.kv_cache.create : !cache
  %c1 = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, tensor<1x1x3x8xf32>, tensor<1x1x3x8xf32>, index) -> !cache
  return
}

// -----

!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 1, length = 16, key_dim = 8, value_dim = 8, dtype = f32>
func.func @fused(%c: !cache, %k: tensor<1x1x8x8xf32>, %p: index) -> tensor<1x1x2x8xf32> {
  // expected-error @+2 {{appends and summarizes in one: run sparseattn-decompose first}}
  // expected-error @+1 {{failed to legalize operation 'sparseattn.kv_cache.append'}}
  %c1, %s = sparseattn.kv_cache.append %c, %k, %k at %p summarize <block = 4, stride = 4, mode = mean>
    : (!cache, tensor<1x1x8x8xf32>, tensor<1x1x8x8xf32>, index) -> (!cache, tensor<1x1x2x8xf32>)
  return %s : tensor<1x1x2x8xf32>
}

// -----

!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 1, length = 16, key_dim = 8, value_dim = 8, dtype = f32>
func.func @elsewhere(%c: !cache) {
  // expected-error @+1 {{failed to legalize operation 'test.keep'}}
  "test.keep"(%c) : (!cache) -> ()
  return
}
