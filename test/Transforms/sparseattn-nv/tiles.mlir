// From one consumer's program for one query tile after the other to roles: items of channels are numbered through over
// all tiles of a block.
//
// RUN: sparseattn-opt %s --split-input-file --sparseattn-nv-insert-channels | FileCheck %s --check-prefix=CHANNELS
// RUN: sparseattn-opt %s --split-input-file --sparseattn-nv-insert-channels --sparseattn-nv-specialize-warps | FileCheck %s --check-prefix=ROLES
// RUN: sparseattn-opt %s --split-input-file --sparseattn-nv-insert-channels --sparseattn-nv-specialize-warps \
// RUN:   --sparseattn-nv-overlap-softmax --sparseattn-nv-balance-tiles --sparseattn-warpgroups-to-nvvm \
// RUN:   --remarks-filter-missed='.*' 2>&1 | FileCheck %s --check-prefix=L3
// L3-NOT: NotBalanced
// L3-NOT: not verified

// Two items of queries fit beside the keys and values. One counter counts queries, the other keys and values.
// CHANNELS-LABEL: gpu.func @attention(
// CHANNELS-SAME: %[[BLOCKS:arg[0-9]+]]: i32, %{{arg[0-9]+}}: !llvm.ptr<1>)
// CHANNELS-DAG: %[[Q:.*]] = sparseattn_nv.channel "c0" : !sparseattn_nv.channel<64x64xbf16, stages = 2>
// CHANNELS-DAG: %[[K:.*]] = sparseattn_nv.channel "c1" : !sparseattn_nv.channel<64x64xbf16, stages = 3>
// CHANNELS-DAG: %[[V:.*]] = sparseattn_nv.channel "c2" : !sparseattn_nv.channel<64x64xbf16, stages = 3>
// CHANNELS: scf.for %[[TILE:.*]] = {{.*}} iter_args(%[[TILES_BEFORE:.*]] = %{{.*}}, %[[KEYS_BEFORE:.*]] = %{{.*}}) -> (i32, i32)
// CHANNELS: sparseattn_nv.fill %[[Q]][%[[TILES_BEFORE]]]
// CHANNELS: sparseattn_nv.await %[[Q]][%[[TILES_BEFORE]]]
// CHANNELS: scf.for %[[I:.*]] = %{{.*}} to %[[BLOCKS]]
// CHANNELS: %[[KEY:.*]] = arith.addi %[[KEYS_BEFORE]], %[[I]] : i32
// CHANNELS: sparseattn_nv.fill %[[K]][%[[KEY]]]
// CHANNELS: %[[VALUE:.*]] = arith.addi %[[KEYS_BEFORE]], %[[I]] : i32
// CHANNELS: sparseattn_nv.fill %[[V]][%[[VALUE]]]
// CHANNELS: sparseattn_nv.release %[[Q]][%[[TILES_BEFORE]]]
// A loop without steps has no items, not fewer.
// CHANNELS: %[[ONE_MORE:.*]] = arith.addi %[[TILES_BEFORE]], %{{.*}} : i32
// CHANNELS: %[[ITEMS:.*]] = arith.maxsi %[[BLOCKS]], %{{.*}} : i32
// CHANNELS: %[[MORE:.*]] = arith.addi %[[KEYS_BEFORE]], %[[ITEMS]] : i32
// CHANNELS: scf.yield %[[ONE_MORE]], %[[MORE]] : i32, i32
// CHANNELS-NEXT: } {sparseattn_nv.tiles}
//
// Both roles have the loop; the producer counts as the consumers do, and asks for tiles.
// ROLES-LABEL: gpu.func @attention(
// ROLES: sparseattn_nv.specialize producer
// ROLES: scf.for {{.*}} iter_args(%[[F:.*]] = %{{.*}}, %[[T:.*]] = %{{.*}}) -> (i32, i32)
// ROLES: sparseattn_nv.next_tile
// ROLES: sparseattn_nv.fill %{{.*}}[%[[T]]]
// ROLES: scf.for
// ROLES: %[[KEY:.*]] = arith.addi %[[F]]
// ROLES: sparseattn_nv.fill %{{.*}}[%[[KEY]]]
// ROLES: %[[VALUE:.*]] = arith.addi %[[F]]
// ROLES: sparseattn_nv.fill %{{.*}}[%[[VALUE]]]
// ROLES: scf.yield
// ROLES: {sparseattn_nv.tiles}
// ROLES: consumers(1)
// ROLES-NOT: sparseattn_nv.next_tile
// ROLES: scf.for {{.*}} iter_args({{.*}}) -> (i32, i32)
// ROLES: sparseattn_nv.await
// ROLES: {sparseattn_nv.tiles}
//
// L3: llvm.func @attention
// L3: llvm.atomicrmw uinc_wrap

gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx86">] {
  gpu.func @attention(%queries: !sparseattn_nv.tensor_map, %keys: !sparseattn_nv.tensor_map, %values: !sparseattn_nv.tensor_map, %tiles: i32, %counter: i32, %blocks: i32, %out: !llvm.ptr<1>) kernel
      attributes {sparseattn.schedule = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1, stages = 3>} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c64 = arith.constant 64 : i32
    %stride = arith.constant 64 : i64
    %zero = arith.constant dense<0.0> : tensor<64x64xf32, #sparseattn_nv.acc>
    %id = gpu.block_id x
    %block = arith.index_cast %id : index to i32
    %dim = gpu.grid_dim x
    %step = arith.index_cast %dim : index to i32
    scf.for %t = %block to %tiles step %step : i32 {
      %next = sparseattn_nv.next_tile %counter of %tiles : i32
      %row = arith.muli %t, %c64 : i32
      %q = sparseattn_nv.load %queries[%c0, %row, %c0, %c0, %c0] : !sparseattn_nv.tile<64x64xbf16>
      %sum = scf.for %i = %c0 to %blocks step %c1 iter_args(%acc = %zero) -> (tensor<64x64xf32, #sparseattn_nv.acc>) : i32 {
        %at = arith.muli %i, %c64 : i32
        %k = sparseattn_nv.load %keys[%c0, %at, %c0, %c0, %c0] : !sparseattn_nv.tile<64x64xbf16>
        %pending = sparseattn_nv.dot %q, %k transpose_b : !sparseattn_nv.tile<64x64xbf16>, !sparseattn_nv.tile<64x64xbf16>
        %s = sparseattn_nv.wait %pending outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
        %p = math.exp2 %s : tensor<64x64xf32, #sparseattn_nv.acc>
        %short = arith.truncf %p : tensor<64x64xf32, #sparseattn_nv.acc> to tensor<64x64xbf16, #sparseattn_nv.acc>
        %weights = sparseattn_nv.to_operand %short : tensor<64x64xbf16, #sparseattn_nv.acc>
        %v = sparseattn_nv.load %values[%c0, %at, %c0, %c0, %c0] : !sparseattn_nv.tile<64x64xbf16>
        %running = sparseattn_nv.dot %weights, %v acc(%acc : tensor<64x64xf32, #sparseattn_nv.acc>) : tensor<64x64xbf16, #sparseattn_nv.operand>, !sparseattn_nv.tile<64x64xbf16>
        %o = sparseattn_nv.wait %running outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
        scf.yield %o : tensor<64x64xf32, #sparseattn_nv.acc>
      }
      %result = arith.truncf %sum : tensor<64x64xf32, #sparseattn_nv.acc> to tensor<64x64xbf16, #sparseattn_nv.acc>
      sparseattn_nv.store_tile %result, %out row_stride(%stride) rows(%c64) : tensor<64x64xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
    } {sparseattn_nv.tiles}
    gpu.return
  }
}

// -----

// Three items of keys of 40 KB leave room for one item of queries of 64 KB only.
// CHANNELS-LABEL: gpu.func @large(
// CHANNELS-DAG: sparseattn_nv.channel "c0" : !sparseattn_nv.channel<128x256xbf16, stages = 1>
// CHANNELS-DAG: sparseattn_nv.channel "c1" : !sparseattn_nv.channel<80x256xbf16, stages = 3>
// ROLES-LABEL: gpu.func @large(
// L3: llvm.func @large

gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx86">] {
  gpu.func @large(%queries: !sparseattn_nv.tensor_map, %keys: !sparseattn_nv.tensor_map, %tiles: i32, %counter: i32, %blocks: i32, %out: !llvm.ptr<1>) kernel
      attributes {sparseattn.schedule = #sparseattn.schedule<query_tile = 128, key_tile = 80, stages = 3>} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c64 = arith.constant 64 : i32
    %stride = arith.constant 64 : i64
    %none = arith.constant dense<0xFF800000> : tensor<64xf32, #sparseattn_nv.row>
    %group = sparseattn_nv.warpgroup : i32
    %row = arith.muli %group, %c64 : i32
    %id = gpu.block_id x
    %block = arith.index_cast %id : index to i32
    %dim = gpu.grid_dim x
    %step = arith.index_cast %dim : index to i32
    scf.for %t = %block to %tiles step %step : i32 {
      %next = sparseattn_nv.next_tile %counter of %tiles : i32
      %q = sparseattn_nv.load %queries[%c0, %t, %c0, %c0, %c0] : !sparseattn_nv.tile<128x256xbf16>
      %most = scf.for %i = %c0 to %blocks step %c1 iter_args(%m = %none) -> (tensor<64xf32, #sparseattn_nv.row>) : i32 {
        %k = sparseattn_nv.load %keys[%c0, %i, %c0, %c0, %c0] : !sparseattn_nv.tile<80x256xbf16>
        %part = sparseattn_nv.subtile %q[%row] : !sparseattn_nv.tile<128x256xbf16> -> !sparseattn_nv.tile<64x256xbf16, pitch = 128>
        %pending = sparseattn_nv.dot %part, %k transpose_b : !sparseattn_nv.tile<64x256xbf16, pitch = 128>, !sparseattn_nv.tile<80x256xbf16>
        %s = sparseattn_nv.wait %pending outstanding(0) : !sparseattn_nv.pending<tensor<64x80xf32, #sparseattn_nv.acc>>
        %x = sparseattn_nv.reduce max %s : tensor<64x80xf32, #sparseattn_nv.acc>
        %new = arith.maxnumf %m, %x : tensor<64xf32, #sparseattn_nv.row>
        scf.yield %new : tensor<64xf32, #sparseattn_nv.row>
      }
      sparseattn_nv.store_rows %most, %out stride(%stride) rows(%c64) : tensor<64xf32, #sparseattn_nv.row>, !llvm.ptr<1>
    } {sparseattn_nv.tiles}
    gpu.return
  }
}
