//===- SparseAttnAttrs.td - attributes and types ------------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_ATTRS_TD
#define SPARSEATTN_ATTRS_TD

include "mlir/Dialect/SCF/IR/DeviceMappingInterface.td"
include "sparseattn/Dialect/SparseAttn/IR/SparseAttnBase.td"
include "sparseattn/Dialect/SparseAttn/IR/SparseAttnInterfaces.td"

//===----------------------------------------------------------------------===//
// Key patterns
//===----------------------------------------------------------------------===//

class SparseAttn_KeyPattern<string name, string mnemonic>
    : SparseAttn_Attr<name, mnemonic, [
        DeclareAttrInterfaceMethods<SparseAttn_KeyPatternAttrInterface>]>;

def SparseAttn_FullAttr : SparseAttn_KeyPattern<"Full", "full"> {
  let summary = "every key: [0, Nk)";
}

def SparseAttn_CausalAttr : SparseAttn_KeyPattern<"Causal", "causal"> {
  let summary = "keys up to the query's own position: [0, p+1)";
}

def SparseAttn_WindowAttr : SparseAttn_KeyPattern<"Window", "window"> {
  let summary = "the last `size` keys, the query's own included: [p-size+1, p+1)";
  let description = [{
    `size` counts the query itself, as in HuggingFace's `sliding_window`;
    FlashAttention's left window is one less.

    Constraints: (A1) `size >= 1`.
  }];
  let parameters = (ins "int64_t":$size);
  let assemblyFormat = "`<` $size `>`";
  let genVerifyDecl = 1;
}

def SparseAttn_PrefixLMAttr : SparseAttn_KeyPattern<"PrefixLM", "prefix_lm"> {
  let summary = "a prefix that everybody sees, then causal: [0, max(p+1, prefix))";
  let description = [{
    The first `prefix` tokens see each other, whatever their order. For layout
    `thd` they are those of each document.

    Constraints: (A14) `prefix >= 0`.
  }];
  let parameters = (ins "int64_t":$prefix);
  let assemblyFormat = "`<` $prefix `>`";
  let genVerifyDecl = 1;
}

