// RUN: sparseattn-opt %s --convert-sparseattn-to-scf --canonicalize --split-input-file | FileCheck %s

// CHECK-LABEL: func @bits
func.func @bits(%m: tensor<4x2xi32>) -> (tensor<4x2xi32>, tensor<4xi32>) {
  // CHECK: scf.parallel
  // CHECK: arith.shrui
  // CHECK: scf.parallel
  // CHECK: arith.shli
  // CHECK-NOT: sparseattn.
  %i, %n = sparseattn.mask_to_index %m cap 8 : (tensor<4x2xi32>) -> (tensor<4x8xi32>, tensor<4xi32>)
  %b = sparseattn.index_to_mask %i num_blocks 40 : (tensor<4x8xi32>) -> tensor<4x2xi32>
  return %b, %n : tensor<4x2xi32>, tensor<4xi32>
}

// -----

// A row without outer dimensions needs no parallel loop.

// CHECK-LABEL: func @one_row
func.func @one_row(%m: tensor<2xi32>) -> (tensor<8xi32>, tensor<i32>) {
  // CHECK-NOT: scf.parallel
  // CHECK: memref.store %{{.*}}, %{{.*}}[] : memref<i32>
  // CHECK-NOT: sparseattn.
  %i, %n = sparseattn.mask_to_index %m cap 8 : (tensor<2xi32>) -> (tensor<8xi32>, tensor<i32>)
  return %i, %n : tensor<8xi32>, tensor<i32>
}

// -----

// CHECK-LABEL: func @union
func.func @union(%i: tensor<1x2x50x4xi32>) -> (tensor<1x2x13x16xi32>, tensor<1x2x50x1xi32>) {
  // CHECK-DAG: %[[C13:.*]] = arith.constant 13 : index
  // CHECK: scf.parallel {{.*}} to (%{{.*}}, %[[C13]])
  // CHECK: scf.while
  // CHECK-NOT: sparseattn.
  %t, %b = sparseattn.union_tile %i tile 4 : (tensor<1x2x50x4xi32>) -> (tensor<1x2x13x16xi32>, tensor<1x2x50x1xi32>)
  return %t, %b : tensor<1x2x13x16xi32>, tensor<1x2x50x1xi32>
}
