// Head dimensions that are no multiple of 64, values narrower than keys, and tensors of more than 2^31 elements.
//
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --convert-sparseattn-to-nv | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --sparseattn-tiles-to-warpgroups --sparseattn-warpgroups-to-nvvm --sparseattn-nvvm-to-ptx | FileCheck %s --check-prefix=PTX
// Both loads of a tile of 96 columns belong to one item.
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --sparseattn-tiles-to-warpgroups --sparseattn-warpgroups-to-nvvm --remarks-filter='.*' -o /dev/null 2>&1 \
// RUN:   | FileCheck %s --check-prefix=REMARKS --allow-empty
// REMARKS-NOT: {{.}}

// Without a dimension of blocks: (feature, position, head, batch).
// CHECK-LABEL: gpu.func @d96(
// CHECK: sparseattn_nv.load %{{.*}}[%[[ZERO:[^,]*]], %{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}] : !sparseattn_nv.tile<128x96xbf16>
// CHECK: sparseattn_nv.dot {{.*}} transpose_b : !sparseattn_nv.tile<64x96xbf16, pitch = 128>, !sparseattn_nv.tile<64x96xbf16>
// CHECK: sparseattn_nv.dot {{.*}} : tensor<64x64xbf16, #sparseattn_nv.operand>, !sparseattn_nv.tile<64x96xbf16>
// CHECK: sparseattn_nv.store_tile %{{.*}} : tensor<64x96xbf16, #sparseattn_nv.acc>
func.func @d96(%q: tensor<?x?x?x96xbf16>, %k: tensor<?x?x?x96xbf16>, %v: tensor<?x?x?x96xbf16>) -> tensor<?x?x?x96xbf16> {
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64>}
    : (tensor<?x?x?x96xbf16>, tensor<?x?x?x96xbf16>, tensor<?x?x?x96xbf16>) -> tensor<?x?x?x96xbf16>
  return %o : tensor<?x?x?x96xbf16>
}
// PTX: .entry d96(
// 6 steps along 96 features, of two blocks; then 4 steps along 64 keys onto 96 columns.
// PTX-COUNT-6: wgmma.mma_async.sync.aligned.m64n64k16
// PTX: wgmma.commit_group
// PTX-COUNT-6: wgmma.mma_async.sync.aligned.m64n64k16
// PTX: wgmma.commit_group
// PTX-COUNT-4: wgmma.mma_async.sync.aligned.m64n96k16
// PTX: wgmma.commit_group

// CHECK-LABEL: gpu.func @narrow_values(
// CHECK-SAME: {axes = ["B", "Hkv", "Nk", "D"], name = "key", role = "input", type = tensor<1x4x?x192xbf16>}
// CHECK-SAME: {axes = ["B", "Hkv", "Nk", "Dv"], name = "value", role = "input", type = tensor<1x4x?x128xbf16>}
// CHECK-SAME: {axes = ["B", "Hq", "Nq", "Dv"], name = "out", role = "output", type = tensor<1x4x?x128xbf16>}
// CHECK: sparseattn_nv.load %{{.*}} : !sparseattn_nv.tile<128x192xbf16>
// CHECK: sparseattn_nv.dot {{.*}} : tensor<64x64xbf16, #sparseattn_nv.operand>, !sparseattn_nv.tile<64x128xbf16>
func.func @narrow_values(%q: tensor<1x4x?x192xbf16>, %k: tensor<1x4x?x192xbf16>, %v: tensor<1x4x?x128xbf16>) -> tensor<1x4x?x128xbf16> {
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.full) {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64>}
    : (tensor<1x4x?x192xbf16>, tensor<1x4x?x192xbf16>, tensor<1x4x?x128xbf16>) -> tensor<1x4x?x128xbf16>
  return %o : tensor<1x4x?x128xbf16>
}

// 2^33 elements. Numbers of tiles and coordinates have 32 bits, which the grid has too; strides and what they are
// multiplied with have 64.
// CHECK-LABEL: gpu.func @large(
// CHECK: %[[ROW:.*]] = arith.extsi %{{.*}} : i32 to i64
// CHECK: arith.muli %[[ROW]], %{{.*}} : i64
// CHECK: llvm.getelementptr %{{.*}}[%{{.*}}] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, bf16
// CHECK: sparseattn_nv.store_tile
// CHECK: llvm.getelementptr %{{.*}}[%{{.*}}] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
// CHECK: sparseattn_nv.store_rows
func.func @large(%q: tensor<2x64x1048576x64xbf16>, %k: tensor<2x4x1048576x64xbf16>, %v: tensor<2x4x1048576x64xbf16>)
    -> (tensor<2x64x1048576x64xbf16>, tensor<2x64x1048576xf32>) {
  %o, %l = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) return_lse
    {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64>}
    : (tensor<2x64x1048576x64xbf16>, tensor<2x4x1048576x64xbf16>, tensor<2x4x1048576x64xbf16>)
      -> (tensor<2x64x1048576x64xbf16>, tensor<2x64x1048576xf32>)
  return %o, %l : tensor<2x64x1048576x64xbf16>, tensor<2x64x1048576xf32>
}
