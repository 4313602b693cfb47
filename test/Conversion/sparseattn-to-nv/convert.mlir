// Causal attention from tensors (L0) through tiles (L1) to the program of one consumer warpgroup (L2).
//
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --convert-sparseattn-to-nv | FileCheck %s
//
// CHECK: gpu.module @layer [#nvvm.target<O = 1, chip = "sm_90a", features = "+ptx86">]
// Tensor maps first; sizes, strides and addresses as they are needed.
// CHECK: gpu.func @layer(%[[QUERIES:arg[0-9]+]]: !sparseattn_nv.tensor_map, %[[KEYS:arg[0-9]+]]: !sparseattn_nv.tensor_map, %[[VALUES:arg[0-9]+]]: !sparseattn_nv.tensor_map, %{{.*}}: i32
// CHECK-SAME: sparseattn.schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64, order = heaviest_first>
// CHECK-SAME: {axes = ["B", "Hq", "Nq", "D"], name = "query", role = "input", type = tensor<?x?x?x64xbf16>}
// CHECK-SAME: {axes = ["B", "Hkv", "Nk", "Dv"], name = "value", role = "input", type = tensor<?x?x?x64xbf16>}
// CHECK-SAME: {axes = ["Hq"], name = "sink", role = "input", type = tensor<?xf32>}
// CHECK-SAME: {axes = ["B", "Hq", "Nq"], name = "lse", role = "output", type = tensor<?x?x?xf32>}
// CHECK-SAME: sparseattn_nv.parameters = [{kind = "tensor_map", operand = 0 : i64, rows = 128 : i64}, {kind = "tensor_map", operand = 1 : i64, rows = 64 : i64}, {kind = "tensor_map", operand = 2 : i64, rows = 64 : i64}
// CHECK-SAME: {kind = "blocks"}, {kind = "counter"}
// CHECK-SAME: {kind = "head_group"}
//
// The block goes through tiles in steps of the grid and asks which one is free; it finds its keys from the last query on.
// CHECK: %[[GROUP:.*]] = sparseattn_nv.warpgroup : i32
// CHECK: %[[ROW:.*]] = arith.muli %[[GROUP]]
// CHECK: %[[ID:.*]] = gpu.block_id x
// CHECK: %[[BLOCK:.*]] = arith.index_cast %[[ID]]
// CHECK: %[[COUNT:.*]] = gpu.grid_dim x
// CHECK: %[[BLOCKS:.*]] = arith.index_cast %[[COUNT]]
// CHECK: scf.for %[[TILE:.*]] = %[[BLOCK]] to %[[TILES:.*]] step %[[BLOCKS]]
// CHECK-NEXT: sparseattn_nv.next_tile %{{.*}} of %[[TILES]] : i32
// CHECK: arith.divui %[[TILE]]
// CHECK: %[[Q:.*]] = sparseattn_nv.load %[[QUERIES]]{{.*}} : !sparseattn_nv.tile<128x64xbf16>
// The sink of the head.
// CHECK: llvm.load
// Each warpgroup holds 64 rows.
// CHECK: sparseattn_nv.rows : tensor<64xi32, #sparseattn_nv.row>
// CHECK: scf.for {{.*}} -> (tensor<64xf32, #sparseattn_nv.row>, tensor<64xf32, #sparseattn_nv.row>, tensor<64x64xf32, #sparseattn_nv.acc>)
// CHECK: %[[K:.*]] = sparseattn_nv.load %[[KEYS]]{{.*}} : !sparseattn_nv.tile<64x64xbf16>
// CHECK: %[[PART:.*]] = sparseattn_nv.subtile %[[Q]][%[[ROW]]]
// CHECK: %[[SCORES:.*]] = sparseattn_nv.dot %[[PART]], %[[K]] transpose_b
// CHECK: sparseattn_nv.wait %[[SCORES]] outstanding(0)
// CHECK: sparseattn_nv.mask
// CHECK: sparseattn_nv.reduce max
// CHECK: math.exp2
// CHECK: sparseattn_nv.to_operand
// CHECK: sparseattn_nv.dot {{.*}} acc(
// The second loop has no mask.
// CHECK: scf.for
// CHECK-NOT: sparseattn_nv.mask
// CHECK: sparseattn_nv.store_tile {{.*}} : tensor<64x64xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
// CHECK: sparseattn_nv.store_rows
// CHECK: } {sparseattn_nv.tiles}
// CHECK-NOT: func.func

func.func @layer(%q: tensor<?x?x?x64xbf16>, %k: tensor<?x?x?x64xbf16>, %v: tensor<?x?x?x64xbf16>, %sink: tensor<?xf32>)
    -> (tensor<?x?x?x64xbf16>, tensor<?x?x?xf32>) {
  %o, %l = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) sink(%sink) return_lse
    {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64, order = heaviest_first>}
    : (tensor<?x?x?x64xbf16>, tensor<?x?x?x64xbf16>, tensor<?x?x?x64xbf16>, tensor<?xf32>)
      -> (tensor<?x?x?x64xbf16>, tensor<?x?x?xf32>)
  return %o, %l : tensor<?x?x?x64xbf16>, tensor<?x?x?xf32>
}
