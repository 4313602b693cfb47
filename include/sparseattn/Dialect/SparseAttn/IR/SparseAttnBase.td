//===- SparseAttnBase.td - dialect, enums, op base class ----*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_BASE_TD
#define SPARSEATTN_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/OpBase.td"

def SparseAttn_Dialect : Dialect {
  let name = "sparseattn";
  let cppNamespace = "::sparseattn";
  let summary = "Hybrid sparse attention on tensors (level L0)";
  let description = [{
    The dialect says *what* an attention layer computes: which keys a query
    sees, how scores change, how they are normalised and what leaves the
    operation besides the output. It holds no schedule and no hardware.

    One skeleton underlies every kind; the four plug-in points are attributes
    behind interfaces:

    | point | interface | attributes |
    |---|---|---|
    | which keys | `KeyPatternAttrInterface` | `full`, `causal`, `window`, `prefix_lm`, `complete_blocks`, `head_table`; run-time choices come as operands: indices, bit masks, `valid_range` |
    | score change | `ScoreModAttrInterface` | `softcap` |
    | normaliser | `NormalizerAttrInterface` | `softmax` (a sink, if any, is an operand) |
    | what leaves | `EpilogueAttrInterface` | `block_score` |

    Notation in the descriptions: `B` batch, `Nq`/`Nk` query and key length,
    `Hq`/`Hkv` query and KV heads, `g = Hq/Hkv`, `d`/`dv` head dimensions,
    `C` block size, `M` number of blocks. A query head `h` reads KV head
    `h div g`. Query `i` stands at position `p_i = q_offset + i`; without a
    `q_offset` operand, operations on token keys use `Nk - Nq` (bottom-right
    alignment) and all others use 0.

    Arithmetic is f32 whatever the element type of the operands. A row that
    sees no key yields output 0 and lse -inf; with a sink it yields output 0
    and lse equal to the sink.

    Block and token indices are i32, so every integer attribute is at most
    2^31 - 1; exceeding it violates the constraint that bounds the attribute
    from below.
  }];
  // The declarations of default printing, whose definitions treat enumerations specially.
  let useDefaultAttributePrinterParser = 0;
  let useDefaultTypePrinterParser = 1;
  let extraClassDeclaration = [{
    ::mlir::Attribute parseAttribute(::mlir::DialectAsmParser &parser, ::mlir::Type type) const override;
    void printAttribute(::mlir::Attribute attr, ::mlir::DialectAsmPrinter &printer) const override;
  }];
}

class SparseAttn_Op<string mnemonic, list<Trait> traits = []>
    : Op<SparseAttn_Dialect, mnemonic, traits>;

class SparseAttn_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<SparseAttn_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

/// An i64 attribute whose accessor is signed, so that a negative value stays one.
def SparseAttn_IntAttr : TypedSignlessIntegerAttrBase<I64, "int64_t", "64-bit integer attribute"> {
  let convertFromStorage = "$_self.getInt()";
}

class SparseAttn_Enum<string name, string summary, list<I32EnumAttrCase> cases>
    : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::sparseattn";
  let genSpecializedAttr = 0;
}

class SparseAttn_EnumAttr<EnumAttrInfo info, string mnemonic>
    : EnumAttr<SparseAttn_Dialect, info, mnemonic> {
  // `layout(bhsd)` in operations, `#sparseattn.layout<bhsd>` on its own: the dialect adds the brackets.
  let assemblyFormat = "`` custom<EnumValue>($value)";
}

//===----------------------------------------------------------------------===//
// Enumerations
//===----------------------------------------------------------------------===//

def SparseAttn_Layout : SparseAttn_Enum<"Layout", "order of the dimensions of Q, K, V and the output", [
  I32EnumAttrCase<"BHSD", 0, "bhsd">,
  I32EnumAttrCase<"BSHD", 1, "bshd">,
  I32EnumAttrCase<"THD", 2, "thd">
]>;
def SparseAttn_LayoutAttr : SparseAttn_EnumAttr<SparseAttn_Layout, "layout"> {
  let description = [{
    `bhsd` is `[batch, heads, sequence, dim]`, `bshd` is
    `[batch, sequence, heads, dim]`, `thd` is `[tokens, heads, dim]` with
    documents given by `cu_seqlens` operands. A layout is a reading of the
    tensor, never a copy.
  }];
}

def SparseAttn_BlockOrigin : SparseAttn_Enum<"BlockOrigin", "where block 0 begins", [
  I32EnumAttrCase<"Absolute", 0, "absolute">,
  I32EnumAttrCase<"RangeBegin", 1, "range_begin">
]>;
def SparseAttn_BlockOriginAttr : SparseAttn_EnumAttr<SparseAttn_BlockOrigin, "block_origin">;

def SparseAttn_ScoreKind : SparseAttn_Enum<"ScoreKind", "quantity whose maximum over a block is emitted", [
  I32EnumAttrCase<"ProbMax", 0, "prob_max">,
  I32EnumAttrCase<"LogProbMax", 1, "log_prob_max">,
  I32EnumAttrCase<"LogitMax", 2, "logit_max">
]>;

def SparseAttn_GroupReduce : SparseAttn_Enum<"GroupReduce", "reduction over the query heads of a KV head", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Max", 1, "max">,
  I32EnumAttrCase<"Sum", 2, "sum">,
  I32EnumAttrCase<"Mean", 3, "mean">
]>;
def SparseAttn_GroupReduceAttr : SparseAttn_EnumAttr<SparseAttn_GroupReduce, "group_reduce">;

