// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --emit-bytecode | sparseattn-opt | diff %t.text -
// RUN: FileCheck %s < %t.text

!q = tensor<1x4x8x16xf32>
!kv = tensor<1x2x8x16xf32>
!v8 = tensor<1x2x8x8xf32>
!o8 = tensor<1x4x8x8xf32>
!lse = tensor<1x4x8xf32>
!idx = tensor<1x2x8x2xi32>

// CHECK-LABEL: func.func @attention
func.func @attention(%q: !q, %k: !kv, %v: !kv, %v8: !v8, %sink: tensor<4xf32>, %range: tensor<1x8x2xi32>,
                     %offset: index) {
  // CHECK: sparseattn.attention %{{.*}}, %{{.*}}, %{{.*}} keys(#sparseattn.full) : (
  %o0 = sparseattn.attention %q, %k, %v keys(#sparseattn.full) : (!q, !kv, !kv) -> !q
  // CHECK: keys(#sparseattn.causal) scale {{.*}} score(#sparseattn.softcap<{{.*}}>) normalizer(#sparseattn.softmax) :
  %o1 = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) scale 0.125 score(#sparseattn.softcap<30.0>)
    normalizer(#sparseattn.softmax) : (!q, !kv, !kv) -> !q
  // CHECK: keys(#sparseattn.window<128>) sink(%{{.*}}) valid_range(%{{.*}}) q_offset(%{{.*}}) return_lse {kv_source = 0 : i64, layer = 2 : i64}
  %o2, %lse2 = sparseattn.attention %q, %k, %v keys(#sparseattn.window<128>) sink(%sink) valid_range(%range)
    q_offset(%offset) return_lse {layer = 2 : i64, kv_source = 0 : i64}
    : (!q, !kv, !kv, tensor<4xf32>, tensor<1x8x2xi32>, index) -> (!q, !lse)
  // CHECK: emit(#sparseattn.block_score<block = 4, kind = log_prob_max>)
  %o3, %score3 = sparseattn.attention %q, %k, %v8 keys(#sparseattn.causal)
    emit(#sparseattn.block_score<block = 4, kind = log_prob_max>) : (!q, !kv, !v8) -> (!o8, tensor<1x2x8x2xf32>)
  // CHECK: emit(#sparseattn.block_score<block = 4, group = none, origin = range_begin>)
  %o4, %score4 = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) valid_range(%range)
    emit(#sparseattn.block_score<block = 4, group = none, origin = range_begin>)
    : (!q, !kv, !kv, tensor<1x8x2xi32>) -> (!q, tensor<1x4x8x2xf32>)
  // CHECK: emit(#sparseattn.block_score<block = 4>) select <k = 2, block = 4> return_lse
  %o5, %lse5, %idx5 = sparseattn.attention %q, %k, %v keys(#sparseattn.causal)
    emit(#sparseattn.block_score<block = 4>) select <k = 2, block = 4> return_lse
    : (!q, !kv, !kv) -> (!q, !lse, !idx)
  // CHECK: keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<4>]>)
  %o6 = sparseattn.attention %q, %k, %v keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<4>]>)
    : (!q, !kv, !kv) -> !q
  // CHECK: keys(#sparseattn.complete_blocks<block = 32, stride = 16>)
  %o7 = sparseattn.attention %q, %k, %v keys(#sparseattn.complete_blocks<block = 32, stride = 16>)
    : (!q, !kv, !kv) -> !q
  return
}

// CHECK-LABEL: func.func @attention_layouts
func.func @attention_layouts(%q: tensor<1x8x4x16xbf16>, %kv: tensor<1x8x2x16xbf16>, %tq: tensor<9x4x16xf16>,
                             %tkv: tensor<12x2x16xf16>, %cu: tensor<3xi32>, %dq: tensor<?x4x?x16xf32>,
                             %dkv: tensor<?x2x?x16xf32>) {
  // CHECK: layout(bshd)
  %o0, %lse0 = sparseattn.attention %q, %kv, %kv keys(#sparseattn.causal) return_lse layout(bshd)
    : (tensor<1x8x4x16xbf16>, tensor<1x8x2x16xbf16>, tensor<1x8x2x16xbf16>) -> (tensor<1x8x4x16xbf16>, !lse)
  // CHECK: cu_seqlens(%{{.*}}, %{{.*}}) return_lse layout(thd)
  %o1, %lse1 = sparseattn.attention %tq, %tkv, %tkv keys(#sparseattn.causal) cu_seqlens(%cu, %cu) return_lse layout(thd)
    : (tensor<9x4x16xf16>, tensor<12x2x16xf16>, tensor<12x2x16xf16>, tensor<3xi32>, tensor<3xi32>)
    -> (tensor<9x4x16xf16>, tensor<4x9xf32>)
  // CHECK: tensor<?x4x?xf32>
  %o2, %lse2 = sparseattn.attention %dq, %dkv, %dkv keys(#sparseattn.causal) return_lse
    : (tensor<?x4x?x16xf32>, tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32>) -> (tensor<?x4x?x16xf32>, tensor<?x4x?xf32>)
  return
}

// CHECK-LABEL: func.func @sparse_attention
func.func @sparse_attention(%q: !q, %k: !kv, %v: !kv, %idx: !idx, %mask: tensor<1x1x8x1xi32>,
                            %ibias: tensor<1x2x8x2xf32>, %mbias: tensor<1x2x8x2xf32>, %sink: tensor<4xf32>,
                            %range: tensor<1x8x2xi32>, %offset: index, %tq: tensor<9x4x16xf32>,
                            %tkv: tensor<12x2x16xf32>, %tidx: tensor<4x9x2xi32>, %cu: tensor<3xi32>,
                            %tile_idx: tensor<1x1x2x2xi32>) {
  // CHECK: selection(%{{.*}}) block 4 keys(#sparseattn.causal) :
  %o0 = sparseattn.sparse_attention %q, %k, %v selection(%idx) block 4 keys(#sparseattn.causal)
    : (!q, !kv, !kv, !idx) -> !q
  // CHECK: block 4 format(bitmask) keys(#sparseattn.causal) bias(%{{.*}}) sink(%{{.*}}) q_offset(%{{.*}}) return_lse strategy(union)
  %o1, %lse1 = sparseattn.sparse_attention %q, %k, %v selection(%mask) block 4 format(bitmask) keys(#sparseattn.causal)
    bias(%mbias) sink(%sink) q_offset(%offset) return_lse strategy(union)
    : (!q, !kv, !kv, tensor<1x1x8x1xi32>, tensor<1x2x8x2xf32>, tensor<4xf32>, index) -> (!q, !lse)
  // CHECK: origin(range_begin) keys(#sparseattn.window<6>) scale {{.*}} score({{.*}}) normalizer({{.*}}) bias(%{{.*}}) valid_range(%{{.*}}) {
  %o2 = sparseattn.sparse_attention %q, %k, %v selection(%idx) block 4 origin(range_begin) keys(#sparseattn.window<6>)
    scale 0.25 score(#sparseattn.softcap<30.0>) normalizer(#sparseattn.softmax) bias(%ibias) valid_range(%range)
    {layer = 3 : i64, kv_source = 1 : i64} : (!q, !kv, !kv, !idx, tensor<1x2x8x2xf32>, tensor<1x8x2xi32>) -> !q
  // CHECK: cu_seqlens(%{{.*}}, %{{.*}}) layout(thd) strategy(kv_outer)
  %o3 = sparseattn.sparse_attention %tq, %tkv, %tkv selection(%tidx) block 4 origin(range_begin)
    keys(#sparseattn.causal) cu_seqlens(%cu, %cu) layout(thd) strategy(kv_outer)
    : (tensor<9x4x16xf32>, tensor<12x2x16xf32>, tensor<12x2x16xf32>, tensor<4x9x2xi32>, tensor<3xi32>, tensor<3xi32>)
    -> tensor<9x4x16xf32>
  // CHECK: block 4 query_block 4 keys(
  %o4 = sparseattn.sparse_attention %q, %k, %v selection(%tile_idx) block 4 query_block 4 keys(#sparseattn.causal)
    : (!q, !kv, !kv, tensor<1x1x2x2xi32>) -> !q
  return
}

// CHECK-LABEL: func.func @concat_kv_attention
func.func @concat_kv_attention(%q: !q, %k: !kv, %v: !kv, %ck: tensor<1x2x2x16xf32>, %cv: tensor<1x2x2x16xf32>,
                               %idx: tensor<1x1x8x2xi32>, %sink: tensor<4xf32>, %offset: index) {
  // CHECK: [%{{.*}}], [%{{.*}}] keys([#sparseattn.causal]) selected [false]
  %o0 = sparseattn.concat_kv_attention %q, [%k], [%v] keys([#sparseattn.causal]) selected [false]
    : (!q, !kv, !kv) -> !q
  // CHECK: [%{{.*}}, %{{.*}}], [%{{.*}}, %{{.*}}] keys([#sparseattn.window<4>, #sparseattn.complete_blocks<block = 4, stride = 4>]) selected [false, true] selections(%{{.*}}) scale {{.*}} score({{.*}}) normalizer({{.*}}) sink(%{{.*}}) q_offset(%{{.*}}) return_lse
  %o1, %lse1 = sparseattn.concat_kv_attention %q, [%k, %ck], [%v, %cv]
    keys([#sparseattn.window<4>, #sparseattn.complete_blocks<block = 4, stride = 4>]) selected [false, true]
    selections(%idx) scale 0.25 score(#sparseattn.softcap<30.0>) normalizer(#sparseattn.softmax) sink(%sink)
    q_offset(%offset) return_lse {layer = 1 : i64}
    : (!q, !kv, tensor<1x2x2x16xf32>, !kv, tensor<1x2x2x16xf32>, tensor<1x1x8x2xi32>, tensor<4xf32>, index)
    -> (!q, !lse)
  return
}

// CHECK-LABEL: func.func @branched_attention
func.func @branched_attention(%q: !q, %k: !kv, %v: !kv, %k2: !kv, %v2: !kv, %g: !q, %gh: !lse, %idx: !idx,
                              %mask: tensor<1x2x8x1xi32>, %s0: tensor<4xf32>, %s1: tensor<4xf32>,
                              %range: tensor<1x8x2xi32>, %offset: index) {
  // CHECK: branches([#sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 4, sink = true>, #sparseattn.branch<keys = #sparseattn.window<4>, sink = true>]) gates(%{{.*}}, %{{.*}}) selections(%{{.*}}) sinks(%{{.*}}, %{{.*}}) q_offset(%{{.*}}) {kv_source = 0 : i64, layer = 2 : i64}
  %o0 = sparseattn.branched_attention %q, [%k, %k2], [%v, %v2]
    branches([#sparseattn.branch<keys = #sparseattn.causal, selection = index, block = 4, sink = true>,
              #sparseattn.branch<keys = #sparseattn.window<4>, sink = true>])
    gates(%g, %g) selections(%idx) sinks(%s0, %s1) q_offset(%offset) {layer = 2 : i64, kv_source = 0 : i64}
    : (!q, !kv, !kv, !kv, !kv, !q, !q, !idx, tensor<4xf32>, tensor<4xf32>, index) -> !q
  // CHECK: branches([#sparseattn.branch<keys = #sparseattn.causal, selection = bitmask, block = 4, origin = range_begin>]) gates(%{{.*}}) selections(%{{.*}}) valid_range(%{{.*}}) scale {{.*}} score({{.*}}) gate(headwise) activation(none)
  %o1 = sparseattn.branched_attention %q, [%k], [%v]
    branches([#sparseattn.branch<keys = #sparseattn.causal, selection = bitmask, block = 4, origin = range_begin>])
    gates(%gh) selections(%mask) valid_range(%range) scale 0.25 score(#sparseattn.softcap<30.0>)
    gate(headwise) activation(none)
    : (!q, !kv, !kv, !lse, tensor<1x2x8x1xi32>, tensor<1x8x2xi32>) -> !q
  return
}

// CHECK-LABEL: func.func @routed_attention
func.func @routed_attention(%q: !q, %k: !kv, %v: !kv, %summary: tensor<1x2x2x16xf32>, %sink: tensor<4xf32>,
                            %offset: index) {
  // CHECK: summary(%{{.*}}) block 4 routing_scale {{[^ ]*}} :
  %o0 = sparseattn.routed_attention %q, %k, %v summary(%summary) block 4 routing_scale 0.5
    : (!q, !kv, !kv, tensor<1x2x2x16xf32>) -> !q
  // CHECK: scale {{.*}} alpha {{.*}} solver(#sparseattn.bisect<40>) local_blocks 1 prior(raw) sigma {{.*}} sink(%{{.*}}) q_offset(%{{.*}}) return_lse {layer = 4 : i64}
  %o1, %lse1 = sparseattn.routed_attention %q, %k, %v summary(%summary) block 4 routing_scale 0.5 scale 0.25 alpha 1.25
    solver(#sparseattn.bisect<40>) local_blocks 1 prior(raw) sigma 10.0 sink(%sink) q_offset(%offset) return_lse
    {layer = 4 : i64} : (!q, !kv, !kv, tensor<1x2x2x16xf32>, tensor<4xf32>, index) -> (!q, !lse)
  return
}
