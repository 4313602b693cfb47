// RUN: sparseattn-opt %s --sparseattn-nv-distribute-fragments -split-input-file | FileCheck %s

!acc = tensor<64x16xf32, #sparseattn_nv.acc>
!half = tensor<64x16xbf16, #sparseattn_nv.acc>
!row = tensor<64xf32, #sparseattn_nv.row>
!sum = tensor<64xf32, #sparseattn_nv.row_partial>

gpu.module @kernels {
  // 64x16 is 8 values of a thread: columns 0 1 of row r, of row r + 8, then columns 8 9.
  // CHECK-LABEL: gpu.func @loop(
  // CHECK-SAME: %[[N:.*]]: i32, %[[X:.*]]: f32, %[[OUT:.*]]: !llvm.ptr<1>, %[[STRIDE:.*]]: i64)
  gpu.func @loop(%n: i32, %x: f32, %out: !llvm.ptr<1>, %stride: i64) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    // CHECK-DAG: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
    %zero = arith.constant dense<0.0> : !acc
    %start = arith.constant dense<0.0> : !sum
    %splat = tensor.splat %x : !acc
    // CHECK: %[[RESULT:.*]]:10 = scf.for {{.*}} -> (f32, f32, f32, f32, f32, f32, f32, f32, f32, f32)
    %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %zero, %l = %start) -> (!acc, !sum) : i32 {
      // CHECK-COUNT-8: arith.addf %{{.*}}, %[[X]] fastmath<contract> : f32
      %s = arith.addf %a, %splat fastmath<contract> : !acc
      // CHECK-COUNT-8: math.exp2 %{{.*}} : f32
      %e = math.exp2 %s : !acc
      // Rows: maximum of 4 values in two chains, then lanes xor 1 and xor 2.
      // CHECK-COUNT-3: arith.maxnumf
      // CHECK: nvvm.shfl.sync  bfly
      // CHECK: arith.maxnumf
      // CHECK: nvvm.shfl.sync  bfly
      // CHECK: arith.maxnumf
      %m = sparseattn_nv.reduce max %e : !acc
      // CHECK-COUNT-2: nvvm.shfl.sync
      // A partial sum shuffles nothing: 3 sums for each row.
      // CHECK-NOT: nvvm.shfl.sync
      // CHECK-COUNT-6: arith.addf
      %p = sparseattn_nv.reduce add %e partial : !acc
      // CHECK: arith.mulf
      // CHECK-NEXT: arith.mulf
      %scaled = sparseattn_nv.scale %l, %m : !sum, !row
      // CHECK-NEXT: arith.addf
      // CHECK-NEXT: arith.addf
      // CHECK-NEXT: scf.yield
      %next = arith.addf %scaled, %p : !sum
      scf.yield %e, %next : !acc, !sum
    }
    // CHECK: nvvm.shfl.sync
    %l = sparseattn_nv.combine %r#1 : !sum
    // CHECK: %[[LANE:.*]] = arith.andi
    // CHECK: arith.cmpi slt
    // CHECK: scf.if
    // CHECK: llvm.store %{{.*}} : f32, !llvm.ptr<1>
    sparseattn_nv.store_rows %l, %out stride(%stride) rows(%n) : !row, !llvm.ptr<1>
    gpu.return
  }
}

// -----
!acc = tensor<64x32xf32, #sparseattn_nv.acc>
!half = tensor<64x32xf16, #sparseattn_nv.acc>
!irow = tensor<64xi32, #sparseattn_nv.row>

