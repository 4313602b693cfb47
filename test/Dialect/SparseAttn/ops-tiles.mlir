// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --emit-bytecode | sparseattn-opt | diff %t.text -
// RUN: FileCheck %s < %t.text

!q = tensor<2x8x?x64xbf16>
!kv = tensor<2x4x?x64xbf16>

// CHECK-LABEL: func.func @load_tile
func.func @load_tile(%q: !q, %packed: tensor<?x8x64xbf16>, %b: index, %h: index, %p: index) {
  // CHECK: sparseattn.load_tile %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}] : tensor<2x8x?x64xbf16> -> tensor<128x64xbf16>
  %0 = sparseattn.load_tile %q[%b, %h, %p] : !q -> tensor<128x64xbf16>
  // CHECK: layout(bshd) : tensor<2x8x?x64xbf16> -> tensor<16x64xbf16>
  %1 = sparseattn.load_tile %q[%b, %h, %p] layout(bshd) : !q -> tensor<16x64xbf16>
  // CHECK: layout(thd) : tensor<?x8x64xbf16> -> tensor<16x64xbf16>
  %2 = sparseattn.load_tile %packed[%b, %h, %p] layout(thd) : tensor<?x8x64xbf16> -> tensor<16x64xbf16>
  return
}

// CHECK-LABEL: func.func @tiles
func.func @tiles(%q: tensor<128x64xbf16>, %k: tensor<176x64xbf16>, %o: tensor<128x64xf32>, %key: index,
                 %begin: tensor<128xindex>, %end: tensor<128xindex>) {
  // CHECK: sparseattn.tile_dot %{{.*}}, %{{.*}} transpose_b : tensor<128x64xbf16>, tensor<176x64xbf16> -> tensor<128x176xf32>
  %s = sparseattn.tile_dot %q, %k transpose_b : tensor<128x64xbf16>, tensor<176x64xbf16> -> tensor<128x176xf32>
  // CHECK: sparseattn.tile_mask %{{.*}} end(%{{.*}}) at(%{{.*}}) : tensor<128x176xf32>
  %m0 = sparseattn.tile_mask %s end(%end) at(%key) : tensor<128x176xf32>
  // CHECK: sparseattn.tile_mask %{{.*}} begin(%{{.*}}) end(%{{.*}}) at(%{{.*}}) full(%{{.*}}, %{{.*}}) : tensor<128x176xf32>
  %m1 = sparseattn.tile_mask %s begin(%begin) end(%end) at(%key) full(%key, %key) : tensor<128x176xf32>
  // CHECK: sparseattn.tile_reduce max %{{.*}} : tensor<128x176xf32> -> tensor<128xf32>
  %max = sparseattn.tile_reduce max %m1 : tensor<128x176xf32> -> tensor<128xf32>
  // CHECK: sparseattn.tile_reduce add %{{.*}} : tensor<128x176xf32> -> tensor<128xf32>
  %sum = sparseattn.tile_reduce add %m1 : tensor<128x176xf32> -> tensor<128xf32>
  // CHECK: sparseattn.tile_broadcast %{{.*}} : tensor<128xf32> -> tensor<128x176xf32>
  %wide = sparseattn.tile_broadcast %max : tensor<128xf32> -> tensor<128x176xf32>
  %p = arith.truncf %wide : tensor<128x176xf32> to tensor<128x176xbf16>
  // CHECK: sparseattn.tile_dot %{{.*}}, %{{.*}} acc(%{{.*}}) : tensor<128x176xbf16>, tensor<176x64xbf16> -> tensor<128x64xf32>
  %acc = sparseattn.tile_dot %p, %k acc(%o) : tensor<128x176xbf16>, tensor<176x64xbf16> -> tensor<128x64xf32>
  // CHECK: sparseattn.tile_rows : tensor<128xindex>
  %rows = sparseattn.tile_rows : tensor<128xindex>
  return
}

// CHECK-LABEL: func.func @streaming_attention
func.func @streaming_attention(%q: tensor<128x64xbf16>, %key: !kv, %value: tensor<2x4x?x32xbf16>, %i: index, %s: f32) {
  // CHECK: sparseattn.streaming_attention %{{.*}}, %{{.*}}, %{{.*}} at(%{{.*}}, %{{.*}}) position(%{{.*}}) rows(%{{[a-z0-9]*}})
  // CHECK-SAME: keys(#sparseattn.causal) scale 1.250000e-01 schedule <query_tile = 128, key_tile = 176> :
  %o0, %lse0 = sparseattn.streaming_attention %q, %key, %value at(%i, %i) position(%i) rows(%i) keys(#sparseattn.causal)
      scale 0.125 schedule <query_tile = 128, key_tile = 176>
    : tensor<128x64xbf16>, !kv, tensor<2x4x?x32xbf16> -> tensor<128x32xf32>, tensor<128xf32>
  // CHECK: sink(%{{.*}}) keys(#sparseattn.window<16>) scale -2.000000e+00 score(#sparseattn.softcap<{{.*}}>)
  // CHECK-SAME: normalizer(#sparseattn.softmax) layout(bshd)
  // CHECK-SAME: schedule <query_tile = 128, key_tile = 64, consumers = 3, stages = 4, producer_registers = 32, consumer_registers = 160, order = heaviest_first> :
  %o1, %lse1 = sparseattn.streaming_attention %q, %key, %value at(%i, %i) position(%i) rows(%i) sink(%s)
      keys(#sparseattn.window<16>) scale -2.0 score(#sparseattn.softcap<30.0>) normalizer(#sparseattn.softmax)
      layout(bshd) schedule <query_tile = 128, key_tile = 64, consumers = 3, stages = 4, producer_registers = 32,
                             consumer_registers = 160, order = heaviest_first>
    : tensor<128x64xbf16>, !kv, tensor<2x4x?x32xbf16> -> tensor<128x32xf32>, tensor<128xf32>
  return
}

// CHECK-LABEL: func.func @run_time_keys
func.func @run_time_keys(%q: tensor<128x64xbf16>, %key: !kv, %i: index, %begin: tensor<128xindex>,
                         %end: tensor<128xindex>, %list: tensor<?xi32>) {
  // CHECK: rows(%{{[a-z0-9]*}}) sequence(%{{.*}}, %{{.*}}) range(%{{.*}}, %{{.*}}) blocks(%{{.*}} : tensor<?xi32>) of 128 keys(
  %o, %lse = sparseattn.streaming_attention %q, %key, %key at(%i, %i) position(%i) rows(%i) sequence(%i, %i)
      range(%begin, %end) blocks(%list : tensor<?xi32>) of 128 keys(#sparseattn.causal) scale 0.125
      schedule <query_tile = 128, key_tile = 64>
    : tensor<128x64xbf16>, !kv, !kv -> tensor<128x64xf32>, tensor<128xf32>
  return
}

// CHECK-LABEL: func.func private @grid() attributes {g = #sparseattn.grid<query_tile>}
func.func private @grid() attributes {g = #sparseattn.grid<query_tile>}

// CHECK-LABEL: func.func @schedule
func.func @schedule(%q: tensor<1x4x8x16xf32>) {
  // CHECK: {schedule = #sparseattn.schedule<query_tile = 16, key_tile = 48>}
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.full) {schedule = #sparseattn.schedule<query_tile = 16, key_tile = 48>}
    : (tensor<1x4x8x16xf32>, tensor<1x4x8x16xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x8x16xf32>
  return
}
