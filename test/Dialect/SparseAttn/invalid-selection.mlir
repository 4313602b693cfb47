// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One function for each numbered constraint, named after it.
func.func @chunk_summarize_c1(%k: tensor<2x8x16xf32>) {
  // expected-error@+1 {{(C1) expected key of rank 4, found rank 3}}
  %s = sparseattn.chunk_summarize %k block 4
    : (tensor<2x8x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c1_layout(%k: tensor<8x2x16xf32>) {
  // expected-error@+1 {{(C1) expected layout bhsd or bshd, found thd}}
  %s = sparseattn.chunk_summarize %k block 4 layout(thd)
    : (tensor<8x2x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c2(%k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C2) expected block >= 1, found 0}}
  %s = sparseattn.chunk_summarize %k block 0
    : (tensor<1x2x8x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c2_stride(%k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C2) expected stride >= 1, found -1}}
  %s = sparseattn.chunk_summarize %k block 4 stride -1
    : (tensor<1x2x8x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c3(%k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C3) mode learned_query needs summary_query}}
  %s = sparseattn.chunk_summarize %k block 4 mode(learned_query)
    : (tensor<1x2x8x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c3_surplus(%k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C3) mode mean takes no gate}}
  %s = sparseattn.chunk_summarize %k block 4 gate(%k)
    : (tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c4(%k: tensor<1x2x8x16xf32>, %x: tensor<2x3x16xf32>) {
  // expected-error@+1 {{(C4) expected summary_query of shape [2,2,16], found [2,3,16]}}
  %s = sparseattn.chunk_summarize %k block 4 mode(learned_query) summary_query(%x)
    : (tensor<1x2x8x16xf32>, tensor<2x3x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c5(%k: tensor<1x2x8x16xf32>, %x: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C5) expected gate of shape [1,2,8,16], found [1,2,8,8]}}
  %s = sparseattn.chunk_summarize %k block 4 mode(gated_softmax) gate(%x)
    : (tensor<1x2x8x16xf32>, tensor<1x2x8x8xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c6(%k: tensor<1x2x8x16xf32>, %x: tensor<8x16xf32>) {
  // expected-error@+1 {{(C6) expected position of shape [4,16], found [8,16]}}
  %s = sparseattn.chunk_summarize %k block 4 mode(gated_softmax) gate(%k) position(%x)
    : (tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<8x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c7(%k: tensor<1x2x8x16xf32>, %i: tensor<32x32xf32>, %x: tensor<32x16xf32>) {
  // expected-error@+1 {{(C7) expected weight_in of shape [64,?], found [32,32]}}
  %s = sparseattn.chunk_summarize %k block 4 mode(mlp) weight_in(%i) weight_out(%x) complete_only
    : (tensor<1x2x8x16xf32>, tensor<32x32xf32>, tensor<32x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c7_partial(%k: tensor<1x2x8x16xf32>, %i: tensor<64x32xf32>, %x: tensor<32x16xf32>) {
  // expected-error@+1 {{(C7) expected complete_only: the MLP reads whole blocks}}
  %s = sparseattn.chunk_summarize %k block 4 mode(mlp) weight_in(%i) weight_out(%x)
    : (tensor<1x2x8x16xf32>, tensor<64x32xf32>, tensor<32x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c8(%k: tensor<1x2x8x16xf32>, %x: tensor<2x16xf16>) {
  // expected-error@+1 {{(C8) expected one element type, found 'f32' and 'f16'}}
  %s = sparseattn.chunk_summarize %k block 4 mode(learned_query) summary_query(%x)
    : (tensor<1x2x8x16xf32>, tensor<2x16xf16>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c9(%k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C9) expected 2 results for these attributes, found 1}}
  %s = sparseattn.chunk_summarize %k block 4 mode(minmax)
    : (tensor<1x2x8x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @chunk_summarize_c9_shape(%k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C9) expected result #0 of type 'tensor<1x2x2x16xf32>', found 'tensor<1x2x3x16xf32>'}}
  %s = sparseattn.chunk_summarize %k block 4
    : (tensor<1x2x8x16xf32>) -> tensor<1x2x3x16xf32>
  return
}

// -----
func.func @chunk_summarize_c10(%k: tensor<1x2x8x16xf32>) {
  // expected-error@+1 {{(C10) expected a finite scale, found INF}}
  %s = sparseattn.chunk_summarize %k block 4 scale 0x7FF0000000000000
    : (tensor<1x2x8x16xf32>) -> tensor<1x2x2x16xf32>
  return
}

// -----
func.func @block_logits_c1(%q: tensor<1x4x8x16xf32>, %s: tensor<2x2x16xf32>) {
  // expected-error@+1 {{(C1) expected summary of rank 4, found rank 3}}
  %z = sparseattn.block_logits %q, %s block 4
    : (tensor<1x4x8x16xf32>, tensor<2x2x16xf32>) -> tensor<1x4x8x2xf32>
  return
}

// -----
func.func @block_logits_c2(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x8xf32>) {
  // expected-error@+1 {{(C2) expected query and summary with one batch size and head dimension, found [1,16] and [1,8]}}
  %z = sparseattn.block_logits %q, %s block 4
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x8xf32>) -> tensor<1x4x8x2xf32>
  return
}

// -----
func.func @block_logits_c3(%q: tensor<1x4x8x16xf32>, %s: tensor<1x3x2x16xf32>) {
  // expected-error@+1 {{(C3) expected the number of query heads to be a positive multiple of the number of KV heads, found 4 and 3}}
  %z = sparseattn.block_logits %q, %s block 4
    : (tensor<1x4x8x16xf32>, tensor<1x3x2x16xf32>) -> tensor<1x4x8x2xf32>
  return
}

// -----
func.func @block_logits_c4(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C4) bound minmax needs max(...), the maxima beside the minima}}
  %z = sparseattn.block_logits %q, %s block 4 bound(minmax)
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x2xf32>
  return
}

// -----
func.func @block_logits_c4_surplus(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C4) expected max(...) for bound minmax only}}
  %z = sparseattn.block_logits %q, %s max(%s) block 4
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x2xf32>
  return
}

// -----
func.func @block_logits_c5(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>, %w: tensor<1x4x8xf32>) {
  // expected-error@+1 {{(C5) expected head_weight of shape [1,8,4], found [1,4,8]}}
  %z = sparseattn.block_logits %q, %s head_weight(%w) block 4
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>, tensor<1x4x8xf32>) -> tensor<1x1x8x2xf32>
  return
}

