// RUN: sparseattn-opt %s --convert-sparseattn-cache-to-tensor --canonicalize --split-input-file | FileCheck %s

!cache = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 16, key_dim = 8, value_dim = 6, dtype = bf16>
!view = !sparseattn.kv_cache<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length = 16, key_dim = 8, value_dim = 6, dtype = bf16, access = read_only>

// Keys and values of a cache are two arguments and two results; a view is the
// cache itself.

// CHECK-LABEL: func @step
// CHECK-SAME: %[[K:.*]]: tensor<1x8x8xbf16>, %[[V:.*]]: tensor<1x8x6xbf16>, %[[P:.*]]: index
// CHECK-SAME: -> (tensor<1x8x8xbf16>, tensor<1x8x6xbf16>, tensor<1x2x?x8xbf16>, tensor<1x2x?x6xbf16>)
func.func @step(%c: !cache, %p: index, %k: tensor<1x2x3x8xbf16>, %v: tensor<1x2x3x6xbf16>, %n: index)
    -> (!cache, tensor<1x2x?x8xbf16>, tensor<1x2x?x6xbf16>) {
  // CHECK: %[[OLD:.*]] = bufferization.to_buffer %[[K]] read_only
  // CHECK: %[[NEW:.*]] = memref.alloc() : memref<1x8x8xbf16>
  // CHECK: scf.parallel
  // CHECK: scf.for
  // CHECK: %[[BEHIND:.*]] = arith.floordivsi
  // CHECK: %[[ROW:.*]] = arith.addi
  // CHECK: scf.if
  // CHECK: vector.load %{{.*}} : memref<1x2x3x8xbf16>
  // CHECK: vector.load %[[OLD]][%{{.*}}, %[[ROW]]
  // CHECK: vector.store {{.*}}, %[[NEW]][%{{.*}}, %[[ROW]]
  // CHECK: %[[K1:.*]] = bufferization.to_tensor %[[NEW]]
  // CHECK: memref.alloc() : memref<1x8x6xbf16>
  // CHECK: %[[V1:.*]] = bufferization.to_tensor
  // CHECK: memref.alloc(%{{.*}}) : memref<1x2x?x8xbf16>
  // CHECK: memref.alloc(%{{.*}}) : memref<1x2x?x6xbf16>
  // CHECK-NOT: sparseattn.
  // CHECK: return %[[K1]], %[[V1]]
  %c1 = sparseattn.kv_cache.append %c, %k, %v at %p
    : (!cache, tensor<1x2x3x8xbf16>, tensor<1x2x3x6xbf16>, index) -> !cache
  %w = sparseattn.kv_cache.view %c1 : (!cache) -> !view
  %rk, %rv = sparseattn.kv_cache.read %w length %n : (!view, index) -> (tensor<1x2x?x8xbf16>, tensor<1x2x?x6xbf16>)
  return %c1, %rk, %rv : !cache, tensor<1x2x?x8xbf16>, tensor<1x2x?x6xbf16>
}

// -----

// Heads that keep fewer tokens have fewer slots: 16 + 4 + 16.

!ragged = !sparseattn.kv_cache<kind = #sparseattn.head_caches<[#sparseattn.full_cache, #sparseattn.ring<4>, #sparseattn.full_cache]>, batch = 2, heads = 3, length = 16, key_dim = 8, value_dim = 8, dtype = f32>

// CHECK-LABEL: func @ragged
// CHECK-SAME: -> (tensor<2x36x8xf32>, tensor<2x36x8xf32>)
func.func @ragged(%k: tensor<2x3x3x8xf32>, %p: index) -> !ragged {
  // CHECK-DAG: dense<[16, 4, 16]>
  // CHECK-DAG: dense<[0, 16, 20]>
  %c = sparseattn.kv_cache.create : !ragged
  %c1 = sparseattn.kv_cache.append %c, %k, %k at %p
    : (!ragged, tensor<2x3x3x8xf32>, tensor<2x3x3x8xf32>, index) -> !ragged
  return %c1 : !ragged
}

// -----

// Calls, loops and conditions carry storage.

!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 1, length = 16, key_dim = 8, value_dim = 8, dtype = f32>

// CHECK-LABEL: func private @grow
// CHECK-SAME: (%{{.*}}: tensor<1x16x8xf32>, %{{.*}}: tensor<1x16x8xf32>, %{{.*}}: index, %{{.*}}: tensor<1x1x1x8xf32>) -> (tensor<1x16x8xf32>, tensor<1x16x8xf32>)
func.func private @grow(%c: !cache, %p: index, %k: tensor<1x1x1x8xf32>) -> !cache {
  %c1 = sparseattn.kv_cache.append %c, %k, %k at %p
    : (!cache, tensor<1x1x1x8xf32>, tensor<1x1x1x8xf32>, index) -> !cache
  return %c1 : !cache
}

// CHECK-LABEL: func @decode
func.func @decode(%k: tensor<1x1x1x8xf32>, %n: index, %if: i1) -> !cache {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %empty = sparseattn.kv_cache.create : !cache
  // CHECK: scf.for {{.*}} -> (tensor<1x16x8xf32>, tensor<1x16x8xf32>)
  // CHECK: func.call @grow({{.*}}) : (tensor<1x16x8xf32>, tensor<1x16x8xf32>, index, tensor<1x1x1x8xf32>)
  %full = scf.for %i = %c0 to %n step %c1 iter_args(%c = %empty) -> (!cache) {
    %next = func.call @grow(%c, %i, %k) : (!cache, index, tensor<1x1x1x8xf32>) -> !cache
    scf.yield %next : !cache
  }
  // CHECK: scf.if {{.*}} -> (tensor<1x16x8xf32>, tensor<1x16x8xf32>)
  %more = scf.if %if -> (!cache) {
    %next = func.call @grow(%full, %n, %k) : (!cache, index, tensor<1x1x1x8xf32>) -> !cache
    scf.yield %next : !cache
  } else {
    scf.yield %full : !cache
  }
  // CHECK-COUNT-2: arith.select {{.*}} : tensor<1x16x8xf32>
  %r = arith.select %if, %empty, %more : !cache
  return %r : !cache
}
