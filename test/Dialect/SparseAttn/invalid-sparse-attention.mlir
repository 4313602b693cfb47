// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One function for each numbered constraint, named after it.
func.func @sparse_attention_c1(%q: tensor<1x4x8x16xf32>, %k: tensor<2x8x16xf32>, %v: tensor<2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C1) expected key of rank 4 for layout bhsd, found rank 3}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c2(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf16>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C2) expected one element type, found 'f32' and 'f16'}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf16>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c3(%q: tensor<1x4x8x16xf32>, %k: tensor<2x2x8x16xf32>, %v: tensor<2x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C3) expected one batch size, found query [1], key [2], value [2]}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<2x2x8x16xf32>, tensor<2x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c4(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x1x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C4) expected key and value with the same heads and length, found [2,8] and [1,8]}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c5(%q: tensor<1x4x8x16xf32>, %k: tensor<1x3x8x16xf32>, %v: tensor<1x3x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C5) expected the number of query heads to be a positive multiple of the number of KV heads, found 4 and 3}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x3x8x16xf32>, tensor<1x3x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c6(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x8xf32>, %v: tensor<1x2x8x8xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C6) expected query and key with one head dimension, found [16] and 8}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x8xf32>, tensor<1x2x8x8xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c7(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>, %s: tensor<2xf32>) {
  // expected-error@+1 {{(C7) expected sink of shape [4], found [2]}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal) sink(%s)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>, tensor<2xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c8(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>, %r: tensor<1x7x2xi32>) {
  // expected-error@+1 {{(C8) expected valid_range of shape [1,8,2], found [1,7,2]}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal) valid_range(%r)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>, tensor<1x7x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c9(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>, %cu: tensor<3xi32>) {
  // expected-error@+1 {{(C9) expected no cu_seqlens unless the layout is thd}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal) cu_seqlens(%cu, %cu)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>, tensor<3xi32>, tensor<3xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c10(%q: tensor<9x4x16xf32>, %k: tensor<12x2x16xf32>, %v: tensor<12x2x16xf32>, %sel: tensor<2x9x2xi32>, %cu: tensor<3xi32>, %p: index) {
  // expected-error@+1 {{(C10) expected no q_offset for layout thd, whose documents align by their ends}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 origin(range_begin) keys(#sparseattn.causal) q_offset(%p) cu_seqlens(%cu, %cu) layout(thd)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>, tensor<2x9x2xi32>, index, tensor<3xi32>, tensor<3xi32>) -> tensor<9x4x16xf32>
  return
}

// -----
func.func @sparse_attention_c11(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C11) expected keys that count tokens, found #sparseattn.complete_blocks<block = 4, stride = 4>}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.complete_blocks<block = 4, stride = 4>)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c12(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C12) expected a finite scale, found nan}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal) scale 0x7FF8000000000000
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c13(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C13) expected valid_range or layout thd for block origin range_begin}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 origin(range_begin) keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c13_thd(%q: tensor<9x4x16xf32>, %k: tensor<12x2x16xf32>, %v: tensor<12x2x16xf32>, %sel: tensor<2x9x2xi32>, %cu: tensor<3xi32>) {
  // expected-error@+1 {{(C13) expected origin(range_begin) for layout thd, whose blocks begin with the document}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal) cu_seqlens(%cu, %cu) layout(thd)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>, tensor<2x9x2xi32>, tensor<3xi32>, tensor<3xi32>) -> tensor<9x4x16xf32>
  return
}

// -----
func.func @sparse_attention_c14(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C14) expected block >= 1, found 0}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 0 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c14_limit(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C14) expected block <= 2147483647, found 2147483648}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 2147483648 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c15(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C15) expected 2 results for these attributes, found 1}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal) return_lse
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c16(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C16) expected kv_source in [0, 1], because the producer of K/V comes before its consumers; found 2}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal) {layer = 1 : i64, kv_source = 2 : i64}
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c17(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x7x2xi32>) {
  // expected-error@+1 {{(C17) expected selection of shape [1,?,8,?], found [1,2,7,2]}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x7x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c17_heads(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x3x8x2xi32>) {
  // expected-error@+1 {{(C17) expected a selection for 1, 2 (KV) or 4 (query) heads, found 3}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x3x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c17_words(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C17) expected selection of shape [1,?,8,1], found [1,2,8,2]}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 format(bitmask) keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c18(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>, %b: tensor<1x2x8x3xf32>) {
  // expected-error@+1 {{(C18) expected bias of shape [1,2,8,2], found [1,2,8,3]}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 keys(#sparseattn.causal) bias(%b)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>, tensor<1x2x8x3xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c18_heads(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x4x8x1xi32>, %b: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C18) expected bias of shape [1,2,8,2], found [1,4,8,2]}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 format(bitmask) keys(#sparseattn.causal) bias(%b)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x1xi32>, tensor<1x4x8x2xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c19(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>, %sel: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C19) expected query_block >= 1, found 0}}
  %o = sparseattn.sparse_attention %q, %k, %v selection(%sel) block 4 query_block 0 keys(#sparseattn.causal)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @sparse_attention_c19_packed(%q: tensor<8x4x16xf32>, %k: tensor<8x2x16xf32>, %sel: tensor<2x4x2xi32>, %cu: tensor<3xi32>) {
  // expected-error@+1 {{(C19) expected query_block 1, because blocks begin where the range of each query does, found 2}}
  %o = sparseattn.sparse_attention %q, %k, %k selection(%sel) block 4 query_block 2 origin(range_begin) keys(#sparseattn.causal)
      cu_seqlens(%cu, %cu) layout(thd)
    : (tensor<8x4x16xf32>, tensor<8x2x16xf32>, tensor<8x2x16xf32>, tensor<2x4x2xi32>, tensor<3xi32>, tensor<3xi32>) -> tensor<8x4x16xf32>
  return
}