gpu.module @kernels {
  // CHECK-LABEL: gpu.func @mask_and_store(
  gpu.func @mask_and_store(%column: i32, %end: i32, %x: f32, %out: !llvm.ptr<1>, %stride: i64) kernel {
    %s = tensor.splat %x : !acc
    %e = tensor.splat %end : !irow
    %b = sparseattn_nv.rows : !irow
    // A word of bits for each row: those before the end, and not before the begin. Then a bit and a select for each value;
    // test/unit/MaskBitsTest.cpp computes them.
    // CHECK: arith.subi %arg1, %[[FIRST:.*]] : i32
    // CHECK: arith.shli
    // CHECK: arith.shli
    // CHECK: %[[BEFORE_END:.*]] = arith.subi
    // CHECK: %[[NOT:.*]] = arith.xori
    // CHECK: %[[ROW:.*]] = arith.andi %[[BEFORE_END]], %[[NOT]] : i32
    // CHECK: %[[FLAG:.*]] = arith.andi %[[ROW]], %{{.*}} : i32
    // CHECK-NEXT: %[[IN:.*]] = arith.cmpi ne, %[[FLAG]], %{{.*}} : i32
    // CHECK-NEXT: arith.select %[[IN]], %arg2, %{{.*}} : f32
    // Column 25 is the eighth of the thread.
    // CHECK: arith.constant 128 : i32
    // CHECK-NEXT: arith.andi
    // CHECK-NEXT: arith.cmpi ne
    // CHECK-NEXT: arith.select
    %m = sparseattn_nv.mask %s at(%column) begin(%b : !irow) end(%e : !irow) : !acc
    // CHECK-COUNT-8: nvvm.convert.f32x2.to.f16x2
    %h = arith.truncf %m : !acc to !half
    // 4x4 transposes in the quad, one for each row of the thread, then 16 bytes for each.
    // CHECK-COUNT-4: nvvm.shfl.sync
    // CHECK: scf.if
    // CHECK: llvm.store {{.*}} {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<1>
    // CHECK-COUNT-4: nvvm.shfl.sync
    // CHECK: scf.if
    // CHECK: llvm.store {{.*}} {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<1>
    // CHECK-NOT: llvm.store
    sparseattn_nv.store_tile %h, %out row_stride(%stride) rows(%end) : !half, !llvm.ptr<1>
    gpu.return
  }
}

// -----
!acc = tensor<64x16xf32, #sparseattn_nv.acc>
!row = tensor<64xf32, #sparseattn_nv.row>

gpu.module @kernels {
  // A warp whose rows all have the factor 1 leaves its values alone.
  // CHECK-LABEL: gpu.func @rescale(
  // CHECK-SAME: %[[X:.*]]: f32, %[[FACTOR:.*]]: f32, %{{.*}}: !llvm.ptr<1>, %{{.*}}: i64, %{{.*}}: i32)
  gpu.func @rescale(%x: f32, %factor: f32, %out: !llvm.ptr<1>, %stride: i64, %n: i32) kernel {
    %s = tensor.splat %x : !acc
    %f = tensor.splat %factor : !row
    // CHECK: %[[ONE:.*]] = arith.constant 1.000000e+00 : f32
    // CHECK: %[[FIRST:.*]] = arith.cmpf une, %[[FACTOR]], %[[ONE]] : f32
    // CHECK: %[[SECOND:.*]] = arith.cmpf une, %[[FACTOR]], %[[ONE]] : f32
    // CHECK: %[[CHANGES:.*]] = arith.ori %[[FIRST]], %[[SECOND]] : i1
    // CHECK: %[[VOTE:.*]] = nvvm.vote.sync any %{{.*}}, %[[CHANGES]] -> i1
    // CHECK: scf.if %[[VOTE]] -> (f32, f32, f32, f32, f32, f32, f32, f32) {
    // CHECK-COUNT-8: arith.mulf %[[X]], %[[FACTOR]] : f32
    // CHECK-NOT: arith.mulf
    // CHECK: } else {
    // CHECK-NEXT: scf.yield %[[X]], %[[X]], %[[X]], %[[X]], %[[X]], %[[X]], %[[X]], %[[X]]
    %r = sparseattn_nv.rescale %s, %f : !acc, !row
    %m = sparseattn_nv.reduce max %r : !acc
    sparseattn_nv.store_rows %m, %out stride(%stride) rows(%n) : !row, !llvm.ptr<1>
    gpu.return
  }

  // The threads of a warpgroup vote at a barrier behind those of turns; NaN counts. A vote of the warp makes the result
  // one that ptxas knows to be uniform.
  // CHECK-LABEL: gpu.func @any_above(
  // CHECK-SAME: %[[X:.*]]: f32, %{{.*}}: !llvm.ptr<1>)
  gpu.func @any_above(%x: f32, %out: !llvm.ptr<1>) kernel {
    %s = tensor.splat %x : !acc
    %sums = sparseattn_nv.reduce add %s partial : !acc
    // CHECK: %[[LIMIT:.*]] = arith.constant 1.024000e+03 : f32
    // CHECK: %[[A:.*]] = arith.cmpf ugt, %{{.*}}, %[[LIMIT]] : f32
    // CHECK: %[[B:.*]] = arith.cmpf ugt, %{{.*}}, %[[LIMIT]] : f32
    // CHECK: %[[ANY:.*]] = arith.ori %[[A]], %[[B]] : i1
    // CHECK: %[[THREAD:.*]] = nvvm.read.ptx.sreg.tid.x
    // CHECK: %[[GROUP:.*]] = arith.divui %[[THREAD]], %c128_i32
    // CHECK: %[[ID:.*]] = arith.addi %[[GROUP]], %c3_i32
    // CHECK: %[[MET:.*]] = llvm.call_intrinsic "llvm.nvvm.barrier.cta.red.or.aligned.count"(%[[ID]], %{{.*}}, %[[ANY]])
    // CHECK: nvvm.vote.sync any %{{.*}}, %[[MET]] -> i1
    %large = sparseattn_nv.any_above %sums, 1.024000e+03 : tensor<64xf32, #sparseattn_nv.row_partial>
    scf.if %large {
      llvm.store volatile %x, %out : f32, !llvm.ptr<1>
    }
    gpu.return
  }
}

