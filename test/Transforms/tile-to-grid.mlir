// RUN: sparseattn-opt %s --sparseattn-tile-to-grid="query-tile=16 key-tile=32" --remarks-filter-missed=sparseattn-tile-to-grid -o %t.out 2> %t.err
// RUN: FileCheck %s --input-file=%t.out
// RUN: FileCheck %s --input-file=%t.err --check-prefix=MISSED
// RUN: not sparseattn-opt %s --sparseattn-tile-to-grid="query-tile=0" 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: options of sparseattn-tile-to-grid: (A13) expected query_tile in [1, 1024], found 0

// Dynamic lengths: the first tile has fewer rows. Eight query heads of a group of two share four KV heads.
// CHECK-LABEL: func.func @dynamic(
// CHECK-SAME: %[[Q:.*]]: tensor<2x8x?x64xbf16>, %[[K:.*]]: tensor<2x4x?x64xbf16>, %[[V:.*]]: tensor<2x4x?x32xbf16>, %[[SINK:.*]]: tensor<8xf32>)
func.func @dynamic(%q: tensor<2x8x?x64xbf16>, %k: tensor<2x4x?x64xbf16>, %v: tensor<2x4x?x32xbf16>, %sink: tensor<8xf32>)
    -> (tensor<2x8x?x32xbf16>, tensor<2x8x?xf32>) {
  // CHECK: %[[GRID:.*]]:2 = scf.forall (%[[B:.*]], %[[H:.*]], %[[T:.*]]) in (2, 8, %{{.*}}) shared_outs(%[[O:.*]] = %{{.*}}, %[[L:.*]] = %{{.*}}) -> (tensor<2x8x?x32xbf16>, tensor<2x8x?xf32>)
  // CHECK: %[[LAST:.*]] = arith.subi %[[TILES:.*]], %c1
  // CHECK: %[[BEHIND:.*]] = arith.subi %[[LAST]], %[[T]]
  // CHECK: %[[ROWSBEHIND:.*]] = arith.muli %[[BEHIND]], %c16
  // CHECK: %[[END:.*]] = arith.subi %{{.*}}, %[[ROWSBEHIND]]
  // CHECK: %[[BEGIN:.*]] = arith.subi %[[END]], %c16
  // CHECK: %[[FIRST:.*]] = arith.maxsi %[[BEGIN]], %c0
  // CHECK: %[[COUNT:.*]] = arith.minsi %[[END]], %c16
  // CHECK: %[[POS:.*]] = arith.addi %{{.*}}, %[[FIRST]]
  // CHECK: %[[TILE:.*]] = sparseattn.load_tile %[[Q]][%[[B]], %[[H]], %[[FIRST]]] : tensor<2x8x?x64xbf16> -> tensor<16x64xbf16>
  // CHECK: %[[KVH:.*]] = arith.divui %[[H]],
  // CHECK: %[[S:.*]] = tensor.extract %[[SINK]][%[[H]]]
  // CHECK: %[[OUT:.*]], %[[LSE:.*]] = sparseattn.streaming_attention %[[TILE]], %[[K]], %[[V]] at(%[[B]], %[[KVH]]) position(%[[POS]]) rows(%[[COUNT]]) sink(%[[S]])
  // CHECK-SAME: keys(#sparseattn.causal) scale 1.250000e-01 score(#sparseattn.softcap<{{.*}}>) schedule <query_tile = 16, key_tile = 32>
  // CHECK: %[[ROUNDED:.*]] = arith.truncf %[[OUT]] : tensor<16x32xf32> to tensor<16x32xbf16>
  // CHECK: %[[ROWS:.*]] = tensor.extract_slice %[[ROUNDED]][0, 0] [%[[COUNT]], 32] [1, 1]
  // CHECK: %[[LROWS:.*]] = tensor.extract_slice %[[LSE]][0] [%[[COUNT]]] [1]
  // CHECK: scf.forall.in_parallel {
  // CHECK: tensor.parallel_insert_slice %[[ROWS]] into %[[O]][%[[B]], %[[H]], %[[FIRST]], 0] [1, 1, %[[COUNT]], 32] [1, 1, 1, 1]
  // CHECK: tensor.parallel_insert_slice %[[LROWS]] into %[[L]][%[[B]], %[[H]], %[[FIRST]]] [1, 1, %[[COUNT]]] [1, 1, 1]
  // CHECK: } {mapping = [#sparseattn.grid<batch>, #sparseattn.grid<head>, #sparseattn.grid<query_tile>], sparseattn.schedule = #sparseattn.schedule<query_tile = 16, key_tile = 32>}
  // CHECK: return %[[GRID]]#0, %[[GRID]]#1
  %o, %lse = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) score(#sparseattn.softcap<30.0>) sink(%sink) return_lse
    : (tensor<2x8x?x64xbf16>, tensor<2x4x?x64xbf16>, tensor<2x4x?x32xbf16>, tensor<8xf32>) -> (tensor<2x8x?x32xbf16>, tensor<2x8x?xf32>)
  return %o, %lse : tensor<2x8x?x32xbf16>, tensor<2x8x?xf32>
}

