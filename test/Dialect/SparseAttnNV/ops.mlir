// Every operation, printed and parsed again.
// RUN: sparseattn-opt %s | sparseattn-opt | FileCheck %s
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | FileCheck %s

!acc = tensor<64x176xf32, #sparseattn_nv.acc>
!half = tensor<64x176xbf16, #sparseattn_nv.acc>
!out = tensor<64x128xf32, #sparseattn_nv.acc>
!row = tensor<64xf32, #sparseattn_nv.row>
!sum = tensor<64xf32, #sparseattn_nv.row_partial>
!irow = tensor<64xi32, #sparseattn_nv.row>
!queries = !sparseattn_nv.channel<128x128xbf16, stages = 1>
!keys = !sparseattn_nv.channel<176x128xbf16, stages = 2>

// CHECK-LABEL: gpu.func @roles(
// CHECK-SAME: %[[MAP:.*]]: !sparseattn_nv.tensor_map, %[[COUNTER:.*]]: i32
gpu.module @kernels {
  gpu.func @roles(%map: !sparseattn_nv.tensor_map, %c: i32) kernel {
    %zero = arith.constant 0 : i32
    // CHECK: %[[Q:.*]] = sparseattn_nv.channel "query" offset(0) barriers(32768) : !sparseattn_nv.channel<128x128xbf16, stages = 1>
    %q = sparseattn_nv.channel "query" offset(0) barriers(32768) : !queries
    // CHECK: %[[K:.*]] = sparseattn_nv.channel : !sparseattn_nv.channel<176x128xbf16, stages = 2>
    %k = sparseattn_nv.channel : !keys
    // CHECK: sparseattn_nv.specialize producer registers(24) {
    sparseattn_nv.specialize producer registers(24) {
      // CHECK-NEXT: sparseattn_nv.fill %[[K]][%{{.*}}] from %[[MAP]][%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] : !sparseattn_nv.channel<176x128xbf16, stages = 2>
      sparseattn_nv.fill %k[%zero] from %map[%zero, %c, %zero, %c] : !keys
      // CHECK-NEXT: %[[NEXT:.*]] = sparseattn_nv.next_tile %[[COUNTER]] of %{{.*}} : i32
      %next = sparseattn_nv.next_tile %c of %zero : i32
      // CHECK-NEXT: sparseattn_nv.post %[[Q]][%{{.*}}], %[[NEXT]] : !sparseattn_nv.channel<128x128xbf16, stages = 1>
      sparseattn_nv.post %q[%zero], %next : !queries
      // CHECK-NEXT: sparseattn_nv.post %[[Q]][%{{.*}}], %{{.*}} alone : !sparseattn_nv.channel<128x128xbf16, stages = 1>
      sparseattn_nv.post %q[%zero], %zero alone : !queries
      // CHECK-NEXT: } consumers(2) registers(240) {
    } consumers(2) registers(240) {
    // CHECK-NEXT: ^bb0(%[[WG:.*]]: i32):
    ^bb0(%wg: i32):
      // CHECK-NEXT: sparseattn_nv.pass_turn %
      sparseattn_nv.pass_turn %zero
      // CHECK-NEXT: sparseattn_nv.take_turn %
      sparseattn_nv.take_turn %zero
      // CHECK-NEXT: sparseattn_nv.take %[[Q]][%{{.*}}] : !sparseattn_nv.channel<128x128xbf16, stages = 1>
      %number = sparseattn_nv.take %q[%zero] : !queries -> i32
      // CHECK-NEXT: %[[TILE:.*]] = sparseattn_nv.await %[[Q]][%{{.*}}] : !sparseattn_nv.channel<128x128xbf16, stages = 1>
      %tile = sparseattn_nv.await %q[%zero] : !queries
      // CHECK-NEXT: sparseattn_nv.subtile %[[TILE]][%[[WG]]] : !sparseattn_nv.tile<128x128xbf16> -> !sparseattn_nv.tile<64x128xbf16, pitch = 128>
      %own = sparseattn_nv.subtile %tile[%wg] : !sparseattn_nv.tile<128x128xbf16> -> !sparseattn_nv.tile<64x128xbf16, pitch = 128>
      // CHECK-NEXT: sparseattn_nv.release %[[Q]][%{{.*}}] : !sparseattn_nv.channel<128x128xbf16, stages = 1>
      sparseattn_nv.release %q[%zero] : !queries
    }
    // CHECK-NEXT: }
    gpu.return
  }
}

