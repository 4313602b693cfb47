// Constant factors of tiles go where they are free.
//
// RUN: sparseattn-opt %s --sparseattn-nv-fold-scales | FileCheck %s

!acc = tensor<64x16xf32, #sparseattn_nv.acc>
!row = tensor<64xf32, #sparseattn_nv.row>
!irow = tensor<64xi32, #sparseattn_nv.row>

// 30 * tanh(s * 0.5 / 30), masked, its maximum, and 1.5 * x + z: one product for each element, and one multiply-add.
// CHECK-LABEL: func.func @softcap(
// CHECK-SAME: %[[S:.*]]: tensor<64x16xf32, #sparseattn_nv.acc>, %[[Z:.*]]: tensor<64x16xf32, #sparseattn_nv.acc>
// CHECK: %[[INNER:.*]] = arith.constant dense<0.0166666675> : tensor<64x16xf32, #sparseattn_nv.acc>
// CHECK: %[[X:.*]] = arith.mulf %[[S]], %[[INNER]]
// CHECK: %[[T:.*]] = math.tanh %[[X]]
// CHECK: %[[M:.*]] = sparseattn_nv.mask %[[T]]
// CHECK: %[[R:.*]] = sparseattn_nv.reduce max %[[M]]
// CHECK: %[[CAP:.*]] = arith.constant dense<3.000000e+01> : tensor<64xf32, #sparseattn_nv.row>
// CHECK: arith.mulf %[[R]], %[[CAP]] : tensor<64xf32, #sparseattn_nv.row>
// CHECK: %[[OUTER:.*]] = arith.constant dense<4.500000e+01> : tensor<64x16xf32, #sparseattn_nv.acc>
// CHECK: math.fma %[[M]], %[[OUTER]], %[[Z]]
func.func @softcap(%s: !acc, %z: !acc, %at: i32, %end: !irow) -> (!row, !acc) {
  %scale = arith.constant dense<0.5> : !acc
  %cap = arith.constant dense<30.0> : !acc
  %log = arith.constant dense<1.5> : !acc
  %scaled = arith.mulf %s, %scale : !acc
  %inner = arith.divf %scaled, %cap : !acc
  %t = math.tanh %inner : !acc
  %capped = arith.mulf %t, %cap : !acc
  %masked = sparseattn_nv.mask %capped at(%at) end(%end : !irow) : !acc
  %m = sparseattn_nv.reduce max %masked : !acc
  %e = math.fma %masked, %log, %z : !acc
  return %m, %e : !row, !acc
}

// A negative factor would make of -inf the largest score, and of the least element the maximum.
// CHECK-LABEL: func.func @negative(
// CHECK: %[[X:.*]] = arith.mulf
// CHECK: %[[M:.*]] = sparseattn_nv.mask %[[X]]
// CHECK: sparseattn_nv.reduce max %[[M]]
// CHECK: sparseattn_nv.reduce max %[[X]]
func.func @negative(%s: !acc, %at: i32, %end: !irow) -> (!row, !row) {
  %scale = arith.constant dense<-0.5> : !acc
  %x = arith.mulf %s, %scale : !acc
  %masked = sparseattn_nv.mask %x at(%at) end(%end : !irow) : !acc
  %m = sparseattn_nv.reduce max %masked : !acc
  %n = sparseattn_nv.reduce max %x : !acc
  return %m, %n : !row, !row
}

// Sums are linear too, but stay; so do a factor that is not known, and a quotient by 0.
// CHECK-LABEL: func.func @others(
// CHECK: arith.mulf
// CHECK: sparseattn_nv.reduce add
// CHECK: arith.mulf
// CHECK: sparseattn_nv.reduce max
// CHECK: arith.divf
func.func @others(%s: !acc, %f: !acc) -> (!row, !row, !acc) {
  %two = arith.constant dense<2.0> : !acc
  %zero = arith.constant dense<0.0> : !acc
  %x = arith.mulf %s, %two : !acc
  %l = sparseattn_nv.reduce add %x : !acc
  %y = arith.mulf %s, %f : !acc
  %m = sparseattn_nv.reduce max %y : !acc
  %q = arith.divf %s, %zero : !acc
  return %l, %m, %q : !row, !row, !acc
}
