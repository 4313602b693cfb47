// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One function for each numbered constraint, named after it.
func.func @channel_c1() {
  // expected-error@+1 {{(C1) expected offset and barriers, or none of them}}
  %c = sparseattn_nv.channel offset(0) : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  return
}

// -----
func.func @channel_c2() {
  // expected-error@+1 {{(C2) expected an offset that is a multiple of 1024, found 512}}
  %c = sparseattn_nv.channel offset(512) barriers(0) : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  return
}

// -----
func.func @channel_c2_barriers() {
  // expected-error@+1 {{(C2) expected barriers at a multiple of 8, found 4}}
  %c = sparseattn_nv.channel offset(0) barriers(4) : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  return
}

// -----
func.func @channel_c2_end() {
  // expected-error@+1 {{(C2) expected slots and barriers to end at or before byte 232448, found 237568}}
  %c = sparseattn_nv.channel offset(221184) barriers(0) : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  return
}

// -----
func.func @specialize_c1(%p: i1) {
  scf.if %p {
    // expected-error@+1 {{(C1) expected it directly inside a function, found it inside 'scf.if'}}
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
    }
  }
  return
}

// -----
func.func @specialize_c1_twice() {
  sparseattn_nv.specialize producer registers(24) {
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
  }
  // expected-error@+1 {{(C1) expected at most one in a function}}
  sparseattn_nv.specialize producer registers(24) {
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
  }
  return
}

// -----
func.func @specialize_c2() {
  // expected-error@+1 {{(C2) expected consumers in [1, 3], found 4}}
  sparseattn_nv.specialize producer registers(24) {
  } consumers(4) registers(128) {
  ^bb0(%wg: i32):
  }
  return
}

// -----
func.func @specialize_c3() {
  // expected-error@+1 {{(C3) expected a multiple of 8 in [24, 256] as producer registers, found 20}}
  sparseattn_nv.specialize producer registers(20) {
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
  }
  return
}

// -----
func.func @specialize_c4() {
  // expected-error@+1 {{(C4) expected at most 504 registers, 3 warpgroups with 168 at launch, found 96 + 2 * 208 = 512: the last warpgroup would wait for registers for ever}}
  sparseattn_nv.specialize producer registers(96) {
  } consumers(2) registers(208) {
  ^bb0(%wg: i32):
  }
  return
}

// -----
func.func @specialize_c5() {
  // expected-error@+1 {{(C5) expected no argument of the producer region and one of type i32, the number of the warpgroup, of the consumer region}}
  sparseattn_nv.specialize producer registers(24) {
  } consumers(2) registers(240) {
  }
  return
}

// -----
func.func @specialize_c6(%p: i32) {
  %c = sparseattn_nv.channel : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  // expected-error@+1 {{(C6) expected scalars, control flow and fill in the producer region, found 'sparseattn_nv.release'; move it to the consumer region}}
  sparseattn_nv.specialize producer registers(24) {
    // expected-note@+1 {{here}}
    sparseattn_nv.release %c[%p] : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
  }
  return
}

// -----
func.func @specialize_c6_tensor() {
  // expected-error@+1 {{(C6) expected scalars, control flow and fill in the producer region, found 'sparseattn_nv.rows'}}
  sparseattn_nv.specialize producer registers(24) {
    // expected-note@+1 {{here}}
    %r = sparseattn_nv.rows : tensor<64xi32, #sparseattn_nv.row>
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
  }
  return
}

// -----
func.func @specialize_c7(%p: i32, %map: !sparseattn_nv.tensor_map) {
  %c = sparseattn_nv.channel : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  // expected-error@+1 {{(C7) expected no fill in the consumer region: every warpgroup would do it; move it to the producer region}}
  sparseattn_nv.specialize producer registers(24) {
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
    // expected-note@+1 {{here}}
    sparseattn_nv.fill %c[%p] from %map[%p, %p, %p] : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  }
  return
}

