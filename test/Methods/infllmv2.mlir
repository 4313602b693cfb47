// RUN: sparseattn-opt %s > %t.text
// RUN: sparseattn-opt %t.text | diff %t.text -
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | diff %t.text -
// RUN: sparseattn-opt %s --sparseattn-to-cpu -o %t.llvm.mlir

// InfLLMv2 (specification 6.2): parameter-free block selection. Mean summaries of 32 keys every 16, softmax
// per head, sum over the group, max-pooling to blocks of 64; the first block and those of the local window
// (here one block) are forced and counted.

!q = tensor<1x4x300x16xf32>
!kv = tensor<1x2x300x16xf32>
!summary = tensor<1x2x19x16xf32>
!idx = tensor<1x2x300x3xi32>

func.func @infllmv2(%query: !q, %key: !kv, %value: !kv) -> (!q, !idx) {
  // Summaries of chunks that are not complete are masked below; they keep a column for every block.
  %summary = sparseattn.chunk_summarize %key block 32 stride 16 mode(mean) : (!kv) -> !summary
  %logits = sparseattn.block_logits %query, %summary block 32 stride 16 visibility(complete)
    : (!q, !summary) -> tensor<1x4x300x19xf32>
  %probability = sparseattn.block_softmax %logits kv_heads 2 group(sum)
    : (tensor<1x4x300x19xf32>) -> tensor<1x2x300x19xf32>
  %score = sparseattn.pool_scores %probability kernel 5 stride 4 pad 1 mode(max) ceil_mode
    : (tensor<1x2x300x19xf32>) -> tensor<1x2x300x5xf32>
  %indices = sparseattn.select_topk %score <k = 3, block = 64, force_first = 1, force_local = 1>
    : (tensor<1x2x300x5xf32>) -> !idx
  %out = sparseattn.sparse_attention %query, %key, %value selection(%indices) block 64 keys(#sparseattn.causal)
    : (!q, !kv, !kv, !idx) -> !q
  return %out, %indices : !q, !idx
}
