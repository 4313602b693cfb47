// Lists of key blocks: numbers that both roles read from memory, and a mask inside a branch.
//
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --convert-sparseattn-to-nv | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --sparseattn-tiles-to-warpgroups | FileCheck %s --check-prefix=ROLES
// The protocol is verified for any lists, and the loop overlaps: neither pass has a remark.
// RUN: sparseattn-opt %s --sparseattn-tile-to-grid --sparseattn-tile-kv --sparseattn-split-masked-blocks --cse \
// RUN:   --sparseattn-tiles-to-warpgroups --sparseattn-warpgroups-to-nvvm --remarks-filter='sparseattn-nv-(overlap-softmax|balance-tiles)' -o /dev/null 2>&1 \
// RUN:   | FileCheck %s --check-prefix=REMARKS --allow-empty
// REMARKS-NOT: {{.}}
//
// CHECK: gpu.func @layer(
// CHECK-SAME: {axes = ["B", "Hs", "Tq", "K"], name = "selection", query_block = 128 : i64, role = "input", type = tensor<?x?x?x?xi32>}
// Entries up to the last one that names a block that some row sees.
// CHECK: %[[COUNT:.*]] = scf.for {{.*}} -> (i32)
// CHECK: llvm.load %{{.*}} : !llvm.ptr<1> -> i32
// CHECK: scf.yield %{{.*}} : i32
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[COUNT]] step
// CHECK: %[[ENTRY:.*]] = llvm.load %{{.*}} : !llvm.ptr<1> -> i32
// CHECK: %[[BLOCK:.*]] = arith.muli %[[ENTRY]]
// CHECK: %[[COLUMN:.*]] = arith.select %{{.*}}, %[[BLOCK]], %{{.*}} : i32
// CHECK: sparseattn_nv.load %{{.*}}[%{{.*}}, %[[COLUMN]],
// CHECK: %[[SCORES:.*]] = sparseattn_nv.wait
// CHECK: %[[MASKED:.*]] = scf.if %{{.*}} -> (tensor<64x128xf32, #sparseattn_nv.acc>) {
// CHECK-NEXT: scf.yield %[[SCORES]]
// CHECK-NEXT: } else {
// CHECK-NEXT: %[[CUT:.*]] = sparseattn_nv.mask %[[SCORES]] at(%[[COLUMN]])
// CHECK-NEXT: scf.yield %[[CUT]]
// CHECK: sparseattn_nv.reduce max %[[MASKED]]
//
// The producer counts and reads entries itself, and masks nothing.
// ROLES: sparseattn_nv.specialize producer registers(40) {
// ROLES: %[[COUNT:.*]] = scf.for {{.*}} -> (i32)
// ROLES: llvm.load
// ROLES: scf.for %{{.*}} = %{{.*}} to %[[COUNT]] step
// ROLES: llvm.load
// ROLES-NOT: scf.if
// ROLES: sparseattn_nv.fill
// ROLES-NEXT: sparseattn_nv.fill
// ROLES: consumers(2)
// The softmax of a block, with its branch, runs under the weighted values of the one before.
// ROLES: scf.for {{.*}}#sparseattn_nv.operand
// ROLES: sparseattn_nv.dot {{.*}} transpose_b
// ROLES: %[[VALUES:.*]] = sparseattn_nv.dot
// ROLES: sparseattn_nv.wait %{{.*}} outstanding(1)
// ROLES: scf.if
// ROLES: sparseattn_nv.mask
// ROLES: math.exp2
// ROLES: sparseattn_nv.wait %[[VALUES]] outstanding(0)

!t = tensor<?x?x?x128xbf16>
func.func @layer(%q: !t, %k: !t, %v: !t, %lists: tensor<?x?x?x?xi32>) -> !t {
  %o = sparseattn.sparse_attention %q, %k, %v selection(%lists) block 128 query_block 128 keys(#sparseattn.causal)
    {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 128, order = heaviest_first>}
    : (!t, !t, !t, tensor<?x?x?x?xi32>) -> !t
  return %o : !t
}
