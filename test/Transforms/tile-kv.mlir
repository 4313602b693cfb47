// RUN: sparseattn-opt %s --sparseattn-tile-kv | FileCheck %s

!q = tensor<16x64xbf16>
!kv = tensor<1x4x?x64xbf16>

// CHECK-LABEL: func.func @causal(
// CHECK-SAME: %[[Q:.*]]: tensor<16x64xbf16>, %[[K:.*]]: tensor<1x4x?x64xbf16>, %[[V:.*]]: tensor<1x4x?x64xbf16>, %[[B:.*]]: index, %[[H:.*]]: index, %[[P:.*]]: index, %[[N:.*]]: index
// The blocks that some row sees, and the keys that every row sees: no lower bound.
// CHECK: %[[LENGTH:.*]] = tensor.dim %[[K]]
// CHECK: %[[ROWS:.*]] = sparseattn.tile_rows : tensor<16xindex>
// CHECK: %[[POS:.*]] = arith.addi %{{.*}}, %[[ROWS]] : tensor<16xindex>
// CHECK: %[[ENDS:.*]] = arith.addi %[[POS]], %{{.*}} : tensor<16xindex>
// CHECK: %[[END:.*]] = arith.minsi %[[ENDS]], %{{.*}} : tensor<16xindex>
// CHECK: %[[LAST:.*]] = arith.subi %{{.*}}, %c1
// CHECK: %[[LOOP:.*]]:3 = scf.for %[[I:.*]] = %c0{{.*}} to %{{.*}} step %c1{{.*}} iter_args(%[[MAX:.*]] = %{{.*}}, %[[SUM:.*]] = %{{.*}}, %[[ACC:.*]] = %{{.*}})
// The last block first.
// CHECK: %[[BLOCK:.*]] = arith.subi %[[LAST]], %[[I]]
// CHECK: %[[COL:.*]] = arith.muli %[[BLOCK]], %c32
// CHECK: %[[KT:.*]] = sparseattn.load_tile %[[K]][%[[B]], %[[H]], %[[COL]]] : tensor<1x4x?x64xbf16> -> tensor<32x64xbf16>
// CHECK: %[[DOT:.*]] = sparseattn.tile_dot %[[Q]], %[[KT]] transpose_b : tensor<16x64xbf16>, tensor<32x64xbf16> -> tensor<16x32xf32>
// CHECK-NOT: arith.mulf
// CHECK: %[[S:.*]] = sparseattn.tile_mask %[[DOT]] end(%[[END]]) at(%[[COL]]) full(%c0{{.*}}, %{{.*}}) : tensor<16x32xf32>
// CHECK: %[[BMAX:.*]] = sparseattn.tile_reduce max %[[S]]
// CHECK: %[[NEW:.*]] = arith.maxnumf %[[MAX]], %[[BMAX]]
// CHECK: %[[P0:.*]] = math.exp2 %{{.*}} : tensor<16x32xf32>
// CHECK: %[[BSUM:.*]] = sparseattn.tile_reduce add %[[P0]]
// CHECK: %[[WIDE:.*]] = sparseattn.tile_broadcast %{{.*}} : tensor<16xf32> -> tensor<16x64xf32>
// CHECK: %[[SCALED:.*]] = arith.mulf %[[ACC]], %[[WIDE]]
// CHECK: %[[P1:.*]] = arith.truncf %[[P0]] : tensor<16x32xf32> to tensor<16x32xbf16>
// CHECK: %[[VT:.*]] = sparseattn.load_tile %[[V]][%[[B]], %[[H]], %[[COL]]]
// CHECK: %[[OUT:.*]] = sparseattn.tile_dot %[[P1]], %[[VT]] acc(%[[SCALED]]) : tensor<16x32xbf16>, tensor<32x64xbf16> -> tensor<16x64xf32>
// CHECK: scf.yield %[[NEW]], %{{.*}}, %[[OUT]]
// CHECK: math.log2
func.func @causal(%q: !q, %k: !kv, %v: !kv, %b: index, %h: index, %p: index, %n: index) -> (tensor<16x64xf32>, tensor<16xf32>) {
  %o, %l = sparseattn.streaming_attention %q, %k, %v at(%b, %h) position(%p) rows(%n) keys(#sparseattn.causal) scale 0.125
      schedule <query_tile = 16, key_tile = 32> : !q, !kv, !kv -> tensor<16x64xf32>, tensor<16xf32>
  return %o, %l : tensor<16x64xf32>, tensor<16xf32>
}

// A window has a lower bound; a scale that is not positive is multiplied into the scores.
// CHECK-LABEL: func.func @window(
// CHECK: %[[DOT:.*]] = sparseattn.tile_dot
// CHECK: %[[SCALED:.*]] = arith.mulf %[[DOT]],
// CHECK: sparseattn.tile_mask %[[SCALED]] begin(%{{.*}}) end(
func.func @window(%q: !q, %k: !kv, %b: index) -> tensor<16x64xf32> {
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%b, %b) position(%b) rows(%b) keys(#sparseattn.window<8>) scale -0.125
      schedule <query_tile = 16, key_tile = 32> : !q, !kv, !kv -> tensor<16x64xf32>, tensor<16xf32>
  return %o : tensor<16x64xf32>
}

// A soft cap comes between scale and mask. Its scores are bounded: weights are relative to the cap, no maximum is
// carried and nothing rescaled.
// CHECK-LABEL: func.func @softcap(
// CHECK-DAG: %[[CAP:.*]] = arith.constant dense<3.000000e+01> : tensor<16xf32>
// CHECK: scf.for {{.*}} iter_args(%[[SUM:.*]] = %{{[^,]*}}, %[[ACC:[^ ]*]] = %{{[^ ,]*}}) -> (tensor<16xf32>, tensor<16x64xf32>)
// CHECK: %[[DOT:.*]] = sparseattn.tile_dot
// CHECK: %[[SCALED:.*]] = arith.mulf %[[DOT]],
// CHECK: %[[INNER:.*]] = arith.divf %[[SCALED]],
// CHECK: %[[TANH:.*]] = math.tanh %[[INNER]]
// CHECK: %[[CAPPED:.*]] = arith.mulf %{{.*}}, %[[TANH]]
// CHECK: sparseattn.tile_mask %[[CAPPED]] end(
// CHECK-NOT: maxnumf
// CHECK: arith.mulf %[[CAP]],
// CHECK: %[[BSUM:.*]] = sparseattn.tile_reduce add
// CHECK: %[[NEXT:.*]] = arith.addf %[[SUM]], %[[BSUM]]
// CHECK: %[[OUT:.*]] = sparseattn.tile_dot %{{.*}}, %{{.*}} acc(%[[ACC]])
// CHECK: scf.yield %[[NEXT]], %[[OUT]]
func.func @softcap(%q: !q, %k: !kv, %b: index) -> tensor<16x64xf32> {
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%b, %b) position(%b) rows(%b) keys(#sparseattn.full) scale 0.125
      score(#sparseattn.softcap<30.0>)
      schedule <query_tile = 16, key_tile = 32> : !q, !kv, !kv -> tensor<16x64xf32>, tensor<16xf32>
  return %o : tensor<16x64xf32>
}

// Scores between -50 and 50 are weighed relative to less than the largest of them, or the smallest would vanish.
// CHECK-LABEL: func.func @softcap50(
// CHECK: arith.constant dense<2.347360e+01> : tensor<16xf32>
// CHECK-NOT: maxnumf
func.func @softcap50(%q: !q, %k: !kv, %b: index) -> tensor<16x64xf32> {
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%b, %b) position(%b) rows(%b) keys(#sparseattn.full) scale 0.125
      score(#sparseattn.softcap<50.0>)
      schedule <query_tile = 16, key_tile = 32> : !q, !kv, !kv -> tensor<16x64xf32>, tensor<16xf32>
  return %o : tensor<16x64xf32>
}

// A wider range, or one that f16 does not have, needs the running maximum.
// CHECK-LABEL: func.func @softcap60(
// CHECK: arith.maxnumf
// CHECK-LABEL: func.func @softcap_f16(
// CHECK: arith.maxnumf
func.func @softcap60(%q: !q, %k: !kv, %b: index) -> tensor<16x64xf32> {
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%b, %b) position(%b) rows(%b) keys(#sparseattn.full) scale 0.125
      score(#sparseattn.softcap<60.0>)
      schedule <query_tile = 16, key_tile = 32> : !q, !kv, !kv -> tensor<16x64xf32>, tensor<16xf32>
  return %o : tensor<16x64xf32>
}
func.func @softcap_f16(%q: tensor<16x64xf16>, %k: tensor<1x4x?x64xf16>, %b: index) -> tensor<16x64xf32> {
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%b, %b) position(%b) rows(%b) keys(#sparseattn.full) scale 0.125
      score(#sparseattn.softcap<30.0>) schedule <query_tile = 16, key_tile = 32>
      : tensor<16x64xf16>, tensor<1x4x?x64xf16>, tensor<1x4x?x64xf16> -> tensor<16x64xf32>, tensor<16xf32>
  return %o : tensor<16x64xf32>
}

// A document begins inside the tensors: coordinates count from its first key.
// CHECK-LABEL: func.func @sequence(
// CHECK-SAME: %{{[^ ]*}}: index, %[[ORIGIN:[^ ]*]]: index, %[[LENGTH:[^ ]*]]: index)
// CHECK: %[[COL:.*]] = arith.muli %{{.*}}, %c32
// CHECK: %[[ROW:.*]] = arith.addi %[[ORIGIN]], %[[COL]]
// CHECK: sparseattn.load_tile %{{.*}}[%{{.*}}, %{{.*}}, %[[ROW]]]
// CHECK: tile_mask {{.*}} at(%[[COL]])
func.func @sequence(%q: !q, %k: !kv, %b: index, %origin: index, %length: index) -> tensor<16x64xf32> {
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%b, %b) position(%b) rows(%b) sequence(%origin, %length)
      keys(#sparseattn.causal) scale 0.125
      schedule <query_tile = 16, key_tile = 32> : !q, !kv, !kv -> tensor<16x64xf32>, tensor<16xf32>
  return %o : tensor<16x64xf32>
}

// Run-time ranges come in no order: a loop over the rows finds the keys that some row sees and those that all see.
// CHECK-LABEL: func.func @range(
// CHECK-SAME: %[[BEGIN:[^ ]*]]: tensor<16xindex>, %[[END:[^ ]*]]: tensor<16xindex>
// CHECK: scf.for {{.*}} iter_args(%[[B0:.*]] = %{{.*}}, %[[E0:.*]] = %{{.*}}, %[[B1:.*]] = %{{.*}}, %[[E1:.*]] = %{{.*}})
// CHECK-DAG: %[[HULL0:.*]] = arith.minsi %[[B0]],
// CHECK-DAG: %[[HULL1:.*]] = arith.maxsi %[[E0]],
// CHECK-DAG: %[[FULL0:.*]] = arith.maxsi %[[B1]],
// CHECK-DAG: %[[FULL1:.*]] = arith.minsi %[[E1]],
// CHECK: scf.yield %[[HULL0]], %[[HULL1]], %[[FULL0]], %[[FULL1]]
// CHECK: %[[FROM:.*]] = arith.maxsi %[[BEGIN]], %{{.*}} : tensor<16xindex>
// CHECK: tile_mask {{.*}} begin(%[[FROM]])
func.func @range(%q: !q, %k: !kv, %b: index, %begin: tensor<16xindex>, %end: tensor<16xindex>) -> tensor<16x64xf32> {
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%b, %b) position(%b) rows(%b) range(%begin, %end)
      keys(#sparseattn.causal) scale 0.125
      schedule <query_tile = 16, key_tile = 32> : !q, !kv, !kv -> tensor<16x64xf32>, tensor<16xf32>
  return %o : tensor<16x64xf32>
}

// The same loop over a list: two key tiles for each entry, in descending order, from the last entry that names a block
// that some row sees.
// CHECK-LABEL: func.func @blocks(
// CHECK-SAME: %[[LIST:[^ ]*]]: tensor<?xi32>
// CHECK: %[[ENTRIES:.*]] = scf.for %[[AT:.*]] = %c0{{.*}} iter_args(%[[COUNT:.*]] = %c0
// CHECK: tensor.extract %[[LIST]][%[[AT]]]
// CHECK: %[[NEXT:.*]] = arith.addi %[[AT]], %c1
// CHECK: %[[NEW:.*]] = arith.select %{{.*}}, %[[NEXT]], %[[COUNT]]
// CHECK: scf.yield %[[NEW]] : index
// CHECK: %[[PARTS:.*]] = arith.muli %[[ENTRIES]], %c2
// CHECK: scf.for %[[I:.*]] = %c0{{.*}} to %[[PARTS]]
// CHECK: %[[PART:.*]] = arith.subi %{{.*}}, %[[I]]
// CHECK: %[[PLACE:.*]] = arith.divui %[[PART]], %c2
// CHECK: %[[ENTRY:.*]] = tensor.extract %[[LIST]][%[[PLACE]]]
// CHECK: %[[NAMED:.*]] = arith.muli %{{.*}}, %c64
// CHECK: %[[BEGIN:.*]] = arith.select %{{.*}}, %[[NAMED]],
// CHECK: arith.remui %[[PART]], %c2
// CHECK: %[[COL:.*]] = arith.addi %[[BEGIN]],
// CHECK: sparseattn.load_tile %{{.*}}[%{{.*}}, %{{.*}}, %[[COL]]]
func.func @blocks(%q: !q, %k: !kv, %b: index, %list: tensor<?xi32>) -> tensor<16x64xf32> {
  %o, %l = sparseattn.streaming_attention %q, %k, %k at(%b, %b) position(%b) rows(%b) blocks(%list : tensor<?xi32>) of 64
      keys(#sparseattn.causal) scale 0.125
      schedule <query_tile = 16, key_tile = 32> : !q, !kv, !kv -> tensor<16x64xf32>, tensor<16xf32>
  return %o : tensor<16x64xf32>
}
