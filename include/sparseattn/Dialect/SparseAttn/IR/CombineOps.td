//===- CombineOps.td - what happens to attention outputs ----*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_COMBINE_OPS_TD
#define SPARSEATTN_COMBINE_OPS_TD

include "sparseattn/Dialect/SparseAttn/IR/AttentionOps.td"

def SparseAttn_GatedCombineOp : SparseAttn_InferredOp<"gated_combine", [SameVariadicOperandSize]> {
  let summary = "sum of branch outputs weighted by gates";
  let description = [{
    `out = sum_n act(gate_n) * input_n`; gates are pre-activation values
    (specification 2.1, 2.5, 6.1; operator 10). Element-wise gates have the
    shape of the inputs, head-wise gates that shape without the last dimension.

    Constraints:
    - (C1) there is at least one input, and one gate per input.
    - (C2) all inputs have one shape and element type.
    - (C3) every gate has the shape of its granularity and the element type of the inputs.
    - (C4) the result has the inferred type.
  }];
  let arguments = (ins Variadic<SparseAttn_Float>:$inputs, Variadic<SparseAttn_Float>:$gates,
    DefaultValuedAttr<SparseAttn_GateShapeAttr, "::sparseattn::GateShape::Elementwise">:$gate,
    DefaultValuedAttr<SparseAttn_GateActivationAttr, "::sparseattn::GateActivation::Sigmoid">:$activation);
  let results = (outs SparseAttn_Float:$out);
  let assemblyFormat = [{
    $inputs `gates` `(` $gates `)` (`gate` `(` $gate^ `)`)? (`activation` `(` $activation^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
}

def SparseAttn_LseMergeOp : SparseAttn_InferredOp<"lse_merge", [AttrSizedOperandSegments]> {
  let summary = "merge of partial attentions over disjoint keys";
  let description = [{
    `lse = log(sum_n exp(lse_n) [+ exp(sink)])`, `out = sum_n exp(lse_n - lse)
    out_n` (specification 1.5; operator 11). For split-KV and for chunks of one
    softmax, never for branches that were normalised separately (HySparse). The
    sink is added here or in one partial, never in both.

    *Operands.* `outs` in the order of `layout`; `lses` `[B,Hq,Nq]` f32 (`thd`:
    `[Hq,T]`); `sink` `[Hq]` f32.

    Constraints:
    - (C1) there is at least one partial, and one lse per output.
    - (C2) all outputs have one type, of the rank of the layout.
    - (C3) every lse is `[B,Hq,Nq]`.
    - (C4) `sink` is `[Hq]`.
    - (C5) no partial was computed with a sink when `sink` is given, and at most one otherwise.
    - (C6) results have the inferred types.
  }];
  let arguments = (ins Variadic<SparseAttn_Float>:$outs, Variadic<SparseAttn_F32>:$lses,
    Optional<SparseAttn_F32>:$sink,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout);
  let results = (outs SparseAttn_Float:$out, SparseAttn_F32:$lse);
  let assemblyFormat = [{
    $outs `lse` `(` $lses `)` (`sink` `(` $sink^ `)`)? (`layout` `(` $layout^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizer = 1;
}

def SparseAttn_HardConcreteGateOp : SparseAttn_InferredOp<"hard_concrete_gate"> {
  let summary = "hard-concrete sample of a binary gate (ConSA while learning)";
  let description = [{
    ```
    s = sigmoid((ln u - ln(1-u) + log_alpha) / beta)     u = noise in (0,1)
    z = clip(s*(zeta - gamma) + gamma, 0, 1)
    expected_open = sigmoid(log_alpha - beta * ln(-gamma/zeta))       P(z > 0)
    ```
    (specification 5.1; operator 13.) Elementwise on f32.

    Constraints:
    - (C1) `log_alpha` and `noise` have one shape.
    - (C2) `beta > 0`, `gamma < 0`, `zeta > 1`.
    - (C3) the results have the inferred types.
  }];
  let arguments = (ins SparseAttn_F32:$log_alpha, SparseAttn_F32:$noise,
    DefaultValuedAttr<F64Attr, "2.0 / 3.0">:$beta, DefaultValuedAttr<F64Attr, "-0.1">:$gamma,
    DefaultValuedAttr<F64Attr, "1.1">:$zeta);
  let results = (outs SparseAttn_F32:$gate, SparseAttn_F32:$expected_open);
  let assemblyFormat = [{
    $log_alpha `,` $noise (`beta` $beta^)? (`gamma` $gamma^)? (`zeta` $zeta^)?
    attr-dict `:` functional-type(operands, results)
  }];
}

#endif // SPARSEATTN_COMBINE_OPS_TD
