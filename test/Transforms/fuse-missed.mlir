// RUN: sparseattn-opt %s --sparseattn-fuse --remarks-filter-missed=sparseattn-fuse -o %t.out 2>&1 | FileCheck %s
// RUN: FileCheck %s --input-file=%t.out --check-prefix=KEPT
// RUN: not sparseattn-opt %s --sparseattn-fuse=groups=selection 2>&1 | FileCheck %s --check-prefix=GROUP
// RUN: not sparseattn-opt %s --sparseattn-fuse=routed=sometimes 2>&1 | FileCheck %s --check-prefix=ROUTED
// RUN: sparseattn-opt %s --sparseattn-fuse=routed=always | FileCheck %s --check-prefix=ALWAYS

// GROUP: error: unknown fusion group 'selection': expected summarize, select, heads, route, routed, branches
// ROUTED: error: expected routed=decode or routed=always, found 'sometimes'

!q = tensor<1x4x64x32xf32>
!kv = tensor<1x2x64x32xf32>
!idx = tensor<1x2x64x4xi32>
!score = tensor<1x2x64x4xf32>
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32>

// CHECK: remark: [Missed] summarize | Category:sparseattn-fuse | Function=minmax | Reason={{.*}}not by minmax{{.*}}, Suggestion=
func.func @minmax(%c: !cache, %k: !kv, %p: index) -> (!cache, tensor<1x2x4x32xf32>) {
  %s:2 = sparseattn.chunk_summarize %k block 16 mode(minmax) : (!kv) -> (tensor<1x2x4x32xf32>, tensor<1x2x4x32xf32>)
  %u = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, !kv, !kv, index) -> !cache
  return %u, %s#0 : !cache, tensor<1x2x4x32xf32>
}

// CHECK: remark: [Missed] summarize | {{.*}} Reason="an operand of the later of summary and append is not computed yet at the earlier one"
func.func @late_query(%c: !cache, %k: !kv, %p: index, %w: tensor<2x32xf32>) -> (!cache, tensor<1x2x4x32xf32>) {
  %u = sparseattn.kv_cache.append %c, %k, %k at %p : (!cache, !kv, !kv, index) -> !cache
  %sq = sparseattn.extern "learned"(%w) : (tensor<2x32xf32>) -> tensor<2x32xf32>
  %s = sparseattn.chunk_summarize %k block 16 mode(learned_query) summary_query(%sq) : (!kv, tensor<2x32xf32>) -> tensor<1x2x4x32xf32>
  return %u, %s : !cache, tensor<1x2x4x32xf32>
}

// CHECK: remark: [Missed] select | {{.*}} Reason="the score has other users, so it has to leave the attention"
// KEPT-LABEL: func @score_used
// KEPT: sparseattn.select_topk
func.func @score_used(%q: !q, %k: !kv) -> (!idx, !score) {
  %o, %s = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>) : (!q, !kv, !kv) -> (!q, !score)
  %i = sparseattn.select_topk %s <k = 4, block = 16> : (!score) -> !idx
  return %i, %s : !idx, !score
}

// CHECK: remark: [Missed] select | {{.*}} Reason="select_topk counts blocks of 32 keys, the attention emits blocks of 16"
func.func @other_block(%q: !q, %k: !kv) -> !idx {
  %o, %s = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>) : (!q, !kv, !kv) -> (!q, !score)
  %i = sparseattn.select_topk %s <k = 4, block = 32> : (!score) -> !idx
  return %i : !idx
}

// CHECK: remark: [Missed] select | {{.*}} Reason="select_topk and the attention place query 0 at positions that are not known to be equal"
func.func @other_position(%q: !q, %k: tensor<1x2x256x32xf32>) -> !idx {
  %o, %s = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 64>)
    : (!q, tensor<1x2x256x32xf32>, tensor<1x2x256x32xf32>) -> (!q, !score)
  %i = sparseattn.select_topk %s <k = 4, block = 64> : (!score) -> !idx
  return %i : !idx
}

