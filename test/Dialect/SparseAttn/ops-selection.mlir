// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --emit-bytecode | sparseattn-opt | diff %t.text -
// RUN: FileCheck %s < %t.text

!q = tensor<1x4x8x16xf32>
!kv = tensor<1x2x8x16xf32>
!score = tensor<1x2x8x4xf32>

// CHECK-LABEL: func.func @chunk_summarize
func.func @chunk_summarize(%k: !kv, %kb: tensor<1x9x2x16xbf16>, %query: tensor<2x16xf32>, %queries: tensor<2x3x16xf32>,
                           %position: tensor<4x16xf32>, %in: tensor<64x32xf32>, %out: tensor<32x16xf32>,
                           %gate: !kv, %dynamic: tensor<1x2x?x16xf32>) {
  // CHECK: sparseattn.chunk_summarize %{{.*}} block 4 : (
  %s0 = sparseattn.chunk_summarize %k block 4 : (!kv) -> tensor<1x2x2x16xf32>
  // CHECK: block 4 stride 2 mode(learned_query) summary_query(%{{.*}}) complete_only scale
  %s1 = sparseattn.chunk_summarize %k block 4 stride 2 mode(learned_query) summary_query(%queries) complete_only
    scale 0.25 : (!kv, tensor<2x3x16xf32>) -> tensor<1x2x3x16xf32>
  // CHECK: mode(learned_query) summary_query(%{{.*}}) :
  %s2 = sparseattn.chunk_summarize %k block 4 mode(learned_query) summary_query(%query)
    : (!kv, tensor<2x16xf32>) -> tensor<1x2x2x16xf32>
  // CHECK: %{{.*}}:2 = sparseattn.chunk_summarize %{{.*}} block 4 mode(minmax) layout(bshd)
  %s3:2 = sparseattn.chunk_summarize %kb block 4 mode(minmax) layout(bshd)
    : (tensor<1x9x2x16xbf16>) -> (tensor<1x3x2x16xbf16>, tensor<1x3x2x16xbf16>)
  // CHECK: mode(mlp) position(%{{.*}}) weight_in(%{{.*}}) weight_out(%{{.*}}) complete_only
  %s4 = sparseattn.chunk_summarize %k block 4 stride 4 mode(mlp) position(%position) weight_in(%in) weight_out(%out)
    complete_only : (!kv, tensor<4x16xf32>, tensor<64x32xf32>, tensor<32x16xf32>) -> tensor<1x2x2x16xf32>
  // CHECK: mode(gated_softmax) gate(%{{.*}}) position(%{{.*}})
  %s5 = sparseattn.chunk_summarize %k block 4 mode(gated_softmax) gate(%gate) position(%position)
    : (!kv, !kv, tensor<4x16xf32>) -> tensor<1x2x2x16xf32>
  // CHECK: -> tensor<1x2x?x16xf32>
  %s6 = sparseattn.chunk_summarize %dynamic block 4 : (tensor<1x2x?x16xf32>) -> tensor<1x2x?x16xf32>
  return
}

// CHECK-LABEL: func.func @block_logits
func.func @block_logits(%q: !q, %summary: tensor<1x2x3x16xf32>, %one: tensor<1x1x3x16xf32>, %weight: tensor<1x8x4xf32>,
                        %offset: index, %qs: tensor<1x8x4x16xf16>, %ss: tensor<1x3x2x16xf16>) {
  // CHECK: sparseattn.block_logits %{{.*}}, %{{.*}} block 4 : (
  %z0 = sparseattn.block_logits %q, %summary block 4 : (!q, tensor<1x2x3x16xf32>) -> tensor<1x4x8x3xf32>
  // CHECK: max(%{{.*}}) q_offset(%{{.*}}) block 4 stride 2 scale {{.*}} visibility(complete) bound(minmax)
  %z1 = sparseattn.block_logits %q, %summary max(%summary) q_offset(%offset) block 4 stride 2 scale 0.5
    visibility(complete) bound(minmax)
    : (!q, tensor<1x2x3x16xf32>, tensor<1x2x3x16xf32>, index) -> tensor<1x4x8x3xf32>
  // CHECK: head_weight(%{{.*}}) block 1 activation(relu) visibility(all)
  %z2 = sparseattn.block_logits %q, %one head_weight(%weight) block 1 activation(relu) visibility(all)
    : (!q, tensor<1x1x3x16xf32>, tensor<1x8x4xf32>) -> tensor<1x1x8x3xf32>
  // CHECK: visibility(own_inf) layout(bshd)
  %z3 = sparseattn.block_logits %qs, %ss block 4 visibility(own_inf) layout(bshd)
    : (tensor<1x8x4x16xf16>, tensor<1x3x2x16xf16>) -> tensor<1x4x8x3xf32>
  return
}

// CHECK-LABEL: func.func @scores
func.func @scores(%z: tensor<1x4x8x4xf32>) {
  // CHECK: sparseattn.block_softmax %{{.*}} kv_heads 2 : (
  %p0 = sparseattn.block_softmax %z kv_heads 2 : (tensor<1x4x8x4xf32>) -> !score
  // CHECK: kv_heads 2 group(none)
  %p1 = sparseattn.block_softmax %z kv_heads 2 group(none) : (tensor<1x4x8x4xf32>) -> tensor<1x4x8x4xf32>
  // CHECK: sparseattn.pool_scores %{{.*}} kernel 2 stride 2 : (
  %m0 = sparseattn.pool_scores %p0 kernel 2 stride 2 : (!score) -> tensor<1x2x8x2xf32>
  // CHECK: kernel 3 stride 2 pad 1 mode(sum) ceil_mode
  %m1 = sparseattn.pool_scores %p0 kernel 3 stride 2 pad 1 mode(sum) ceil_mode : (!score) -> tensor<1x2x8x3xf32>
  return
}

