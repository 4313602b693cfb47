// RUN: sparseattn-opt %s --convert-sparseattn-to-scf --canonicalize --split-input-file | FileCheck %s

// Default solver: five Halley steps. The bias row first sums the weights of the heads.

// CHECK-LABEL: func @halley
func.func @halley(%z: tensor<1x4x50x40xf32>) -> (tensor<1x2x50x2xi32>, tensor<1x2x50x40xf32>) {
  // CHECK-DAG: %[[C5:.*]] = arith.constant 5 : index
  // CHECK-DAG: %[[BIAS:.*]] = memref.alloc() : memref<1x2x50x40xf32>
  // CHECK-DAG: %[[MASK:.*]] = memref.alloc() : memref<1x2x50x2xi32>
  // CHECK: scf.parallel
  // CHECK: scf.for {{.*}} to %[[C5]]
  // CHECK: memref.store {{.*}}, %[[BIAS]]
  // CHECK: memref.store {{.*}}, %[[MASK]]
  // CHECK: math.log
  // CHECK-NOT: sparseattn.
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 16
    : (tensor<1x4x50x40xf32>) -> (tensor<1x2x50x2xi32>, tensor<1x2x50x40xf32>)
  return %m, %b : tensor<1x2x50x2xi32>, tensor<1x2x50x40xf32>
}

// -----

// CHECK-LABEL: func @bisect
func.func @bisect(%z: tensor<1x4x50x40xf32>) -> (tensor<1x2x50x2xi32>, tensor<1x2x50x40xf32>) {
  // CHECK-DAG: %[[C50:.*]] = arith.constant 50 : index
  // CHECK-DAG: %[[EXPONENT:.*]] = arith.constant 4.000000e+00 : f32
  // CHECK: scf.for {{.*}} to %[[C50]]
  // CHECK: math.powf %{{.*}}, %[[EXPONENT]]
  // CHECK-NOT: sparseattn.
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 16 alpha 1.25
    : (tensor<1x4x50x40xf32>) -> (tensor<1x2x50x2xi32>, tensor<1x2x50x40xf32>)
  return %m, %b : tensor<1x2x50x2xi32>, tensor<1x2x50x40xf32>
}

// -----

// CHECK-LABEL: func @sort
func.func @sort(%z: tensor<1x4x50x40xf32>) -> (tensor<1x2x50x2xi32>, tensor<1x2x50x40xf32>) {
  // CHECK: scf.while
  // CHECK-NOT: sparseattn.
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 16 solver(#sparseattn.sort) prior(none)
    : (tensor<1x4x50x40xf32>) -> (tensor<1x2x50x2xi32>, tensor<1x2x50x40xf32>)
  return %m, %b : tensor<1x2x50x2xi32>, tensor<1x2x50x40xf32>
}