// Whole tiles only: all rows exist. The operation's own schedule wins. The position is an operand.
// CHECK-LABEL: func.func @static(
// CHECK-SAME: %[[OFFSET:[a-z0-9]*]]: index
// CHECK: scf.forall (%[[B:.*]], %[[H:.*]], %[[T:.*]]) in (1, 4, 2)
// CHECK-DAG: %[[POS:.*]] = arith.addi %[[OFFSET]],
// CHECK: sparseattn.load_tile %{{.*}}[%[[B]], %[[H]], %{{.*}}] layout(bshd) : tensor<1x64x4x16xf32> -> tensor<32x16xf32>
// CHECK: position(%[[POS]]) rows(%c32{{.*}}) keys(#sparseattn.window<8>) {{.*}} layout(bshd) schedule <query_tile = 32, key_tile = 16>
// CHECK-NOT: arith.truncf
// CHECK: tensor.parallel_insert_slice %{{.*}} into %{{.*}}[%[[B]], %{{.*}}, %[[H]], 0] [1, 32, 1, 16] [1, 1, 1, 1]
func.func @static(%q: tensor<1x64x4x16xf32>, %k: tensor<1x50x1x16xf32>, %offset: index) -> tensor<1x64x4x16xf32> {
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.window<8>) q_offset(%offset) layout(bshd)
      {schedule = #sparseattn.schedule<query_tile = 32, key_tile = 16>}
    : (tensor<1x64x4x16xf32>, tensor<1x50x1x16xf32>, tensor<1x50x1x16xf32>, index) -> tensor<1x64x4x16xf32>
  return %o : tensor<1x64x4x16xf32>
}

// Summaries count blocks: query 0 stands at position 0.
// CHECK-LABEL: func.func @summaries(
// CHECK: %[[FIRST:.*]] = arith.muli
// CHECK: position(%[[FIRST]])
func.func @summaries(%q: tensor<1x4x64x16xf32>, %k: tensor<1x4x9x16xf32>) -> tensor<1x4x64x16xf32> {
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.complete_blocks<block = 8, stride = 4>)
    : (tensor<1x4x64x16xf32>, tensor<1x4x9x16xf32>, tensor<1x4x9x16xf32>) -> tensor<1x4x64x16xf32>
  return %o : tensor<1x4x64x16xf32>
}

// Bounds that each query brings along.
// CHECK-LABEL: func.func @valid_range(
// CHECK-SAME: %[[RANGE:[^:]*]]: tensor<1x?x2xi32>
// CHECK: %[[BEGIN:.*]] = tensor.generate
// CHECK: tensor.extract %[[RANGE]]
// CHECK: %[[END:.*]] = tensor.generate
// CHECK: range(%[[BEGIN]], %[[END]])
func.func @valid_range(%q: tensor<1x4x?x16xf32>, %range: tensor<1x?x2xi32>) -> tensor<1x4x?x16xf32> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal) valid_range(%range)
    : (tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>, tensor<1x?x2xi32>) -> tensor<1x4x?x16xf32>
  return %o : tensor<1x4x?x16xf32>
}

// Documents: their tiles are found by a loop over them.
// CHECK-LABEL: func.func @documents(
// CHECK: scf.forall (%{{.*}}, %[[H:.*]], %[[T:.*]]) in (1, 4, %{{.*}})
// CHECK: %[[FOUND:.*]]:3 = scf.for
// CHECK: sequence(%{{.*}}, %{{.*}}) keys(#sparseattn.causal)
// CHECK: tensor.parallel_insert_slice %{{.*}} into %{{.*}}[%{{.*}}, %[[H]], 0] [%{{.*}}, 1, 16] [1, 1, 1]
func.func @documents(%q: tensor<?x4x16xf32>, %cu: tensor<?xi32>) -> tensor<?x4x16xf32> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal) cu_seqlens(%cu, %cu) layout(thd)
    : (tensor<?x4x16xf32>, tensor<?x4x16xf32>, tensor<?x4x16xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x4x16xf32>
  return %o : tensor<?x4x16xf32>
}

