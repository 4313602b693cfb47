//===- SparseAttnInterfaces.td - the four plug-in points ----*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_INTERFACES_TD
#define SPARSEATTN_INTERFACES_TD

include "mlir/IR/OpBase.td"

//===----------------------------------------------------------------------===//
// Attribute interfaces
//===----------------------------------------------------------------------===//

def SparseAttn_KeyPatternAttrInterface : AttrInterface<"KeyPatternAttrInterface"> {
  let cppNamespace = "::sparseattn";
  let description = [{
    Plug-in point 1: which keys a query sees. A pattern is a half-open range
    `[begin, end)` of key indices for every (query position, KV head); the
    caller clamps it to `[0, Nk)` and intersects it with run-time masks.

    Neither `begin` nor `end` decreases with the position: the keys of
    consecutive queries are then bounded by what the first and the last of them
    see, and so are the keys that all of them see.
  }];
  let methods = [
    InterfaceMethod<[{
        Emits the unclamped range for a query at `pos` among `numKeys` keys of
        `kvHead` (`index` values). `pos` is an `index` or a tensor of them, one
        for each query; the bounds have its type.
      }],
      "::sparseattn::KeyRange", "buildKeyRange",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::mlir::Value":$pos, "::mlir::Value":$numKeys, "::mlir::Value":$kvHead)>,
    InterfaceMethod<"Most keys a query of `kvHead` can see at once, if bounded: what a cache has to keep.",
      "std::optional<int64_t>", "getMaxVisibleKeys", (ins "int64_t":$kvHead)>,
    InterfaceMethod<"True when no query of `kvHead` sees a key after its own position.",
      "bool", "isCausal", (ins "int64_t":$kvHead)>,
    InterfaceMethod<"True when key indices are token positions, so that queries align to the end of the keys by default.",
      "bool", "isTokenAligned", (ins), [{}], [{ return true; }]>,
    InterfaceMethod<"Checks the pattern against the operation that uses it; `kvHeads` may be dynamic.",
      "::llvm::LogicalResult", "verifyUse",
      (ins "::llvm::function_ref<::mlir::InFlightDiagnostic()>":$emitError, "int64_t":$kvHeads),
      [{}], [{ return ::mlir::success(); }]>
  ];
}

def SparseAttn_ScoreModAttrInterface : AttrInterface<"ScoreModAttrInterface"> {
  let cppNamespace = "::sparseattn";
  let description = [{
    Plug-in point 2: a change of the scaled score before masking. The value may
    be an f32 scalar, or a vector or tensor of f32.
  }];
  let methods = [
    InterfaceMethod<"Emits the changed score.", "::mlir::Value", "buildScore",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::Value":$score)>,
    InterfaceMethod<"Largest magnitude of a changed score, if it has one: lowerings may then do without a running maximum.",
      "std::optional<double>", "getBound", (ins), [{}], [{ return std::nullopt; }]>
  ];
}

def SparseAttn_NormalizerAttrInterface : AttrInterface<"NormalizerAttrInterface"> {
  let cppNamespace = "::sparseattn";
  let description = [{
    Plug-in point 3: how scores become weights, one tile of keys at a time.
    State is carried per row.

    It is said twice. Row by row, for loops over buffers: values are f32 scalars
    or vectors of f32, scores are natural logarithms. Tile by tile (level L1):
    states are tensors of one f32 for each row, a score `t` stands for
    `t * multiplier` in base 2, so that a scale need not be multiplied into the
    scores; -inf is a masked score.
  }];
  let methods = [
    InterfaceMethod<"State before the first key; `sink` may be null.",
      "::sparseattn::NormalizerState", "buildInit",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::Value":$sink)>,
    InterfaceMethod<"Admits a tile whose largest score is `tileMax`; returns the factor that rescales what was accumulated.",
      "::mlir::Value", "buildAdmit",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::sparseattn::NormalizerState &":$state, "::mlir::Value":$tileMax)>,
    InterfaceMethod<"Weight of one admitted score relative to the state.",
      "::mlir::Value", "buildWeight",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::sparseattn::NormalizerState":$state, "::mlir::Value":$score)>,
    InterfaceMethod<"Adds the weights of a tile to the state.",
      "void", "buildAccumulate",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::sparseattn::NormalizerState &":$state, "::mlir::Value":$weightSum)>,
    InterfaceMethod<"Final factor of the accumulated output, and the log-sum-exp.",
      "::sparseattn::NormalizerResult", "buildFinish",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::sparseattn::NormalizerState":$state)>,
    InterfaceMethod<[{
        Tiles: state before the first block, of type `rows`. With a `reference`,
        in natural units, weights are relative to it and not to a running
        maximum: the caller knows that none can overflow or vanish.
      }],
      "::sparseattn::NormalizerState", "buildTileInit",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::RankedTensorType":$rows,
           "std::optional<double>":$reference)>,
    InterfaceMethod<[{
        Tiles: admits the masked scores [R,C] of a block, and gives their weights
        and, for each row, the factor of what was accumulated before, which is
        null under a reference.
      }],
      "::sparseattn::TileStep", "buildTileStep",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::sparseattn::NormalizerState &":$state,
           "::mlir::Value":$scores, "double":$multiplier)>,
    InterfaceMethod<[{
        Tiles: what the rows leave behind. `sink`, an f32 scalar in natural
        units or null, joins here.
      }],
      "::sparseattn::NormalizerResult", "buildTileFinish",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::sparseattn::NormalizerState":$state,
           "::mlir::Value":$sink, "double":$multiplier)>
  ];
}