// -----
!acc = tensor<64x16xf32, #sparseattn_nv.acc>
!half = tensor<64x16xbf16, #sparseattn_nv.acc>
!tile = !sparseattn_nv.tile<16x64xbf16>
!out = tensor<64x64xf32, #sparseattn_nv.acc>

gpu.module @kernels {
  // CHECK-LABEL: gpu.func @products(
  gpu.func @products(%address: i32, %x: f32) kernel {
    %q = sparseattn_nv.tile_at %address : !sparseattn_nv.tile<64x64xbf16>
    // CHECK: %[[K:.*]] = sparseattn_nv.tile_at %{{.*}} : !sparseattn_nv.tile<16x64xbf16>
    %k = sparseattn_nv.tile_at %address : !tile
    %zero = arith.constant dense<0.0> : !out
    // CHECK: %[[S:.*]]:8 = sparseattn_nv.mma_chain tile(%{{.*}} : !sparseattn_nv.tile<64x64xbf16>), %[[K]] transpose_b :
    %sp = sparseattn_nv.dot %q, %k transpose_b : !sparseattn_nv.tile<64x64xbf16>, !tile
    // CHECK: sparseattn_nv.mma_wait %[[S]]#0, %[[S]]#1, {{.*}}, %[[S]]#7 outstanding(0)
    %s = sparseattn_nv.wait %sp outstanding(0) : !sparseattn_nv.pending<!acc>
    // CHECK-COUNT-4: nvvm.convert.f32x2.to.bf16x2
    %h = arith.truncf %s : !acc to !half
    %p = sparseattn_nv.to_operand %h : !half
    // CHECK: %[[O:.*]]:32 = sparseattn_nv.mma_chain registers(%{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}), %[[K]] acc(
    %op = sparseattn_nv.dot %p, %k acc(%zero : !out) : tensor<64x16xbf16, #sparseattn_nv.operand>, !tile
    %o = sparseattn_nv.wait %op outstanding(0) : !sparseattn_nv.pending<!out>
    gpu.return
  }
}

// -----
!half = tensor<64x32xbf16, #sparseattn_nv.acc>
gpu.module @kernels {
  // 16-bit constants and extensions: pairs in i32.
  // CHECK-LABEL: gpu.func @pairs(
  gpu.func @pairs(%x: bf16, %out: !llvm.ptr<1>, %stride: i64, %rows: i32) kernel {
    // 1.0 is 0x3f80.
    // CHECK: arith.constant 1065369472 : i32
    %one = arith.constant dense<1.0> : !half
    // CHECK: %[[PAIR:.*]] = llvm.bitcast %{{.*}} : vector<2xbf16> to i32
    %h = tensor.splat %x : !half
    // CHECK: %[[VECTOR:.*]] = llvm.bitcast %[[PAIR]] : i32 to vector<2xbf16>
    // CHECK: %[[LOW:.*]] = llvm.extractelement %[[VECTOR]]
    // CHECK: arith.extf %[[LOW]] : bf16 to f32
    %wide = arith.extf %h : !half to tensor<64x32xf32, #sparseattn_nv.acc>
    sparseattn_nv.store_tile %one, %out row_stride(%stride) rows(%rows) : !half, !llvm.ptr<1>
    gpu.return
  }
}

