// Packed documents: ranges of keys for each query (bhsd), and offsets (thd).
//
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --convert-sparseattn-to-nv | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --sparseattn-tiles-to-warpgroups | FileCheck %s --check-prefix=ROLES
// Verified for any ranges and offsets, overlapped: no remark.
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --sparseattn-tiles-to-warpgroups --sparseattn-warpgroups-to-nvvm --remarks-filter='sparseattn-nv-(overlap-softmax|balance-tiles)' -o /dev/null 2>&1 \
// RUN:   | FileCheck %s --check-prefix=REMARKS --allow-empty
// REMARKS-NOT: {{.}}

!t = tensor<?x?x?x64xbf16>

// Both bounds of the rows that a warpgroup holds, in registers; rows that do not exist repeat the last one.
// CHECK-LABEL: gpu.func @ranges(
// CHECK-SAME: {axes = ["B", "Nq", "bounds"], name = "valid_range", role = "input", type = tensor<?x?x2xi32>}
// CHECK: %[[ROWS:.*]] = sparseattn_nv.rows
// CHECK: %[[QUERY:.*]] = arith.minsi {{.*}} : tensor<64xi32, #sparseattn_nv.row>
// CHECK: %[[BEGIN:.*]] = sparseattn_nv.gather_rows %{{.*}}[%[[QUERY]]]
// CHECK: %[[END:.*]] = sparseattn_nv.gather_rows
// The keys that some row sees, and those that all rows see, from memory again: numbers of all threads.
// CHECK: scf.for {{.*}} -> (i32, i32, i32, i32)
// CHECK: llvm.load
// CHECK: llvm.load
// CHECK: sparseattn_nv.mask {{.*}} begin({{.*}}) end(
// ROLES-LABEL: gpu.func @ranges(
// ROLES: producer
// ROLES: scf.for {{.*}} -> (i32, i32, i32, i32)
// ROLES-NOT: gather_rows
// ROLES: consumers
// ROLES: gather_rows
func.func @ranges(%q: !t, %k: !t, %v: !t, %range: tensor<?x?x2xi32>) -> !t {
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) valid_range(%range)
    {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64>} : (!t, !t, !t, tensor<?x?x2xi32>) -> !t
  return %o : !t
}

!p = tensor<?x?x64xbf16>

// A loop over the offsets finds the document of a tile; there is no batch.
// CHECK-LABEL: gpu.func @offsets(
// CHECK-SAME: {axes = ["Nq", "Hq", "D"], name = "query"
// CHECK-SAME: {axes = ["S1"], name = "cu_seqlens_q", role = "input", type = tensor<?xi32>}
// CHECK-SAME: {axes = ["S1"], name = "cu_seqlens_k", role = "input", type = tensor<?xi32>}
// CHECK-SAME: {axes = ["Hq", "Nq"], name = "lse"
// CHECK: %[[DOCUMENT:.*]]:3 = scf.for {{.*}} -> (i32, i32, i32)
// CHECK: sparseattn_nv.load %{{.*}}[%{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}] : !sparseattn_nv.tile<128x64xbf16>
// CHECK: sparseattn_nv.mask
// ROLES-LABEL: gpu.func @offsets(
// ROLES: producer
// ROLES: scf.for {{.*}} -> (i32, i32, i32)
// ROLES: consumers
func.func @offsets(%q: !p, %k: !p, %v: !p, %starts: tensor<?xi32>, %key_starts: tensor<?xi32>) -> (!p, tensor<?x?xf32>) {
  %o, %l = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) cu_seqlens(%starts, %key_starts) return_lse layout(thd)
    {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64>}
    : (!p, !p, !p, tensor<?xi32>, tensor<?xi32>) -> (!p, tensor<?x?xf32>)
  return %o, %l : !p, tensor<?x?xf32>
}