def SparseAttn_EpilogueAttrInterface : AttrInterface<"EpilogueAttrInterface"> {
  let cppNamespace = "::sparseattn";
  let description = [{
    Plug-in point 4: a further result made from the final scores, one value per
    (row, key block): the maximum over the block's visible keys of an element
    function, reduced over the heads of a group. The element function does not
    decrease with the score, so lowerings apply it to the block's largest score.
  }];
  let methods = [
    InterfaceMethod<"Keys per block.", "int64_t", "getBlock">,
    InterfaceMethod<"Where block 0 begins.", "::sparseattn::BlockOrigin", "getOrigin">,
    InterfaceMethod<"Reduction over the query heads of a KV head.", "::sparseattn::GroupReduce", "getGroup">,
    InterfaceMethod<"Emits the element function of a score and the row's lse.", "::mlir::Value", "buildElement",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::Value":$score, "::mlir::Value":$lse)>,
    InterfaceMethod<"Value of a block without visible keys.", "double", "getInvisible">
  ];
}

def SparseAttn_CacheKindAttrInterface : AttrInterface<"CacheKindAttrInterface"> {
  let cppNamespace = "::sparseattn";
  let description = [{How many token slots a cache keeps for one KV head.}];
  let methods = [
    InterfaceMethod<"Slots kept for `kvHead` once `length` tokens were appended.",
      "int64_t", "getSlotsAt", (ins "int64_t":$kvHead, "int64_t":$length)>,
    InterfaceMethod<"Ring size of `kvHead`; nothing for a cache that keeps every token.",
      "std::optional<int64_t>", "getRing", (ins "int64_t":$kvHead)>,
    InterfaceMethod<"Checks the kind against the number of KV heads.",
      "::llvm::LogicalResult", "verifyKind",
      (ins "::llvm::function_ref<::mlir::InFlightDiagnostic()>":$emitError, "int64_t":$kvHeads),
      [{}], [{ return ::mlir::success(); }]>
  ];
}

//===----------------------------------------------------------------------===//
// Operation interface
//===----------------------------------------------------------------------===//

def SparseAttn_AttentionOpInterface : OpInterface<"AttentionOpInterface"> {
  let cppNamespace = "::sparseattn";
  let description = [{
    What every attention-like operation has in common, for passes that reason
    about layers and caches and must not know the single kinds.
  }];
  let methods = [
    InterfaceMethod<"The query.", "::mlir::Value", "getQueryValue">,
    InterfaceMethod<"Operands that hold keys, one per key source.",
      "::llvm::SmallVector<::mlir::OpOperand *>", "getKeyOperands">,
    InterfaceMethod<"Operands that hold values, in the order of the keys.",
      "::llvm::SmallVector<::mlir::OpOperand *>", "getValueOperands">,
    InterfaceMethod<"Key pattern of each key source.",
      "::llvm::SmallVector<::sparseattn::KeyPatternAttrInterface>", "getSourcePatterns">,
    InterfaceMethod<"Operands that hold selections (indices or masks), if any.",
      "::llvm::SmallVector<::mlir::OpOperand *>", "getSelectionOperands">,
    InterfaceMethod<"Layout of query, keys, values and output.", "::sparseattn::Layout", "getTensorLayout">,
    InterfaceMethod<"Layer number, if given.", "std::optional<int64_t>", "getLayerIndex">,
    InterfaceMethod<"Layer whose K/V are read, if given explicitly.", "std::optional<int64_t>", "getKvSourceIndex">
  ];
}

#endif // SPARSEATTN_INTERFACES_TD
