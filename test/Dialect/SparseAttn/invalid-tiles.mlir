// RUN: sparseattn-opt %s --split-input-file --verify-diagnostics
// One function for each constraint of TileOps.td, and of the schedule.

func.func @load_tile_c1(%q: tensor<8x64x16xf32>, %i: index) {
  // expected-error@+1 {{(C1) expected source of rank 4 for layout bhsd, found rank 3}}
  %0 = sparseattn.load_tile %q[%i, %i, %i] : tensor<8x64x16xf32> -> tensor<4x16xf32>
  return
}

// -----
func.func @load_tile_c2_dynamic(%q: tensor<1x8x64x16xf32>, %i: index) {
  // expected-error@+1 {{(C2) expected the result to be a non-empty static matrix, found 'tensor<?x16xf32>'}}
  %0 = sparseattn.load_tile %q[%i, %i, %i] : tensor<1x8x64x16xf32> -> tensor<?x16xf32>
  return
}

// -----
func.func @load_tile_c2_type(%q: tensor<1x8x64x16xf32>, %i: index) {
  // expected-error@+1 {{(C2) expected one element type, found 'f32' and 'f16'}}
  %0 = sparseattn.load_tile %q[%i, %i, %i] : tensor<1x8x64x16xf32> -> tensor<4x16xf16>
  return
}

// -----
func.func @load_tile_c3(%q: tensor<1x8x64x16xf32>, %i: index) {
  // expected-error@+1 {{(C3) expected as many columns as the source has features, found 32 and 16}}
  %0 = sparseattn.load_tile %q[%i, %i, %i] : tensor<1x8x64x16xf32> -> tensor<4x32xf32>
  return
}

// -----
func.func @tile_rows_c1() {
  // expected-error@+1 {{(C1) expected the result to be a non-empty static vector, found 'tensor<?xindex>'}}
  %0 = sparseattn.tile_rows : tensor<?xindex>
  return
}

// -----
func.func @tile_dot_c1(%a: tensor<4xf32>, %b: tensor<8x4xf32>) {
  // expected-error@+1 {{(C1) expected lhs to be a non-empty static matrix, found 'tensor<4xf32>'}}
  %0 = sparseattn.tile_dot %a, %b transpose_b : tensor<4xf32>, tensor<8x4xf32> -> tensor<4x8xf32>
  return
}

// -----
func.func @tile_dot_c2(%a: tensor<4x4xf32>, %b: tensor<8x4xf16>) {
  // expected-error@+1 {{(C2) expected one element type, found 'f32' and 'f16'}}
  %0 = sparseattn.tile_dot %a, %b transpose_b : tensor<4x4xf32>, tensor<8x4xf16> -> tensor<4x8xf32>
  return
}

// -----
func.func @tile_dot_c3(%a: tensor<2x4xf32>, %b: tensor<8x4xf32>) {
  // expected-error@+1 {{(C3) expected lhs and rhs to contract one size, found 4 and 8}}
  %0 = sparseattn.tile_dot %a, %b : tensor<2x4xf32>, tensor<8x4xf32> -> tensor<2x4xf32>
  return
}

// -----
func.func @tile_dot_c4_shape(%a: tensor<2x4xf32>, %b: tensor<8x4xf32>) {
  // expected-error@+1 {{(C4) expected the result of shape [2,8], found [8,2]}}
  %0 = sparseattn.tile_dot %a, %b transpose_b : tensor<2x4xf32>, tensor<8x4xf32> -> tensor<8x2xf32>
  return
}

// -----
func.func @tile_dot_c4_type(%a: tensor<2x4xbf16>, %b: tensor<8x4xbf16>) {
  // expected-error@+1 {{(C4) expected the result of element type f32, found 'tensor<2x8xbf16>'}}
  %0 = sparseattn.tile_dot %a, %b transpose_b : tensor<2x4xbf16>, tensor<8x4xbf16> -> tensor<2x8xbf16>
  return
}

// -----
func.func @tile_reduce_c1(%a: tensor<4x?xf32>) {
  // expected-error@+1 {{(C1) expected the operand to be a non-empty static matrix, found 'tensor<4x?xf32>'}}
  %0 = sparseattn.tile_reduce max %a : tensor<4x?xf32> -> tensor<4xf32>
  return
}

