// RUN: sparseattn-opt %s --sparseattn-scope-scratch | FileCheck %s

// CHECK-LABEL: func @scratch
// CHECK: scf.parallel
// CHECK: scf.parallel
// CHECK-NEXT: %[[TOP:.*]] = llvm.intr.stacksave
// CHECK: memref.alloca
// CHECK: llvm.intr.stackrestore %[[TOP]]
// CHECK-NEXT: scf.reduce
// CHECK-NOT: llvm.intr
// CHECK-LABEL: func @heap
// CHECK-NOT: llvm.intr
func.func @scratch(%n: index, %out: memref<?xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = arith.constant 1.0 : f32
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    scf.parallel (%j) = (%c0) to (%n) step (%c1) {
      %s = memref.alloca() : memref<8xf32>
      memref.store %x, %s[%c0] : memref<8xf32>
      %y = memref.load %s[%c0] : memref<8xf32>
      memref.store %y, %out[%j] : memref<?xf32>
    }
  }
  return
}

func.func @heap(%n: index, %out: memref<?xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = arith.constant 1.0 : f32
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %x, %out[%i] : memref<?xf32>
  }
  return
}
