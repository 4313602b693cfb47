// RUN: sparseattn-opt %s --sparseattn-decompose --split-input-file --verify-diagnostics | FileCheck %s

// The own position of the queries is Nk - Nq = 192, which select_topk does not know.
// CHECK-LABEL: func @attention_select
// CHECK-SAME: (%[[Q:.*]]: tensor<1x4x64x32xf32>, %[[K:.*]]: tensor<1x2x256x32xf32>, %[[V:.*]]: tensor<1x2x256x32xf32>
// CHECK: %[[OUT:.*]], %[[LSE:.*]], %[[SCORE:.*]] = sparseattn.attention %[[Q]], %[[K]], %[[V]] keys(#sparseattn.causal)
// CHECK-SAME: emit(#sparseattn.block_score<block = 16>) return_lse {fx = "a0", layer = 3 : i64}
// CHECK-SAME: tensor<1x2x64x16xf32>
// CHECK: %[[P:.*]] = arith.constant 192 : index
// CHECK: %[[I:.*]] = sparseattn.select_topk %[[SCORE]] <k = 4, block = 16> q_offset(%[[P]])
// CHECK: return %[[OUT]], %[[LSE]], %[[I]]
func.func @attention_select(%q: tensor<1x4x64x32xf32>, %k: tensor<1x2x256x32xf32>, %v: tensor<1x2x256x32xf32>)
    -> (tensor<1x4x64x32xf32>, tensor<1x4x64xf32>, tensor<1x2x64x4xi32>) {
  %o, %lse, %i = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    select <k = 4, block = 16> return_lse {fx = "a0", layer = 3 : i64}
    : (tensor<1x4x64x32xf32>, tensor<1x2x256x32xf32>, tensor<1x2x256x32xf32>)
      -> (tensor<1x4x64x32xf32>, tensor<1x4x64xf32>, tensor<1x2x64x4xi32>)
  return %o, %lse, %i : tensor<1x4x64x32xf32>, tensor<1x4x64xf32>, tensor<1x2x64x4xi32>
}

// CHECK-LABEL: func @dynamic_lengths
// CHECK: sparseattn.attention
// CHECK-SAME: tensor<1x2x?x?xf32>
// CHECK: %[[NK:.*]] = tensor.dim %arg1, %{{.*}} : tensor<1x2x?x32xf32>
// CHECK: %[[NQ:.*]] = tensor.dim %arg0, %{{.*}} : tensor<1x4x?x32xf32>
// CHECK: %[[P:.*]] = arith.subi %[[NK]], %[[NQ]]
// CHECK: sparseattn.select_topk {{.*}} q_offset(%[[P]])
func.func @dynamic_lengths(%q: tensor<1x4x?x32xf32>, %k: tensor<1x2x?x32xf32>, %v: tensor<1x2x?x32xf32>)
    -> tensor<1x2x?x4xi32> {
  %o, %i = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    select <k = 4, block = 16>
    : (tensor<1x4x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>) -> (tensor<1x4x?x32xf32>, tensor<1x2x?x4xi32>)
  return %i : tensor<1x2x?x4xi32>
}

// CHECK-LABEL: func @range_begin
// CHECK: sparseattn.select_topk {{.*}} origin({{ ?}}range_begin) valid_range(%{{.*}}) q_offset(%{{.*}})
func.func @range_begin(%q: tensor<1x4x64x32xf32>, %k: tensor<1x2x64x32xf32>, %r: tensor<1x64x2xi32>, %p: index)
    -> tensor<1x2x64x4xi32> {
  %o, %i = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) valid_range(%r) q_offset(%p)
    emit(#sparseattn.block_score<block = 16, origin = range_begin>) select <k = 4, block = 16>
    : (tensor<1x4x64x32xf32>, tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>, tensor<1x64x2xi32>, index)
      -> (tensor<1x4x64x32xf32>, tensor<1x2x64x4xi32>)
  return %i : tensor<1x2x64x4xi32>
}