// -----
func.func @specialize_c6_take(%p: i32) {
  %c = sparseattn_nv.channel : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  // expected-error@+1 {{(C6) expected scalars, control flow and fill in the producer region, found 'sparseattn_nv.take'; move it to the consumer region}}
  sparseattn_nv.specialize producer registers(24) {
    // expected-note@+1 {{here}}
    %n = sparseattn_nv.take %c[%p] : !sparseattn_nv.channel<64x64xbf16, stages = 2> -> i32
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
  }
  return
}

// -----
func.func @specialize_c6_take_turn(%p: i32) {
  // expected-error@+1 {{(C6) expected scalars, control flow and fill in the producer region, found 'sparseattn_nv.take_turn'; move it to the consumer region}}
  sparseattn_nv.specialize producer registers(24) {
    // expected-note@+1 {{here}}
    sparseattn_nv.take_turn %p
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
  }
  return
}

// -----
func.func @specialize_c7_post(%p: i32) {
  %c = sparseattn_nv.channel : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  // expected-error@+1 {{(C7) expected no post in the consumer region: every warpgroup would do it; move it to the producer region}}
  sparseattn_nv.specialize producer registers(24) {
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
    // expected-note@+1 {{here}}
    sparseattn_nv.post %c[%p], %p : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  }
  return
}

// -----
func.func @specialize_c7_next_tile(%p: i32) {
  // expected-error@+1 {{(C7) expected no next_tile in the consumer region: every warpgroup would do it; move it to the producer region}}
  sparseattn_nv.specialize producer registers(24) {
  } consumers(2) registers(240) {
  ^bb0(%wg: i32):
    // expected-note@+1 {{here}}
    %n = sparseattn_nv.next_tile %p of %p : i32
  }
  return
}

// -----
func.func @post_c1(%c: !sparseattn_nv.channel<64x64xbf16, stages = 2>, %p: i32) {
  // expected-error@+1 {{(C1) expected a number to send}}
  "sparseattn_nv.post"(%c, %p) : (!sparseattn_nv.channel<64x64xbf16, stages = 2>, i32) -> ()
  return
}

// -----
func.func @post_c1_count(%c: !sparseattn_nv.channel<64x64xbf16, stages = 2>, %p: i32) {
  // expected-error@+1 {{(C1) expected as many numbers as elsewhere on this channel, found 1}}
  sparseattn_nv.post %c[%p], %p : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  // expected-note@+1 {{here there are 2}}
  %n:2 = sparseattn_nv.take %c[%p] : !sparseattn_nv.channel<64x64xbf16, stages = 2> -> i32, i32
  return
}

// -----
func.func @fill_c1(%c: !sparseattn_nv.channel<64x64xbf16, stages = 2>, %p: i32, %map: !sparseattn_nv.tensor_map) {
  // expected-error@+1 {{(C1) expected 3 to 5 coordinates (feature, position, feature block, ...), found 2}}
  sparseattn_nv.fill %c[%p] from %map[%p, %p] : !sparseattn_nv.channel<64x64xbf16, stages = 2>
  return
}

// -----
func.func @subtile_c1(%t: !sparseattn_nv.tile<128x64xbf16>, %r: i32) {
  // expected-error@+1 {{(C1) expected a result with 64 columns of 'bf16' and pitch 128, found '!sparseattn_nv.tile<64x64xbf16>'}}
  %s = sparseattn_nv.subtile %t[%r] : !sparseattn_nv.tile<128x64xbf16> -> !sparseattn_nv.tile<64x64xbf16>
  return
}

// -----
func.func @subtile_c2(%t: !sparseattn_nv.tile<64x64xbf16, pitch = 128>, %r: i32) {
  // expected-error@+1 {{(C2) expected at most 64 rows, found 128}}
  %s = sparseattn_nv.subtile %t[%r] : !sparseattn_nv.tile<64x64xbf16, pitch = 128> -> !sparseattn_nv.tile<128x64xbf16>
  return
}

// -----
func.func @load_c1(%map: !sparseattn_nv.tensor_map, %i: i32) {
  // expected-error@+1 {{(C1) expected 3 to 5 coordinates (feature, position, feature block, ...), found 2}}
  %t = sparseattn_nv.load %map[%i, %i] : !sparseattn_nv.tile<64x64xbf16>
  return
}