def SparseAttn_SummaryMode : SparseAttn_Enum<"SummaryMode", "how a block of keys becomes one summary", [
  I32EnumAttrCase<"Mean", 0, "mean">,
  I32EnumAttrCase<"LearnedQuery", 1, "learned_query">,
  I32EnumAttrCase<"MinMax", 2, "minmax">,
  I32EnumAttrCase<"MLP", 3, "mlp">,
  I32EnumAttrCase<"GatedSoftmax", 4, "gated_softmax">
]>;
def SparseAttn_SummaryModeAttr : SparseAttn_EnumAttr<SparseAttn_SummaryMode, "summary_mode">;

def SparseAttn_Visibility : SparseAttn_Enum<"Visibility", "which blocks a query may score", [
  I32EnumAttrCase<"All", 0, "all">,
  I32EnumAttrCase<"BeforeOwn", 1, "before_own">,
  I32EnumAttrCase<"Complete", 2, "complete">,
  I32EnumAttrCase<"OwnInf", 3, "own_inf">
]>;
def SparseAttn_VisibilityAttr : SparseAttn_EnumAttr<SparseAttn_Visibility, "visibility">;

def SparseAttn_ScoreActivation : SparseAttn_Enum<"ScoreActivation", "activation of a block logit", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Relu", 1, "relu">
]>;
def SparseAttn_ScoreActivationAttr : SparseAttn_EnumAttr<SparseAttn_ScoreActivation, "score_activation">;

def SparseAttn_LogitBound : SparseAttn_Enum<"LogitBound", "exact product or upper bound", [
  I32EnumAttrCase<"Dot", 0, "dot">,
  I32EnumAttrCase<"MinMax", 1, "minmax">
]>;
def SparseAttn_LogitBoundAttr : SparseAttn_EnumAttr<SparseAttn_LogitBound, "logit_bound">;

def SparseAttn_PoolMode : SparseAttn_Enum<"PoolMode", "pooling of block scores", [
  I32EnumAttrCase<"Max", 0, "max">,
  I32EnumAttrCase<"Sum", 1, "sum">
]>;
def SparseAttn_PoolModeAttr : SparseAttn_EnumAttr<SparseAttn_PoolMode, "pool_mode">;

def SparseAttn_Prior : SparseAttn_Enum<"Prior", "bias that routing weights give to the softmax", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Raw", 1, "raw">,
  I32EnumAttrCase<"Tempered", 2, "tempered">
]>;
def SparseAttn_PriorAttr : SparseAttn_EnumAttr<SparseAttn_Prior, "prior">;

def SparseAttn_SelectionFormat : SparseAttn_Enum<"SelectionFormat", "encoding of a selection of key blocks", [
  I32EnumAttrCase<"Index", 0, "index">,
  I32EnumAttrCase<"Bitmask", 1, "bitmask">
]>;
def SparseAttn_SelectionFormatAttr : SparseAttn_EnumAttr<SparseAttn_SelectionFormat, "selection_format">;

def SparseAttn_Strategy : SparseAttn_Enum<"Strategy", "hint for the lowering of a selection; never changes results", [
  I32EnumAttrCase<"Auto", 0, "auto">,
  I32EnumAttrCase<"PerToken", 1, "per_token">,
  I32EnumAttrCase<"Union", 2, "union">,
  I32EnumAttrCase<"KvOuter", 3, "kv_outer">,
  I32EnumAttrCase<"Transposed", 4, "transposed">
]>;
def SparseAttn_StrategyAttr : SparseAttn_EnumAttr<SparseAttn_Strategy, "strategy">;

def SparseAttn_GateShape : SparseAttn_Enum<"GateShape", "granularity of a gate", [
  I32EnumAttrCase<"Elementwise", 0, "elementwise">,
  I32EnumAttrCase<"Headwise", 1, "headwise">
]>;
def SparseAttn_GateShapeAttr : SparseAttn_EnumAttr<SparseAttn_GateShape, "gate_shape">;

def SparseAttn_GateActivation : SparseAttn_Enum<"GateActivation", "activation of a gate", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Sigmoid", 1, "sigmoid">
]>;
def SparseAttn_GateActivationAttr : SparseAttn_EnumAttr<SparseAttn_GateActivation, "gate_activation">;

def SparseAttn_TileOrder : SparseAttn_Enum<"TileOrder", "order in which the tiles of a grid start", [
  I32EnumAttrCase<"Natural", 0, "natural">,
  I32EnumAttrCase<"HeaviestFirst", 1, "heaviest_first">
]>;

def SparseAttn_GridDim : SparseAttn_Enum<"GridDim", "role of a dimension of a grid of tiles", [
  I32EnumAttrCase<"Batch", 0, "batch">,
  I32EnumAttrCase<"Head", 1, "head">,
  I32EnumAttrCase<"QueryTile", 2, "query_tile">
]>;

def SparseAttn_CacheAccess : SparseAttn_Enum<"CacheAccess", "who may write a cache", [
  I32EnumAttrCase<"Owner", 0, "owner">,
  I32EnumAttrCase<"ReadOnly", 1, "read_only">
]>;

#endif // SPARSEATTN_BASE_TD