// -----
func.func @tile_reduce_c2(%a: tensor<4x8xf32>) {
  // expected-error@+1 {{(C2) expected the result of shape [4], found [8]}}
  %0 = sparseattn.tile_reduce add %a : tensor<4x8xf32> -> tensor<8xf32>
  return
}

// -----
func.func @tile_broadcast_c1(%a: tensor<4xf32>) {
  // expected-error@+1 {{(C1) expected the result to be a non-empty static matrix, found 'tensor<4xf32>'}}
  %0 = sparseattn.tile_broadcast %a : tensor<4xf32> -> tensor<4xf32>
  return
}

// -----
func.func @tile_broadcast_c2(%a: tensor<8xf32>) {
  // expected-error@+1 {{(C2) expected the operand of shape [4], found [8]}}
  %0 = sparseattn.tile_broadcast %a : tensor<8xf32> -> tensor<4x8xf32>
  return
}

// -----
func.func @tile_mask_c1(%a: tensor<4x?xf32>, %end: tensor<4xindex>, %i: index) {
  // expected-error@+1 {{(C1) expected the tile to be a non-empty static matrix, found 'tensor<4x?xf32>'}}
  %0 = sparseattn.tile_mask %a end(%end) at(%i) : tensor<4x?xf32>
  return
}

// -----
func.func @tile_mask_c2(%a: tensor<4x8xf32>, %end: tensor<4xindex>, %i: index) {
  // expected-error@+1 {{(C2) expected both full_begin and full_end, or none of them}}
  %0 = "sparseattn.tile_mask"(%a, %end, %i, %i) <{operandSegmentSizes = array<i32: 1, 0, 1, 1, 1, 0>}>
    : (tensor<4x8xf32>, tensor<4xindex>, index, index) -> tensor<4x8xf32>
  return
}

// -----
func.func @streaming_attention_c1(%q: tensor<8x16xf32>, %k: tensor<1x2x?x16xf32>, %i: index) {
  // expected-error@+1 {{(C1) expected query of shape [16,?], found [8,16]}}
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%i, %i) position(%i) rows(%i) keys(#sparseattn.full) scale 1.0
      schedule <query_tile = 16, key_tile = 8>
    : tensor<8x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32> -> tensor<8x16xf32>, tensor<8xf32>
  return
}

// -----
func.func @streaming_attention_c2(%q: tensor<8x16xf32>, %k: tensor<2x?x16xf32>, %i: index) {
  // expected-error@+1 {{(C2) expected key of rank 4 for layout bhsd, found rank 3}}
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%i, %i) position(%i) rows(%i) keys(#sparseattn.full) scale 1.0
      schedule <query_tile = 8, key_tile = 8>
    : tensor<8x16xf32>, tensor<2x?x16xf32>, tensor<2x?x16xf32> -> tensor<8x16xf32>, tensor<8xf32>
  return
}

// -----
func.func @streaming_attention_c3(%q: tensor<8x16xf16>, %k: tensor<1x2x?x16xf32>, %i: index) {
  // expected-error@+1 {{(C3) expected one element type, found 'f16' and 'f32'}}
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%i, %i) position(%i) rows(%i) keys(#sparseattn.full) scale 1.0
      schedule <query_tile = 8, key_tile = 8>
    : tensor<8x16xf16>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32> -> tensor<8x16xf32>, tensor<8xf32>
  return
}