// HySparse's sparse layer: selected blocks of layer 0 and an own window.
// CHECK-LABEL: func @branched
// CHECK: %[[A:.*]] = sparseattn.sparse_attention %arg0, %[[SK:.*]], %{{.*}} selection(%arg5) block 64 keys(#sparseattn.causal) scale 1.250000e-01 sink(%arg6) {kv_source = 0 : i64, layer = 1 : i64}
// CHECK: %[[B:.*]] = sparseattn.attention %arg0, %arg3, %arg4 keys(#sparseattn.window<128>) scale 1.250000e-01 sink(%arg7) {layer = 1 : i64}
// CHECK: sparseattn.gated_combine %[[A]], %[[B]] gates(%arg8, %arg9)
func.func @branched(%q: tensor<1x4x64x32xf32>, %k: tensor<1x2x64x32xf32>, %v: tensor<1x2x64x32xf32>,
    %k2: tensor<1x2x64x32xf32>, %v2: tensor<1x2x64x32xf32>, %i: tensor<1x2x64x4xi32>, %s: tensor<4xf32>,
    %s2: tensor<4xf32>, %g: tensor<1x4x64x32xf32>, %g2: tensor<1x4x64x32xf32>) -> tensor<1x4x64x32xf32> {
  %ks, %vs = sparseattn.kv_share %k, %v from 0 : tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>
  %o = sparseattn.branched_attention %q, [%ks, %k2], [%vs, %v2] branches([
      #sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 64, sink = true>,
      #sparseattn.branch<keys = #sparseattn.window<128>, sink = true>])
    gates(%g, %g2) selections(%i) sinks(%s, %s2) scale 0.125 {layer = 1 : i64, kv_source = 0 : i64}
    : (tensor<1x4x64x32xf32>, tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>,
       tensor<1x2x64x32xf32>, tensor<1x4x64x32xf32>, tensor<1x4x64x32xf32>, tensor<1x2x64x4xi32>, tensor<4xf32>,
       tensor<4xf32>) -> tensor<1x4x64x32xf32>
  return %o : tensor<1x4x64x32xf32>
}

// CHECK-LABEL: func @route
// CHECK: %[[L:.*]] = sparseattn.block_logits %arg0, %arg1 block 64 scale 5.000000e-01
// CHECK: %{{.*}}:3 = sparseattn.entmax_route %[[L]] kv_heads 2 block 64 alpha 1.250000e+00 local_blocks 1 return_count
// CHECK: tensor.cast
func.func @route(%q: tensor<1x4x8x32xf32>, %s: tensor<1x2x40x32xf32>)
    -> (tensor<1x2x8x?xi32>, tensor<1x2x8x40xf32>, tensor<1x2x8xi32>) {
  %m:3 = sparseattn.route %q, %s block 64 scale 0.5 alpha 1.25 local_blocks 1 return_count
    : (tensor<1x4x8x32xf32>, tensor<1x2x40x32xf32>) -> (tensor<1x2x8x?xi32>, tensor<1x2x8x40xf32>, tensor<1x2x8xi32>)
  return %m#0, %m#1, %m#2 : tensor<1x2x8x?xi32>, tensor<1x2x8x40xf32>, tensor<1x2x8xi32>
}

// CHECK-LABEL: func @routed_attention
// CHECK: %[[P:.*]] = arith.constant 255 : index
// CHECK: %[[L:.*]] = sparseattn.block_logits %arg0, %arg3 q_offset(%[[P]]) block 64 scale 2.500000e-01
// CHECK: %[[R:.*]]:2 = sparseattn.entmax_route %[[L]] kv_heads 2 block 64 q_offset(%[[P]])
// CHECK: sparseattn.sparse_attention %arg0, %arg1, %arg2 selection(%[[R]]#0) block 64 format({{ ?}}bitmask) keys(#sparseattn.causal) bias(%[[R]]#1) q_offset(%[[P]]) {layer = 2 : i64}
func.func @routed_attention(%q: tensor<1x4x1x32xf32>, %k: tensor<1x2x256x32xf32>, %v: tensor<1x2x256x32xf32>,
    %s: tensor<1x2x4x32xf32>) -> tensor<1x4x1x32xf32> {
  %o = sparseattn.routed_attention %q, %k, %v summary(%s) block 64 routing_scale 0.25 {layer = 2 : i64}
    : (tensor<1x4x1x32xf32>, tensor<1x2x256x32xf32>, tensor<1x2x256x32xf32>, tensor<1x2x4x32xf32>)
      -> tensor<1x4x1x32xf32>
  return %o : tensor<1x4x1x32xf32>
}

!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32>

// CHECK-LABEL: func @append
// CHECK: %[[U:.*]] = sparseattn.kv_cache.append %arg0, %arg1, %arg1 at %arg2 :
// CHECK: %[[S:.*]] = sparseattn.chunk_summarize %arg1 block 32 stride 16 mode({{ ?}}learned_query) summary_query(%arg3) complete_only
// CHECK: return %[[U]], %[[S]]
func.func @append(%c: !cache, %k: tensor<1x2x64x32xf32>, %p: index, %sq: tensor<2x32xf32>)
    -> (!cache, tensor<1x2x3x32xf32>) {
  %u, %s = sparseattn.kv_cache.append %c, %k, %k at %p
    summarize <block = 32, stride = 16, mode = learned_query> summary_query(%sq)
    : (!cache, tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>, index, tensor<2x32xf32>) -> (!cache, tensor<1x2x3x32xf32>)
  return %u, %s : !cache, tensor<1x2x3x32xf32>
}

// -----

func.func @packed(%q: tensor<64x4x32xf32>, %k: tensor<64x2x32xf32>, %cu: tensor<3xi32>) -> tensor<2x64x4xi32> {
  // expected-error @below {{expected layout bhsd or bshd to separate select from attention, found thd}}
  %o, %i = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) cu_seqlens(%cu, %cu)
    emit(#sparseattn.block_score<block = 16, origin = range_begin>) select <k = 4, block = 16> layout(thd)
    : (tensor<64x4x32xf32>, tensor<64x2x32xf32>, tensor<64x2x32xf32>, tensor<3xi32>, tensor<3xi32>)
      -> (tensor<64x4x32xf32>, tensor<2x64x4xi32>)
  return %i : tensor<2x64x4xi32>
}

// -----

func.func @unknown_heads(%q: tensor<1x4x8x32xf32>, %s: tensor<1x?x4x32xf32>) -> tensor<1x?x8x1xi32> {
  // expected-error @below {{expected a static number of KV heads, found summary of type 'tensor<1x?x4x32xf32>'}}
  %m:2 = sparseattn.route %q, %s block 64
    : (tensor<1x4x8x32xf32>, tensor<1x?x4x32xf32>) -> (tensor<1x?x8x1xi32>, tensor<1x?x8x4xf32>)
  return %m#0 : tensor<1x?x8x1xi32>
}