// CHECK-LABEL: func.func @select_topk
func.func @select_topk(%score: !score, %range: tensor<1x8x2xi32>, %offset: index) {
  // CHECK: sparseattn.select_topk %{{.*}} <k = 2, block = 4> : (
  %i0 = sparseattn.select_topk %score <k = 2, block = 4> : (!score) -> tensor<1x2x8x2xi32>
  // CHECK: <k = 3, block = 4, force_first = 1, force_local = 2> origin(range_begin) valid_range(%{{.*}}) return_count
  %i1, %c1 = sparseattn.select_topk %score <k = 3, block = 4, force_first = 1, force_local = 2>
    origin(range_begin) valid_range(%range) return_count
    : (!score, tensor<1x8x2xi32>) -> (tensor<1x2x8x3xi32>, tensor<1x2x8xi32>)
  // CHECK: <k = 2, block = 1, force_local = 3, count_forced = false> q_offset(%{{.*}})
  %i2 = sparseattn.select_topk %score <k = 2, block = 1, force_local = 3, count_forced = false>
    q_offset(%offset) : (!score, index) -> tensor<1x2x8x5xi32>
  return
}

// CHECK-LABEL: func.func @routing
func.func @routing(%z: tensor<1x4x8x40xf32>, %q: !q, %summary: tensor<1x2x40x16xf32>, %offset: index) {
  // CHECK: sparseattn.entmax_route %{{.*}} kv_heads 2 block 4 : (
  %m0, %b0 = sparseattn.entmax_route %z kv_heads 2 block 4
    : (tensor<1x4x8x40xf32>) -> (tensor<1x2x8x2xi32>, tensor<1x2x8x40xf32>)
  // CHECK: alpha {{.*}} solver(#sparseattn.sort) local_blocks 1 prior(raw) sigma {{.*}} q_offset(%{{.*}}) return_count
  %m1, %b1, %c1 = sparseattn.entmax_route %z kv_heads 2 block 4 alpha 2.0 solver(#sparseattn.sort) local_blocks 1
    prior(raw) sigma 10.0 q_offset(%offset) return_count
    : (tensor<1x4x8x40xf32>, index) -> (tensor<1x2x8x2xi32>, tensor<1x2x8x40xf32>, tensor<1x2x8xi32>)
  // CHECK: solver(#sparseattn.halley<3>) prior(none)
  %m2, %b2 = sparseattn.entmax_route %z kv_heads 2 block 4 solver(#sparseattn.halley<3>) prior(none)
    : (tensor<1x4x8x40xf32>) -> (tensor<1x2x8x2xi32>, tensor<1x2x8x40xf32>)
  // CHECK: sparseattn.route %{{.*}}, %{{.*}} block 4 : (
  %m3, %b3 = sparseattn.route %q, %summary block 4
    : (!q, tensor<1x2x40x16xf32>) -> (tensor<1x2x8x2xi32>, tensor<1x2x8x40xf32>)
  // CHECK: sparseattn.route %{{.*}}, %{{.*}} block 4 scale {{.*}} alpha {{.*}} solver(#sparseattn.bisect<50>) local_blocks 2 prior(none) sigma {{.*}} q_offset(%{{.*}}) return_count
  %m4, %b4, %c4 = sparseattn.route %q, %summary block 4 scale 0.5 alpha 1.25 solver(#sparseattn.bisect<50>)
    local_blocks 2 prior(none) sigma 10.0 q_offset(%offset) return_count
    : (!q, tensor<1x2x40x16xf32>, index) -> (tensor<1x2x8x2xi32>, tensor<1x2x8x40xf32>, tensor<1x2x8xi32>)
  return
}

// CHECK-LABEL: func.func @encodings
func.func @encodings(%mask: tensor<1x2x8x2xi32>, %row: tensor<?xi32>) {
  // CHECK: sparseattn.mask_to_index %{{.*}} cap 16 : (
  %i, %c = sparseattn.mask_to_index %mask cap 16 : (tensor<1x2x8x2xi32>) -> (tensor<1x2x8x16xi32>, tensor<1x2x8xi32>)
  // CHECK: sparseattn.index_to_mask %{{.*}} num_blocks 40 : (
  %m = sparseattn.index_to_mask %i num_blocks 40 : (tensor<1x2x8x16xi32>) -> tensor<1x2x8x2xi32>
  // CHECK: sparseattn.union_tile %{{.*}} tile 4 : (
  %t0, %u0 = sparseattn.union_tile %i tile 4 : (tensor<1x2x8x16xi32>) -> (tensor<1x2x2x64xi32>, tensor<1x2x8x2xi32>)
  // CHECK: sparseattn.union_tile %{{.*}} tile 4 cap 33 : (
  %t1, %u1 = sparseattn.union_tile %i tile 4 cap 33 : (tensor<1x2x8x16xi32>) -> (tensor<1x2x2x33xi32>, tensor<1x2x8x2xi32>)
  // CHECK: sparseattn.index_to_mask %{{.*}} num_blocks 33 : (tensor<?xi32>)
  %m1 = sparseattn.index_to_mask %row num_blocks 33 : (tensor<?xi32>) -> tensor<2xi32>
  return
}