// -----
func.func @streaming_attention_c4(%q: tensor<8x16xf32>, %k: tensor<1x2x4x16xf32>, %v: tensor<1x2x5x16xf32>, %i: index) {
  // expected-error@+1 {{(C4) expected key and value with one batch size, number of heads and length, found 'tensor<1x2x4x16xf32>' and 'tensor<1x2x5x16xf32>'}}
  %o, %l = sparseattn.streaming_attention %q, %k, %v at(%i, %i) position(%i) rows(%i) keys(#sparseattn.full) scale 1.0
      schedule <query_tile = 8, key_tile = 8>
    : tensor<8x16xf32>, tensor<1x2x4x16xf32>, tensor<1x2x5x16xf32> -> tensor<8x16xf32>, tensor<8xf32>
  return
}

// -----
func.func @streaming_attention_c5(%q: tensor<8x32xf32>, %k: tensor<1x2x?x16xf32>, %i: index) {
  // expected-error@+1 {{(C5) expected query and key with one feature size, found 32 and 16}}
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%i, %i) position(%i) rows(%i) keys(#sparseattn.full) scale 1.0
      schedule <query_tile = 8, key_tile = 8>
    : tensor<8x32xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32> -> tensor<8x16xf32>, tensor<8xf32>
  return
}

// -----
func.func @streaming_attention_c6(%q: tensor<8x16xf32>, %k: tensor<1x2x?x16xf32>, %i: index) {
  // expected-error@+1 {{(C6) expected out of shape [8,16], found [8,32]}}
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%i, %i) position(%i) rows(%i) keys(#sparseattn.full) scale 1.0
      schedule <query_tile = 8, key_tile = 8>
    : tensor<8x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32> -> tensor<8x32xf32>, tensor<8xf32>
  return
}

// -----
func.func @streaming_attention_c7(%q: tensor<8x16xf32>, %k: tensor<1x2x?x16xf32>, %i: index) {
  // expected-error@+1 {{(C7) expected one head_table entry for each of the 2 KV heads, found 1}}
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%i, %i) position(%i) rows(%i)
      keys(#sparseattn.head_table<[#sparseattn.full]>) scale 1.0 schedule <query_tile = 8, key_tile = 8>
    : tensor<8x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32> -> tensor<8x16xf32>, tensor<8xf32>
  return
}

// -----
func.func @streaming_attention_c8(%q: tensor<8x16xf32>, %k: tensor<1x2x?x16xf32>, %i: index) {
  // expected-error@+1 {{(C8) expected a finite scale}}
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%i, %i) position(%i) rows(%i) keys(#sparseattn.full)
      scale 0x7FF0000000000000 schedule <query_tile = 8, key_tile = 8>
    : tensor<8x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32> -> tensor<8x16xf32>, tensor<8xf32>
  return
}

// -----
func.func @streaming_attention_c9(%q: tensor<8x16xf32>, %k: tensor<1x2x?x16xf32>, %i: index) {
  // expected-error@+1 {{(C9) expected both origin and length or none}}
  %o, %l = "sparseattn.streaming_attention"(%q, %k, %k, %i, %i, %i, %i, %i) <{keys = #sparseattn.full, scale = 1.0 : f64,
      schedule = #sparseattn.schedule<query_tile = 8, key_tile = 8>,
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0>}>
    : (tensor<8x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>, index, index, index, index, index)
   -> (tensor<8x16xf32>, tensor<8xf32>)
  return
}

// -----
func.func @streaming_attention_c10(%q: tensor<8x16xf32>, %k: tensor<1x2x?x16xf32>, %i: index, %list: tensor<4xi32>) {
  // expected-error@+1 {{(C10) expected blocks of a positive multiple of key_tile = 8 keys, found 12}}
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%i, %i) position(%i) rows(%i) blocks(%list : tensor<4xi32>) of 12
      keys(#sparseattn.full) scale 1.0 schedule <query_tile = 8, key_tile = 8>
    : tensor<8x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32> -> tensor<8x16xf32>, tensor<8xf32>
  return
}

// -----
func.func @streaming_attention_c10_rank(%q: tensor<8x16xf32>, %k: tensor<1x2x?x16xf32>, %i: index, %list: tensor<1x4xi32>) {
  // expected-error@+1 {{(C10) expected blocks to be a vector, found 'tensor<1x4xi32>'}}
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%i, %i) position(%i) rows(%i) blocks(%list : tensor<1x4xi32>) of 8
      keys(#sparseattn.full) scale 1.0 schedule <query_tile = 8, key_tile = 8>
    : tensor<8x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32> -> tensor<8x16xf32>, tensor<8xf32>
  return
}

// -----
// expected-error@+1 {{(A13) expected key_tile in [1, 1024], found 0}}
func.func private @a13() attributes {s = #sparseattn.schedule<query_tile = 64, key_tile = 0>}

// -----
// expected-error@+1 {{(A13) expected consumers in [1, 3], found 4}}
func.func private @a13_consumers() attributes {s = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 4>}

// -----
// expected-error@+1 {{(A13) expected consumer_registers to be a multiple of 8, as setmaxnreg takes it, found 100}}
func.func private @a13_registers() attributes {s = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumer_registers = 100>}
