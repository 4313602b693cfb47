// RUN: sparseattn-opt %s --sparseattn-plan-kv-cache="length=4096 print" -o %t.out | FileCheck %s --check-prefix=TABLE
// RUN: FileCheck %s --input-file=%t.out --check-prefix=IR
// RUN: sparseattn-opt %s --sparseattn-plan-kv-cache="length=4096 batch=2 dtype=f8E4M3FN json=-" -o /dev/null | FileCheck %s --check-prefix=JSON
// RUN: not sparseattn-opt %s --sparseattn-plan-kv-cache="length=8 json=%t.none/plan.json" 2>&1 | FileCheck %s --check-prefix=FILE

// FILE: error: cannot write the KV plan to '{{.*}}plan.json':

// TABLE-LABEL: KV caches of @hybrid
// TABLE-NEXT: layer  kind                          cache       KV heads  key+value dim  dtype  tokens  batch      bytes
// TABLE-NEXT: 0  full                          owner              2          64+32   bf16    4096      1   1.573 MB
// TABLE-NEXT: 1  ring(128)                     owner              2          64+32   bf16    4096      1  49.152 kB
// TABLE-NEXT: 2  ragged(1 x full, 1 x ring(128))  owner
// TABLE-NEXT: 3  full                          alias of 0
// TABLE-NEXT: total 2.433 MB (2433024 bytes)
// TABLE-NEXT: dense 6.291 MB (6291456 bytes), every layer keeping all tokens
// TABLE-NEXT: saving 2.59x

// IR-LABEL: func @hybrid
// IR-SAME: sparseattn.kv_plan = {caches = [{batch = 1 : i64, bytes = 1572864 : i64
// IR-SAME: dense_bytes = 6291456 : i64, total_bytes = 2433024 : i64}
// IR: sparseattn.attention {{.*}} {layer = 0 : i64, sparseattn.kv_plan = [{batch = 1 : i64, bytes = 1572864 : i64, dtype = bf16, heads = 2 : i64, key_dim = 64 : i64, kind = #sparseattn.full_cache, layer = 0 : i64, length = 4096 : i64, producer = 0 : i64, value_dim = 32 : i64}]}
// IR: {layer = 1 : i64, sparseattn.kv_plan = [{{.*}}kind = #sparseattn.ring<128>
// IR: {layer = 2 : i64, sparseattn.kv_plan = [{{.*}}kind = #sparseattn.head_caches<[#sparseattn.full_cache, #sparseattn.ring<128>]>
// IR: {layer = 3 : i64, sparseattn.kv_plan = [{{.*}}bytes = 0 : i64{{.*}}producer = 0 : i64

// JSON: "functions": [
// JSON: "alias_of": 0
// JSON: "batch": 2
// JSON: "dtype": "f8E4M3FN"
// JSON: "dense_bytes": 6291456
// JSON: "name": "hybrid"
// JSON: "ratio": 2.58
// JSON: "total_bytes": 2433024
!q = tensor<1x4x1x64xbf16>
!k = tensor<1x2x?x64xbf16>
!v = tensor<1x2x?x32xbf16>
!o = tensor<1x4x1x32xbf16>
func.func @hybrid(%q: !q, %k0: !k, %v0: !v, %k1: !k, %v1: !v, %k2: !k, %v2: !v) {
  %a = sparseattn.attention %q, %k0, %v0 keys(#sparseattn.causal) : (!q, !k, !v) -> !o
  %b = sparseattn.attention %q, %k1, %v1 keys(#sparseattn.window<128>) : (!q, !k, !v) -> !o
  %c = sparseattn.attention %q, %k2, %v2 keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<128>]>)
    : (!q, !k, !v) -> !o
  %d = sparseattn.attention %q, %k0, %v0 keys(#sparseattn.window<512>) : (!q, !k, !v) -> !o
  return
}

// Summaries that routing reads are a cache of one slot for each chunk.
// TABLE-LABEL: KV caches of @dash
// TABLE: 0  full            owner  2  32+32  f32  4096  1  2.097 MB
// TABLE: 0  summary(64/64)  owner  2  32     f32  4096  1  16.384 kB
// JSON: "block": 64
// JSON: "content": "summaries"
// JSON: "name": "dash"
// JSON: "schema": "sparseattn.kv_plan"
// JSON: "version": 1
func.func @dash(%q: tensor<1x4x1x32xf32>, %k: tensor<1x2x4096x32xf32>, %v: tensor<1x2x4096x32xf32>, %p: index) -> tensor<1x4x1x32xf32> {
  %s = sparseattn.chunk_summarize %k block 64 : (tensor<1x2x4096x32xf32>) -> tensor<1x2x64x32xf32>
  %z = sparseattn.block_logits %q, %s q_offset(%p) block 64 : (tensor<1x4x1x32xf32>, tensor<1x2x64x32xf32>, index) -> tensor<1x4x1x64xf32>
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 64 q_offset(%p) : (tensor<1x4x1x64xf32>, index) -> (tensor<1x2x1x2xi32>, tensor<1x2x1x64xf32>)
  %o = sparseattn.sparse_attention %q, %k, %v selection(%m) block 64 format(bitmask) keys(#sparseattn.causal) bias(%b) q_offset(%p)
    : (tensor<1x4x1x32xf32>, tensor<1x2x4096x32xf32>, tensor<1x2x4096x32xf32>, tensor<1x2x1x2xi32>, tensor<1x2x1x64xf32>, index) -> tensor<1x4x1x32xf32>
  return %o : tensor<1x4x1x32xf32>
}