// Lists: one for 32 queries, that is for two tiles.
// CHECK-LABEL: func.func @lists(
// CHECK-SAME: %[[LISTS:[^:]*]]: tensor<1x2x?x5xi32>
// CHECK: %[[LIST:.*]] = tensor.extract_slice %[[LISTS]][%{{.*}}, %{{.*}}, %{{.*}}, 0] [1, 1, 1, 5] [1, 1, 1, 1] : tensor<1x2x?x5xi32> to tensor<5xi32>
// CHECK: blocks(%[[LIST]] : tensor<5xi32>) of 64 keys(#sparseattn.causal)
func.func @lists(%q: tensor<1x4x?x16xf32>, %k: tensor<1x2x?x16xf32>, %lists: tensor<1x2x?x5xi32>) -> tensor<1x4x?x16xf32> {
  %o = sparseattn.sparse_attention %q, %k, %k selection(%lists) block 64 query_block 32 keys(#sparseattn.causal)
    : (tensor<1x4x?x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x5xi32>) -> tensor<1x4x?x16xf32>
  return %o : tensor<1x4x?x16xf32>
}

// MISSED: remark: [Missed] attention | Category:sparseattn-tile-to-grid | Function=scores | Reason="block scores need a second pass over the keys"
// CHECK-LABEL: func.func @scores(
// CHECK: sparseattn.attention
func.func @scores(%q: tensor<1x4x64x16xf32>) -> tensor<1x4x64x4xf32> {
  %o, %s = sparseattn.attention %q, %q, %q keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    : (tensor<1x4x64x16xf32>, tensor<1x4x64x16xf32>, tensor<1x4x64x16xf32>) -> (tensor<1x4x64x16xf32>, tensor<1x4x64x4xf32>)
  return %s : tensor<1x4x64x4xf32>
}

// MISSED: Function=own_lists | Reason="rows of a tile of 16 queries have several lists, one for each 1", Suggestion="choose a query_block that is a multiple of the schedule's query_tile"
func.func @own_lists(%q: tensor<1x4x64x16xf32>, %lists: tensor<1x4x64x5xi32>) -> tensor<1x4x64x16xf32> {
  %o = sparseattn.sparse_attention %q, %q, %q selection(%lists) block 64 keys(#sparseattn.causal)
    : (tensor<1x4x64x16xf32>, tensor<1x4x64x16xf32>, tensor<1x4x64x16xf32>, tensor<1x4x64x5xi32>) -> tensor<1x4x64x16xf32>
  return %o : tensor<1x4x64x16xf32>
}

// MISSED: Function=small_blocks | Reason="a tile of 32 keys lies in several blocks of 16"
func.func @small_blocks(%q: tensor<1x4x64x16xf32>, %lists: tensor<1x4x4x5xi32>) -> tensor<1x4x64x16xf32> {
  %o = sparseattn.sparse_attention %q, %q, %q selection(%lists) block 16 query_block 16 keys(#sparseattn.causal)
    : (tensor<1x4x64x16xf32>, tensor<1x4x64x16xf32>, tensor<1x4x64x16xf32>, tensor<1x4x4x5xi32>) -> tensor<1x4x64x16xf32>
  return %o : tensor<1x4x64x16xf32>
}

// MISSED: Function=bits | Reason="a bit mask is no list of blocks"
func.func @bits(%q: tensor<1x4x64x16xf32>, %mask: tensor<1x4x4x1xi32>) -> tensor<1x4x64x16xf32> {
  %o = sparseattn.sparse_attention %q, %q, %q selection(%mask) block 16 query_block 16 format(bitmask) keys(#sparseattn.causal)
    : (tensor<1x4x64x16xf32>, tensor<1x4x64x16xf32>, tensor<1x4x64x16xf32>, tensor<1x4x4x1xi32>) -> tensor<1x4x64x16xf32>
  return %o : tensor<1x4x64x16xf32>
}