// -----
!wide = tensor<64x64xbf16, #sparseattn_nv.acc>

gpu.module @kernels {
  // CHECK: llvm.mlir.global external @dsmem() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  // 32 columns at a time: 8 rows of 4 units of 16 bytes, from one row to the next 80 bytes.
  // CHECK-LABEL: gpu.func @staged(
  // CHECK-SAME: %[[OUT:.*]]: !llvm.ptr<1>, %[[STRIDE:.*]]: i64, %[[ROWS:.*]]: i32)
  gpu.func @staged(%x: bf16, %out: !llvm.ptr<1>, %stride: i64, %rows: i32) kernel {
    %h = tensor.splat %x : !wide
    // CHECK: llvm.mlir.addressof @dsmem : !llvm.ptr<3>
    // CHECK: nvvm.bar.warp.sync
    // CHECK-COUNT-2: nvvm.stmatrix {{.*}} : !llvm.ptr<3>, i32, i32, i32, i32
    // CHECK: nvvm.bar.warp.sync
    // CHECK: %[[LOW:.*]] = llvm.load {{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xi32>
    // CHECK: %[[EXISTS:.*]] = arith.cmpi slt, %{{.*}}, %[[ROWS]] : i32
    // CHECK: scf.if %[[EXISTS]] {
    // CHECK-NEXT: llvm.store %[[LOW]], %{{.*}} {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<1>
    // CHECK: %[[HIGH:.*]] = llvm.load {{.*}} {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xi32>
    // CHECK: llvm.store %[[HIGH]]
    // CHECK: nvvm.bar.warp.sync
    // CHECK-COUNT-2: nvvm.stmatrix
    // CHECK-COUNT-2: llvm.store {{.*}} : vector<4xi32>, !llvm.ptr<1>
    // CHECK-NOT: shfl
    sparseattn_nv.store_tile %h, %out row_stride(%stride) rows(%rows) staging(2048) columns(32) : !wide, !llvm.ptr<1>
    gpu.return
  }
}

// -----
gpu.module @kernels {
  // A number for each of the two rows of a thread; offsets have 64 bits.
  // CHECK-LABEL: gpu.func @gather(
  // CHECK-SAME: %[[IN:.*]]: !llvm.ptr<1>, %[[STRIDE:.*]]: i64, %[[OUT:.*]]: !llvm.ptr<1>
  gpu.func @gather(%in: !llvm.ptr<1>, %stride: i64, %out: !llvm.ptr<1>, %n: i32) kernel {
    %rows = sparseattn_nv.rows : tensor<64xi32, #sparseattn_nv.row>
    // CHECK: %[[WIDE:.*]] = arith.extsi %{{.*}} : i32 to i64
    // CHECK: %[[OFFSET:.*]] = arith.muli %[[WIDE]], %[[STRIDE]] : i64
    // CHECK: %[[AT:.*]] = llvm.getelementptr %[[IN]][%[[OFFSET]]] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
    // CHECK: llvm.load %[[AT]] : !llvm.ptr<1> -> i32
    // CHECK: llvm.load
    // CHECK-NOT: llvm.load
    %r = sparseattn_nv.gather_rows %in[%rows] stride(%stride) : !llvm.ptr<1>, tensor<64xi32, #sparseattn_nv.row>
    %f = arith.sitofp %r : tensor<64xi32, #sparseattn_nv.row> to tensor<64xf32, #sparseattn_nv.row>
    sparseattn_nv.store_rows %f, %out stride(%stride) rows(%n) : tensor<64xf32, #sparseattn_nv.row>, !llvm.ptr<1>
    gpu.return
  }
}
