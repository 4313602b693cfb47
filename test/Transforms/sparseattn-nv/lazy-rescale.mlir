// A reference that follows the maximum only where it must, and what stays as it is.
//
// RUN: sparseattn-opt %s --sparseattn-nv-lazy-rescale | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-nv-lazy-rescale="threshold=4" | FileCheck %s --check-prefix=FOUR

!acc = tensor<64x96xf32, #sparseattn_nv.acc>
!row = tensor<64xf32, #sparseattn_nv.row>

// 2^8 is exceeded by scores 16 above the reference when they are multiplied with 0.5; 2^4 by 8.
// CHECK-LABEL: func.func @online(
// CHECK: scf.for {{.*}} iter_args(%[[M:.*]] = %{{.*}}, %[[O:.*]] = %{{.*}})
// CHECK: %[[X:.*]] = sparseattn_nv.reduce max
// CHECK: %[[MAX:.*]] = arith.maxnumf %[[M]], %[[X]]
// CHECK-NEXT: %[[EXCESS:.*]] = arith.constant dense<1.600000e+01> : tensor<64xf32, #sparseattn_nv.row>
// CHECK-NEXT: %[[LIMIT:.*]] = arith.addf %[[M]], %[[EXCESS]]
// CHECK-NEXT: %[[EXCEEDS:.*]] = arith.cmpf ogt, %[[MAX]], %[[LIMIT]]
// CHECK-NEXT: %[[NEW:.*]] = arith.select %[[EXCEEDS]], %[[MAX]], %[[M]]
// The guard, the factor, the weights and the next iteration take the reference.
// CHECK: arith.cmpf oeq, %[[NEW]]
// CHECK: %[[GUARD:.*]] = arith.select %{{.*}}, %{{.*}}, %[[NEW]]
// CHECK: arith.subf %[[M]], %[[GUARD]]
// CHECK: %[[FACTOR:.*]] = math.exp2
// CHECK: %[[SCALED:.*]] = sparseattn_nv.rescale %[[O]], %[[FACTOR]]
// CHECK-NOT: arith.mulf %[[O]]
// CHECK: arith.addf %[[SCALED]]
// CHECK: scf.yield %[[NEW]],
// FOUR-LABEL: func.func @online(
// FOUR: arith.constant dense<8.000000e+00> : tensor<64xf32, #sparseattn_nv.row>
func.func @online(%s: !acc, %m0: !row, %o0: !acc, %n: i32) -> (!row, !acc) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %half = arith.constant dense<0.5> : !row
  %inf = arith.constant dense<0xFF800000> : !row
  %zero = arith.constant dense<0.0> : !row
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %o = %o0) -> (!row, !acc) : i32 {
    %x = sparseattn_nv.reduce max %s : !acc
    %new = arith.maxnumf %m, %x : !row
    %none = arith.cmpf oeq, %new, %inf : !row
    %guard = arith.select %none, %zero, %new : tensor<64xi1, #sparseattn_nv.row>, !row
    %d = arith.subf %m, %guard : !row
    %scaled = arith.mulf %d, %half : !row
    %factor = math.exp2 %scaled : !row
    %wide = sparseattn_nv.broadcast %factor : !row -> !acc
    %old = arith.mulf %o, %wide : !acc
    %sum = arith.addf %old, %s : !acc
    scf.yield %new, %sum : !row, !acc
  }
  return %r#0, %r#1 : !row, !acc
}

// Without a product the scale is 1.
// CHECK-LABEL: func.func @unscaled(
// CHECK: arith.constant dense<8.000000e+00> : tensor<64xf32, #sparseattn_nv.row>
// CHECK: sparseattn_nv.rescale
func.func @unscaled(%s: !acc, %m0: !row, %o0: !acc, %n: i32) -> (!row, !acc) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %o = %o0) -> (!row, !acc) : i32 {
    %x = sparseattn_nv.reduce max %s : !acc
    %new = arith.maxnumf %x, %m : !row
    %d = arith.subf %m, %new : !row
    %factor = math.exp2 %d : !row
    %wide = sparseattn_nv.broadcast %factor : !row -> !acc
    %old = arith.mulf %o, %wide : !acc
    scf.yield %new, %old : !row, !acc
  }
  return %r#0, %r#1 : !row, !acc
}

// A negative scale turns the largest score into the smallest weight.
// CHECK-LABEL: func.func @negative_scale(
// CHECK-NOT: sparseattn_nv.rescale
// CHECK: return
func.func @negative_scale(%s: !acc, %m0: !row, %o0: !acc, %n: i32) -> (!row, !acc) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %scale = arith.constant dense<-0.5> : !row
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %o = %o0) -> (!row, !acc) : i32 {
    %x = sparseattn_nv.reduce max %s : !acc
    %new = arith.maxnumf %m, %x : !row
    %d = arith.subf %m, %new : !row
    %scaled = arith.mulf %d, %scale : !row
    %factor = math.exp2 %scaled : !row
    %wide = sparseattn_nv.broadcast %factor : !row -> !acc
    %old = arith.mulf %o, %wide : !acc
    scf.yield %new, %old : !row, !acc
  }
  return %r#0, %r#1 : !row, !acc
}

