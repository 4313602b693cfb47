// RUN: sparseattn-opt %s --convert-sparseattn-to-scf --canonicalize --split-input-file | FileCheck %s

// Only visible blocks are scored; the others are filled.

// CHECK-LABEL: func @logits
func.func @logits(%q: tensor<1x4x50x32xf32>, %s: tensor<1x2x4x32xf32>, %o: index) -> tensor<1x4x50x4xf32> {
  // CHECK-DAG: %[[MASKED:.*]] = arith.constant 0xFF800000 : f32
  // CHECK: scf.parallel
  // CHECK: %[[OWN:.*]] = arith.floordivsi
  // CHECK: %[[VISIBLE:.*]] = arith.maxsi
  // CHECK: scf.for {{.*}} to %[[VISIBLE]]
  // CHECK: vector.load {{.*}} vector<16xf32>
  // CHECK: scf.for {{.*}} = %[[VISIBLE]] to
  // CHECK: memref.store %[[MASKED]]
  // CHECK-NOT: sparseattn.
  %z = sparseattn.block_logits %q, %s q_offset(%o) block 16
    : (tensor<1x4x50x32xf32>, tensor<1x2x4x32xf32>, index) -> tensor<1x4x50x4xf32>
  return %z : tensor<1x4x50x4xf32>
}

// -----

// The least score kept is found bit by bit, so the cost does not depend on k.

// CHECK-LABEL: func @topk
func.func @topk(%s: tensor<1x2x50x4xf32>) -> (tensor<1x2x50x16xi32>, tensor<1x2x50xi32>) {
  // CHECK-DAG: %[[C32:.*]] = arith.constant 32 : index
  // CHECK-DAG: %[[INDICES:.*]] = memref.alloc() : memref<1x2x50x16xi32>
  // CHECK: scf.parallel
  // CHECK: scf.if
  // CHECK: scf.for {{.*}} to %[[C32]]
  // CHECK: memref.store {{.*}}, %[[INDICES]]
  // CHECK-NOT: sparseattn.
  %i, %n = sparseattn.select_topk %s <k = 16, block = 16> return_count
    : (tensor<1x2x50x4xf32>) -> (tensor<1x2x50x16xi32>, tensor<1x2x50xi32>)
  return %i, %n : tensor<1x2x50x16xi32>, tensor<1x2x50xi32>
}

// -----

// CHECK-LABEL: func @pooled
func.func @pooled(%z: tensor<1x4x50x9xf32>) -> tensor<1x2x50x2xf32> {
  // CHECK: memref.alloc() : memref<1x2x50x9xf32>
  // CHECK: scf.parallel
  // CHECK: math.exp
  // CHECK: memref.alloc() : memref<1x2x50x2xf32>
  // CHECK: scf.parallel
  // CHECK: arith.maximumf
  // CHECK-NOT: sparseattn.
  %p = sparseattn.block_softmax %z kv_heads 2 group(sum) : (tensor<1x4x50x9xf32>) -> tensor<1x2x50x9xf32>
  %r = sparseattn.pool_scores %p kernel 5 stride 4 pad 1 : (tensor<1x2x50x9xf32>) -> tensor<1x2x50x2xf32>
  return %r : tensor<1x2x50x2xf32>
}