// -----
func.func @block_logits_c6(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C6) expected block >= 1, found 0}}
  %z = sparseattn.block_logits %q, %s block 0
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x2xf32>
  return
}

// -----
func.func @block_logits_c6_stride(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C6) expected stride >= 1, found 0}}
  %z = sparseattn.block_logits %q, %s block 4 stride 0
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x2xf32>
  return
}

// -----
func.func @block_logits_c7(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C7) expected a finite scale, found -INF}}
  %z = sparseattn.block_logits %q, %s block 4 scale 0xFFF0000000000000
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x4x8x2xf32>
  return
}

// -----
func.func @block_logits_c8(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C8) expected result #0 of type 'tensor<1x4x8x2xf32>', found 'tensor<1x2x8x2xf32>'}}
  %z = sparseattn.block_logits %q, %s block 4
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>) -> tensor<1x2x8x2xf32>
  return
}

// -----
func.func @block_softmax_c1(%z: tensor<4x8x2xf32>) {
  // expected-error@+1 {{(C1) expected logits of rank 4, found rank 3}}
  %p = sparseattn.block_softmax %z kv_heads 2 : (tensor<4x8x2xf32>) -> tensor<2x8x2xf32>
  return
}

// -----
func.func @block_softmax_c2(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C2) expected the number of query heads to be a positive multiple of the number of KV heads, found 4 and 3}}
  %p = sparseattn.block_softmax %z kv_heads 3 : (tensor<1x4x8x2xf32>) -> tensor<1x3x8x2xf32>
  return
}

// -----
func.func @block_softmax_c2_negative(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C2) expected kv_heads >= 1, found -1}}
  %p = sparseattn.block_softmax %z kv_heads -1 : (tensor<1x4x8x2xf32>) -> tensor<1x2x8x2xf32>
  return
}

// -----
func.func @block_softmax_c3(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C3) expected result #0 of type 'tensor<1x2x8x2xf32>', found 'tensor<1x4x8x2xf32>'}}
  %p = sparseattn.block_softmax %z kv_heads 2 : (tensor<1x4x8x2xf32>) -> tensor<1x4x8x2xf32>
  return
}

// -----
func.func @pool_scores_c1(%s: tensor<8x8xf32>) {
  // expected-error@+1 {{(C1) expected scores of rank 4, found rank 2}}
  %p = sparseattn.pool_scores %s kernel 2 stride 2 : (tensor<8x8xf32>) -> tensor<8x4xf32>
  return
}

// -----
func.func @pool_scores_c2(%s: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C2) expected kernel >= 1, found 0}}
  %p = sparseattn.pool_scores %s kernel 0 stride 2 : (tensor<1x2x8x8xf32>) -> tensor<1x2x8x4xf32>
  return
}