// A scale that is not known here may be negative.
// CHECK-LABEL: func.func @unknown_scale(
// CHECK-NOT: sparseattn_nv.rescale
// CHECK: return
func.func @unknown_scale(%s: !acc, %m0: !row, %o0: !acc, %n: i32, %scale: !row) -> (!row, !acc) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %o = %o0) -> (!row, !acc) : i32 {
    %x = sparseattn_nv.reduce max %s : !acc
    %new = arith.maxnumf %m, %x : !row
    %d = arith.subf %m, %new : !row
    %scaled = arith.mulf %d, %scale : !row
    %factor = math.exp2 %scaled : !row
    %wide = sparseattn_nv.broadcast %factor : !row -> !acc
    %old = arith.mulf %o, %wide : !acc
    scf.yield %new, %old : !row, !acc
  }
  return %r#0, %r#1 : !row, !acc
}

// Something else reads the maximum so far.
// CHECK-LABEL: func.func @maximum_read(
// CHECK-NOT: sparseattn_nv.rescale
// CHECK: return
func.func @maximum_read(%s: !acc, %m0: !row, %o0: !acc, %n: i32) -> (!row, !acc, !row) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %r:3 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %o = %o0, %sum = %m0) -> (!row, !acc, !row) : i32 {
    %x = sparseattn_nv.reduce max %s : !acc
    %new = arith.maxnumf %m, %x : !row
    %all = arith.addf %sum, %m : !row
    %d = arith.subf %m, %new : !row
    %factor = math.exp2 %d : !row
    %wide = sparseattn_nv.broadcast %factor : !row -> !acc
    %old = arith.mulf %o, %wide : !acc
    scf.yield %new, %old, %all : !row, !acc, !row
  }
  return %r#0, %r#1, %r#2 : !row, !acc, !row
}

// The factor of another difference: not that of this maximum.
// CHECK-LABEL: func.func @other_difference(
// CHECK-NOT: sparseattn_nv.rescale
// CHECK: return
func.func @other_difference(%s: !acc, %m0: !row, %o0: !acc, %n: i32) -> (!row, !acc) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %o = %o0) -> (!row, !acc) : i32 {
    %x = sparseattn_nv.reduce max %s : !acc
    %new = arith.maxnumf %m, %x : !row
    %d = arith.subf %m, %m0 : !row
    %factor = math.exp2 %d : !row
    %wide = sparseattn_nv.broadcast %factor : !row -> !acc
    %old = arith.mulf %o, %wide : !acc
    scf.yield %new, %old : !row, !acc
  }
  return %r#0, %r#1 : !row, !acc
}

// What is multiplied is no accumulator: the loop does not carry it. Nothing gains by another reference.
// CHECK-LABEL: func.func @no_accumulator(
// CHECK-NOT: arith.cmpf
// CHECK-NOT: sparseattn_nv.rescale
// CHECK: return
func.func @no_accumulator(%s: !acc, %m0: !row, %o0: !acc, %n: i32) -> (!row, !acc) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %o = %o0) -> (!row, !acc) : i32 {
    %x = sparseattn_nv.reduce max %s : !acc
    %new = arith.maxnumf %m, %x : !row
    %d = arith.subf %m, %new : !row
    %factor = math.exp2 %d : !row
    %wide = sparseattn_nv.broadcast %factor : !row -> !acc
    %old = arith.mulf %s, %wide : !acc
    scf.yield %new, %old : !row, !acc
  }
  return %r#0, %r#1 : !row, !acc
}

// Of few columns: a vote costs as much as the products.
!few = tensor<64x64xf32, #sparseattn_nv.acc>
// CHECK-LABEL: func.func @few_columns(
// CHECK-NOT: arith.cmpf
// CHECK-NOT: sparseattn_nv.rescale
// CHECK: return
func.func @few_columns(%s: !acc, %m0: !row, %o0: !few, %n: i32) -> (!row, !few) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %r:2 = scf.for %i = %c0 to %n step %c1 iter_args(%m = %m0, %o = %o0) -> (!row, !few) : i32 {
    %x = sparseattn_nv.reduce max %s : !acc
    %new = arith.maxnumf %m, %x : !row
    %d = arith.subf %m, %new : !row
    %factor = math.exp2 %d : !row
    %wide = sparseattn_nv.broadcast %factor : !row -> !few
    %old = arith.mulf %o, %wide : !few
    scf.yield %new, %old : !row, !few
  }
  return %r#0, %r#1 : !row, !few
}
