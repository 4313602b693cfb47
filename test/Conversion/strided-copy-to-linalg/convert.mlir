// RUN: sparseattn-opt %s --convert-strided-copy-to-linalg | FileCheck %s

// CHECK-LABEL: func @slice
func.func @slice(%a: memref<2x4xf32, strided<[8, 1], offset: 2>>, %b: memref<2x4xf32>) {
  // CHECK: linalg.generic {{.*}} ins(%{{.*}} : memref<2x4xf32, strided<[8, 1], offset: 2>>) outs(%{{.*}} : memref<2x4xf32>)
  // CHECK-NOT: memref.copy
  memref.copy %a, %b : memref<2x4xf32, strided<[8, 1], offset: 2>> to memref<2x4xf32>
  return
}

// A dense copy stays: it is one memcpy.

// CHECK-LABEL: func @dense
func.func @dense(%a: memref<?x4xf32>, %b: memref<?x4xf32>) {
  // CHECK: memref.copy
  memref.copy %a, %b : memref<?x4xf32> to memref<?x4xf32>
  return
}
