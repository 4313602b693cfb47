// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -

// Decode steps with caches that are threaded through SSA.

!ragged = !sparseattn.kv_cache<kind = #sparseattn.head_caches<[#sparseattn.full_cache, #sparseattn.ring<32>]>,
  batch = 1, heads = 2, length = 128, key_dim = 16, value_dim = 16, dtype = f32>

// Decode with a ragged cache: head 0 keeps every token, head 1 the last 32. The windows stand on the
// attention as well; they are never taken from the cache.
func.func @ragged(%query: tensor<1x4x1x16xf32>, %key: tensor<1x2x1x16xf32>, %value: tensor<1x2x1x16xf32>,
                  %cache: !ragged, %position: index) -> (tensor<1x4x1x16xf32>, !ragged) {
  %one = arith.constant 1 : index
  %length = arith.addi %position, %one : index
  %updated = sparseattn.kv_cache.append %cache, %key, %value at %position
    : (!ragged, tensor<1x2x1x16xf32>, tensor<1x2x1x16xf32>, index) -> !ragged
  %keys, %values = sparseattn.kv_cache.read %updated length %length
    : (!ragged, index) -> (tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>)
  %out = sparseattn.attention %query, %keys, %values
    keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<32>]>) q_offset(%position)
    : (tensor<1x4x1x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>, index) -> tensor<1x4x1x16xf32>
  return %out, %updated : tensor<1x4x1x16xf32>, !ragged
}

// Sharing: the consumer layer gets a read-only view and allocates nothing.
!cache = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 128, key_dim = 16, value_dim = 16, dtype = f32>
!view = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 128, key_dim = 16, value_dim = 16, dtype = f32, access = read_only>
!q1 = tensor<1x4x1x16xf32>
!kv1 = tensor<1x2x1x16xf32>
!past = tensor<1x2x?x16xf32>

func.func @shared(%query0: !q1, %key0: !kv1, %value0: !kv1, %query1: !q1, %cache: !cache, %position: index)
    -> (!q1, !q1, !cache) {
  %one = arith.constant 1 : index
  %length = arith.addi %position, %one : index
  %updated = sparseattn.kv_cache.append %cache, %key0, %value0 at %position : (!cache, !kv1, !kv1, index) -> !cache
  %k0, %v0 = sparseattn.kv_cache.read %updated length %length : (!cache, index) -> (!past, !past)
  %out0 = sparseattn.attention %query0, %k0, %v0 keys(#sparseattn.causal) {layer = 0 : i64} : (!q1, !past, !past) -> !q1
  %view = sparseattn.kv_cache.view %updated {layer = 1 : i64} : (!cache) -> !view
  %k1, %v1 = sparseattn.kv_cache.read %view length %length : (!view, index) -> (!past, !past)
  %out1 = sparseattn.attention %query1, %k1, %v1 keys(#sparseattn.causal) {layer = 1 : i64, kv_source = 0 : i64}
    : (!q1, !past, !past) -> !q1
  return %out0, %out1, %updated : !q1, !q1, !cache
}
