// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One declaration for each numbered constraint of an attribute or type, named after it.
// expected-error@+1 {{(A1) expected size, which counts the query's own key, in [1, 2147483647], found 0}}
func.func private @a1() attributes {a = #sparseattn.window<0>}

// -----
// expected-error@+1 {{(A14) expected prefix in [0, 2147483647], found -1}}
func.func private @a14() attributes {a = #sparseattn.prefix_lm<-1>}

// -----
// expected-error@+1 {{(A1) expected size, which counts the query's own key, in [1, 2147483647], found 2147483648}}
func.func private @a1_limit() attributes {a = #sparseattn.window<2147483648>}

// -----
// expected-error@+1 {{(A2) expected block in [1, 2147483647], found 0}}
func.func private @a2() attributes {a = #sparseattn.complete_blocks<block = 0, stride = 16>}

// -----
// expected-error@+1 {{(A2) expected stride in [1, 2147483647], found -1}}
func.func private @a2_stride() attributes {a = #sparseattn.complete_blocks<block = 32, stride = -1>}

// -----
// expected-error@+1 {{(A3) expected entry #1 to be a key pattern other than head_table, found #sparseattn.softmax}}
func.func private @a3() attributes {a = #sparseattn.head_table<[#sparseattn.full, #sparseattn.softmax]>}

// -----
// expected-error@+1 {{(A3) expected at least one entry}}
func.func private @a3_empty() attributes {a = #sparseattn.head_table<[]>}

// -----
// expected-error@+1 {{(A4) expected a finite positive cap, found 0}}
func.func private @a4() attributes {a = #sparseattn.softcap<0.0>}

// -----
// expected-error@+1 {{(A4) expected a finite positive cap, found INF}}
func.func private @a4_inf() attributes {a = #sparseattn.softcap<0x7FF0000000000000>}

// -----
// expected-error@+1 {{(A5) expected block in [1, 2147483647], found 0}}
func.func private @a5() attributes {a = #sparseattn.block_score<block = 0>}

// -----
// expected-error@+1 {{(A6) expected k in [1, 2147483647], found 0}}
func.func private @a6() attributes {a = #sparseattn.topk<k = 0, block = 4>}

// -----
// expected-error@+1 {{(A6) expected force_local in [0, 2147483647], found -1}}
func.func private @a6_forced() attributes {a = #sparseattn.topk<k = 1, block = 4, force_local = -1>}

// -----
// expected-error@+1 {{(A6) forced columns count in k, but force_first + force_local = 3 exceeds k = 2; raise k or set count_forced = false}}
func.func private @a6_count() attributes {a = #sparseattn.topk<k = 2, block = 4, force_first = 1, force_local = 2>}

// -----
// expected-error@+1 {{(A7) expected 1 to 64 iterations, found 65}}
func.func private @a7() attributes {a = #sparseattn.halley<65>}

// -----
// expected-error@+1 {{(A8) expected 1 to 256 iterations, found 0}}
func.func private @a8() attributes {a = #sparseattn.bisect<0>}

// -----
// expected-error@+1 {{(A9) expected keys to be a key pattern, found #sparseattn.softmax}}
func.func private @a9() attributes {a = #sparseattn.branch<keys = #sparseattn.softmax>}

// -----
// expected-error@+1 {{(A9) expected block in [1, 2147483647], found 0}}
func.func private @a9_block() attributes {a = #sparseattn.branch<keys = #sparseattn.causal, block = 0>}

// -----
// expected-error@+1 {{(A10) expected mode mean or learned_query, found minmax}}
func.func private @a10() attributes {a = #sparseattn.summary<block = 4, stride = 4, mode = minmax>}

// -----
// expected-error@+1 {{(A10) expected stride in [1, 2147483647], found 0}}
func.func private @a10_stride() attributes {a = #sparseattn.summary<block = 4, stride = 0, mode = mean>}

// -----
// expected-error@+1 {{(A11) expected slots in [1, 2147483647], found 0}}
func.func private @a11() attributes {a = #sparseattn.ring<0>}

// -----
// expected-error@+1 {{(A12) expected entry #0 to be full_cache or ring, found #sparseattn.causal}}
func.func private @a12() attributes {a = #sparseattn.head_caches<[#sparseattn.causal]>}

// -----
// expected-error@+1 {{(A12) expected at least one entry}}
func.func private @a12_empty() attributes {a = #sparseattn.head_caches<[]>}

// -----
// expected-error@+1 {{(T1) expected batch in [1, 2147483647], found 0}}
func.func private @t1(!sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 0, heads = 2, length = 64,
  key_dim = 16, value_dim = 16, dtype = f32>)

// -----
// expected-error@+1 {{(T1) expected heads in [1, 65536], found 1152921504606846976}}
func.func private @t1_heads(!sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 1152921504606846976, length = 64,
  key_dim = 16, value_dim = 16, dtype = f32>)

// -----
// expected-error@+1 {{(T1) expected key_dim in [1, 1024], found 1025}}
func.func private @t1_dim(!sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64,
  key_dim = 1025, value_dim = 16, dtype = f32>)

// -----
// expected-error@+1 {{(T2) expected dtype f32, f16, bf16 or an 8-bit float, found 'i8'}}
func.func private @t2(!sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64,
  key_dim = 16, value_dim = 16, dtype = i8>)

// -----
// expected-error@+1 {{(T3) expected one head_caches entry for each of the 2 KV heads, found 1}}
func.func private @t3(!sparseattn.kv_cache<kind = #sparseattn.head_caches<[#sparseattn.full_cache]>, batch = 1, heads = 2, length = 64,
  key_dim = 16, value_dim = 16, dtype = f32>)

// -----
// expected-error@+1 {{(T3) expected kind to be #sparseattn.full_cache, ring or head_caches, found #sparseattn.causal}}
func.func private @t3_kind(!sparseattn.kv_cache<kind = #sparseattn.causal, batch = 1, heads = 2, length = 64,
  key_dim = 16, value_dim = 16, dtype = f32>)

// -----
// expected-error@+1 {{(T4) expected a cache of at most 1125899906842624 bytes, found 4611686014132420609 tokens of 256 bytes}}
func.func private @t4(!sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 2147483647, heads = 2, length = 2147483647,
  key_dim = 16, value_dim = 16, dtype = f32>)
