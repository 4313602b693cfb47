// RUN: sparseattn-opt %s --convert-sparseattn-to-scf --canonicalize --split-input-file | FileCheck %s

// One parallel iteration per chunk of a head; the last chunk ends with the keys.

// CHECK-LABEL: func @mean
func.func @mean(%k: tensor<2x3x37x24xbf16>) -> tensor<2x3x3x24xbf16> {
  // CHECK-DAG: %[[C3:.*]] = arith.constant 3 : index
  // CHECK-DAG: %[[C37:.*]] = arith.constant 37 : index
  // CHECK: %[[OUT:.*]] = memref.alloc() : memref<2x3x3x24xbf16>
  // CHECK: scf.parallel {{.*}} to (%{{.*}}, %[[C3]], %[[C3]])
  // CHECK: %[[END:.*]] = arith.minsi %{{.*}}, %[[C37]] : index
  // CHECK: scf.for {{.*}} to %[[END]] {{.*}} -> (vector<8xf32>)
  // CHECK: vector.store {{.*}}, %[[OUT]]
  // CHECK-NOT: sparseattn.
  %s = sparseattn.chunk_summarize %k block 16 : (tensor<2x3x37x24xbf16>) -> tensor<2x3x3x24xbf16>
  return %s : tensor<2x3x3x24xbf16>
}

// -----

// Softmax weights of a chunk live in scratch storage of the iteration.

// CHECK-LABEL: func @learned_query
func.func @learned_query(%k: tensor<2x37x3x24xf32>, %q: tensor<3x2x24xf32>) -> tensor<2x2x3x24xf32> {
  // CHECK: scf.parallel
  // CHECK: memref.alloc() : memref<16xf32>
  // CHECK: math.exp
  // CHECK-NOT: sparseattn.
  %s = sparseattn.chunk_summarize %k block 16 mode(learned_query) summary_query(%q) complete_only layout(bshd)
    : (tensor<2x37x3x24xf32>, tensor<3x2x24xf32>) -> tensor<2x2x3x24xf32>
  return %s : tensor<2x2x3x24xf32>
}

// -----

// Sizes are computed where they are not static.

// CHECK-LABEL: func @dynamic
func.func @dynamic(%k: tensor<2x3x?x24xf32>) -> (tensor<2x3x?x24xf32>, tensor<2x3x?x24xf32>) {
  // CHECK: %[[KEYS:.*]] = tensor.dim
  // CHECK: %[[M:.*]] = arith.ceildivsi
  // CHECK-COUNT-2: memref.alloc(%[[M]]) : memref<2x3x?x24xf32>
  // CHECK-NOT: sparseattn.
  %min, %max = sparseattn.chunk_summarize %k block 16 mode(minmax)
    : (tensor<2x3x?x24xf32>) -> (tensor<2x3x?x24xf32>, tensor<2x3x?x24xf32>)
  return %min, %max : tensor<2x3x?x24xf32>, tensor<2x3x?x24xf32>
}
