// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One function for each numbered constraint, named after it.
func.func @attention_c1(%q: tensor<4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C1) expected query of rank 4 for layout bhsd, found rank 3}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)
    : (tensor<4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c2(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xbf16>, %v: tensor<1x2x8x16xbf16>) {
  // expected-error@+1 {{(C2) expected one element type, found 'f32' and 'bf16'}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xbf16>, tensor<1x2x8x16xbf16>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c3(%q: tensor<1x4x8x16xf32>, %k: tensor<2x2x8x16xf32>, %v: tensor<2x2x8x16xf32>) {
  // expected-error@+1 {{(C3) expected one batch size, found query [1], key [2], value [2]}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<2x2x8x16xf32>, tensor<2x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c4(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x7x16xf32>) {
  // expected-error@+1 {{(C4) expected key and value with the same heads and length, found [2,8] and [2,7]}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x7x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c5(%q: tensor<1x4x8x16xf32>, %k: tensor<1x3x8x16xf32>, %v: tensor<1x3x8x16xf32>) {
  // expected-error@+1 {{(C5) expected the number of query heads to be a positive multiple of the number of KV heads, found 4 and 3}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x3x8x16xf32>, tensor<1x3x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c6(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x8xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C6) expected query and key with one head dimension, found [16] and 8}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x8xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c6_limit(%q: tensor<1x4x8x2048xf32>, %k: tensor<1x2x8x2048xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C6) expected a key head dimension of 1 to 1024, found 2048}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)
    : (tensor<1x4x8x2048xf32>, tensor<1x2x8x2048xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c6_dynamic(%q: tensor<1x4x8x?xf32>, %k: tensor<1x2x8x?xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C6) expected a static key head dimension}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)
    : (tensor<1x4x8x?xf32>, tensor<1x2x8x?xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c7(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %s: tensor<2xf32>) {
  // expected-error@+1 {{(C7) expected sink of shape [4], found [2]}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) sink(%s)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<2xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c8(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %r: tensor<1x8x3xi32>) {
  // expected-error@+1 {{(C8) expected valid_range of shape [1,8,2], found [1,8,3]}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) valid_range(%r)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x8x3xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c8_thd(%q: tensor<9x4x16xf32>, %k: tensor<12x2x16xf32>, %v: tensor<12x2x16xf32>, %r: tensor<1x9x2xi32>, %cu: tensor<3xi32>) {
  // expected-error@+1 {{(C8) expected no valid_range for layout thd, whose cu_seqlens bound the keys}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) valid_range(%r) cu_seqlens(%cu, %cu) layout(thd)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>, tensor<1x9x2xi32>, tensor<3xi32>, tensor<3xi32>) -> tensor<9x4x16xf32>
  return
}

// -----
func.func @attention_c9(%q: tensor<9x4x16xf32>, %k: tensor<12x2x16xf32>, %v: tensor<12x2x16xf32>, %cq: tensor<3xi32>, %ck: tensor<4xi32>) {
  // expected-error@+1 {{(C9) expected cu_seqlens of one shape [documents + 1], found [3] and [4]}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) cu_seqlens(%cq, %ck) layout(thd)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>, tensor<3xi32>, tensor<4xi32>) -> tensor<9x4x16xf32>
  return
}

// -----
func.func @attention_c9_missing(%q: tensor<9x4x16xf32>, %k: tensor<12x2x16xf32>, %v: tensor<12x2x16xf32>) {
  // expected-error@+1 {{(C9) expected cu_seqlens for layout thd}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) layout(thd)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>) -> tensor<9x4x16xf32>
  return
}

// -----
func.func @attention_c9_surplus(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %cu: tensor<3xi32>) {
  // expected-error@+1 {{(C9) expected no cu_seqlens unless the layout is thd}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) cu_seqlens(%cu, %cu)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<3xi32>, tensor<3xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c10(%q: tensor<9x4x16xf32>, %k: tensor<12x2x16xf32>, %v: tensor<12x2x16xf32>, %cu: tensor<3xi32>, %p: index) {
  // expected-error@+1 {{(C10) expected no q_offset for layout thd, whose documents align by their ends}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) q_offset(%p) cu_seqlens(%cu, %cu) layout(thd)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>, index, tensor<3xi32>, tensor<3xi32>) -> tensor<9x4x16xf32>
  return
}

// -----
func.func @attention_c11(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C11) expected one head_table entry for each of the 2 KV heads, found 3}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.full, #sparseattn.full]>)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c11_mixed(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C11) expected head_table entries that all count tokens or all count block summaries}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.complete_blocks<block = 4, stride = 4>]>)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c12(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C12) expected a finite scale, found INF}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) scale 0x7FF0000000000000
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c13(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C13) expected valid_range or layout thd for block origin range_begin}}
  %o, %s = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 4, origin = range_begin>)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @attention_c14(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C14) expected emit(#sparseattn.block_score<...>) beside select}}
  %o, %i = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) select <k = 2, block = 4>
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x2x8x2xi32>)
  return
}

// -----
func.func @attention_c14_block(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C14) expected select and emit with one block size, found 4 and 8}}
  %o, %i = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 8>) select <k = 2, block = 4>
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x2x8x2xi32>)
  return
}

// -----
func.func @attention_c15(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C15) expected 2 results for these attributes, found 1}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) return_lse
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c15_type(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C15) expected result #1 of type 'tensor<1x4x8xf32>', found 'tensor<1x4x8xf16>'}}
  %o, %lse = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) return_lse
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> (tensor<1x4x8x16xf32>, tensor<1x4x8xf16>)
  return
}

// -----
func.func @attention_c16(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C16) expected kv_source in [0, 2], because the producer of K/V comes before its consumers; found 3}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {layer = 2 : i64, kv_source = 3 : i64}
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c16_negative(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C16) expected layer >= 0, found -1}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {layer = -1 : i64}
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @attention_c16_layer(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C16) expected a layer beside kv_source = 0}}
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {kv_source = 0 : i64}
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}
