// RUN: sparseattn-opt %s --sparseattn-nv-distribute-fragments -split-input-file -verify-diagnostics

!half = tensor<64x8xbf16, #sparseattn_nv.acc>
gpu.module @kernels {
  gpu.func @half_arithmetic(%x: bf16) kernel {
    %h = tensor.splat %x : !half
    // expected-error@+1 {{computes with 16-bit elements; extend them to f32 first}}
    %y = arith.addf %h, %h : !half
    gpu.return
  }
}

// -----
!sum = tensor<64xf32, #sparseattn_nv.row_partial>
gpu.module @kernels {
  gpu.func @not_linear() kernel {
    %z = arith.constant dense<0.0> : !sum
    // expected-error@+1 {{is not linear, but its operands are sums of 4 lanes (#sparseattn_nv.row_partial); combine them first}}
    %y = arith.mulf %z, %z : !sum
    gpu.return
  }
}

// -----
!sum = tensor<64xf32, #sparseattn_nv.row_partial>
gpu.module @kernels {
  gpu.func @one() kernel {
    // expected-error@+1 {{is a sum of 4 lanes, which can only be the constant 0}}
    %z = arith.constant dense<1.0> : !sum
    gpu.return
  }
}

// -----
!row = tensor<64xf32, #sparseattn_nv.row>
gpu.module @kernels {
  gpu.func @opaque(%x: tensor<64xf32>) kernel {
    // expected-error@+1 {{has no form for the values of one thread; element-wise operations of arith and math and those of sparseattn_nv have}}
    %z = tensor.cast %x : tensor<64xf32> to !row
    gpu.return
  }
}

// -----
!row = tensor<64xf32, #sparseattn_nv.row>
gpu.module @kernels {
  // expected-error@+1 {{has a tile in registers as argument; load it in the kernel}}
  gpu.func @argument(%x: !row) kernel {
    gpu.return
  }
}
