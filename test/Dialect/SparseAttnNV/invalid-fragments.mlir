// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One function for each numbered constraint, named after it.
!q = !sparseattn_nv.tile<128x64xbf16>
!k = !sparseattn_nv.tile<64x64xbf16>
func.func @dot_c1(%q: !q, %k: !k) {
  // expected-error@+1 {{(C1) expected a left operand of 64 rows, found 128; take the warpgroup's own rows with subtile}}
  %p = sparseattn_nv.dot %q, %k transpose_b : !q, !k
  %s = sparseattn_nv.wait %p outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
  return
}

// -----
!q = !sparseattn_nv.tile<64x64xf16>
!k = !sparseattn_nv.tile<64x64xbf16>
func.func @dot_c1_element(%q: !q, %k: !k) {
  // expected-error@+1 {{(C1) expected one element type, found 'f16' and 'bf16'}}
  %p = sparseattn_nv.dot %q, %k transpose_b : !q, !k
  %s = sparseattn_nv.wait %p outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
  return
}

// -----
!q = !sparseattn_nv.tile<64x128xbf16>
!k = !sparseattn_nv.tile<64x128xbf16>
func.func @dot_c2(%q: !q, %k: !k) {
  // expected-error@+1 {{(C2) expected one inner size, found 128 of the left and 64 of the right operand; is transpose_b missing?}}
  %p = sparseattn_nv.dot %q, %k : !q, !k
  %s = sparseattn_nv.wait %p outstanding(0) : !sparseattn_nv.pending<tensor<64x128xf32, #sparseattn_nv.acc>>
  return
}

// -----
!v = !sparseattn_nv.tile<64x512xbf16>
func.func @dot_c3(%a: tensor<64x64xbf16, #sparseattn_nv.operand>, %v: !v) {
  // expected-error@+1 {{(C3) expected at most 256 columns of the result, found 512}}
  %p = sparseattn_nv.dot %a, %v : tensor<64x64xbf16, #sparseattn_nv.operand>, !v
  return
}

// -----
!q = !sparseattn_nv.tile<64x64xbf16>
func.func @dot_c4(%q: !q, %acc: tensor<64x128xf32, #sparseattn_nv.acc>) {
  // expected-error@+1 {{(C4) expected an accumulator of type 'tensor<64x64xf32, #sparseattn_nv.acc>', found 'tensor<64x128xf32, #sparseattn_nv.acc>'}}
  %p = sparseattn_nv.dot %q, %q transpose_b acc(%acc : tensor<64x128xf32, #sparseattn_nv.acc>) : !q, !q
  %s = sparseattn_nv.wait %p outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
  return
}

// -----
!q = !sparseattn_nv.tile<64x64xbf16>
func.func @dot_c5(%q: !q) {
  // expected-error@+1 {{(C5) expected exactly one use of the result, a sparseattn_nv.wait, found 0}}
  %p = sparseattn_nv.dot %q, %q transpose_b : !q, !q
  return
}

// -----
!q = !sparseattn_nv.tile<64x64xbf16>
!pending = !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
func.func @dot_c5_back_edge(%q: !q, %n: i32, %first: !pending) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %last = scf.for %i = %c0 to %n step %c1 iter_args(%old = %first) -> (!pending) : i32 {
    // expected-error@+1 {{(C5) expected a sparseattn_nv.wait in the same block as the only user of the result, found 'scf.yield'}}
    %p = sparseattn_nv.dot %q, %q transpose_b : !q, !q
    // expected-note@+1 {{user}}
    scf.yield %p : !pending
  }
  return
}

// -----
func.func @wait_c1() {
  // expected-error@+1 {{(C1) expected at least one accumulator}}
  "sparseattn_nv.wait"() {outstanding = 0 : i32} : () -> ()
  return
}

// -----
!q = !sparseattn_nv.tile<64x64xbf16>
!pending = !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
func.func @wait_c2(%q: !q) {
  // expected-note@+1 {{dot}}
  %p = sparseattn_nv.dot %q, %q transpose_b : !q, !q
  // expected-error@+1 {{(C2) with 1 groups outstanding, expected at least as many products between the dot and its wait, found 0: the accumulator may still be in flight}}
  %s = sparseattn_nv.wait %p outstanding(1) : !pending
  return
}