// -----
func.func @pool_scores_c2_pad(%s: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C2) expected 0 <= pad < kernel = 2, found 2}}
  %p = sparseattn.pool_scores %s kernel 2 stride 2 pad 2 : (tensor<1x2x8x8xf32>) -> tensor<1x2x8x4xf32>
  return
}

// -----
func.func @pool_scores_c2_limit(%s: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C2) expected stride <= 2147483647, found 9223372036854775807}}
  %p = sparseattn.pool_scores %s kernel 2 stride 9223372036854775807 : (tensor<1x2x8x8xf32>) -> tensor<1x2x8x4xf32>
  return
}

// -----
func.func @pool_scores_c3(%s: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C3) expected result #0 of type 'tensor<1x2x8x4xf32>', found 'tensor<1x2x8x5xf32>'}}
  %p = sparseattn.pool_scores %s kernel 2 stride 2 : (tensor<1x2x8x8xf32>) -> tensor<1x2x8x5xf32>
  return
}

// -----
func.func @select_topk_c1(%s: tensor<2x8x8xf32>) {
  // expected-error@+1 {{(C1) expected score of rank 4, found rank 3}}
  %i = sparseattn.select_topk %s <k = 2, block = 4> : (tensor<2x8x8xf32>) -> tensor<2x8x2xi32>
  return
}

// -----
func.func @select_topk_c2(%s: tensor<1x2x8x8xf32>, %r: tensor<8x2xi32>) {
  // expected-error@+1 {{(C2) expected valid_range of shape [1,8,2], found [8,2]}}
  %i = sparseattn.select_topk %s <k = 2, block = 4> valid_range(%r) : (tensor<1x2x8x8xf32>, tensor<8x2xi32>) -> tensor<1x2x8x2xi32>
  return
}

// -----
func.func @select_topk_c3(%s: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C3) expected valid_range for origin range_begin}}
  %i = sparseattn.select_topk %s <k = 2, block = 4> origin(range_begin) : (tensor<1x2x8x8xf32>) -> tensor<1x2x8x2xi32>
  return
}

// -----
func.func @select_topk_c4(%s: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C4) expected 2 results for these attributes, found 1}}
  %i = sparseattn.select_topk %s <k = 2, block = 4> return_count : (tensor<1x2x8x8xf32>) -> tensor<1x2x8x2xi32>
  return
}

// -----
func.func @select_topk_c4_width(%s: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{(C4) expected result #0 of type 'tensor<1x2x8x2xi32>', found 'tensor<1x2x8x3xi32>'}}
  %i = sparseattn.select_topk %s <k = 2, block = 4> : (tensor<1x2x8x8xf32>) -> tensor<1x2x8x3xi32>
  return
}

// -----
func.func @entmax_route_c1(%z: tensor<4x8x2xf32>) {
  // expected-error@+1 {{(C1) expected logits of rank 4, found rank 3}}
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 4
    : (tensor<4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c2(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C2) expected the number of query heads to be a positive multiple of the number of KV heads, found 4 and 3}}
  %m, %b = sparseattn.entmax_route %z kv_heads 3 block 4
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c2_negative(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C2) expected kv_heads >= 1, found -3}}
  %m, %b = sparseattn.entmax_route %z kv_heads -3 block 4
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c3(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C3) expected alpha in [1, 2], found 2.5}}
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 4 alpha 2.5
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c3_nan(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C3) expected alpha in [1, 2], found nan}}
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 4 alpha 0x7FF8000000000000
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c4(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C4) solver halley needs alpha 1.5, found 2}}
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 4 alpha 2.0 solver(#sparseattn.halley<5>)
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c4_sort(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C4) solver sort needs alpha 1.5 or 2, found 1.25}}
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 4 alpha 1.25 solver(#sparseattn.sort)
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c5(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C5) expected block >= 1, found 0}}
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 0
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c5_local(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C5) expected local_blocks >= 0, found -1}}
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 4 local_blocks -1
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c6(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C6) expected a finite positive sigma, found 0}}
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 4 sigma 0.0
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @entmax_route_c7(%z: tensor<1x4x8x2xf32>) {
  // expected-error@+1 {{(C7) expected result #1 of type 'tensor<1x2x8x2xf32>', found 'tensor<1x4x8x2xf32>'}}
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 4
    : (tensor<1x4x8x2xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x4x8x2xf32>)
  return
}

