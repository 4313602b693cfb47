// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --emit-bytecode | sparseattn-opt | diff %t.text -
// RUN: FileCheck %s < %t.text

!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = bf16>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = bf16, access = read_only>
!ring = !sparseattn.kv_cache<kind = #sparseattn.ring<8>, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 8, dtype = f8E4M3FN>
!kv = tensor<1x2x4x16xbf16>

// CHECK-LABEL: func.func @kv_cache
func.func @kv_cache(%k: !kv, %v: !kv, %kr: tensor<1x4x2x16xf32>, %vr: tensor<1x4x2x8xf32>, %position: index,
                    %query: tensor<2x16xbf16>) {
  // CHECK: sparseattn.kv_cache.create {layer = 0 : i64} : !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 64, key_dim = 16, value_dim = 16, dtype = bf16>
  %c0 = sparseattn.kv_cache.create {layer = 0 : i64} : !cache
  // CHECK: sparseattn.kv_cache.append %{{.*}}, %{{.*}}, %{{.*}} at %{{.*}} : (
  %c1 = sparseattn.kv_cache.append %c0, %k, %v at %position : (!cache, !kv, !kv, index) -> !cache
  // CHECK: summarize <block = 4, stride = 4, mode = learned_query, complete_only = false> summary_query(%{{.*}})
  %c2, %summary = sparseattn.kv_cache.append %c1, %k, %v at %position
    summarize <block = 4, stride = 4, mode = learned_query, complete_only = false> summary_query(%query)
    : (!cache, !kv, !kv, index, tensor<2x16xbf16>) -> (!cache, tensor<1x2x1x16xbf16>)
  // CHECK: sparseattn.kv_cache.read %{{.*}} length %{{.*}} : (
  %rk, %rv = sparseattn.kv_cache.read %c2 length %position : (!cache, index) -> (tensor<1x2x?x16xbf16>, tensor<1x2x?x16xbf16>)
  // CHECK: sparseattn.kv_cache.view %{{.*}} {layer = 1 : i64} : {{.*}} -> !sparseattn.kv_cache<{{.*}}, access = read_only>
  %view = sparseattn.kv_cache.view %c2 {layer = 1 : i64} : (!cache) -> !view
  // CHECK: #sparseattn.ring<8>, {{.*}}dtype = f8E4M3FN
  %r0 = sparseattn.kv_cache.create : !ring
  // CHECK: layout(bshd)
  %r1 = sparseattn.kv_cache.append %r0, %kr, %vr at %position layout(bshd)
    : (!ring, tensor<1x4x2x16xf32>, tensor<1x4x2x8xf32>, index) -> !ring
  // CHECK: layout(bshd)
  %rrk, %rrv = sparseattn.kv_cache.read %r1 length %position layout(bshd)
    : (!ring, index) -> (tensor<1x?x2x16xf32>, tensor<1x?x2x8xf32>)
  return
}

// CHECK-LABEL: func.func @sharing
func.func @sharing(%k: !kv, %v: !kv, %hidden: tensor<1x4x32xbf16>, %wk: tensor<32x32xbf16>, %wv: tensor<32x16xbf16>) {
  // CHECK: sparseattn.kv_share %{{.*}}, %{{.*}} from 3 : tensor<1x2x4x16xbf16>, tensor<1x2x4x16xbf16>
  %sk, %sv = sparseattn.kv_share %k, %v from 3 : !kv, !kv
  // CHECK: sparseattn.kv_bridge %{{.*}}, %{{.*}}, %{{.*}} source_layer 3 kv_heads 2 : (
  %bk, %bv = sparseattn.kv_bridge %hidden, %wk, %wv source_layer 3 kv_heads 2
    : (tensor<1x4x32xbf16>, tensor<32x32xbf16>, tensor<32x16xbf16>) -> (!kv, tensor<1x2x4x8xbf16>)
  // CHECK: layout(bshd)
  %lk, %lv = sparseattn.kv_bridge %hidden, %wk, %wv source_layer 3 kv_heads 2 layout(bshd)
    : (tensor<1x4x32xbf16>, tensor<32x32xbf16>, tensor<32x16xbf16>) -> (tensor<1x4x2x16xbf16>, tensor<1x4x2x8xbf16>)
  return
}
