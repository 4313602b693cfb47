//===- Passes.td - passes on the sparseattn dialect ---------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TRANSFORMS_PASSES_TD
#define SPARSEATTN_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def SparseAttnDecompose : Pass<"sparseattn-decompose"> {
  let summary = "rewrite every fused operation into its parts";
  let description = [{
    The inverse of `sparseattn-fuse`.

    *Reads* `attention` with `select`, `branched_attention`, `route`,
    `routed_attention` and `kv_cache.append` with `summarize`, in any region.

    | fused | parts |
    |---|---|
    | `attention` with `select` | `attention` with `emit`, `select_topk` |
    | `branched_attention` | one `attention` or `sparse_attention` per branch, `gated_combine` |
    | `route` | `block_logits` (`before_own`), `entmax_route` |
    | `routed_attention` | `block_logits` (`before_own`), `entmax_route`, `sparse_attention` (`bitmask`, `causal`) |
    | `kv_cache.append` with `summarize` | `kv_cache.append`, `chunk_summarize` |

    *Holds afterwards:* none of them is left. The position of query 0, which
    fused operations on token keys take as `Nk - Nq`, is an explicit operand of
    parts whose own default is 0. `layer` and discardable attributes stay on
    the part that attends.

    *Errors:* `select` with layout `thd` and `route` with an unknown number of
    KV heads have no parts that express them.

    *Numerics:* bit-exact; the fused operations are defined by their parts.

    *Leaves to others:* `sparseattn-fuse` puts the parts together again.

    Example:
    ```mlir
    %mask, %bias = sparseattn.route %q, %s block 64 : ...
    // becomes
    %logits = sparseattn.block_logits %q, %s block 64 : ...
    %mask, %bias = sparseattn.entmax_route %logits kv_heads 2 block 64 : ...
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

#endif // SPARSEATTN_TRANSFORMS_PASSES_TD
