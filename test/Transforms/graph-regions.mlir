// Uses may come before definitions and form cycles in a graph region such as a module's. Nothing of it is
// meaningful; every pass has to end, with or without an error.
// RUN: sparseattn-opt %s --sparseattn-decompose -o /dev/null
// RUN: sparseattn-opt %s --sparseattn-fuse=routed=always -o /dev/null
// RUN: sparseattn-opt %s --sparseattn-raise-imported --allow-unregistered-dialect -o /dev/null
// RUN: not sparseattn-opt %s --sparseattn-resolve-kv-sharing 2>&1 | FileCheck %s
// RUN: not sparseattn-opt %s --sparseattn-plan-kv-cache 2>&1 | FileCheck %s
// RUN: sparseattn-opt %s --sparseattn-fuse=groups=heads | FileCheck %s --check-prefix=HEADS

// CHECK: error: 'sparseattn.

!q = tensor<1x4x8x32xf32>
!kv = tensor<1x2x8x32xf32>
!half = tensor<1x2x8x32xf32>
!idx = tensor<1x2x8x4xi32>
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 256, key_dim = 32, value_dim = 32, dtype = f32>

%p = arith.constant 0 : index
%g = sparseattn.extern "gate"() : () -> !q

// Views of each other.
%k0 = sparseattn.extern "aten.view"(%k1) : (!kv) -> !kv
%k1 = sparseattn.extern "aten.view"(%k0) : (!kv) -> !kv
%s0, %s1 = sparseattn.kv_share %s0, %s1 from 0 : !kv, !kv

// Norms of each other as query.
%n0 = sparseattn.rms_norm %n1 : (!q) -> !q
%n1 = sparseattn.rms_norm %n0 : (!q) -> !q
%a = sparseattn.attention %n0, %k0, %k1 keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q

// A layer that reads its own result, fused and not.
%b = sparseattn.attention %c, %s0, %s1 keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q
%c = sparseattn.gated_combine %b gates(%g) : (!q, !q) -> !q
%d = sparseattn.branched_attention %d, [%k0], [%k0] branches([#sparseattn.branch<keys = #sparseattn.causal>]) gates(%d)
  : (!q, !kv, !kv, !q) -> !q

// A selection that chooses from itself.
%e, %score = sparseattn.attention %e, %k0, %k0 keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 2>)
  : (!q, !kv, !kv) -> (!q, tensor<1x2x8x4xf32>)
%i = sparseattn.select_topk %score <k = 4, block = 2> : (tensor<1x2x8x4xf32>) -> !idx
%j = sparseattn.extern "aten.clone"(%j) : (!idx) -> !idx
%f = sparseattn.sparse_attention %e, %k0, %k0 selection(%j) block 2 keys(#sparseattn.causal) : (!q, !kv, !kv, !idx) -> !q

// A cache that appends what is read from it.
%cache = sparseattn.kv_cache.append %cache1, %rk, %rv at %p : (!cache, !kv, !kv, index) -> !cache
%cache1 = sparseattn.kv_cache.append %cache, %rk1, %rv1 at %p : (!cache, !kv, !kv, index) -> !cache
%rk, %rv = sparseattn.kv_cache.read %cache length %p : (!cache, index) -> (!kv, !kv)
%rk1, %rv1 = sparseattn.kv_cache.read %cache1 length %p : (!cache, index) -> (!kv, !kv)
%h = sparseattn.attention %n0, %rk, %rv keys(#sparseattn.causal) : (!q, !kv, !kv) -> !q

// Heads that are inserted into a cycle of insertions: both halves are overwritten, so the cycle is not read.
// HEADS: sparseattn.attention %{{.*}} keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<4>]>)
%q0 = tensor.extract_slice %g[0, 0, 0, 0] [1, 2, 8, 32] [1, 1, 1, 1] : !q to !half
%q1 = tensor.extract_slice %g[0, 2, 0, 0] [1, 2, 8, 32] [1, 1, 1, 1] : !q to !half
%h0 = tensor.extract_slice %k0[0, 0, 0, 0] [1, 1, 8, 32] [1, 1, 1, 1] : !kv to tensor<1x1x8x32xf32>
%h1 = tensor.extract_slice %k0[0, 1, 0, 0] [1, 1, 8, 32] [1, 1, 1, 1] : !kv to tensor<1x1x8x32xf32>
%x = sparseattn.attention %q0, %h0, %h0 keys(#sparseattn.causal) : (!half, tensor<1x1x8x32xf32>, tensor<1x1x8x32xf32>) -> !half
%y = sparseattn.attention %q1, %h1, %h1 keys(#sparseattn.window<4>) : (!half, tensor<1x1x8x32xf32>, tensor<1x1x8x32xf32>) -> !half
%i0 = tensor.insert_slice %q0 into %i1[0, 0, 0, 0] [1, 2, 8, 32] [1, 1, 1, 1] : !half into !q
%i1 = tensor.insert_slice %q1 into %i0[0, 2, 0, 0] [1, 2, 8, 32] [1, 1, 1, 1] : !half into !q
%i2 = tensor.insert_slice %x into %i1[0, 0, 0, 0] [1, 2, 8, 32] [1, 1, 1, 1] : !half into !q
%i3 = tensor.insert_slice %y into %i2[0, 2, 0, 0] [1, 2, 8, 32] [1, 1, 1, 1] : !half into !q
%z = sparseattn.extern "use"(%i3) : (!q) -> !q
