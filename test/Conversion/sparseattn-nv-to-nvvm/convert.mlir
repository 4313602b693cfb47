// RUN: sparseattn-opt %s --convert-sparseattn-nv-to-nvvm | FileCheck %s

gpu.module @kernels {
  // CHECK-LABEL: gpu.func @approximations(
  // CHECK-SAME: %[[X:.*]]: f32, %[[Y:.*]]: f32)
  gpu.func @approximations(%x: f32, %y: f32) kernel {
    // CHECK: llvm.inline_asm asm_dialect = att "ex2.approx.ftz.f32 $0, $1;", "=f,f" %[[X]] : (f32) -> f32
    %a = math.exp2 %x : f32
    // CHECK: llvm.inline_asm asm_dialect = att "lg2.approx.ftz.f32 $0, $1;", "=f,f"
    %b = math.log2 %a : f32
    // CHECK: llvm.inline_asm asm_dialect = att "tanh.approx.f32 $0, $1;", "=f,f"
    %c = math.tanh %b : f32
    // CHECK: %[[R:.*]] = nvvm.rcp.approx.ftz.f %[[Y]] : f32
    // CHECK: arith.mulf %{{.*}}, %[[R]] : f32
    %d = arith.divf %c, %y : f32
    // CHECK: nvvm.rcp.approx.ftz.f %[[Y]] : f32
    // CHECK-NOT: arith.mulf
    %one = arith.constant 1.0 : f32
    %e = arith.divf %one, %y : f32
    // CHECK-NOT: arith.ceildivui
    %n = arith.constant 7 : i32
    %f = arith.ceildivui %n, %n : i32
    gpu.return
  }

  // CHECK-LABEL: gpu.func @products(
  // CHECK-SAME: %[[ADDRESS:.*]]: i32, %[[ROW:.*]]: i32, %[[P:.*]]: i32)
  gpu.func @products(%address: i32, %row: i32, %p: i32) kernel {
    %all = sparseattn_nv.tile_at %address : !sparseattn_nv.tile<128x64xf16>
    // 8 units of 16 bytes for each row.
    // CHECK: %[[EIGHT:.*]] = arith.constant 8 : i32
    // CHECK: %[[OFFSET:.*]] = arith.muli %[[ROW]], %[[EIGHT]] : i32
    // CHECK: %[[OWN:.*]] = arith.addi %[[ADDRESS]], %[[OFFSET]] : i32
    %q = sparseattn_nv.subtile %all[%row] : !sparseattn_nv.tile<128x64xf16> -> !sparseattn_nv.tile<64x64xf16, pitch = 128>
    %k = sparseattn_nv.tile_at %address : !sparseattn_nv.tile<8x64xf16>
    // Low words of the descriptors: address and leading offset.
    // CHECK: %[[LEADING:.*]] = arith.constant 65536 : i32
    // CHECK: %[[A:.*]] = arith.addi %[[OWN]], %[[LEADING]] : i32
    // CHECK: %[[B:.*]] = arith.addi %[[ADDRESS]],
    // CHECK: %[[S:.*]] = llvm.inline_asm has_side_effects asm_dialect = att "{{.*}}wgmma.fence.sync.aligned;{{.*}}wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {{.*}}wgmma.commit_group.sync.aligned;
    // CHECK-SAME: "=f,=f,=f,=f,r,r" %[[A]], %[[B]] : (i32, i32) -> !llvm.struct<(f32, f32, f32, f32)>
    // CHECK: %[[S0:.*]] = llvm.extractvalue %[[S]][0]
    %s:4 = sparseattn_nv.mma_chain tile(%q : !sparseattn_nv.tile<64x64xf16, pitch = 128>), %k transpose_b : !sparseattn_nv.tile<8x64xf16> -> f32, f32, f32, f32
    // CHECK: llvm.inline_asm has_side_effects asm_dialect = att "wgmma.wait_group.sync.aligned 1;", "=f,=f,0,1" %[[S0]], %{{.*}} : (f32, f32)
    %w:2 = sparseattn_nv.mma_wait %s#0, %s#1 outstanding(1) : f32, f32
    gpu.return
  }
}
