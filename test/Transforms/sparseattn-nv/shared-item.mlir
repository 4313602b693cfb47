// One tensor is keys and values: one channel, whose items the later product awaits again and then releases.
//
// RUN: sparseattn-opt %s --sparseattn-select-schedule --sparseattn-graph-to-tiles --sparseattn-tiles-to-warpgroups | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-to-nvvm 2>&1 | FileCheck %s --check-prefix=NVVM
// With one stage the next scores would wait for a slot that the weighted values still hold.
// RUN: sparseattn-opt %s --sparseattn-select-schedule=stages=1 --sparseattn-to-nvvm --remarks-filter-missed=sparseattn-nv-overlap-softmax 2>&1 \
// RUN:   | FileCheck %s --check-prefix=ONE

// CHECK-LABEL: gpu.func @shared(
// CHECK: %[[Q:.*]] = sparseattn_nv.channel "c0" : !sparseattn_nv.channel<128x128xbf16, stages = 2>
// CHECK: %[[K:.*]] = sparseattn_nv.channel "c1" : !sparseattn_nv.channel<128x128xbf16, stages = 2>
// CHECK-NOT: sparseattn_nv.channel "c2"
// CHECK: sparseattn_nv.specialize
// CHECK: consumers(2)
// Blocks that no row of the warpgroup sees, then the first block.
// CHECK: scf.for
// CHECK: sparseattn_nv.await %[[K]][%[[NONE:.*]]]
// CHECK-NEXT: sparseattn_nv.release %[[K]][%[[NONE]]]
// CHECK-NEXT: }
// CHECK: %[[FIRST:.*]] = sparseattn_nv.await %[[K]]
// CHECK: sparseattn_nv.dot %{{.*}}, %[[FIRST]] transpose_b
// Every other one beside the values of the one before.
// CHECK: scf.for
// CHECK: %[[KEYS:.*]] = sparseattn_nv.await %[[K]]
// CHECK: sparseattn_nv.dot %{{.*}}, %[[KEYS]] transpose_b
// CHECK: %[[VALUES:.*]] = sparseattn_nv.await %[[K]][%[[ITEM:.*]]]
// CHECK: sparseattn_nv.dot %{{.*}}, %[[VALUES]] acc(
// CHECK: sparseattn_nv.wait {{.*}} outstanding(1)
// CHECK: sparseattn_nv.wait {{.*}} outstanding(0)
// CHECK: sparseattn_nv.release %[[K]][%[[ITEM]]]
//
// NVVM-NOT: not verified
// NVVM: llvm.func @shared
// NVVM-NOT: not verified
//
// ONE: [Missed] NotOverlapped | Category:sparseattn-nv-overlap-softmax | Function=shared | Reason="the values are read otherwise too, and their channel has one stage"
// ONE: llvm.func @shared

func.func @shared(%q: tensor<1x8x?x128xbf16>, %k: tensor<1x2x?x128xbf16>) -> tensor<1x8x?x128xbf16> {
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.causal)
    {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 128, producer_registers = 40, consumer_registers = 232>}
    : (tensor<1x8x?x128xbf16>, tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>) -> tensor<1x8x?x128xbf16>
  return %o : tensor<1x8x?x128xbf16>
}