// CHECK: remark: [Missed] select | {{.*}} Reason="the count of selected blocks is used
func.func @count_used(%q: !q, %k: !kv) -> (!idx, tensor<1x2x64xi32>) {
  %o, %s = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>) : (!q, !kv, !kv) -> (!q, !score)
  %i, %n = sparseattn.select_topk %s <k = 4, block = 16> return_count : (!score) -> (!idx, tensor<1x2x64xi32>)
  return %i, %n : !idx, tensor<1x2x64xi32>
}

// CHECK: remark: [Missed] heads | {{.*}} Reason="the parts differ in more than their key patterns"
func.func @heads_scale(%q: !q, %k: !kv) -> !q {
  %q0 = tensor.extract_slice %q[0, 0, 0, 0] [1, 2, 64, 32] [1, 1, 1, 1] : !q to tensor<1x2x64x32xf32>
  %k0 = tensor.extract_slice %k[0, 0, 0, 0] [1, 1, 64, 32] [1, 1, 1, 1] : !kv to tensor<1x1x64x32xf32>
  %q1 = tensor.extract_slice %q[0, 2, 0, 0] [1, 2, 64, 32] [1, 1, 1, 1] : !q to tensor<1x2x64x32xf32>
  %k1 = tensor.extract_slice %k[0, 1, 0, 0] [1, 1, 64, 32] [1, 1, 1, 1] : !kv to tensor<1x1x64x32xf32>
  %a = sparseattn.attention %q0, %k0, %k0 keys(#sparseattn.causal) scale 1.0 : (tensor<1x2x64x32xf32>, tensor<1x1x64x32xf32>, tensor<1x1x64x32xf32>) -> tensor<1x2x64x32xf32>
  %b = sparseattn.attention %q1, %k1, %k1 keys(#sparseattn.window<16>) : (tensor<1x2x64x32xf32>, tensor<1x1x64x32xf32>, tensor<1x1x64x32xf32>) -> tensor<1x2x64x32xf32>
  %o = tensor.concat dim(1) %a, %b : (tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>) -> !q
  return %o : !q
}

// CHECK: remark: [Missed] heads | {{.*}} Reason="the parts do not cover the heads once and in order"
func.func @heads_swapped(%q: !q, %k: !kv) -> !q {
  %q0 = tensor.extract_slice %q[0, 0, 0, 0] [1, 2, 64, 32] [1, 1, 1, 1] : !q to tensor<1x2x64x32xf32>
  %k0 = tensor.extract_slice %k[0, 0, 0, 0] [1, 1, 64, 32] [1, 1, 1, 1] : !kv to tensor<1x1x64x32xf32>
  %q1 = tensor.extract_slice %q[0, 2, 0, 0] [1, 2, 64, 32] [1, 1, 1, 1] : !q to tensor<1x2x64x32xf32>
  %k1 = tensor.extract_slice %k[0, 1, 0, 0] [1, 1, 64, 32] [1, 1, 1, 1] : !kv to tensor<1x1x64x32xf32>
  %a = sparseattn.attention %q0, %k0, %k0 keys(#sparseattn.causal) : (tensor<1x2x64x32xf32>, tensor<1x1x64x32xf32>, tensor<1x1x64x32xf32>) -> tensor<1x2x64x32xf32>
  %b = sparseattn.attention %q1, %k1, %k1 keys(#sparseattn.window<16>) : (tensor<1x2x64x32xf32>, tensor<1x1x64x32xf32>, tensor<1x1x64x32xf32>) -> tensor<1x2x64x32xf32>
  %o = tensor.concat dim(1) %b, %a : (tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>) -> !q
  return %o : !q
}

// CHECK: remark: [Missed] route | {{.*}} Reason="the logits have visibility complete, and routing fuses before_own only"
func.func @complete_logits(%q: !q, %s: tensor<1x2x4x32xf32>) -> !score {
  %z = sparseattn.block_logits %q, %s block 16 visibility(complete) : (!q, tensor<1x2x4x32xf32>) -> tensor<1x4x64x4xf32>
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 16 : (tensor<1x4x64x4xf32>) -> (tensor<1x2x64x1xi32>, !score)
  return %b : !score
}

// CHECK: remark: [Missed] routed | {{.*}} Reason="the number of queries is not known to be at most 8, and the fused form is meant for decode"{{.*}}, Suggestion="use routed=always to fuse whatever the number"
// ALWAYS-LABEL: func @prefill
// ALWAYS: sparseattn.routed_attention
func.func @prefill(%q: !q, %k: !kv, %s: tensor<1x2x4x32xf32>) -> !q {
  %m, %b = sparseattn.route %q, %s block 16 : (!q, tensor<1x2x4x32xf32>) -> (tensor<1x2x64x1xi32>, !score)
  %o = sparseattn.sparse_attention %q, %k, %k selection(%m) block 16 format(bitmask) keys(#sparseattn.causal) bias(%b)
    : (!q, !kv, !kv, tensor<1x2x64x1xi32>, !score) -> !q
  return %o : !q
}

// CHECK: remark: [Missed] routed | {{.*}} Reason="the attention does not take the bias of its routing"
func.func @no_bias(%q: tensor<1x4x1x32xf32>, %k: tensor<1x2x1x32xf32>, %s: tensor<1x2x1x32xf32>) -> tensor<1x4x1x32xf32> {
  %m, %b = sparseattn.route %q, %s block 16 : (tensor<1x4x1x32xf32>, tensor<1x2x1x32xf32>) -> (tensor<1x2x1x1xi32>, tensor<1x2x1x1xf32>)
  %o = sparseattn.sparse_attention %q, %k, %k selection(%m) block 16 format(bitmask) keys(#sparseattn.causal)
    : (tensor<1x4x1x32xf32>, tensor<1x2x1x32xf32>, tensor<1x2x1x32xf32>, tensor<1x2x1x1xi32>) -> tensor<1x4x1x32xf32>
  return %o : tensor<1x4x1x32xf32>
}

// CHECK: remark: [Missed] branches | {{.*}} Reason="the branches have different queries"
func.func @other_query(%q: !q, %q2: !q, %k: !kv, %g: !q) -> !q {
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q
  %b = sparseattn.attention %q2, %k, %k keys(#sparseattn.window<16>) : (!q, !kv, !kv) -> !q
  %o = sparseattn.gated_combine %a, %b gates(%g, %g) : (!q, !q, !q, !q) -> !q
  return %o : !q
}

// CHECK: remark: [Missed] branches | {{.*}} Reason="an input of gated_combine is no attention"
func.func @other_input(%q: !q, %k: !kv, %g: !q) -> !q {
  %a = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q
  %o = sparseattn.gated_combine %a, %q gates(%g, %g) : (!q, !q, !q, !q) -> !q
  return %o : !q
}

// CHECK: remark: [Missed] branches | {{.*}} Reason="a branch has one selection for several queries"
func.func @branch_query_block(%q: !q, %k: !kv, %g: !q, %i: tensor<1x2x8x4xi32>) -> !q {
  %a = sparseattn.sparse_attention %q, %k, %k selection(%i) block 16 query_block 8 keys(#sparseattn.causal)
    : (!q, !kv, !kv, tensor<1x2x8x4xi32>) -> !q
  %o = sparseattn.gated_combine %a gates(%g) : (!q, !q) -> !q
  return %o : !q
}

// CHECK: remark: [Missed] branches | {{.*}} Reason="a branch has a bias"
func.func @branch_bias(%q: !q, %k: !kv, %g: !q, %m: tensor<1x2x64x1xi32>, %b: !score) -> !q {
  %a = sparseattn.sparse_attention %q, %k, %k selection(%m) block 16 format(bitmask) keys(#sparseattn.causal) bias(%b)
    : (!q, !kv, !kv, tensor<1x2x64x1xi32>, !score) -> !q
  %o = sparseattn.gated_combine %a gates(%g) : (!q, !q) -> !q
  return %o : !q
}
