// RUN: sparseattn-opt %s --sparseattn-nv-lower-channels -split-input-file -verify-diagnostics

gpu.module @kernels {
  gpu.func @no_place() kernel {
    // expected-error@+1 {{has no place in shared memory; run sparseattn-nv-plan-smem first}}
    %k = sparseattn_nv.channel "key" : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
    }
    gpu.return
  }
}

// -----
gpu.module @kernels {
  gpu.func @outside(%i: i32) kernel {
    %k = sparseattn_nv.channel "key" offset(0) barriers(32768) : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    // expected-error@+1 {{is outside the role that runs it, the consumer region of sparseattn_nv.specialize}}
    sparseattn_nv.release %k[%i] : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
    }
    gpu.return
  }
}

// -----
gpu.module @kernels {
  gpu.func @no_roles(%i: i32) kernel {
    // expected-error@+1 {{needs roles: no sparseattn_nv.specialize in this kernel}}
    %k = sparseattn_nv.channel "key" offset(0) barriers(32768) : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    gpu.return
  }
}

// -----
gpu.module @kernels {
  gpu.func @selected(%p: i1) kernel {
    %k = sparseattn_nv.channel "key" offset(0) barriers(32768) : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    %v = sparseattn_nv.channel "value" offset(32768) barriers(65536) : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    // expected-error@+1 {{takes a channel as operand, which only fill, post, await, take and release may}}
    %c = arith.select %p, %k, %v : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
    }
    gpu.return
  }
}

// -----
gpu.module @kernels {
  gpu.func @take_outside(%i: i32) kernel {
    %k = sparseattn_nv.channel "key" offset(0) barriers(32768) : !sparseattn_nv.channel<128x64xbf16, stages = 2>
    // expected-error@+1 {{is outside the role that runs it, the consumer region of sparseattn_nv.specialize}}
    %n = sparseattn_nv.take %k[%i] : !sparseattn_nv.channel<128x64xbf16, stages = 2> -> i32
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
    }
    gpu.return
  }
}

// -----
gpu.module @kernels {
  gpu.func @next_outside(%i: i32) kernel {
    // expected-error@+1 {{is outside the role that runs it, the producer region of sparseattn_nv.specialize}}
    %n = sparseattn_nv.next_tile %i of %i : i32
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
    }
    gpu.return
  }
}

// -----
gpu.module @kernels {
  gpu.func @next_without_roles(%i: i32) kernel {
    // expected-error@+1 {{needs roles: no sparseattn_nv.specialize in this kernel}}
    %n = sparseattn_nv.next_tile %i of %i : i32
    gpu.return
  }
}
