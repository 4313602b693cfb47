// RUN: sparseattn-opt %s --sparseattn-nv-finalize-kernel -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: llvm.func @kernel(
// CHECK-SAME: %[[MAP:.*]]: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<128 x i8>, nvvm.grid_constant}, %[[P:.*]]: !llvm.ptr<1>, %[[N:.*]]: i32)
// CHECK-SAME: nvvm.kernel, nvvm.maxntid = array<i32: 384>, nvvm.minctasm = 1 : i32
// CHECK-SAME: passthrough = {{\[}}["denormal-fp-math-f32", "preserve-sign"], "convergent"]
// CHECK-SAME: sparseattn_nv.shared_bytes = 1024 : i32
gpu.module @kernels [#nvvm.target<O = 3, chip = "sm_90a", features = "+ptx88">] {
  gpu.func @kernel(%map: !sparseattn_nv.tensor_map, %p: !llvm.ptr<1>, %n: i32) kernel
      attributes {known_block_size = array<i32: 384, 1, 1>, sparseattn_nv.shared_bytes = 1024 : i32} {
    %x = builtin.unrealized_conversion_cast %map : !sparseattn_nv.tensor_map to !llvm.ptr
    // CHECK: %[[BLOCK:.*]] = nvvm.read.ptx.sreg.ctaid.x : i32
    %block = gpu.block_id x
    %id = arith.index_cast %block : index to i32
    // CHECK: nvvm.read.ptx.sreg.nctaid.x : i32
    %grid = gpu.grid_dim x
    %size = arith.index_cast %grid : index to i32
    // CHECK: arith.addi %[[BLOCK]], %[[N]]
    %sum = arith.addi %id, %n : i32
    // CHECK: nvvm.prefetch tensormap, %[[MAP]]
    nvvm.prefetch tensormap, %x : !llvm.ptr
    // CHECK: llvm.return
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  gpu.func @leftover_turn(%consumer: i32) kernel attributes {known_block_size = array<i32: 384, 1, 1>} {
    // expected-error@+1 {{is left at the end of level L2; sparseattn-nv-lower-channels should have removed it}}
    sparseattn_nv.take_turn %consumer
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  gpu.func @leftover_channel() kernel attributes {known_block_size = array<i32: 384, 1, 1>} {
    // expected-error@+1 {{is left at the end of level L2; sparseattn-nv-lower-channels should have removed it}}
    %c = sparseattn_nv.channel : !sparseattn_nv.channel<64x64xbf16, stages = 2>
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  gpu.func @leftover_rows() kernel attributes {known_block_size = array<i32: 384, 1, 1>} {
    // expected-error@+1 {{is left at the end of level L2; sparseattn-nv-distribute-fragments should have removed it}}
    %r = sparseattn_nv.rows : tensor<64xi32, #sparseattn_nv.row>
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  gpu.func @leftover_tile(%a: i32) kernel attributes {known_block_size = array<i32: 384, 1, 1>} {
    // expected-error@+1 {{is left at the end of level L2; convert-sparseattn-nv-to-nvvm should have removed it}}
    %t = sparseattn_nv.tile_at %a : !sparseattn_nv.tile<64x64xbf16>
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  gpu.func @leftover_tensor() kernel attributes {known_block_size = array<i32: 384, 1, 1>} {
    // expected-error@+1 {{has a result of type 'tensor<64xf32, #sparseattn_nv.row>' at the end of level L2}}
    %r = arith.constant dense<0.0> : tensor<64xf32, #sparseattn_nv.row>
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  gpu.func @no_instruction(%x: f32) kernel attributes {known_block_size = array<i32: 384, 1, 1>} {
    // expected-error@+1 {{has no instruction; kernels know exp2, log2, tanh, fma and absf of f32}}
    %y = math.sin %x : f32
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  gpu.func @foreign(%n: i32) kernel attributes {known_block_size = array<i32: 384, 1, 1>} {
    // expected-error@+1 {{is not an operation of a finished kernel: arith, scf, llvm and nvvm are}}
    gpu.barrier
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  // expected-error@+1 {{has argument #0 of type 'f64'; expected a tensor map, !llvm.ptr, i32, i64 or f32}}
  gpu.func @argument(%x: f64) kernel attributes {known_block_size = array<i32: 384, 1, 1>} {
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  gpu.func @index(%n: index) kernel attributes {known_block_size = array<i32: 384, 1, 1>} {
    %block = gpu.block_id x
    // expected-error@+1 {{uses gpu.block_id as index; coordinates of a kernel are i32, expected an arith.index_cast to i32}}
    %y = arith.addi %block, %n : index
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  // expected-error@+1 {{has no known_block_size; sparseattn-nv-lower-channels sets it from the roles}}
  gpu.func @threads() kernel {
    gpu.return
  }
}

// -----
gpu.module @kernels [#nvvm.target<chip = "sm_90a", features = "+ptx88">] {
  // expected-error@+1 {{has workgroup or private buffers; shared memory is planned from channels}}
  gpu.func @buffers() workgroup(%b: memref<4xf32, #gpu.address_space<workgroup>>) kernel
      attributes {known_block_size = array<i32: 384, 1, 1>} {
    gpu.return
  }
}

// -----
// expected-error@+1 {{has no target; expected #nvvm.target<chip = "sm_90a", features = "+ptx86"> or newer PTX}}
gpu.module @no_target {
  gpu.func @f() kernel {
    gpu.return
  }
}

// -----
// expected-error@+1 {{expected #nvvm.target with chip = "sm_90a": its kernels use warpgroup matrix instructions}}
gpu.module @chip [#nvvm.target<chip = "sm_90", features = "+ptx88">] {
  gpu.func @f() kernel {
    gpu.return
  }
}

// -----
// expected-error@+1 {{has target features "+ptx80", expected +ptx86 or newer}}
gpu.module @features [#nvvm.target<chip = "sm_90a", features = "+ptx80">] {
  gpu.func @f() kernel {
    gpu.return
  }
}