// -----
!pending = !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
func.func @wait_c2_argument(%p: !pending) {
  // expected-error@+1 {{(C2) expected results of sparseattn_nv.dot in the same block}}
  %s = sparseattn_nv.wait %p outstanding(0) : !pending
  return
}

// -----
!q = !sparseattn_nv.tile<64x64xbf16>
!pending = !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
func.func @wait_c3(%q: !q) {
  %p = sparseattn_nv.dot %q, %q transpose_b : !q, !q
  // expected-error@+1 {{(C3) expected outstanding in [0, 7], found 8}}
  %s = sparseattn_nv.wait %p outstanding(8) : !pending
  return
}

// -----
func.func @to_operand_c1(%x: tensor<64x16xf32, #sparseattn_nv.acc>) {
  // expected-error@+1 {{(C1) expected bf16 or f16 and a multiple of 16 columns, found 'tensor<64x16xf32, #sparseattn_nv.acc>'}}
  %p = sparseattn_nv.to_operand %x : tensor<64x16xf32, #sparseattn_nv.acc>
  return
}

// -----
func.func @reduce_c1(%x: tensor<64x16xi32, #sparseattn_nv.acc>) {
  // expected-error@+1 {{(C1) expected elements f32, found 'i32'}}
  %r = sparseattn_nv.reduce max %x : tensor<64x16xi32, #sparseattn_nv.acc>
  return
}

// -----
func.func @reduce_c2(%x: tensor<64x16xf32, #sparseattn_nv.acc>) {
  // expected-error@+1 {{(C2) expected kind add for a partial reduction, found max}}
  %r = sparseattn_nv.reduce max %x partial : tensor<64x16xf32, #sparseattn_nv.acc>
  return
}

// -----
func.func @scale_c1(%x: tensor<64xf32, #sparseattn_nv.row_partial>, %f: tensor<64xi32, #sparseattn_nv.row>) {
  // expected-error@+1 {{(C1) expected elements of the factor to be f32, found 'i32'}}
  %r = sparseattn_nv.scale %x, %f : tensor<64xf32, #sparseattn_nv.row_partial>, tensor<64xi32, #sparseattn_nv.row>
  return
}

// -----
func.func @broadcast_c1(%x: tensor<64xf32, #sparseattn_nv.row>) {
  // expected-error@+1 {{(C1) expected one element type, found 'f32' and 'i32'}}
  %r = sparseattn_nv.broadcast %x : tensor<64xf32, #sparseattn_nv.row> -> tensor<64x16xi32, #sparseattn_nv.acc>
  return
}

// -----
func.func @rows_c1() {
  // expected-error@+1 {{(C1) expected elements i32, found 'f32'}}
  %r = sparseattn_nv.rows : tensor<64xf32, #sparseattn_nv.row>
  return
}

