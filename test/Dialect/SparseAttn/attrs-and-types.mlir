// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --emit-bytecode | sparseattn-opt | diff %t.text -
// RUN: FileCheck %s < %t.text

// CHECK-LABEL: func.func private @patterns
func.func private @patterns() attributes {
  // CHECK-DAG: a0 = #sparseattn.full
  a0 = #sparseattn.full,
  // CHECK-DAG: a1 = #sparseattn.causal
  a1 = #sparseattn.causal,
  // CHECK-DAG: a2 = #sparseattn.window<128>
  a2 = #sparseattn.window<128>,
  // CHECK-DAG: a3 = #sparseattn.complete_blocks<block = 32, stride = 16>
  a3 = #sparseattn.complete_blocks<block = 32, stride = 16>,
  // CHECK-DAG: a4 = #sparseattn.head_table<[#sparseattn.full, #sparseattn.window<4>]>
  a4 = #sparseattn.head_table<[#sparseattn.full, #sparseattn.window<4>]>,
  // CHECK-DAG: a5 = #sparseattn.prefix_lm<17>
  a5 = #sparseattn.prefix_lm<17>
}

// CHECK-LABEL: func.func private @modifications
func.func private @modifications() attributes {
  // CHECK-DAG: a0 = #sparseattn.softcap<{{3[^>]*}}>
  a0 = #sparseattn.softcap<30.0>,
  // An exact value needs all its digits.
  a1 = #sparseattn.softcap<0.1>,
  // CHECK-DAG: a2 = #sparseattn.softmax
  a2 = #sparseattn.softmax,
  // CHECK-DAG: a3 = #sparseattn.block_score<block = 64>
  a3 = #sparseattn.block_score<block = 64, kind = prob_max, group = max, origin = absolute>,
  // CHECK-DAG: a4 = #sparseattn.block_score<block = 1, kind = logit_max, group = mean, origin = range_begin>
  a4 = #sparseattn.block_score<block = 1, kind = logit_max, group = mean, origin = range_begin>
}

// CHECK-LABEL: func.func private @selection
func.func private @selection() attributes {
  // CHECK-DAG: a0 = #sparseattn.topk<k = 16, block = 64>
  a0 = #sparseattn.topk<k = 16, block = 64, force_first = 0, force_local = 0, count_forced = true>,
  // CHECK-DAG: a1 = #sparseattn.topk<k = 1024, block = 1, force_first = 1, force_local = 128, count_forced = false>
  a1 = #sparseattn.topk<k = 1024, block = 1, force_first = 1, force_local = 128, count_forced = false>,
  // CHECK-DAG: a2 = #sparseattn.halley<5>
  a2 = #sparseattn.halley<5>,
  // CHECK-DAG: a3 = #sparseattn.bisect<50>
  a3 = #sparseattn.bisect<50>,
  // CHECK-DAG: a4 = #sparseattn.sort
  a4 = #sparseattn.sort,
  // CHECK-DAG: a5 = #sparseattn.branch<keys = #sparseattn.window<4>>
  a5 = #sparseattn.branch<keys = #sparseattn.window<4>>,
  // CHECK-DAG: a6 = #sparseattn.branch<keys = #sparseattn.causal, selection = bitmask, block = 64, origin = range_begin, sink = true>
  a6 = #sparseattn.branch<keys = #sparseattn.causal, selection = bitmask, block = 64, origin = range_begin, sink = true>,
  // CHECK-DAG: a7 = #sparseattn.summary<block = 64, stride = 32, mode = mean>
  a7 = #sparseattn.summary<block = 64, stride = 32, mode = mean, complete_only = true>
}

// CHECK-LABEL: func.func private @caches
// CHECK-SAME: !sparseattn.kv_cache<kind = #sparseattn.head_caches<[#sparseattn.full_cache, #sparseattn.ring<1024>]>, batch = 1, heads = 2, length = 4096, key_dim = 128, value_dim = 64, dtype = f8E5M2>
// CHECK-SAME: !sparseattn.kv_cache<kind = #sparseattn.ring<128>, {{.*}}, access = read_only>
func.func private @caches(
  !sparseattn.kv_cache<kind = #sparseattn.head_caches<[#sparseattn.full_cache, #sparseattn.ring<1024>]>,
    batch = 1, heads = 2, length = 4096, key_dim = 128, value_dim = 64, dtype = f8E5M2, access = owner>,
  !sparseattn.kv_cache<kind = #sparseattn.ring<128>,
    batch = 1, heads = 2, length = 4096, key_dim = 128, value_dim = 128, dtype = bf16, access = read_only>)