// CHECK-LABEL: func.func @products(
func.func @products(%address: i32, %p: tensor<64x176xbf16, #sparseattn_nv.operand>, %o: !out) -> (!acc, !out) {
  // CHECK: %[[Q:.*]] = sparseattn_nv.tile_at %{{.*}} : !sparseattn_nv.tile<64x128xbf16>
  %q = sparseattn_nv.tile_at %address : !sparseattn_nv.tile<64x128xbf16>
  %k = sparseattn_nv.tile_at %address : !sparseattn_nv.tile<176x128xbf16>
  // CHECK: %[[S:.*]] = sparseattn_nv.dot %[[Q]], %[[K:.*]] transpose_b : !sparseattn_nv.tile<64x128xbf16>, !sparseattn_nv.tile<176x128xbf16>
  %s = sparseattn_nv.dot %q, %k transpose_b : !sparseattn_nv.tile<64x128xbf16>, !sparseattn_nv.tile<176x128xbf16>
  // CHECK: %[[O:.*]] = sparseattn_nv.dot %{{.*}}, %[[K]] acc(%{{.*}} : tensor<64x128xf32, #sparseattn_nv.acc>) : tensor<64x176xbf16, #sparseattn_nv.operand>, !sparseattn_nv.tile<176x128xbf16>
  %pv = sparseattn_nv.dot %p, %k acc(%o : !out) : tensor<64x176xbf16, #sparseattn_nv.operand>, !sparseattn_nv.tile<176x128xbf16>
  // CHECK: sparseattn_nv.wait %[[S]] outstanding(1) : !sparseattn_nv.pending<tensor<64x176xf32, #sparseattn_nv.acc>>
  %x = sparseattn_nv.wait %s outstanding(1) : !sparseattn_nv.pending<!acc>
  %y = sparseattn_nv.wait %pv outstanding(0) : !sparseattn_nv.pending<!out>
  return %x, %y : !acc, !out
}

// CHECK-LABEL: func.func @rows(
func.func @rows(%x: !acc, %h: !half, %column: i32, %l: !sum) -> (!acc, !row, tensor<64x176xbf16, #sparseattn_nv.operand>) {
  // CHECK: %[[ROWS:.*]] = sparseattn_nv.rows : tensor<64xi32, #sparseattn_nv.row>
  %rows = sparseattn_nv.rows : !irow
  // CHECK: sparseattn_nv.mask %{{.*}} at(%{{.*}}) end(%[[ROWS]] : tensor<64xi32, #sparseattn_nv.row>) : tensor<64x176xf32, #sparseattn_nv.acc>
  %m0 = sparseattn_nv.mask %x at(%column) end(%rows : !irow) : !acc
  // CHECK: sparseattn_nv.mask %{{.*}} at(%{{.*}}) begin(%[[ROWS]] : {{.*}}) end(%[[ROWS]] : {{.*}}) : tensor
  %m1 = sparseattn_nv.mask %m0 at(%column) begin(%rows : !irow) end(%rows : !irow) : !acc
  // CHECK: sparseattn_nv.reduce max %{{.*}} : tensor<64x176xf32, #sparseattn_nv.acc>
  %max = sparseattn_nv.reduce max %m1 : !acc
  // CHECK: sparseattn_nv.reduce add %{{.*}} partial : tensor<64x176xf32, #sparseattn_nv.acc>
  %part = sparseattn_nv.reduce add %m1 partial : !acc
  // CHECK: sparseattn_nv.scale %{{.*}}, %{{.*}} : tensor<64xf32, #sparseattn_nv.row_partial>, tensor<64xf32, #sparseattn_nv.row>
  %scaled = sparseattn_nv.scale %l, %max : !sum, !row
  %added = arith.addf %scaled, %part : !sum
  // CHECK: sparseattn_nv.combine %{{.*}} : tensor<64xf32, #sparseattn_nv.row_partial>
  %sum = sparseattn_nv.combine %added : !sum
  // CHECK: sparseattn_nv.broadcast %{{.*}} : tensor<64xf32, #sparseattn_nv.row> -> tensor<64x176xf32, #sparseattn_nv.acc>
  %wide = sparseattn_nv.broadcast %sum : !row -> !acc
  // CHECK: sparseattn_nv.any_above %{{.*}}, 1.000000e+03 : tensor<64xf32, #sparseattn_nv.row_partial>
  %large = sparseattn_nv.any_above %l, 1.0e3 : !sum
  // CHECK: sparseattn_nv.rescale %{{.*}}, %{{.*}} : tensor<64x176xf32, #sparseattn_nv.acc>, tensor<64xf32, #sparseattn_nv.row>
  %rescaled = sparseattn_nv.rescale %wide, %sum : !acc, !row
  // CHECK: sparseattn_nv.to_operand %{{.*}} : tensor<64x176xbf16, #sparseattn_nv.acc>
  %p = sparseattn_nv.to_operand %h : !half
  return %wide, %sum, %p : !acc, !row, tensor<64x176xbf16, #sparseattn_nv.operand>
}

