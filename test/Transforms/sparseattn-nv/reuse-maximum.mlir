// Weights relative to the maximum of earlier blocks, and what stays as it is.
//
// RUN: sparseattn-opt %s --sparseattn-nv-reuse-maximum --remarks-filter-missed=sparseattn-nv-reuse-maximum 2> %t | FileCheck %s
// RUN: FileCheck %s --input-file=%t --check-prefix=REMARK

!q = !sparseattn_nv.tile<64x128xbf16>
!k = !sparseattn_nv.tile<64x128xbf16>
!s = tensor<64x64xf32, #sparseattn_nv.acc>
!p = tensor<64x64xbf16, #sparseattn_nv.acc>
!h = tensor<64x64xf16, #sparseattn_nv.acc>
!o = tensor<64x128xf32, #sparseattn_nv.acc>
!row = tensor<64xf32, #sparseattn_nv.row>
!sum = tensor<64xf32, #sparseattn_nv.row_partial>
!rows = tensor<64xi32, #sparseattn_nv.row>

// REMARK-NOT: Function=full
// CHECK-LABEL: gpu.func @full(
// CHECK-SAME: %[[Q:.*]]: !sparseattn_nv.tile<64x128xbf16>, %[[K:.*]]: !sparseattn_nv.tile<64x128xbf16>
// CHECK: scf.for {{.*}} iter_args(%[[M:.*]] = %{{.*}}, %[[L:.*]] = %{{.*}}, %[[O:.*]] = %{{.*}})
// CHECK: %[[PENDING:.*]] = sparseattn_nv.dot %[[Q]], %[[K]] transpose_b
// CHECK: %[[S:.*]] = sparseattn_nv.wait %[[PENDING]]
// The old maximum without a guard: where it is -inf the weights are infinite.
// CHECK-NOT: maxnumf
// CHECK-NOT: arith.select
// CHECK: arith.mulf %[[M]],
// CHECK: %[[FMA:.*]] = math.fma %[[S]],
// CHECK: %[[P:.*]] = math.exp2 %[[FMA]]
// CHECK: %[[BLOCK:.*]] = sparseattn_nv.reduce add %[[P]] partial
// CHECK: %[[HALF:.*]] = arith.truncf %[[P]]
// CHECK: %[[NEXT:.*]] = arith.addf %[[L]], %[[BLOCK]]
// CHECK: %[[LARGE:.*]] = sparseattn_nv.any_above %[[BLOCK]], 1.09951163E+12
// CHECK: %[[R:.*]]:4 = scf.if %[[LARGE]]
// What the loop did before, on scores of its own.
// CHECK: %[[AGAIN:.*]] = sparseattn_nv.dot %[[Q]], %[[K]] transpose_b
// CHECK: %[[S2:.*]] = sparseattn_nv.wait %[[AGAIN]] outstanding(0)
// CHECK: %[[X:.*]] = sparseattn_nv.reduce max %[[S2]]
// CHECK: %[[MAX:.*]] = arith.maxnumf %[[M]], %[[X]]
// CHECK: %[[GUARD:.*]] = arith.select %{{.*}}, %{{.*}}, %[[MAX]]
// CHECK: arith.subf %[[M]], %[[GUARD]]
// CHECK: %[[P2:.*]] = math.exp2 %{{.*}} : tensor<64x64xf32, #sparseattn_nv.acc>
// CHECK: %[[L2:.*]] = arith.addf
// CHECK: %[[O2:.*]] = arith.mulf %[[O]],
// CHECK: %[[HALF2:.*]] = arith.truncf %[[P2]]
// CHECK: scf.yield %[[MAX]], %[[L2]], %[[O2]], %[[HALF2]]
// CHECK: } else {
// CHECK-NEXT: scf.yield %[[M]], %[[NEXT]], %[[O]], %[[HALF]]
// CHECK: sparseattn_nv.to_operand %[[R]]#3
// CHECK: sparseattn_nv.dot %{{.*}}, %[[K]] acc(%[[R]]#2
// CHECK: scf.yield %[[R]]#0, %[[R]]#1, %{{.*}}
gpu.module @kernels {
  gpu.func @full(%q: !q, %k: !k, %m0: !row, %l0: !sum, %o0: !o, %n: i32) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %inf = arith.constant dense<0xFF800000> : !row
    %zero = arith.constant dense<0.0> : !row
    %scale = arith.constant dense<0.5> : !row
    %wide = arith.constant dense<0.5> : !s
    %r:3 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %l = %l0, %o = %o0) -> (!row, !sum, !o) : i32 {
      %d = sparseattn_nv.dot %q, %k transpose_b : !q, !k
      %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!s>
      %x = sparseattn_nv.reduce max %s : !s
      %new = arith.maxnumf %m, %x : !row
      %none = arith.cmpf oeq, %new, %inf : !row
      %guard = arith.select %none, %zero, %new : tensor<64xi1, #sparseattn_nv.row>, !row
      %change = arith.subf %m, %guard : !row
      %exponent = arith.mulf %change, %scale : !row
      %factor = math.exp2 %exponent : !row
      %shift = arith.mulf %guard, %scale : !row
      %negated = arith.negf %shift : !row
      %shifts = sparseattn_nv.broadcast %negated : !row -> !s
      %f = math.fma %s, %wide, %shifts : !s
      %p = math.exp2 %f : !s
      %scaled = sparseattn_nv.scale %l, %factor : !sum, !row
      %block = sparseattn_nv.reduce add %p partial : !s
      %next = arith.addf %scaled, %block : !sum
      %factors = sparseattn_nv.broadcast %factor : !row -> !o
      %old = arith.mulf %o, %factors : !o
      %rounded = arith.truncf %p : !s to !p
      %operand = sparseattn_nv.to_operand %rounded : !p
      %pv = sparseattn_nv.dot %operand, %k acc(%old : !o) : tensor<64x64xbf16, #sparseattn_nv.operand>, !k
      %sum = sparseattn_nv.wait %pv outstanding(0) : !sparseattn_nv.pending<!o>
      scf.yield %new, %next, %sum : !row, !sum, !o
    }
    gpu.return
  }

  // f16 has no room for weights of 2^40.
  // CHECK-LABEL: gpu.func @f16(
  // CHECK: sparseattn_nv.any_above %{{.*}}, 1.638400e+04
  gpu.func @f16(%q: !sparseattn_nv.tile<64x128xf16>, %k: !sparseattn_nv.tile<64x128xf16>, %m0: !row, %l0: !sum, %o0: !o, %n: i32) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %r:3 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %l = %l0, %o = %o0) -> (!row, !sum, !o) : i32 {
      %d = sparseattn_nv.dot %q, %k transpose_b : !sparseattn_nv.tile<64x128xf16>, !sparseattn_nv.tile<64x128xf16>
      %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!s>
      %x = sparseattn_nv.reduce max %s : !s
      %new = arith.maxnumf %m, %x : !row
      %change = arith.subf %m, %new : !row
      %factor = math.exp2 %change : !row
      %shifts = sparseattn_nv.broadcast %new : !row -> !s
      %f = arith.subf %s, %shifts : !s
      %p = math.exp2 %f : !s
      %scaled = sparseattn_nv.scale %l, %factor : !sum, !row
      %block = sparseattn_nv.reduce add %p partial : !s
      %next = arith.addf %scaled, %block : !sum
      %factors = sparseattn_nv.broadcast %factor : !row -> !o
      %old = arith.mulf %o, %factors : !o
      %rounded = arith.truncf %p : !s to !h
      %operand = sparseattn_nv.to_operand %rounded : !h
      %pv = sparseattn_nv.dot %operand, %k acc(%old : !o) : tensor<64x64xf16, #sparseattn_nv.operand>, !sparseattn_nv.tile<64x128xf16>
      %sum = sparseattn_nv.wait %pv outstanding(0) : !sparseattn_nv.pending<!o>
      scf.yield %new, %next, %sum : !row, !sum, !o
    }
    gpu.return
  }

  // Rows of masked blocks may have no maximum yet.
  // REMARK-NOT: Function=masked
  // CHECK-LABEL: gpu.func @masked(
  // CHECK-NOT: any_above
  gpu.func @masked(%q: !q, %k: !k, %m0: !row, %l0: !sum, %o0: !o, %end: !rows, %n: i32) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %r:3 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %l = %l0, %o = %o0) -> (!row, !sum, !o) : i32 {
      %d = sparseattn_nv.dot %q, %k transpose_b : !q, !k
      %scores = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!s>
      %s = sparseattn_nv.mask %scores at(%i) end(%end : !rows) : !s
      %x = sparseattn_nv.reduce max %s : !s
      %new = arith.maxnumf %m, %x : !row
      %change = arith.subf %m, %new : !row
      %factor = math.exp2 %change : !row
      %shifts = sparseattn_nv.broadcast %new : !row -> !s
      %f = arith.subf %s, %shifts : !s
      %p = math.exp2 %f : !s
      %scaled = sparseattn_nv.scale %l, %factor : !sum, !row
      %block = sparseattn_nv.reduce add %p partial : !s
      %next = arith.addf %scaled, %block : !sum
      %factors = sparseattn_nv.broadcast %factor : !row -> !o
      %old = arith.mulf %o, %factors : !o
      %rounded = arith.truncf %p : !s to !p
      %operand = sparseattn_nv.to_operand %rounded : !p
      %pv = sparseattn_nv.dot %operand, %k acc(%old : !o) : tensor<64x64xbf16, #sparseattn_nv.operand>, !k
      %sum = sparseattn_nv.wait %pv outstanding(0) : !sparseattn_nv.pending<!o>
      scf.yield %new, %next, %sum : !row, !sum, !o
    }
    gpu.return
  }
  // Nor have those of the first block: their weights are infinite. A mask under a branch is on the scores of both ways.
  // REMARK-NOT: Function=first
  // CHECK-LABEL: gpu.func @first(
  // CHECK: %[[GUARDED:.*]] = scf.if
  // CHECK: sparseattn_nv.mask
  // CHECK: math.exp2
  // CHECK: %[[LARGE:.*]] = sparseattn_nv.any_above
  // CHECK: scf.if %[[LARGE]]
  // CHECK: %[[AGAIN:.*]] = sparseattn_nv.wait
  // CHECK: scf.if
  // CHECK: sparseattn_nv.mask %[[AGAIN]]
  // CHECK: sparseattn_nv.reduce max
  gpu.func @first(%q: !q, %k: !k, %l0: !sum, %o0: !o, %end: !rows, %full: i32, %n: i32) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %inf = arith.constant dense<0xFF800000> : !row
    %r:3 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %inf, %l = %l0, %o = %o0) -> (!row, !sum, !o) : i32 {
      %d = sparseattn_nv.dot %q, %k transpose_b : !q, !k
      %scores = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!s>
      %partial = arith.cmpi slt, %i, %full : i32
      %s = scf.if %partial -> !s {
        %masked = sparseattn_nv.mask %scores at(%i) end(%end : !rows) : !s
        scf.yield %masked : !s
      } else {
        scf.yield %scores : !s
      }
      %x = sparseattn_nv.reduce max %s : !s
      %new = arith.maxnumf %m, %x : !row
      %change = arith.subf %m, %new : !row
      %factor = math.exp2 %change : !row
      %shifts = sparseattn_nv.broadcast %new : !row -> !s
      %f = arith.subf %s, %shifts : !s
      %p = math.exp2 %f : !s
      %scaled = sparseattn_nv.scale %l, %factor : !sum, !row
      %block = sparseattn_nv.reduce add %p partial : !s
      %next = arith.addf %scaled, %block : !sum
      %factors = sparseattn_nv.broadcast %factor : !row -> !o
      %old = arith.mulf %o, %factors : !o
      %rounded = arith.truncf %p : !s to !p
      %operand = sparseattn_nv.to_operand %rounded : !p
      %pv = sparseattn_nv.dot %operand, %k acc(%old : !o) : tensor<64x64xbf16, #sparseattn_nv.operand>, !k
      %sum = sparseattn_nv.wait %pv outstanding(0) : !sparseattn_nv.pending<!o>
      scf.yield %new, %next, %sum : !row, !sum, !o
    }
    gpu.return
  }
  // REMARK: [Missed] MaximumNotReused | Category:sparseattn-nv-reuse-maximum | Function=no_maximum | Reason="it carries no maximum of each row"
  // CHECK-LABEL: gpu.func @no_maximum(
  // CHECK-NOT: any_above
  gpu.func @no_maximum(%q: !q, %k: !k, %o0: !o, %n: i32) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %r = scf.for %i = %c0 to %n step %c1 iter_args(%o = %o0) -> (!o) : i32 {
      %d = sparseattn_nv.dot %q, %k transpose_b : !q, !k
      %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!s>
      %rounded = arith.truncf %s : !s to !p
      %operand = sparseattn_nv.to_operand %rounded : !p
      %pv = sparseattn_nv.dot %operand, %k acc(%o : !o) : tensor<64x64xbf16, #sparseattn_nv.operand>, !k
      %sum = sparseattn_nv.wait %pv outstanding(0) : !sparseattn_nv.pending<!o>
      scf.yield %sum : !o
    }
    gpu.return
  }
  // Before a further loop there is no room beside the widest accumulator.
  // REMARK: Function=wide | Reason="between masked blocks an accumulator of 256 columns leaves no registers for two ways through a block"
  // CHECK-LABEL: gpu.func @wide(
  // CHECK-NOT: any_above
  gpu.func @wide(%q: !sparseattn_nv.tile<64x256xbf16>, %k: !sparseattn_nv.tile<64x256xbf16>, %m0: !row, %l0: !sum, %o0: tensor<64x256xf32, #sparseattn_nv.acc>, %n: i32) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %r:3 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %l = %l0, %o = %o0) -> (!row, !sum, tensor<64x256xf32, #sparseattn_nv.acc>) : i32 {
      %d = sparseattn_nv.dot %q, %k transpose_b : !sparseattn_nv.tile<64x256xbf16>, !sparseattn_nv.tile<64x256xbf16>
      %s = sparseattn_nv.wait %d outstanding(0) : !sparseattn_nv.pending<!s>
      %x = sparseattn_nv.reduce max %s : !s
      %new = arith.maxnumf %m, %x : !row
      %change = arith.subf %m, %new : !row
      %factor = math.exp2 %change : !row
      %shifts = sparseattn_nv.broadcast %new : !row -> !s
      %f = arith.subf %s, %shifts : !s
      %p = math.exp2 %f : !s
      %scaled = sparseattn_nv.scale %l, %factor : !sum, !row
      %block = sparseattn_nv.reduce add %p partial : !s
      %next = arith.addf %scaled, %block : !sum
      %factors = sparseattn_nv.broadcast %factor : !row -> tensor<64x256xf32, #sparseattn_nv.acc>
      %old = arith.mulf %o, %factors : tensor<64x256xf32, #sparseattn_nv.acc>
      %rounded = arith.truncf %p : !s to !p
      %operand = sparseattn_nv.to_operand %rounded : !p
      %pv = sparseattn_nv.dot %operand, %k acc(%old : tensor<64x256xf32, #sparseattn_nv.acc>) : tensor<64x64xbf16, #sparseattn_nv.operand>, !sparseattn_nv.tile<64x256xbf16>
      %sum = sparseattn_nv.wait %pv outstanding(0) : !sparseattn_nv.pending<tensor<64x256xf32, #sparseattn_nv.acc>>
      scf.yield %new, %next, %sum : !row, !sum, tensor<64x256xf32, #sparseattn_nv.acc>
    }
    %t:3 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %r#0, %l = %r#1, %o = %r#2) -> (!row, !sum, tensor<64x256xf32, #sparseattn_nv.acc>) : i32 {
      scf.yield %m, %l, %o : !row, !sum, tensor<64x256xf32, #sparseattn_nv.acc>
    }
    gpu.return
  }
}
