// What the passes from one program to roles refuse, and what they leave alone with a reason.
//
// RUN: sparseattn-opt %s --split-input-file --verify-diagnostics --sparseattn-nv-insert-channels --sparseattn-nv-specialize-warps

gpu.module @m {
  gpu.func @restarts(%map: !sparseattn_nv.tensor_map, %n: i32, %out: !llvm.ptr<1>) kernel
      attributes {sparseattn.schedule = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>} {
    %c1 = arith.constant 1 : i32
    // expected-error @+1 {{must count in i32 by 1, from 0 or from where the loop before it ended}}
    scf.for %i = %c1 to %n step %c1 : i32 {
      %k = sparseattn_nv.load %map[%i, %i, %i] : !sparseattn_nv.tile<64x64xbf16>
      %p = sparseattn_nv.dot %k, %k transpose_b : !sparseattn_nv.tile<64x64xbf16>, !sparseattn_nv.tile<64x64xbf16>
      %s = sparseattn_nv.wait %p outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
    }
    gpu.return
  }
}

// -----

gpu.module @m {
  gpu.func @unused(%map: !sparseattn_nv.tensor_map, %n: i32) kernel
      attributes {sparseattn.schedule = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>} {
    // expected-error @+1 {{loads a tile that nothing reads}}
    %k = sparseattn_nv.load %map[%n, %n, %n] : !sparseattn_nv.tile<64x64xbf16>
    gpu.return
  }
}

// -----

gpu.module @m {
  // expected-error @+1 {{has no schedule (attribute sparseattn.schedule), which says how many stages a channel has}}
  gpu.func @unscheduled(%map: !sparseattn_nv.tensor_map, %n: i32) kernel {
    %k = sparseattn_nv.load %map[%n, %n, %n] : !sparseattn_nv.tile<64x64xbf16>
    gpu.return
  }
}

// -----

gpu.module @m {
  gpu.func @conditional(%map: !sparseattn_nv.tensor_map, %n: i32, %some: i1) kernel
      attributes {sparseattn.schedule = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>} {
    scf.if %some {
      // expected-error @+1 {{must stand in the kernel's body, its loop over tiles or a loop there}}
      %k = sparseattn_nv.load %map[%n, %n, %n] : !sparseattn_nv.tile<64x64xbf16>
    }
    gpu.return
  }
}

// -----

gpu.module @m {
  // expected-error @+1 {{has no channel: run sparseattn-nv-insert-channels first}}
  gpu.func @empty() kernel
      attributes {sparseattn.schedule = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>} {
    gpu.return
  }
}

// -----

gpu.module @m {
  gpu.func @carried(%map: !sparseattn_nv.tensor_map, %n: i32, %zero: tensor<64xi32, #sparseattn_nv.row>) kernel
      attributes {sparseattn.schedule = #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>} {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %first = arith.constant 0 : index
    %last = scf.for %i = %c0 to %n step %c1 iter_args(%rows = %zero) -> (tensor<64xi32, #sparseattn_nv.row>) : i32 {
      // expected-error @+1 {{must be known to the producer, but depends on what a loop of the consumers carries}}
      %at = tensor.extract %rows[%first] : tensor<64xi32, #sparseattn_nv.row>
      %k = sparseattn_nv.load %map[%at, %at, %at] : !sparseattn_nv.tile<64x64xbf16>
      %p = sparseattn_nv.dot %k, %k transpose_b : !sparseattn_nv.tile<64x64xbf16>, !sparseattn_nv.tile<64x64xbf16>
      %s = sparseattn_nv.wait %p outstanding(0) : !sparseattn_nv.pending<tensor<64x64xf32, #sparseattn_nv.acc>>
      scf.yield %rows : tensor<64xi32, #sparseattn_nv.row>
    }
    gpu.return
  }
}