// -----
func.func @route_c1(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x8xf32>) {
  // expected-error@+1 {{(C1) expected query and summary with one batch size and head dimension, found [1,16] and [1,8]}}
  %m, %b = sparseattn.route %q, %s block 4
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x8xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @route_c1_block(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C1) expected block >= 1, found 0}}
  %m, %b = sparseattn.route %q, %s block 0
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @route_c1_scale(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C1) expected a finite scale, found INF}}
  %m, %b = sparseattn.route %q, %s block 4 scale 0x7FF0000000000000
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>) -> (tensor<1x2x8x1xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @route_c2(%q: tensor<1x4x8x16xf32>, %s: tensor<1x2x2x16xf32>) {
  // expected-error@+1 {{(C2) expected result #0 of type 'tensor<1x2x8x1xi32>', found 'tensor<1x2x8x2xi32>'}}
  %m, %b = sparseattn.route %q, %s block 4
    : (tensor<1x4x8x16xf32>, tensor<1x2x2x16xf32>) -> (tensor<1x2x8x2xi32>, tensor<1x2x8x2xf32>)
  return
}

// -----
func.func @mask_to_index_c1(%m: tensor<i32>) {
  // expected-error@+1 {{(C1) expected mask of rank at least 1}}
  %i, %c = sparseattn.mask_to_index %m cap 4 : (tensor<i32>) -> (tensor<4xi32>, tensor<i32>)
  return
}

// -----
func.func @mask_to_index_c2(%m: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C2) expected cap >= 1, found 0}}
  %i, %c = sparseattn.mask_to_index %m cap 0 : (tensor<1x2x8x2xi32>) -> (tensor<1x2x8x0xi32>, tensor<1x2x8xi32>)
  return
}

// -----
func.func @mask_to_index_c3(%m: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C3) expected result #0 of type 'tensor<1x2x8x4xi32>', found 'tensor<1x2x8x5xi32>'}}
  %i, %c = sparseattn.mask_to_index %m cap 4 : (tensor<1x2x8x2xi32>) -> (tensor<1x2x8x5xi32>, tensor<1x2x8xi32>)
  return
}

// -----
func.func @index_to_mask_c1(%i: tensor<i32>) {
  // expected-error@+1 {{(C1) expected indices of rank at least 1}}
  %m = sparseattn.index_to_mask %i num_blocks 4 : (tensor<i32>) -> tensor<1xi32>
  return
}

// -----
func.func @index_to_mask_c2(%i: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C2) expected num_blocks >= 1, found -4}}
  %m = sparseattn.index_to_mask %i num_blocks -4 : (tensor<1x2x8x2xi32>) -> tensor<1x2x8x1xi32>
  return
}

// -----
func.func @index_to_mask_c3(%i: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C3) expected result #0 of type 'tensor<1x2x8x2xi32>', found 'tensor<1x2x8x1xi32>'}}
  %m = sparseattn.index_to_mask %i num_blocks 33 : (tensor<1x2x8x2xi32>) -> tensor<1x2x8x1xi32>
  return
}

// -----
func.func @union_tile_c1(%i: tensor<2x8x2xi32>) {
  // expected-error@+1 {{(C1) expected indices of rank 4, found rank 3}}
  %t, %u = sparseattn.union_tile %i tile 4 : (tensor<2x8x2xi32>) -> (tensor<2x2x8xi32>, tensor<2x8x1xi32>)
  return
}

// -----
func.func @union_tile_c2(%i: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C2) expected tile >= 1, found 0}}
  %t, %u = sparseattn.union_tile %i tile 0 : (tensor<1x2x8x2xi32>) -> (tensor<1x2x2x8xi32>, tensor<1x2x8x1xi32>)
  return
}

// -----
func.func @union_tile_c2_dynamic(%i: tensor<1x2x8x?xi32>) {
  // expected-error@+1 {{(C2) expected cap, because the number of indices per query is dynamic}}
  %t, %u = sparseattn.union_tile %i tile 4 : (tensor<1x2x8x?xi32>) -> (tensor<1x2x2x8xi32>, tensor<1x2x8x1xi32>)
  return
}

// -----
func.func @union_tile_c2_limit(%i: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C2) expected cap, because tile * K exceeds 2147483647}}
  %t, %u = sparseattn.union_tile %i tile 2000000000 : (tensor<1x2x8x2xi32>) -> (tensor<1x2x1x8xi32>, tensor<1x2x8x1xi32>)
  return
}

// -----
func.func @union_tile_c3(%i: tensor<1x2x8x2xi32>) {
  // expected-error@+1 {{(C3) expected result #1 of type 'tensor<1x2x8x1xi32>', found 'tensor<1x2x8x2xi32>'}}
  %t, %u = sparseattn.union_tile %i tile 4 : (tensor<1x2x8x2xi32>) -> (tensor<1x2x2x8xi32>, tensor<1x2x8x2xi32>)
  return
}