// CHECK-LABEL: func.func @stores(
func.func @stores(%x: tensor<64x128xbf16, #sparseattn_nv.acc>, %r: !row, %out: !llvm.ptr<1>, %stride: i64, %valid: i32) {
  // CHECK: sparseattn_nv.store_tile %{{.*}}, %{{.*}} row_stride(%{{.*}}) rows(%{{.*}}) : tensor<64x128xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
  sparseattn_nv.store_tile %x, %out row_stride(%stride) rows(%valid) : tensor<64x128xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
  // CHECK: sparseattn_nv.store_tile %{{.*}}, %{{.*}} row_stride(%{{.*}}) rows(%{{.*}}) staging(1024) columns(64) : tensor<64x128xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
  sparseattn_nv.store_tile %x, %out row_stride(%stride) rows(%valid) staging(1024) columns(64) : tensor<64x128xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
  // CHECK: sparseattn_nv.store_rows %{{.*}}, %{{.*}} stride(%{{.*}}) rows(%{{.*}}) : tensor<64xf32, #sparseattn_nv.row>, !llvm.ptr<1>
  sparseattn_nv.store_rows %r, %out stride(%stride) rows(%valid) : !row, !llvm.ptr<1>
  return
}

// CHECK-LABEL: func.func @gather(
func.func @gather(%in: !llvm.ptr<1>, %index: tensor<64xi32, #sparseattn_nv.row>, %stride: i64) -> tensor<64xi32, #sparseattn_nv.row> {
  // CHECK: sparseattn_nv.gather_rows %{{.*}}[%{{.*}}] stride(%{{.*}}) : !llvm.ptr<1>, tensor<64xi32, #sparseattn_nv.row>
  %r = sparseattn_nv.gather_rows %in[%index] stride(%stride) : !llvm.ptr<1>, tensor<64xi32, #sparseattn_nv.row>
  return %r : tensor<64xi32, #sparseattn_nv.row>
}

// CHECK-LABEL: func.func @thread(
func.func @thread(%address: i32, %a: i32, %x: f32) -> f32 {
  %v = sparseattn_nv.tile_at %address : !sparseattn_nv.tile<16x64xbf16>
  %k = sparseattn_nv.tile_at %address : !sparseattn_nv.tile<8x64xbf16>
  // CHECK: sparseattn_nv.mma_chain tile(%{{.*}} : !sparseattn_nv.tile<8x64xbf16>), %{{.*}} transpose_b : !sparseattn_nv.tile<8x64xbf16> -> f32, f32, f32, f32
  %s:4 = sparseattn_nv.mma_chain tile(%k : !sparseattn_nv.tile<8x64xbf16>), %k transpose_b : !sparseattn_nv.tile<8x64xbf16> -> f32, f32, f32, f32
  // CHECK: sparseattn_nv.mma_wait %{{.*}} outstanding(0) : f32, f32
  %w:2 = sparseattn_nv.mma_wait %s#0, %s#1 outstanding(0) : f32, f32
  return %w#0 : f32
}

// Element-wise work is arith and math; folding and CSE know nothing of layouts.
// CHECK-LABEL: func.func @elementwise(
func.func @elementwise(%x: !acc, %y: !acc, %s: f32) -> (!half, !row) {
  // CHECK: arith.constant dense<0xFF800000> : tensor<64xf32, #sparseattn_nv.row>
  %inf = arith.constant dense<0xFF800000> : !row
  // CHECK: tensor.splat %{{.*}} : tensor<64x176xf32, #sparseattn_nv.acc>
  %c = tensor.splat %s : !acc
  %f = math.fma %x, %c, %y : !acc
  %e = math.exp2 %f : !acc
  // CHECK: arith.cmpf oeq, %{{.*}} : tensor<64x176xf32, #sparseattn_nv.acc>
  %p = arith.cmpf oeq, %e, %x : !acc
  // CHECK: arith.select %{{.*}} : tensor<64x176xi1, #sparseattn_nv.acc>, tensor<64x176xf32, #sparseattn_nv.acc>
  %z = arith.select %p, %x, %e : tensor<64x176xi1, #sparseattn_nv.acc>, !acc
  // CHECK: arith.truncf %{{.*}} : tensor<64x176xf32, #sparseattn_nv.acc> to tensor<64x176xbf16, #sparseattn_nv.acc>
  %h = arith.truncf %z : !acc to !half
  return %h, %inf : !half, !row
}
