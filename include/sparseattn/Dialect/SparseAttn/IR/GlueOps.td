//===- GlueOps.td - what surrounds attention ----------------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_GLUE_OPS_TD
#define SPARSEATTN_GLUE_OPS_TD

include "sparseattn/Dialect/SparseAttn/IR/AttentionOps.td"

def SparseAttn_RopeOp : SparseAttn_InferredOp<"rope"> {
  let summary = "rotary position embedding";
  let description = [{
    Rotates `dims` channels of row `i`, in pairs `m = 0 .. dims/2 - 1`, by the
    angle `(q_offset + i*stride) * base^(-2m/dims)`; `inverse` rotates back
    (DeepSeek-V4's output), `stride` is the distance in tokens between rows
    that stand for blocks (its compressed entries), 1 by default. The rotated channels are the first ones, or the
    last ones with `tail`. Within them pair `m` is `(m, m + dims/2)`, or
    `(2m, 2m+1)` with `interleaved`. Other channels pass (specification 6.4,
    6.8; operator 19).

    Constraints:
    - (C1) the input has rank 4; layout is not `thd`.
    - (C2) `dims` is even and lies in `[2, d]`.
    - (C3) `base > 0`.
    - (C4) the result has the type of the input.
    - (C5) `stride >= 1`.
  }];
  let arguments = (ins SparseAttn_Float:$input, Optional<Index>:$q_offset, SparseAttn_IntAttr:$dims,
    DefaultValuedAttr<SparseAttn_IntAttr, "1">:$stride,
    DefaultValuedAttr<F64Attr, "10000.0">:$base, UnitAttr:$inverse, UnitAttr:$interleaved, UnitAttr:$tail,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout);
  let results = (outs SparseAttn_Float:$output);
  let assemblyFormat = [{
    $input `dims` $dims (`stride` $stride^)? (`base` $base^)? (`inverse` $inverse^)? (`interleaved` $interleaved^)? (`tail` $tail^)?
    (`q_offset` `(` $q_offset^ `)`)? (`layout` `(` $layout^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

def SparseAttn_RmsNormOp : SparseAttn_InferredOp<"rms_norm"> {
  let summary = "root-mean-square normalisation of the last dimension";
  let description = [{
    `y = x / sqrt(mean(x^2) + eps) [* weight]` (QK-norm; operator 19).

    Constraints:
    - (C1) `weight` is `[d]` with the element type of the input.
    - (C2) `eps >= 0` and finite.
    - (C3) the result has the type of the input.
  }];
  let arguments = (ins SparseAttn_Float:$input, Optional<SparseAttn_Float>:$weight,
    DefaultValuedAttr<F64Attr, "1.0e-6">:$eps);
  let results = (outs SparseAttn_Float:$output);
  let assemblyFormat = [{
    $input (`weight` `(` $weight^ `)`)? (`eps` $eps^)? attr-dict `:` functional-type(operands, results)
  }];
}

def SparseAttn_ExternOp : SparseAttn_Op<"extern", [Pure]> {
  let summary = "a framework operation that is not attention";
  let description = [{
    Carries data flow between attention layers; the framework keeps executing
    it. `name` is the framework's operator, `fx` (a discardable attribute) its
    node. A pure data movement (`aten.view`, `aten.transpose`, a `to` that keeps
    the dtype, ...) is seen through by `sparseattn-resolve-kv-sharing`.

    Constraints:
    - (C1) `name` is not empty.
  }];
  let arguments = (ins StrAttr:$name, Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyType>:$outputs);
  let assemblyFormat = "$name `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)";
  let hasVerifier = 1;
}

#endif // SPARSEATTN_GLUE_OPS_TD
