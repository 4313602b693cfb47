// From one consumer's program to roles: two key loops that continue each other, the first over masked blocks.
//
// RUN: sparseattn-opt %s --sparseattn-nv-defer-row-sums | FileCheck %s --check-prefix=SUMS
// RUN: sparseattn-opt %s --sparseattn-nv-insert-channels | FileCheck %s --check-prefix=CHANNELS
// RUN: sparseattn-opt %s --sparseattn-nv-insert-channels --sparseattn-nv-specialize-warps | FileCheck %s --check-prefix=ROLES
// RUN: sparseattn-opt %s --sparseattn-nv-defer-row-sums --sparseattn-nv-insert-channels --sparseattn-nv-specialize-warps \
// RUN:   --sparseattn-nv-overlap-softmax | FileCheck %s --check-prefix=OVERLAP
// The protocol of the overlapped kernel, and everything below it.
// RUN: sparseattn-opt %s --sparseattn-nv-defer-row-sums --sparseattn-nv-insert-channels --sparseattn-nv-specialize-warps \
// RUN:   --sparseattn-nv-overlap-softmax --canonicalize --sparseattn-warpgroups-to-nvvm | FileCheck %s --check-prefix=L3
//
// The lanes of a row are added up once, behind the last loop.
// SUMS: %[[NONE:.*]] = arith.constant dense<0.000000e+00> : tensor<64xf32, #sparseattn_nv.row_partial>
// SUMS: %[[FIRST:.*]]:2 = scf.for {{.*}} iter_args(%{{.*}} = %{{.*}}, %[[SUM:.*]] = %[[NONE]])
// SUMS: %[[FACTOR:.*]] = sparseattn_nv.reduce max
// SUMS: %[[SCALED:.*]] = sparseattn_nv.scale %[[SUM]], %[[FACTOR]]
// SUMS: %[[ADDED:.*]] = sparseattn_nv.reduce add %{{.*}} partial
// SUMS: arith.addf %[[SCALED]], %[[ADDED]] : tensor<64xf32, #sparseattn_nv.row_partial>
// SUMS: %[[SECOND:.*]]:2 = scf.for {{.*}} iter_args(%{{.*}} = %[[FIRST]]#0, %{{.*}} = %[[FIRST]]#1)
// SUMS: %[[TOTAL:.*]] = sparseattn_nv.combine %[[SECOND]]#1
// SUMS: sparseattn_nv.store_rows %[[TOTAL]]
//
// One ring for each tensor that the loops load, numbered by their iterations; released after the last product.
// CHANNELS-DAG: %[[Q:.*]] = sparseattn_nv.channel "c0" : !sparseattn_nv.channel<64x64xbf16, stages = 1>
// CHANNELS-DAG: %[[K:.*]] = sparseattn_nv.channel "c1" : !sparseattn_nv.channel<64x64xbf16, stages = 3>
// CHANNELS-DAG: %[[V:.*]] = sparseattn_nv.channel "c2" : !sparseattn_nv.channel<64x64xbf16, stages = 3>
// CHANNELS: sparseattn_nv.fill %[[Q]]
// CHANNELS: sparseattn_nv.await %[[Q]]
// CHANNELS: scf.for %[[I:.*]] = %{{.*}} to %[[SPLIT:.*]] step
// CHANNELS: sparseattn_nv.fill %[[K]][%[[I]]]
// CHANNELS: sparseattn_nv.await %[[K]][%[[I]]]
// CHANNELS: sparseattn_nv.dot
// CHANNELS-NEXT: sparseattn_nv.wait
// CHANNELS-NEXT: sparseattn_nv.release %[[K]][%[[I]]]
// CHANNELS: sparseattn_nv.fill %[[V]][%[[I]]]
// CHANNELS: sparseattn_nv.release %[[V]][%[[I]]]
// CHANNELS: scf.for %[[J:.*]] = %[[SPLIT]] to
// CHANNELS: sparseattn_nv.fill %[[K]][%[[J]]]
// CHANNELS: sparseattn_nv.release %[[Q]]
// CHANNELS-NOT: sparseattn_nv.load
//
// The producer keeps the fills, their coordinates and the loops around them.
// ROLES: sparseattn_nv.specialize producer registers(40) {
// ROLES-NOT: sparseattn_nv.await
// ROLES: sparseattn_nv.fill
// ROLES: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %{{.*}}  : i32 {
// ROLES-NEXT: arith.muli
// ROLES-NEXT: sparseattn_nv.fill
// ROLES-NEXT: sparseattn_nv.fill
// ROLES-NEXT: }
// ROLES: } consumers(1) registers(232) {
// ROLES: ^bb0(%[[GROUP:.*]]: i32):
// ROLES-NOT: sparseattn_nv.fill
// ROLES: arith.muli %[[GROUP]]
// ROLES: sparseattn_nv.await
// ROLES-NOT: sparseattn_nv.warpgroup
//
// Block 0, then loops from block 1: scores of this block and values of the last run under one softmax.
// OVERLAP: consumers
// OVERLAP: scf.if
// OVERLAP: sparseattn_nv.wait %{{.*}} outstanding(0)
// OVERLAP: sparseattn_nv.to_operand
// OVERLAP: scf.for %[[I:.*]] = %{{.*}} iter_args(%[[ACC:.*]] = %{{.*}}, %{{.*}} = %{{.*}}, %[[WEIGHTS:.*]] = %{{.*}})
// OVERLAP: %[[LAST:.*]] = arith.subi %[[I]]
// OVERLAP: sparseattn_nv.await %[[K:.*]][%[[I]]]
// OVERLAP: %[[SCORES:.*]] = sparseattn_nv.dot {{.*}} transpose_b
// OVERLAP: sparseattn_nv.await %[[V:.*]][%[[LAST]]]
// OVERLAP: %[[VALUES:.*]] = sparseattn_nv.dot %[[WEIGHTS]], %{{.*}} acc(%[[ACC]]
// OVERLAP: sparseattn_nv.wait %[[SCORES]] outstanding(1)
// OVERLAP: sparseattn_nv.release %[[K]][%[[I]]]
// OVERLAP: math.exp2
// OVERLAP: sparseattn_nv.wait %[[VALUES]] outstanding(0)
// OVERLAP: sparseattn_nv.release %[[V]][%[[LAST]]]
// OVERLAP: sparseattn_nv.to_operand
// OVERLAP: scf.for
// OVERLAP: sparseattn_nv.wait %{{.*}} outstanding(1)
// OVERLAP: sparseattn_nv.dot {{.*}} acc(
// OVERLAP: } else {
//
// L3: llvm.func @attention
// L3: nvvm.mbarrier.init

gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx86">] {
  gpu.func @attention(%queries: !sparseattn_nv.tensor_map, %keys: !sparseattn_nv.tensor_map, %values: !sparseattn_nv.tensor_map, %masked: i32, %blocks: i32, %out: !llvm.ptr<1>) kernel
      attributes {sparseattn.schedule = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1, stages = 3>} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c64 = arith.constant 64 : i32
    %stride = arith.constant 64 : i64
    %zero = arith.constant dense<0.0> : tensor<64x64xf32, #sparseattn_nv.acc>
    %none = arith.constant dense<0.0> : tensor<64xf32, #sparseattn_nv.row>
    %some = arith.minsi %masked, %blocks : i32
    %group = sparseattn_nv.warpgroup : i32
    %row = arith.muli %group, %c64 : i32
    %q = sparseattn_nv.load %queries[%c0, %c0, %c0, %c0, %c0] : !sparseattn_nv.tile<64x64xbf16>
    %first:2 = scf.for %i = %c0 to %some step %c1 iter_args(%acc = %zero, %sum = %none) -> (tensor<64x64xf32, #sparseattn_nv.acc>, tensor<64xf32, #sparseattn_nv.row>) : i32 {
      %at = arith.muli %i, %c64 : i32
      %k = sparseattn_nv.load %keys[%c0, %at, %c0, %c0, %c0] : !sparseattn_nv.tile<64x64xbf16>
      %part = sparseattn_nv.subtile %q[%row] : !sparseattn_nv.tile<64x64xbf16> -> !sparseattn_nv.tile<64x64xbf16>
      %pending = sparseattn_nv.dot %part, %k transpose_b : !sparseattn_nv.tile<64x64xbf16>, !sparseattn_nv.tile<64x64xbf16>
      %s = sparseattn_nv.wait %pending outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
      %p = math.exp2 %s : tensor<64x64xf32, #sparseattn_nv.acc>
      %m = sparseattn_nv.reduce max %p : tensor<64x64xf32, #sparseattn_nv.acc>
      %l = sparseattn_nv.reduce add %p : tensor<64x64xf32, #sparseattn_nv.acc>
      %scaled = arith.mulf %sum, %m : tensor<64xf32, #sparseattn_nv.row>
      %next = arith.addf %scaled, %l : tensor<64xf32, #sparseattn_nv.row>
      %factor = sparseattn_nv.broadcast %m : tensor<64xf32, #sparseattn_nv.row> -> tensor<64x64xf32, #sparseattn_nv.acc>
      %rescaled = arith.mulf %acc, %factor : tensor<64x64xf32, #sparseattn_nv.acc>
      %short = arith.truncf %p : tensor<64x64xf32, #sparseattn_nv.acc> to tensor<64x64xbf16, #sparseattn_nv.acc>
      %weights = sparseattn_nv.to_operand %short : tensor<64x64xbf16, #sparseattn_nv.acc>
      %v = sparseattn_nv.load %values[%c0, %at, %c0, %c0, %c0] : !sparseattn_nv.tile<64x64xbf16>
      %running = sparseattn_nv.dot %weights, %v acc(%rescaled : tensor<64x64xf32, #sparseattn_nv.acc>) : tensor<64x64xbf16, #sparseattn_nv.operand>, !sparseattn_nv.tile<64x64xbf16>
      %o = sparseattn_nv.wait %running outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
      scf.yield %o, %next : tensor<64x64xf32, #sparseattn_nv.acc>, tensor<64xf32, #sparseattn_nv.row>
    }
    %second:2 = scf.for %i = %some to %blocks step %c1 iter_args(%acc = %first#0, %sum = %first#1) -> (tensor<64x64xf32, #sparseattn_nv.acc>, tensor<64xf32, #sparseattn_nv.row>) : i32 {
      %at = arith.muli %i, %c64 : i32
      %k = sparseattn_nv.load %keys[%c0, %at, %c0, %c0, %c0] : !sparseattn_nv.tile<64x64xbf16>
      %part = sparseattn_nv.subtile %q[%row] : !sparseattn_nv.tile<64x64xbf16> -> !sparseattn_nv.tile<64x64xbf16>
      %pending = sparseattn_nv.dot %part, %k transpose_b : !sparseattn_nv.tile<64x64xbf16>, !sparseattn_nv.tile<64x64xbf16>
      %s = sparseattn_nv.wait %pending outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
      %p = math.exp2 %s : tensor<64x64xf32, #sparseattn_nv.acc>
      %m = sparseattn_nv.reduce max %p : tensor<64x64xf32, #sparseattn_nv.acc>
      %l = sparseattn_nv.reduce add %p : tensor<64x64xf32, #sparseattn_nv.acc>
      %scaled = arith.mulf %sum, %m : tensor<64xf32, #sparseattn_nv.row>
      %next = arith.addf %scaled, %l : tensor<64xf32, #sparseattn_nv.row>
      %factor = sparseattn_nv.broadcast %m : tensor<64xf32, #sparseattn_nv.row> -> tensor<64x64xf32, #sparseattn_nv.acc>
      %rescaled = arith.mulf %acc, %factor : tensor<64x64xf32, #sparseattn_nv.acc>
      %short = arith.truncf %p : tensor<64x64xf32, #sparseattn_nv.acc> to tensor<64x64xbf16, #sparseattn_nv.acc>
      %weights = sparseattn_nv.to_operand %short : tensor<64x64xbf16, #sparseattn_nv.acc>
      %v = sparseattn_nv.load %values[%c0, %at, %c0, %c0, %c0] : !sparseattn_nv.tile<64x64xbf16>
      %running = sparseattn_nv.dot %weights, %v acc(%rescaled : tensor<64x64xf32, #sparseattn_nv.acc>) : tensor<64x64xbf16, #sparseattn_nv.operand>, !sparseattn_nv.tile<64x64xbf16>
      %o = sparseattn_nv.wait %running outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
      scf.yield %o, %next : tensor<64x64xf32, #sparseattn_nv.acc>, tensor<64xf32, #sparseattn_nv.row>
    }
    %result = arith.truncf %second#0 : tensor<64x64xf32, #sparseattn_nv.acc> to tensor<64x64xbf16, #sparseattn_nv.acc>
    sparseattn_nv.store_tile %result, %out row_stride(%stride) rows(%c64) : tensor<64x64xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
    sparseattn_nv.store_rows %second#1, %out stride(%stride) rows(%c64) : tensor<64xf32, #sparseattn_nv.row>, !llvm.ptr<1>
    gpu.return
  }
}
