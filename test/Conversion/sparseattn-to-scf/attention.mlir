// RUN: sparseattn-opt %s --convert-sparseattn-to-scf --canonicalize --cse --split-input-file | FileCheck %s

// Dense keys: tiles of eight query tokens, key tiles of 64 inside the hull of
// the rows' ranges.

// CHECK-LABEL: func @dense
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<2x4x100x40xbf16>
func.func @dense(%q: tensor<2x4x100x40xbf16>, %k: tensor<2x2x100x40xbf16>, %v: tensor<2x2x100x24xbf16>)
    -> tensor<2x4x100x24xbf16> {
  // CHECK-DAG: %[[C64:.*]] = arith.constant 64 : index
  // CHECK-DAG: %[[C13:.*]] = arith.constant 13 : index
  // CHECK-DAG: bufferization.to_buffer %[[Q]] read_only
  // CHECK-DAG: %[[OUT:.*]] = memref.alloc() : memref<2x4x100x24xbf16>
  // CHECK: scf.parallel {{.*}} to (%{{.*}}, %{{.*}}, %[[C13]])
  // CHECK: memref.alloca() : memref<8x64xf32>
  // CHECK: scf.for {{.*}} step %[[C64]]
  // CHECK: vector.load {{.*}} : memref<2x2x100x40xbf16>, vector<16xbf16>
  // CHECK: math.exp {{.*}} : vector<16xf32>
  // CHECK: memref.store {{.*}}, %[[OUT]]
  // CHECK: bufferization.to_tensor %[[OUT]] restrict writable
  // CHECK-NOT: sparseattn.
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.window<17>)
    : (tensor<2x4x100x40xbf16>, tensor<2x2x100x40xbf16>, tensor<2x2x100x24xbf16>) -> tensor<2x4x100x24xbf16>
  return %o : tensor<2x4x100x24xbf16>
}

// -----

// Listed keys: one token per tile, and the heads of a group as its rows, since
// they share the list.

// CHECK-LABEL: func @listed
func.func @listed(%q: tensor<1x6x50x16xf32>, %k: tensor<1x2x50x16xf32>, %v: tensor<1x2x50x16xf32>,
                  %i: tensor<1x2x50x4xi32>) -> tensor<1x6x50x16xf32> {
  // CHECK-DAG: %[[C50:.*]] = arith.constant 50 : index
  // CHECK: scf.parallel {{.*}} to (%{{.*}}, %[[C50]])
  // CHECK: memref.alloca() : memref<3x64xf32>
  // CHECK: tensor.extract {{.*}} : tensor<1x2x50x4xi32>
  // CHECK: scf.if
  %o = sparseattn.sparse_attention %q, %k, %v selection(%i) block 16 keys(#sparseattn.causal)
    : (tensor<1x6x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x50x4xi32>) -> tensor<1x6x50x16xf32>
  return %o : tensor<1x6x50x16xf32>
}

// -----

// Block scores need the final lse: scores are computed again per block, and
// the heads of a group are reduced inside the tile.

// CHECK-LABEL: func @block_score
func.func @block_score(%q: tensor<1x6x50x16xf32>, %k: tensor<1x2x50x16xf32>, %v: tensor<1x2x50x16xf32>)
    -> (tensor<1x6x50x16xf32>, tensor<1x2x50x4xf32>) {
  // CHECK: %[[SCORE:.*]] = memref.alloc() : memref<1x2x50x4xf32>
  // CHECK: scf.parallel
  // CHECK: math.log
  // CHECK: arith.maximumf
  // CHECK: memref.store {{.*}}, %[[SCORE]]
  %o, %s = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    : (tensor<1x6x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x50x16xf32>) -> (tensor<1x6x50x16xf32>, tensor<1x2x50x4xf32>)
  return %o, %s : tensor<1x6x50x16xf32>, tensor<1x2x50x4xf32>
}
