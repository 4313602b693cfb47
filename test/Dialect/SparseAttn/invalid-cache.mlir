// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One function for each numbered constraint, named after it.
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_create_c1() {
  // expected-error@+1 {{(C1) expected a cache with access owner; a consumer layer takes a kv_cache.view}}
  %c = sparseattn.kv_cache.create : !view
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_create_c2() {
  // expected-error@+1 {{(C2) expected layer >= 0, found -1}}
  %c = sparseattn.kv_cache.create {layer = -1 : i64} : !cache
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_append_c1(%c: !view, %k: !kv, %p: index) {
  // expected-error@+1 {{(C1) expected a cache with access owner, found a read_only view: a consumer layer never writes the cache of its producer}}
  %n = sparseattn.kv_cache.append %c, %k, %k at %p : (!view, !kv, !kv, index) -> !view
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_append_c2(%c: !cache, %k: !kv, %p: index, %v: tensor<1x2x4x8xf32>) {
  // expected-error@+1 {{(C2) expected value of shape [1,2,4,16], found [1,2,4,8]}}
  %n = sparseattn.kv_cache.append %c, %k, %v at %p : (!cache, !kv, tensor<1x2x4x8xf32>, index) -> !cache
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_append_c3(%c: !cache, %k: tensor<1x2x4x16xf16>, %p: index) {
  // expected-error@+1 {{(C3) expected elements of the cache's dtype 'f32', found 'f16'}}
  %n = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, tensor<1x2x4x16xf16>, tensor<1x2x4x16xf16>, index) -> !cache
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_append_c4(%c: !cache, %k: !kv, %p: index) {
  // expected-error@+1 {{(C4) expected a result of type}}
  %n = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, !kv, !kv, index) -> !view
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_append_c5(%c: !cache, %k: !kv, %p: index) {
  // expected-note@+3 {{other append}}
  // expected-error@+1 {{(C5) expected a single writer of the cache; append to the result of the earlier append instead}}
  %n0 = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, !kv, !kv, index) -> !cache
  %n1 = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, !kv, !kv, index) -> !cache
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_append_c6(%c: !cache, %k: !kv, %p: index) {
  // expected-error@+1 {{(C6) summarize mode learned_query needs summary_query}}
  %n, %s = sparseattn.kv_cache.append %c, %k, %k at %p summarize <block = 4, stride = 4, mode = learned_query>
    : (!cache, !kv, !kv, index) -> (!cache, tensor<1x2x1x16xf32>)
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_append_c6_result(%c: !cache, %k: !kv, %p: index) {
  // expected-error@+1 {{(C6) expected a second result, the summaries}}
  %n = sparseattn.kv_cache.append %c, %k, %k at %p summarize <block = 4, stride = 4, mode = mean>
    : (!cache, !kv, !kv, index) -> !cache
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_read_c1(%c: !cache, %n: index) {
  // expected-error@+1 {{(C1) expected key of shape [1,2,?,16], found [1,4,?,16]}}
  %k, %v = sparseattn.kv_cache.read %c length %n : (!cache, index) -> (tensor<1x4x?x16xf32>, tensor<1x2x?x16xf32>)
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_read_c2(%c: !cache, %n: index) {
  // expected-error@+1 {{(C2) expected elements of the cache's dtype 'f32', found 'bf16'}}
  %k, %v = sparseattn.kv_cache.read %c length %n : (!cache, index) -> (tensor<1x2x?x16xbf16>, tensor<1x2x?x16xbf16>)
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_read_c3(%c: !ring, %n: index, %q: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C3) KV head 0 keeps the last 4 tokens, but its reader's pattern #sparseattn.window<8> sees more; state the window on the attention, it is never taken from the cache}}
  %k, %v = sparseattn.kv_cache.read %c length %n : (!ring, index) -> (tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>)
  // expected-note@+1 {{reader}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.window<8>)
    : (tensor<1x4x8x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_read_c3_full(%c: !ring, %n: index, %q: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C3) KV head 1 keeps the last 4 tokens}}
  %k, %v = sparseattn.kv_cache.read %c length %n : (!ring, index) -> (tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>)
  // expected-note@+1 {{reader}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.head_table<[#sparseattn.window<4>, #sparseattn.causal]>)
    : (tensor<1x4x8x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_view_c1(%c: !cache) {
  // expected-error@+1 {{(C1) expected a result of type}}
  %v = sparseattn.kv_cache.view %c : (!cache) -> !cache
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_cache_view_c2(%c: !cache) {
  // expected-error@+1 {{(C2) expected layer >= 0, found -1}}
  %v = sparseattn.kv_cache.view %c {layer = -1 : i64} : (!cache) -> !view
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_share_c1(%k: !kv) {
  // expected-error@+1 {{(C1) expected producer >= 0, found -1}}
  %a, %b = sparseattn.kv_share %k, %k from -1 : !kv, !kv
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_share_c2(%q: tensor<1x4x4x16xf32>, %k: !kv) {
  // expected-error@+1 {{(C2) expected consumers after layer 3, found layer 3: the producer comes first}}
  %a, %b = sparseattn.kv_share %k, %k from 3 : !kv, !kv
  // expected-note@+1 {{consumer}}
  %o = sparseattn.attention %q, %a, %b keys(#sparseattn.causal) {layer = 3 : i64}
    : (tensor<1x4x4x16xf32>, !kv, !kv) -> tensor<1x4x4x16xf32>
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_bridge_c1(%h: tensor<4x32xf32>, %w: tensor<32x32xf32>) {
  // expected-error@+1 {{(C1) expected hidden of rank 3, found 'tensor<4x32xf32>'}}
  %k, %v = sparseattn.kv_bridge %h, %w, %w source_layer 3 kv_heads 2 : (tensor<4x32xf32>, tensor<32x32xf32>, tensor<32x32xf32>) -> (!kv, !kv)
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_bridge_c1_width(%h: tensor<1x4x32xf32>, %w: tensor<16x32xf32>) {
  // expected-error@+1 {{(C1) expected weight_key of shape [32,?], found [16,32]}}
  %k, %v = sparseattn.kv_bridge %h, %w, %w source_layer 3 kv_heads 2 : (tensor<1x4x32xf32>, tensor<16x32xf32>, tensor<16x32xf32>) -> (!kv, !kv)
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_bridge_c2(%h: tensor<1x4x32xf32>, %w: tensor<32x32xf32>) {
  // expected-error@+1 {{(C2) expected kv_heads = 3 to divide 32 columns}}
  %k, %v = sparseattn.kv_bridge %h, %w, %w source_layer 3 kv_heads 3 : (tensor<1x4x32xf32>, tensor<32x32xf32>, tensor<32x32xf32>) -> (!kv, !kv)
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_bridge_c2_zero(%h: tensor<1x4x32xf32>, %w: tensor<32x32xf32>) {
  // expected-error@+1 {{(C2) expected kv_heads >= 1, found 0}}
  %k, %v = sparseattn.kv_bridge %h, %w, %w source_layer 3 kv_heads 0 : (tensor<1x4x32xf32>, tensor<32x32xf32>, tensor<32x32xf32>) -> (!kv, !kv)
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_bridge_c3(%h: tensor<1x4x32xf32>, %w: tensor<32x32xf32>) {
  // expected-error@+1 {{(C3) expected layout bhsd or bshd, found thd}}
  %k, %v = sparseattn.kv_bridge %h, %w, %w source_layer 3 kv_heads 2 layout(thd) : (tensor<1x4x32xf32>, tensor<32x32xf32>, tensor<32x32xf32>) -> (!kv, !kv)
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_bridge_c4(%h: tensor<1x4x32xf32>, %w: tensor<32x32xf32>) {
  // expected-error@+1 {{(C4) expected source_layer >= 0, found -1}}
  %k, %v = sparseattn.kv_bridge %h, %w, %w source_layer -1 kv_heads 2 : (tensor<1x4x32xf32>, tensor<32x32xf32>, tensor<32x32xf32>) -> (!kv, !kv)
  return
}

// -----
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = f32>
!kv = tensor<1x2x4x16xf32>
func.func @kv_bridge_c5(%h: tensor<1x4x32xf32>, %w: tensor<32x32xf32>) {
  // expected-error@+1 {{(C5) expected result #0 of type 'tensor<1x2x4x16xf32>', found 'tensor<1x2x4x8xf32>'}}
  %k, %v = sparseattn.kv_bridge %h, %w, %w source_layer 3 kv_heads 2 : (tensor<1x4x32xf32>, tensor<32x32xf32>, tensor<32x32xf32>) -> (tensor<1x2x4x8xf32>, !kv)
  return
}
