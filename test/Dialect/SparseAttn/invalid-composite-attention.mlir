// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One function for each numbered constraint, named after it.
func.func @concat_kv_attention_c1(%q: tensor<9x4x16xf32>, %k: tensor<12x2x16xf32>) {
  // expected-error@+1 {{(C1) expected layout bhsd or bshd, found thd}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [false] layout(thd)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>) -> tensor<9x4x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c2(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf16>) {
  // expected-error@+1 {{(C2) expected one element type, found 'f32' and 'f16'}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [false]
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf16>, tensor<1x2x8x16xf16>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c3(%q: tensor<1x4x8x16xf32>, %k: tensor<2x2x8x16xf32>) {
  // expected-error@+1 {{(C3) expected one batch size, found query [1], key [2], value [2]}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [false]
    : (tensor<1x4x8x16xf32>, tensor<2x2x8x16xf32>, tensor<2x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c4(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %c: tensor<1x1x2x16xf32>) {
  // expected-error@+1 {{(C4) expected one number of KV heads for all sources, found 2 and 1}}
  %o = sparseattn.concat_kv_attention %q, [%k, %c], [%k, %c] keys([#sparseattn.causal, #sparseattn.complete_blocks<block = 4, stride = 4>]) selected [false, false]
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x1x2x16xf32>, tensor<1x2x8x16xf32>, tensor<1x1x2x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c5(%q: tensor<1x4x8x16xf32>, %k: tensor<1x3x8x16xf32>) {
  // expected-error@+1 {{(C5) expected the number of query heads to be a positive multiple of the number of KV heads, found 4 and 3}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [false]
    : (tensor<1x4x8x16xf32>, tensor<1x3x8x16xf32>, tensor<1x3x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c6(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C6) expected one value head dimension for all sources, found 16 and 8}}
  %o = sparseattn.concat_kv_attention %q, [%k, %k], [%k, %v] keys([#sparseattn.causal, #sparseattn.causal]) selected [false, false]
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x8xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c7(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %s: tensor<2xf32>) {
  // expected-error@+1 {{(C7) expected sink of shape [4], found [2]}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [false] sink(%s)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<2xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c8(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C8) expected as many keys, values, patterns and selected flags, at least one; found 1, 1, 2 and 1}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal, #sparseattn.causal]) selected [false]
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c9(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C9) expected one selection for each of the 1 sources flagged in selected, found 0}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [true]
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c9_heads(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %i: tensor<1x3x8x2xi32>) {
  // expected-error@+1 {{(C9) expected a selection for 1, 2 (KV) or 4 (query) heads, found 3}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [true] selections(%i)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x3x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c10(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C10) expected q_offset, because no source counts tokens}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.complete_blocks<block = 4, stride = 4>]) selected [false]
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c11(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C11) expected one head_table entry for each of the 2 KV heads, found 1}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.head_table<[#sparseattn.causal]>]) selected [false]
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c12(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C12) expected a finite scale, found INF}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [false] scale 0x7FF0000000000000
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c15(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C15) expected 2 results for these attributes, found 1}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [false] return_lse
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @concat_kv_attention_c16(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C16) expected a layer beside kv_source = 0}}
  %o = sparseattn.concat_kv_attention %q, [%k], [%k] keys([#sparseattn.causal]) selected [false] {kv_source = 0 : i64}
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @branched_attention_c1(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C1) expected one key, value and gate for each branch and at least one branch; found 2 branches, 1 keys, 1 values, 1 gates}}
  %o = sparseattn.branched_attention %q, [%k], [%k]
    branches([#sparseattn.branch<keys = #sparseattn.causal>, #sparseattn.branch<keys = #sparseattn.causal>]) gates(%g)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @branched_attention_c2(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C2) expected 1 selections and 0 sinks as the branches say, found 0 and 0}}
  %o = sparseattn.branched_attention %q, [%k], [%k]
    branches([#sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 4>]) gates(%g)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @branched_attention_c3(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x8xf32>, %v: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C3) branch #0 is no valid attention: query 'tensor<1x4x8x16xf32>', key 'tensor<1x2x8x8xf32>', value 'tensor<1x2x8x16xf32>'}}
  %o = sparseattn.branched_attention %q, [%k], [%v]
    branches([#sparseattn.branch<keys = #sparseattn.causal>]) gates(%g)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x8xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @branched_attention_c3_value_dim(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>, %v: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C3) branch #1 is no valid attention: query 'tensor<1x4x8x16xf32>', key 'tensor<1x2x8x16xf32>', value 'tensor<1x2x8x8xf32>'}}
  %o = sparseattn.branched_attention %q, [%k, %k], [%k, %v]
    branches([#sparseattn.branch<keys = #sparseattn.causal>, #sparseattn.branch<keys = #sparseattn.causal>]) gates(%g, %g)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x8xf32>, tensor<1x4x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @branched_attention_c3_keys(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>, %i: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C3) branch #0 has a selection and needs keys that count tokens, found #sparseattn.complete_blocks<block = 4, stride = 4>}}
  %o = sparseattn.branched_attention %q, [%k], [%k]
    branches([#sparseattn.branch<keys = #sparseattn.complete_blocks<block = 4, stride = 4>, selection = index, block = 4>]) gates(%g) selections(%i)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @branched_attention_c3_selection(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>, %i: tensor<1x3x8x2xi32>) {
  // expected-error@+1 {{(C3) expected a selection for 1, 2 (KV) or 4 (query) heads, found 3}}
  %o = sparseattn.branched_attention %q, [%k], [%k]
    branches([#sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 4>]) gates(%g) selections(%i)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>, tensor<1x3x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @branched_attention_c3_origin(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>, %i: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C3) branch #0 has origin range_begin and needs valid_range}}
  %o = sparseattn.branched_attention %q, [%k], [%k]
    branches([#sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 4, origin = range_begin>]) gates(%g) selections(%i)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>, tensor<1x2x8x2xi32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @branched_attention_c4(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C4) expected gate of shape [1,4,8], found [1,4,8,16]}}
  %o = sparseattn.branched_attention %q, [%k], [%k]
    branches([#sparseattn.branch<keys = #sparseattn.causal>]) gates(%g) gate(headwise)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @branched_attention_c5(%q: tensor<9x4x16xf32>, %k: tensor<12x2x16xf32>) {
  // expected-error@+1 {{(C5) expected layout bhsd or bshd, found thd}}
  %o = sparseattn.branched_attention %q, [%k], [%k]
    branches([#sparseattn.branch<keys = #sparseattn.causal>]) gates(%q) layout(thd)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>, tensor<9x4x16xf32>) -> tensor<9x4x16xf32>
  return
}

// -----
func.func @branched_attention_c15(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C15) expected result #0 of type 'tensor<1x4x8x16xf32>', found 'tensor<1x4x8x8xf32>'}}
  %o = sparseattn.branched_attention %q, [%k], [%k]
    branches([#sparseattn.branch<keys = #sparseattn.causal>]) gates(%g)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x8xf32>
  return
}

// -----
func.func @branched_attention_c16(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %g: tensor<1x4x8x16xf32>) {
  // expected-error@+1 {{(C16) expected layer >= 0, found -2}}
  %o = sparseattn.branched_attention %q, [%k], [%k]
    branches([#sparseattn.branch<keys = #sparseattn.causal>]) gates(%g) {layer = -2 : i64}
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @routed_attention_c1(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C1) expected summary of shape [1,2,3,16], found [1,2,2,16]}}
  %o = sparseattn.routed_attention %q, %k, %k summary(%s) block 3 routing_scale 0.5
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @routed_attention_c1_block(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C1) expected block >= 1, found 0}}
  %o = sparseattn.routed_attention %q, %k, %k summary(%s) block 0 routing_scale 0.5
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @routed_attention_c1_solver(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C1) solver halley needs alpha 1.5, found 1.25}}
  %o = sparseattn.routed_attention %q, %k, %k summary(%s) block 4 routing_scale 0.5 alpha 1.25 solver(#sparseattn.halley<5>)
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @routed_attention_c1_scale(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C1) expected a finite routing_scale, found INF}}
  %o = sparseattn.routed_attention %q, %k, %k summary(%s) block 4 routing_scale 0x7FF0000000000000
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @routed_attention_c5(%q: tensor<9x4x16xf32>, %k: tensor<12x2x16xf32>, %s: tensor<12x2x16xf32>) {
  // expected-error@+1 {{(C5) expected layout bhsd or bshd, found thd}}
  %o = sparseattn.routed_attention %q, %k, %k summary(%s) block 4 routing_scale 0.5 layout(thd)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>) -> tensor<9x4x16xf32>
  return
}

// -----
func.func @routed_attention_c15(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C15) expected 2 results for these attributes, found 1}}
  %o = sparseattn.routed_attention %q, %k, %k summary(%s) block 4 routing_scale 0.5 return_lse
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x16xf32>
  return
}

// -----
func.func @routed_attention_c16(%q: tensor<1x4x8x16xf32>, %k: tensor<1x2x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C16) expected kv_source in [0, 0], because the producer of K/V comes before its consumers; found 1}}
  %o = sparseattn.routed_attention %q, %k, %k summary(%s) block 4 routing_scale 0.5 {layer = 0 : i64, kv_source = 1 : i64}
    : (tensor<1x4x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x16xf32>
  return
}
