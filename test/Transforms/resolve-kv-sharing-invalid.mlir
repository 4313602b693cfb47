// RUN: sparseattn-opt %s --sparseattn-resolve-kv-sharing --split-input-file --verify-diagnostics

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
func.func @source_disagrees(%q: !q, %k: !kv, %k1: !kv) -> (!q, !q, !q) {
  // expected-note @below {{layer 0, the source by data flow}}
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  // expected-note @below {{layer 1, the stated source}}
  %b = sparseattn.attention %q, %k1, %k1 keys(#sparseattn.causal) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  // expected-error @below {{kv_source = 1 disagrees with the data flow: layer 2 reads the keys and values of layer 0}}
  %c = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 2 : i64, kv_source = 1 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b, %c : !q, !q, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
func.func @source_without_edge(%q: !q, %k: !kv, %k1: !kv) -> (!q, !q) {
  // expected-note @below {{layer 0, the stated source}}
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  // expected-error @below {{kv_source = 0 disagrees with the data flow: layer 1 reads keys and values of its own, source 1}}
  %b = sparseattn.attention %q, %k1, %k1 keys(#sparseattn.causal) {layer = 1 : i64, kv_source = 0 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
func.func @share_disagrees(%q: !q, %k: !kv, %k1: !kv) -> (!q, !q, !q) {
  // expected-note @below {{layer 0, the source by data flow}}
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  // expected-note @below {{layer 1, the stated source}}
  %b = sparseattn.attention %q, %k1, %k1 keys(#sparseattn.causal) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  %ks, %vs = sparseattn.kv_share %k, %k from 1 : !kv, !kv
  // expected-error @below {{kv_share from = 1 disagrees with the data flow}}
  %c = sparseattn.attention %q, %ks, %vs keys(#sparseattn.causal) {layer = 2 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b, %c : !q, !q, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
func.func @keys_only(%q: !q, %k: !kv, %v: !kv, %v1: !kv) -> (!q, !q) {
  // expected-note @below {{layer 0}}
  %a = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  // expected-error @below {{layer 1 shares the keys of layer 0 but not its values; share both or project both}}
  %b = sparseattn.attention %q, %k, %v1 keys(#sparseattn.causal) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
func.func @producer_later(%q: !q, %k: !kv) -> (!q, !q) {
  // expected-note @below {{producer, layer 5}}
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 5 : i64} : (!q, !kv, !kv) -> !q
  // expected-error @below {{layer 1 reads the keys and values of layer 5, which comes first in the program}}
  %b = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
func.func @no_same_type_producer(%q: !q, %k: !kv) -> (!q, !q) {
  // expected-note @below {{producer, layer 0, with keys #sparseattn.window<32>}}
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.window<32>) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  // expected-error @below {{no producer of the same type: KV head 0 of layer 1 sees all keys, but layer 0 keeps only the last 32}}
  %b = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
func.func @narrow_head(%q: !q, %k: !kv) -> (!q, !q) {
  // expected-note @below {{producer}}
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<16>]>)
    {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  // expected-error @below {{KV head 1 of layer 1 sees 32 keys, but layer 0 keeps only the last 16}}
  %b = sparseattn.attention %q, %k, %k keys(#sparseattn.window<32>) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32>
func.func @consumer_allocated(%q: !q, %k: !kv) -> (!q, !q) {
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  // expected-error @below {{layer 1 is a consumer of layer 0 and is never allocated a cache; take a kv_cache.view}}
  %c = sparseattn.kv_cache.create {layer = 1 : i64} : !cache
  // expected-note @below {{layer 1}}
  %b = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32>
func.func @consumer_writes(%q: !q, %k: !kv, %c: !cache, %p: index) -> (!q, !cache) {
  %ks, %vs = sparseattn.kv_share %k, %k from 0 : !kv, !kv
  %a = sparseattn.attention %q, %ks, %vs keys(#sparseattn.causal) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  // expected-error @below {{appends keys shared by layer 0: a consumer layer never writes a cache}}
  %u = sparseattn.kv_cache.append %c, %ks, %vs at %p : (!cache, !kv, !kv, index) -> !cache
  return %a, %u : !q, !cache
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32>
func.func @two_writers(%q: !q, %k: !kv, %c: !cache, %d: !cache, %p: index) -> (!q, !cache, !cache) {
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 1 : i64} : (!q, !kv, !kv) -> !q
  // expected-note @below {{first writer}}
  %u = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, !kv, !kv, index) -> !cache
  // expected-error @below {{stores keys that another append stores already: expected a single writer}}
  %w = sparseattn.kv_cache.append %d, %k, %k at %p : (!cache, !kv, !kv, index) -> !cache
  return %a, %u, %w : !q, !cache, !cache
}

// -----

!q = tensor<1x4x1x32xf32>
!kv = tensor<1x2x1x32xf32>
!all = tensor<1x2x?x32xf32>
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32>
func.func @position_after_the_append(%c: !cache, %q: !q, %k: !kv, %p: index) -> (!cache, !q) {
  %one = arith.constant 1 : index
  %n = arith.addi %p, %one : index
  // expected-note @below {{append}}
  %u = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, !kv, !kv, index) -> !cache
  %k0, %v0 = sparseattn.kv_cache.read %u length %n : (!cache, index) -> (!all, !all)
  // expected-error @below {{expected the offset of layer 3's queries to be the position before the append of the cache it reads}}
  %r = sparseattn.rope %q dims 32 q_offset(%n) : (!q, index) -> !q
  // expected-note @below {{layer 3}}
  %a = sparseattn.attention %r, %k0, %v0 keys(#sparseattn.causal) {layer = 3 : i64} : (!q, !all, !all) -> !q
  return %u, %a : !cache, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
!idx = tensor<1x2x64x4xi32>
func.func @index_and_kv(%q: !q, %k: !kv, %k1: !kv) -> (!q, !q, !q) {
  // expected-note @below {{layer 0}}
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 0 : i64} : (!q, !kv, !kv) -> !q
  // expected-note @below {{layer 1}}
  %b, %i = sparseattn.attention %q, %k1, %k1 keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    select <k = 4, block = 16> {layer = 1 : i64} : (!q, !kv, !kv) -> (!q, !idx)
  // expected-error @below {{layer 2 takes its keys from layer 0 but its selection from layer 1: expected one producer for both}}
  %c = sparseattn.sparse_attention %q, %k, %k selection(%i) block 16 keys(#sparseattn.causal) {layer = 2 : i64}
    : (!q, !kv, !kv, !idx) -> !q
  return %a, %b, %c : !q, !q, !q
}

// -----

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
func.func @half_numbered(%q: !q, %k: !kv) -> (!q, !q) {
  // expected-note @below {{layer 7 is here}}
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) {layer = 7 : i64} : (!q, !kv, !kv) -> !q
  // expected-error @below {{expected a layer attribute, because other attention operations have one}}
  %b = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q
  return %a, %b : !q, !q
}