def SparseAttn_CompleteBlocksAttr : SparseAttn_Attr<"CompleteBlocks", "complete_blocks", [
    DeclareAttrInterfaceMethods<SparseAttn_KeyPatternAttrInterface, ["isTokenAligned"]>]> {
  let summary = "keys are block summaries; those of complete blocks are visible";
  let description = [{
    Key `c` stands for the tokens `[c*stride, c*stride + block)` and is visible
    once its last token is: `c*stride + block - 1 <= p`. Used by NSA's
    compressed branch and by DeepSeek-V4's compressed entries.

    Constraints: (A2) `block >= 1` and `stride >= 1`.
  }];
  let parameters = (ins "int64_t":$block, "int64_t":$stride);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def SparseAttn_HeadTableAttr : SparseAttn_Attr<"HeadTable", "head_table", [
    DeclareAttrInterfaceMethods<SparseAttn_KeyPatternAttrInterface, ["isTokenAligned", "verifyUse"]>]> {
  let summary = "one pattern for each KV head (ConSA)";
  let description = [{
    All query heads of a KV head share its pattern. The window belongs to the
    head, never to the cache that holds its keys.

    Constraints: (A3) entries are key patterns other than `head_table`, and
    there is at least one. The number of entries is checked by the user op.
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::Attribute">:$heads);
  let assemblyFormat = "`<` custom<AttributeList>($heads) `>`";
  let genVerifyDecl = 1;
}

class SparseAttn_InterfaceAttr<string iface, string text> : Attr<
    CPred<"::llvm::isa<::sparseattn::" # iface # ">($_self)">, text> {
  let storageType = "::sparseattn::" # iface;
  let returnType = "::sparseattn::" # iface;
  let convertFromStorage = "$_self";
}
def SparseAttn_KeyPatternParam : SparseAttn_InterfaceAttr<"KeyPatternAttrInterface",
    "a key pattern (#sparseattn.full, causal, window, prefix_lm, complete_blocks or head_table)">;
def SparseAttn_ScoreModParam : SparseAttn_InterfaceAttr<"ScoreModAttrInterface",
    "a score modification such as #sparseattn.softcap<30.0>">;
def SparseAttn_NormalizerParam : SparseAttn_InterfaceAttr<"NormalizerAttrInterface",
    "a normaliser such as #sparseattn.softmax">;
def SparseAttn_EpilogueParam : SparseAttn_InterfaceAttr<"EpilogueAttrInterface",
    "an epilogue such as #sparseattn.block_score<block = 64>">;

//===----------------------------------------------------------------------===//
// Score modifications, normalisers, epilogues
//===----------------------------------------------------------------------===//

def SparseAttn_SoftcapAttr : SparseAttn_Attr<"Softcap", "softcap", [
    DeclareAttrInterfaceMethods<SparseAttn_ScoreModAttrInterface, ["getBound"]>]> {
  let summary = "s -> cap * tanh(s / cap)";
  let description = [{Constraints: (A4) `cap` is finite and positive.}];
  let parameters = (ins "::llvm::APFloat":$cap);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def SparseAttn_SoftmaxAttr : SparseAttn_Attr<"Softmax", "softmax", [
    DeclareAttrInterfaceMethods<SparseAttn_NormalizerAttrInterface>]> {
  let summary = "online softmax; a sink joins the denominator only";
  let description = [{
    State: running maximum `m` and denominator `l`. The maximum starts at a
    large finite negative number, so that a masked tile contributes
    `exp(-inf - m) = 0` and never NaN; with a sink it starts at `m = sink`,
    `l = 1` (or that finite number and `exp(sink - m)` for a lower sink), which
    adds the sink exactly once.
  }];
}

def SparseAttn_BlockScoreAttr : SparseAttn_Attr<"BlockScore", "block_score", [
    DeclareAttrInterfaceMethods<SparseAttn_EpilogueAttrInterface, ["buildElement", "getInvisible"]>]> {
  let summary = "score of a key block: maximum over its visible keys";
  let description = [{
    `prob_max` is `exp(z - lse)`, `log_prob_max` is `z - lse`, `logit_max` is
    `z`, with `z` after scale and score modification and `lse` of the query's
    own head (with the sink). The reduction over the group of query heads
    comes last: heads have different lse, so reducing raw logits would pick
    other blocks. Blocks without visible keys score 0 (`prob_max`) or -inf.

    Constraints: (A5) `block >= 1`.
  }];
  let parameters = (ins "int64_t":$block,
    DefaultValuedParameter<"::sparseattn::ScoreKind", "::sparseattn::ScoreKind::ProbMax">:$kind,
    DefaultValuedParameter<"::sparseattn::GroupReduce", "::sparseattn::GroupReduce::Max">:$group,
    DefaultValuedParameter<"::sparseattn::BlockOrigin", "::sparseattn::BlockOrigin::Absolute">:$origin);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def SparseAttn_TopKAttr : SparseAttn_Attr<"TopK", "topk"> {
  let summary = "keep the k best columns of every score row";
  let description = [{
    `block` is the number of keys behind a column (1 = tokens). `force_first`
    and `force_local` columns are always taken: the first n, and the last n
    that end at the query's own. With `count_forced` they use up places of `k`
    (NSA, InfLLMv2, MSA); without, they come on top of it (HySparse2).

    Constraints: (A6) `k`, `block >= 1`; `force_first`, `force_local >= 0`;
    with `count_forced`, `force_first + force_local <= k`.
  }];
  let parameters = (ins "int64_t":$k, "int64_t":$block,
    DefaultValuedParameter<"int64_t", "0">:$force_first,
    DefaultValuedParameter<"int64_t", "0">:$force_local,
    DefaultValuedParameter<"bool", "true">:$count_forced);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Entries of an index row: constant, whatever the number of blocks.
    int64_t getWidth() const {
      return getCountForced() ? getK() : getK() + getForceFirst() + getForceLocal();
    }
  }];
}

//===----------------------------------------------------------------------===//
// Entmax solvers
//===----------------------------------------------------------------------===//

def SparseAttn_HalleyAttr : SparseAttn_Attr<"Halley", "halley"> {
  let summary = "bracketed Halley iterations for alpha = 1.5; 3 reproduces the authors' kernels";
  let description = [{
    Three iterations are wrong for flat scores over many chunks; five reach
    1e-9 in f64.

    Constraints: (A7) `1 <= iterations <= 64`.
  }];
  let parameters = (ins "int64_t":$iterations);
  let assemblyFormat = "`<` $iterations `>`";
  let genVerifyDecl = 1;
}
def SparseAttn_BisectAttr : SparseAttn_Attr<"Bisect", "bisect"> {
  let summary = "bisection of the threshold, for any alpha in (1, 2]";
  let description = [{Constraints: (A8) `1 <= iterations <= 256`.}];
  let parameters = (ins "int64_t":$iterations);
  let assemblyFormat = "`<` $iterations `>`";
  let genVerifyDecl = 1;
}
def SparseAttn_SortAttr : SparseAttn_Attr<"Sort", "sort"> {
  let summary = "exact threshold from sorted scores, for alpha = 1.5 and 2";
}
def SparseAttn_SolverParam : AnyAttrOf<[SparseAttn_HalleyAttr, SparseAttn_BisectAttr, SparseAttn_SortAttr],
    "an entmax solver (#sparseattn.halley<n>, bisect<n> or sort)">;

//===----------------------------------------------------------------------===//
// Branches of a fused layer
//===----------------------------------------------------------------------===//

def SparseAttn_BranchAttr : SparseAttn_Attr<"Branch", "branch"> {
  let summary = "one softmax of a branched attention";
  let description = [{
    `keys` is the key pattern. `selection` says whether the branch takes a
    selection operand and how it is encoded (`block` keys per entry); `sink`,
    whether it takes a sink operand.

    Constraints: (A9) `keys` is a key pattern and `block >= 1`.
  }];
  let parameters = (ins "::mlir::Attribute":$keys,
    OptionalParameter<"::sparseattn::SelectionFormatAttr">:$selection,
    DefaultValuedParameter<"int64_t", "1">:$block,
    DefaultValuedParameter<"::sparseattn::BlockOrigin", "::sparseattn::BlockOrigin::Absolute">:$origin,
    DefaultValuedParameter<"bool", "false">:$sink);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}
def SparseAttn_BranchArrayAttr : TypedArrayAttrBase<SparseAttn_BranchAttr, "array of #sparseattn.branch">;
def SparseAttn_KeyPatternArrayAttr : TypedArrayAttrBase<SparseAttn_KeyPatternParam, "array of key patterns">;

def SparseAttn_SummaryAttr : SparseAttn_Attr<"Summary", "summary"> {
  let summary = "chunk summary computed while keys are appended";
  let description = [{Constraints: (A10) `block >= 1` and `stride >= 1`; the mode is `mean` or `learned_query`.}];
  let parameters = (ins "int64_t":$block, "int64_t":$stride, "::sparseattn::SummaryMode":$mode,
    DefaultValuedParameter<"bool", "true">:$complete_only);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Schedules
//===----------------------------------------------------------------------===//

def SparseAttn_ScheduleAttr : SparseAttn_Attr<"Schedule", "schedule"> {
  let summary = "how an attention is cut into tiles and spread over a chip";
  let description = [{
    Sizes of the tiles, and, for targets with asynchronous copies and
    specialised warpgroups, how their registers and buffers are shared out. It
    never changes what is computed, only rounding. `sparseattn-select-schedule`
    attaches it to an attention; `sparseattn-tile-to-grid` takes the tiles from
    it and passes it on with the grid.

    - `query_tile`: query rows of a tile; 64 for each consumer on Hopper, any number on the CPU.
    - `key_tile`: keys of a block.
    - `consumers`: warpgroups that compute.
    - `stages`: blocks of keys and of values in flight.
    - `producer_registers`, `consumer_registers`: per thread; by default what two consumers get beside a producer that
      reads lists of blocks or offsets of documents.
    - `order`: in which order the tiles of a grid start.
    - `ping_pong`: consumers take turns to start the products of a block, so that one's softmax runs under the
      others' products.
    - `guard_masks`: one loop over the blocks of keys, in which the mask of a partial block stands under a branch, in
      place of loops of their own for partial and full blocks. Less code, for a branch in each block.

    Constraints: (A13) `query_tile` and `key_tile` lie in [1, 1024], `consumers`
    in [1, 3], `stages` in [1, 8], and registers are multiples of 8 in [24, 256].
  }];
  let parameters = (ins "int64_t":$query_tile, "int64_t":$key_tile,
    DefaultValuedParameter<"int64_t", "2">:$consumers, DefaultValuedParameter<"int64_t", "2">:$stages,
    DefaultValuedParameter<"int64_t", "40">:$producer_registers,
    DefaultValuedParameter<"int64_t", "232">:$consumer_registers,
    DefaultValuedParameter<"::sparseattn::TileOrder", "::sparseattn::TileOrder::Natural">:$order,
    DefaultValuedParameter<"bool", "false">:$ping_pong, DefaultValuedParameter<"bool", "false">:$guard_masks);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def SparseAttn_GridAttr : SparseAttn_Attr<"Grid", "grid", [
    DeclareAttrInterfaceMethods<DeviceMappingAttrInterface>]> {
  let summary = "role of a dimension of a grid of tiles";
  let description = [{
    The mapping of the `scf.forall` that `sparseattn-tile-to-grid` makes. It
    names the dimensions, and keeps those of one iteration from being folded.
  }];
  let parameters = (ins "::sparseattn::GridDim":$dim);
  let assemblyFormat = "`<` $dim `>`";
}

//===----------------------------------------------------------------------===//
// Caches
//===----------------------------------------------------------------------===//

def SparseAttn_FullCacheAttr : SparseAttn_Attr<"FullCache", "full_cache", [
    DeclareAttrInterfaceMethods<SparseAttn_CacheKindAttrInterface>]> {
  let summary = "keeps every token";
}
def SparseAttn_RingAttr : SparseAttn_Attr<"Ring", "ring", [
    DeclareAttrInterfaceMethods<SparseAttn_CacheKindAttrInterface>]> {
  let summary = "keeps the last `slots` tokens; token t lives in slot t mod slots";
  let description = [{Constraints: (A11) `slots >= 1`.}];
  let parameters = (ins "int64_t":$slots);
  let assemblyFormat = "`<` $slots `>`";
  let genVerifyDecl = 1;
}
def SparseAttn_HeadCachesAttr : SparseAttn_Attr<"HeadCaches", "head_caches", [
    DeclareAttrInterfaceMethods<SparseAttn_CacheKindAttrInterface, ["verifyKind"]>]> {
  let summary = "ragged cache: one kind for each KV head (ConSA)";
  let description = [{Constraints: (A12) entries are `full_cache` or `ring`, and there is at least one.}];
  let parameters = (ins ArrayRefParameter<"::mlir::Attribute">:$heads);
  let assemblyFormat = "`<` custom<AttributeList>($heads) `>`";
  let genVerifyDecl = 1;
}

def SparseAttn_KVCacheType : TypeDef<SparseAttn_Dialect, "KVCache"> {
  let mnemonic = "kv_cache";
  let summary = "keys and values of one layer, threaded through SSA";
  let description = [{
    `batch` sequences of at most `length` tokens, `heads` KV heads with key
    dimension `key_dim` and value dimension `value_dim`, elements of type
    `dtype`. `access = read_only` is the type of a view that a consumer layer
    gets: appending to it is a verifier error.

    Constraints: (T1) all sizes are at least 1, there are at most 65536 heads,
    and dimensions are at most 1024; (T2) `dtype` is f32, f16, bf16 or an 8-bit
    float; (T3) `kind` is a cache kind that fits `heads`; (T4) keys and values
    of `length` tokens take at most 2^50 bytes.
  }];
  let parameters = (ins "::mlir::Attribute":$kind, "int64_t":$batch, "int64_t":$heads, "int64_t":$length,
    "int64_t":$key_dim, "int64_t":$value_dim, "::mlir::Type":$dtype,
    DefaultValuedParameter<"::sparseattn::CacheAccess", "::sparseattn::CacheAccess::Owner">:$access);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    ::sparseattn::CacheKindAttrInterface getCacheKind() const;
    /// The same cache with another access.
    KVCacheType withAccess(::sparseattn::CacheAccess access) const;
  }];
}

#endif // SPARSEATTN_ATTRS_TD
