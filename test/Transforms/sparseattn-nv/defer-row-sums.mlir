// Running sums without a factor: weights relative to a number that stays.
//
// RUN: sparseattn-opt %s --sparseattn-nv-defer-row-sums | FileCheck %s

!acc = tensor<64x64xf32, #sparseattn_nv.acc>
!row = tensor<64xf32, #sparseattn_nv.row>

// CHECK-LABEL: func.func @plain(
// CHECK: %[[NONE:.*]] = arith.constant dense<0.000000e+00> : tensor<64xf32, #sparseattn_nv.row_partial>
// CHECK: %[[LOOP:.*]] = scf.for {{.*}} iter_args(%[[SUM:.*]] = %[[NONE]])
// CHECK: %[[ADDED:.*]] = sparseattn_nv.reduce add %{{.*}} partial
// CHECK-NEXT: %[[NEXT:.*]] = arith.addf %[[SUM]], %[[ADDED]] : tensor<64xf32, #sparseattn_nv.row_partial>
// CHECK-NEXT: scf.yield %[[NEXT]]
// CHECK: %[[TOTAL:.*]] = sparseattn_nv.combine %[[LOOP]]
// CHECK: return %[[TOTAL]]
func.func @plain(%tile: !acc, %n: i32) -> !row {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %zero = arith.constant dense<0.0> : !row
  %sum = scf.for %i = %c0 to %n step %c1 iter_args(%s = %zero) -> (!row) : i32 {
    %block = sparseattn_nv.reduce add %tile : !acc
    %next = arith.addf %s, %block : !row
    scf.yield %next : !row
  }
  return %sum : !row
}

// What a loop reads otherwise stays as it is.
// CHECK-LABEL: func.func @read(
// CHECK-NOT: row_partial
func.func @read(%tile: !acc, %n: i32) -> (!row, !row) {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %zero = arith.constant dense<0.0> : !row
  %sum:2 = scf.for %i = %c0 to %n step %c1 iter_args(%s = %zero, %l = %zero) -> (!row, !row) : i32 {
    %block = sparseattn_nv.reduce add %tile : !acc
    %next = arith.addf %s, %block : !row
    scf.yield %next, %s : !row, !row
  }
  return %sum#0, %sum#1 : !row, !row
}