// -----
func.func @mask_c1(%x: tensor<64x16xi32, #sparseattn_nv.acc>, %e: tensor<64xi32, #sparseattn_nv.row>, %c: i32) {
  // expected-error@+1 {{(C1) expected elements of the tile to be f32, found 'i32'}}
  %r = sparseattn_nv.mask %x at(%c) end(%e : tensor<64xi32, #sparseattn_nv.row>) : tensor<64x16xi32, #sparseattn_nv.acc>
  return
}

// -----
func.func @mask_c1_bound(%x: tensor<64x16xf32, #sparseattn_nv.acc>, %e: tensor<64xf32, #sparseattn_nv.row>, %c: i32) {
  // expected-error@+1 {{(C1) expected bounds of i32, found 'f32'}}
  %r = sparseattn_nv.mask %x at(%c) end(%e : tensor<64xf32, #sparseattn_nv.row>) : tensor<64x16xf32, #sparseattn_nv.acc>
  return
}

// -----
func.func @mask_c2(%x: tensor<64x16xf32, #sparseattn_nv.acc>, %c: i32) {
  // expected-error@+1 {{(C2) expected begin, end or both}}
  %r = sparseattn_nv.mask %x at(%c) : tensor<64x16xf32, #sparseattn_nv.acc>
  return
}

// -----
func.func @store_tile_c1(%x: tensor<64x16xbf16, #sparseattn_nv.acc>, %p: !llvm.ptr<1>, %s: i64, %v: i32) {
  // expected-error@+1 {{(C1) expected bf16 or f16 and a multiple of 32 columns, found 'tensor<64x16xbf16, #sparseattn_nv.acc>'}}
  sparseattn_nv.store_tile %x, %p row_stride(%s) rows(%v) : tensor<64x16xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
  return
}

// -----
func.func @store_tile_c2_columns(%x: tensor<64x96xbf16, #sparseattn_nv.acc>, %p: !llvm.ptr<1>, %s: i64, %v: i32) {
  // expected-error@+1 {{(C2) expected a power of two from 32 to 32 columns in shared memory, found 96}}
  sparseattn_nv.store_tile %x, %p row_stride(%s) rows(%v) staging(0) columns(96) : tensor<64x96xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
  return
}

// -----
func.func @store_tile_c2_place(%x: tensor<64x96xbf16, #sparseattn_nv.acc>, %p: !llvm.ptr<1>, %s: i64, %v: i32) {
  // expected-error@+1 {{(C2) expected staging at a multiple of 16 bytes, found 8}}
  sparseattn_nv.store_tile %x, %p row_stride(%s) rows(%v) staging(8) columns(32) : tensor<64x96xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
  return
}

// -----
func.func @store_tile_c2_both(%x: tensor<64x96xbf16, #sparseattn_nv.acc>, %p: !llvm.ptr<1>, %s: i64, %v: i32) {
  // expected-error@+1 {{(C2) expected both staging and columns, or neither}}
  sparseattn_nv.store_tile %x, %p row_stride(%s) rows(%v) staging(16) : tensor<64x96xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
  return
}

// -----
func.func @gather_rows_c1(%p: !llvm.ptr<1>, %i: tensor<64xf32, #sparseattn_nv.row>, %s: i64) {
  // expected-error@+1 {{(C1) expected elements of type i32, found 'f32'}}
  %r = sparseattn_nv.gather_rows %p[%i] stride(%s) : !llvm.ptr<1>, tensor<64xf32, #sparseattn_nv.row>
  return
}

// -----
func.func @store_rows_c1(%x: tensor<64xi32, #sparseattn_nv.row>, %p: !llvm.ptr<1>, %s: i64, %v: i32) {
  // expected-error@+1 {{(C1) expected elements of the rows to be f32, found 'i32'}}
  sparseattn_nv.store_rows %x, %p stride(%s) rows(%v) : tensor<64xi32, #sparseattn_nv.row>, !llvm.ptr<1>
  return
}

// -----
!v = !sparseattn_nv.tile<16x64xbf16>
func.func @mma_chain_c1(%v: !v, %a: i32) {
  // expected-error@+1 {{(C1) expected either a left tile or 4 registers, found 1 registers}}
  %r:32 = sparseattn_nv.mma_chain registers(%a), %v : !v -> f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32
  return
}

// -----
!k = !sparseattn_nv.tile<8x64xbf16>
func.func @mma_chain_c2(%k: !k) {
  // expected-error@+1 {{(C2) expected 4 results and no or as many accumulator values, found 2 and 0}}
  %r:2 = sparseattn_nv.mma_chain tile(%k : !k), %k transpose_b : !k -> f32, f32
  return
}

// -----
!v = !sparseattn_nv.tile<8x64xbf16>
func.func @mma_chain_c3(%v: !v, %a: i32) {
  // expected-error@+1 {{(C3) expected at most 256 columns and an inner size that is a multiple of 16, found 64 and 8}}
  %r:2 = sparseattn_nv.mma_chain registers(%a, %a), %v : !v -> f32, f32
  return
}

// -----
func.func @rescale_c1(%x: tensor<64x16xbf16, #sparseattn_nv.acc>, %f: tensor<64xf32, #sparseattn_nv.row>) {
  // expected-error@+1 {{(C1) expected}}
  %r = sparseattn_nv.rescale %x, %f : tensor<64x16xbf16, #sparseattn_nv.acc>, tensor<64xf32, #sparseattn_nv.row>
  return
}

// -----
func.func @rescale_c1_factor(%x: tensor<64x16xf32, #sparseattn_nv.acc>, %f: tensor<64xi32, #sparseattn_nv.row>) {
  // expected-error@+1 {{(C1) expected}}
  %r = sparseattn_nv.rescale %x, %f : tensor<64x16xf32, #sparseattn_nv.acc>, tensor<64xi32, #sparseattn_nv.row>
  return
}
