//===- Passes.td - passes on the sparseattn dialect ---------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TRANSFORMS_PASSES_TD
#define SPARSEATTN_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def SparseAttnCheckTiles : Pass<"sparseattn-check-tiles"> {
  let summary = "level check of L1: no attention is left as a whole";
  let description = [{
    *Reads* everything. *Holds afterwards:* no attention-like operation and no
    `streaming_attention` is left; other operations of L0 may be.

    *Errors:* each one that is, with the pass that should have removed it.
    *Numerics:* bit-exact; nothing changes.
  }];
}

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

def SparseAttnExtractLayers : Pass<"sparseattn-extract-layers", "::mlir::ModuleOp"> {
  let summary = "one function for each attention layer";
  let description = [{
    *Reads* every attention-like operation of the module's functions, with the
    sharing between layers as `sparseattn-resolve-kv-sharing` finds it.

    *Holds afterwards:* each layer is a public function `layer_<n>`
    (`<function>_layer_<n>` when several functions have attention), called where
    it was. It holds the attention-like operations of layer `n` and the
    dialect's operations around them: what combines or selects from their
    results, and what prepares their operands, for the first layer that needs
    it. Scalar constants are inside; every other operand is an argument, named
    by its role (`sparseattn.name = "query"`), with `sparseattn.layout` where it
    has one. What is used outside the layer is a result.

    The function carries `sparseattn.layer`, `sparseattn.kind` (for example
    `"window"`, `"sparse+window"`) and `sparseattn.operations`: for each
    attention-like operation `operation`, `keys`, `window`, `scale`, `layout`,
    and, where it reads those of other layers, `kv_source` and `index_source`.

    Where data of a layer leaves through a framework's operation and comes back
    into the same layer, each attention-like operation is a function of its own
    (`layer_0`, `layer_0_0`). With `kernels-only` everything but these functions
    is dropped: what is left can be compiled. A second run changes nothing.

    *Remarks:* attention that stays where it is, in a region of another
    operation or outside functions of the module.

    *Errors:* those of `sparseattn-resolve-kv-sharing`.

    *Numerics:* bit-exact; operations move and do not change.

    *Leaves to others:* caches, `kv_share` and `extern` stay in the caller.

    Example:
    ```mlir
    %o = sparseattn.attention %q, %k, %v keys(#sparseattn.window<32>) {layer = 3 : i64} : ...
    // becomes
    %o = call @layer_3(%q, %k, %v) : ...
    ```
  }];
  let options = [
    Option<"kernelsOnly", "kernels-only", "bool", "false", "Drop everything but the extracted functions">
  ];
  let dependentDialects = ["::mlir::func::FuncDialect", "::sparseattn::SparseAttnDialect"];
}

def SparseAttnFuse : Pass<"sparseattn-fuse"> {
  let summary = "put the parts of a layer into one operation";
  let description = [{
    *Reads* the groups of specification 9.2, in any region.

    | group | parts | becomes |
    |---|---|---|
    | `summarize` {3} | `chunk_summarize` (mean, learned_query), `kv_cache.append` of the same keys | `kv_cache.append` with `summarize` |
    | `select` {2+6} | `attention` with `emit`, `select_topk` | `attention` with `select` |
    | `heads` {12} | `attention`s over `tensor.extract_slice`s of the heads, `tensor.concat` or `tensor.insert_slice`s | `attention` with `head_table` |
    | `route` {4+7} | `block_logits` (`before_own`), `entmax_route` | `route` |
    | `routed` {4+7+9} | `route` or its parts, `sparse_attention` (`bitmask`) | `routed_attention`, for at most 8 queries |
    | `branches` {9+1+10} | `attention`s and `sparse_attention`s of one query, `gated_combine` | `branched_attention` |

    *Holds afterwards:* groups whose conditions hold are one operation, with the
    attributes of their parts; `strategy`, a hint, is dropped, and so is an
    outdated `sparseattn.kv_plan`.

    *When it cannot:* a missed remark (category `sparseattn-fuse`, named after
    the group) with reason and suggestion, when the parts are there but a
    condition fails; the parts stay. Show them with
    `--remarks-filter-missed=sparseattn-fuse`.

    *Numerics:* bit-exact: fused operations are defined by their parts.

    *Leaves to others:* `sparseattn-decompose` is the inverse.

    Example:
    ```mlir
    %o, %s = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 64>) : ...
    %i = sparseattn.select_topk %s <k = 16, block = 64> : ...
    // becomes
    %o, %i = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 64>)
      select <k = 16, block = 64> : ...
    ```
  }];
  let options = [
    ListOption<"groups", "groups", "std::string", "Groups to fuse: summarize, select, heads, route, routed, branches; default: all">,
    Option<"routed", "routed", "std::string", "\"decode\"", "Fuse routing and attention for at most 8 queries (decode) or always">
  ];
  let dependentDialects = ["::sparseattn::SparseAttnDialect"];
}

def SparseAttnPlanKVCache : Pass<"sparseattn-plan-kv-cache"> {
  let summary = "who keeps how many keys and values, in which cache, in how many bytes";
  let description = [{
    *Reads* every attention-like operation of each function, its key patterns
    and the sharing between layers (as `sparseattn-resolve-kv-sharing` finds it),
    and the summaries that routing reads.

    *Holds afterwards:* attribute `sparseattn.kv_plan` on the function (a
    dictionary: `caches`, `total_bytes`, `dense_bytes`) and on each operation
    (an array: the entries of `caches` that it reads). An entry has `layer`,
    `producer` (the owner; another layer for an alias, which takes no bytes),
    `kind`, `heads`, `key_dim`, `value_dim`, `dtype`, `length`, `batch`, `bytes`,
    and for summaries `summary_block`, `summary_stride`. Layers have numbers.

    | who reads the cache | kind |
    |---|---|
    | some pattern without bound | full |
    | windows only, also in consumers | ring of the widest |
    | heads that differ | one of them for each head (ragged) |
    | routing, or keys that are summaries | one slot for each block |

    Bytes are `batch * heads * slots * (key_dim + value_dim) * bytes(dtype)`
    (specification 2.3, 3.3, 5.3), exact 64-bit integers. The dense baseline
    keeps every token of the widest source of every layer.

    The JSON document has `schema` = `sparseattn.kv_plan`, `version` = 1 and
    `functions`, each with `name`, `caches`, `total_bytes`, `dense_bytes` and
    `ratio`. An entry of `caches` names its `ring`, or `ring_of_head`, null for
    all tokens, so that a reader can compute other lengths.

    *Errors:* those of `sparseattn-resolve-kv-sharing`; a dynamic length or batch
    without the option; a dtype that no cache can have; sizes beyond 64 bits; a
    file that cannot be written.

    *Numerics:* bit-exact; attributes only.

    *Leaves to others:* allocation.

    Example:
    ```
    sparseattn-opt model.mlir --sparseattn-plan-kv-cache="length=32768 dtype=f8E4M3FN print" -o /dev/null
    ```
  }];
  let options = [
    Option<"length", "length", "int64_t", "-1", "Tokens of each sequence; default: the key length of each operation">,
    Option<"batch", "batch", "int64_t", "-1", "Sequences; default: the batch size of each operation">,
    Option<"dtype", "dtype", "std::string", "", "Element type of every cache, for example bf16 or f8E4M3FN; default: that of the keys">,
    Option<"print", "print", "bool", "false", "Print a table to standard output">,
    Option<"table", "table", "std::string", "", "Write the table to this file; - is standard output">,
    Option<"json", "json", "std::string", "", "Write the plan as JSON to this file; - is standard output">
  ];
  let dependentDialects = ["::sparseattn::SparseAttnDialect"];
}

def SparseAttnRaiseImported : Pass<"sparseattn-raise-imported"> {
  let summary = "attention of generic StableHLO text to sparseattn.attention";
  let description = [{
    *Reads* a module of generic StableHLO text (`--allow-unregistered-dialect`),
    as `python/sparseattn/frontend/jax_export.py` writes it.

    | form | from | becomes |
    |---|---|---|
    | `stablehlo.composite "sparseattn.attention"` | `sparseattn.jax.attention`; operands are constants, the sink, query, key, value | `attention`; BTNH is layout `bshd`, BNTH `bhsd` |
    | `stablehlo.custom_call @__cudnn$fmhaSoftmax` | `jax.nn.dot_product_attention(implementation="cudnn")` | `attention`; its result is BNTH whatever the operands, so a transpose behind it cancels or one is inserted |

    cuDNN aligns masks top-left: unless both lengths are the same, `q_offset` is 0.

    *Holds afterwards:* attention that could be raised is raised; private
    functions that only it named (decompositions and what they call) are gone;
    with `externalize`, other unregistered operations with results and without
    regions, symbols and side effects are `sparseattn.extern` with their
    attributes in dictionary `attributes`. Everything else is unchanged.

    *When it cannot:* a remark with reason and suggestion; the operation stays.
    Padding masks, dropout, paged keys, packed sequences, a composite without
    layout, and anything the verifier of `attention` rejects.

    *Numerics:* changes rounding: arithmetic becomes f32, while the frameworks
    may round intermediate results to the element type.

    *Leaves to others:* layer numbers, KV sharing.

    Example:
    ```mlir
    %0 = "stablehlo.composite"(%q, %k, %v) <{composite_attributes = {causal = true, layout = "BTNH",
      scale = 1.250000e-01 : f64}, decomposition = @f, name = "sparseattn.attention", version = 1 : i32}> : ...
    // becomes
    %0 = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) scale 1.250000e-01 layout(bshd) : ...
    ```
  }];
  let options = [
    Option<"externalize", "externalize", "bool", "true", "Turn other opaque operations into sparseattn.extern">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::sparseattn::SparseAttnDialect"];
}

def SparseAttnResolveKVSharing : Pass<"sparseattn-resolve-kv-sharing"> {
  let summary = "make every K/V and index edge between layers explicit, and check it";
  let description = [{
    *Reads* every attention-like operation of each function, its keys, values
    and selections. Keys and values that reach several layers, also through
    views, transposes, copies of the same element type and caches, belong to the
    layer that uses them first; the others are consumers (specification 6.7).

    *Holds afterwards,* for every consumer:
    - its shared keys and values come from `sparseattn.kv_share ... from P`;
    - `kv_source = P`, unless it reads from several other layers;
    - `sparseattn.index_source = array<i64: ...>` when a selection is another
      layer's: for each selection operand, in order, the layer that selected
      (its own number for an own selection). An index edge needs no K/V edge
      (IndexCache), and one branch that has both has one producer (HySparse);
    - `layer` is set in functions where no operation had one and a layer is
      shared: program order, parts joined by `gated_combine`, `lse_merge`, a
      concatenation or an insertion being one layer.

    A second run changes nothing.

    *Errors:* `kv_source` or `kv_share` that disagrees with the data flow; only
    K or only V shared; a producer with a higher layer number; a consumer whose
    pattern sees keys that the producer's cache drops; a consumer layer with a
    cache of its own, or that appends shared keys; keys stored twice; a rotary
    offset of the query that is not the position before the append; shared keys
    and shared indices of one branch from different layers; some layers
    numbered and some not.

    *Numerics:* bit-exact; `kv_share` is the identity.

    *Leaves to others:* sizes and kinds of caches (`sparseattn-plan-kv-cache`).

    Example:
    ```mlir
    %o1 = sparseattn.attention %q1, %k, %v keys(#sparseattn.causal) {layer = 1 : i64} : ...
    // becomes, when layer 0 uses %k and %v before
    %ks, %vs = sparseattn.kv_share %k, %v from 0 : ...
    %o1 = sparseattn.attention %q1, %ks, %vs keys(#sparseattn.causal) {layer = 1 : i64, kv_source = 0 : i64} : ...
    ```
  }];
  let dependentDialects = ["::sparseattn::SparseAttnDialect"];
}

def SparseAttnSelectSchedule : Pass<"sparseattn-select-schedule"> {
  let summary = "choose tiles, stages and registers of every attention";
  let description = [{
    *Reads* `attention` and `sparse_attention` of 16-bit elements.

    *Holds afterwards:* each has a `schedule` that fits the chip. An operation
    that had one keeps it, changed by the options. Otherwise the first row that
    agrees is taken, from the file of option `table`, then from this table (H100,
    H200):

    | head dimensions | mask, keys | consumers | query tile | key tile | stages | registers | ping-pong |
    |---|---|---|---|---|---|---|---|
    | 64, 64 | blocks | 2 | 128 | 128 | 2 | 40/232 | |
    | 64, 64 | full, causal | 3 | 192 | 128 | 3 | 32/160 | yes |
    | 64, 64 | others | 3 | 192 | 112 | 2 | 32/160 | |
    | 96, 96 | full | 2 | 128 | 176 | 2 | 40/232 | |
    | 96, 96 | others | 2 | 128 | 128 | 2 | 40/232 | |
    | 128, 128 | full, causal | 3 | 192 | 80 | 3 | 32/160 | yes |
    | 128, 128 | mixed>=32768 | 3 | 192 | 80 | 2 | 32/160 | yes |
    | 128, 128 | window | 3 | 192 | 64 | 4 | 32/160 | |
    | 128, 128 and 192, 128 | others | 2 | 128 | 128 | 2 | 40/232 | |
    | 192, 192 | blocks | 2 | 128 | 64 | 2 | 40/232 | |
    | 192, 192 | others | 2 | 128 | 112 | 2 | 40/232 | |
    | 256, 256 | full, causal | 2 | 128 | 64 | 2 | 40/232 | yes |
    | 256, 256 | others | 2 | 128 | 64 | 2 | 40/232 | |

    Masks: `full`; `causal`, when no query sees the future; `window`, when each
    sees a bounded number of keys; `mixed`, when KV heads differ; `blocks`, lists
    of blocks, whose size `key_tile` then divides. Where each
    row has a first and a last key that depend on numbers in memory (`valid_range`,
    windows in documents), the key tile shrinks until they fit: 112 at 64, 64 at
    128. So it does for a sink at 64, and for a sink and an offset at 128. Tiles of `causal`, `mixed` and `blocks` start heaviest first.

    A mask with `>=N` is a length class: the row is for N keys and more. For a
    window its width counts. The type
    of the keys says how many there are; where it leaves that open, and for
    documents, whose lengths it does not say, option `expected-keys` does. Without
    it, rows without a class are taken. The kernel is right for any number.

    A row of a file is `HEAD_DIM VALUE_DIM MASK ATTRIBUTE`, with `*` for any. Rows
    of a class come before those for all lengths:
    ```
    // comment
    128 128 causal>=32768 #sparseattn.schedule<query_tile = 192, key_tile = 64, consumers = 3, order = heaviest_first>
    128 128 causal #sparseattn.schedule<query_tile = 128, key_tile = 96, order = heaviest_first>
    ```

    *Remarks:* (category `sparseattn-select-schedule`) the schedule and the
    reason; what got none, and why.

    *Errors:* a schedule that does not fit: a table of shared memory,
    `(query_tile*d + stages*key_tile*(d + dv))*bytes + 256 <= 227 KB` with
    dimensions rounded up to 64; registers of a consumer thread,
    `key_tile/2 + dv/2 + key_tile/4 + 30`, and 4 for such keys; registers of all warpgroups. A
    `query_tile` other than 64 rows for each consumer. A file that cannot be read. An
    `expected-keys` below 0.

    *Numerics:* bit-exact; attributes only.
  }];
  let options = [
    Option<"chip", "chip", "std::string", "\"sm_90a\"", "The chip">,
    Option<"table", "table", "std::string", "", "File with rows that come before the built-in ones">,
    Option<"expectedKeys", "expected-keys", "int64_t", "0", "Keys to expect where the type leaves it open; 0: not known">,
    Option<"queryTile", "query-tile", "int64_t", "0", "Query rows of a tile; 0: as chosen">,
    Option<"keyTile", "key-tile", "int64_t", "0", "Keys of a block; 0: as chosen">,
    Option<"consumers", "consumers", "int64_t", "0", "Warpgroups that compute; 0: as chosen">,
    Option<"stages", "stages", "int64_t", "0", "Blocks in flight; 0: as chosen">,
    Option<"producerRegisters", "producer-registers", "int64_t", "0", "Registers of a producer thread; 0: as chosen">,
    Option<"consumerRegisters", "consumer-registers", "int64_t", "0", "Registers of a consumer thread; 0: as chosen">
  ];
  let dependentDialects = ["::sparseattn::SparseAttnDialect"];
}

def SparseAttnSplitMaskedBlocks : Pass<"sparseattn-split-masked-blocks"> {
  let summary = "no mask on blocks that every row sees";
  let description = [{
    *Reads* `tile_mask` with `full`, in a loop over key blocks of step 1 whose
    blocks descend: the mask's column is `(a - i) * C` for iteration `i`.

    *Holds afterwards:* the loop is up to three in the same order: blocks at the
    end that some row does not see, blocks that every row sees, whose loop has no
    mask, and, when the mask has a `begin`, blocks at the beginning. Each may
    have no iteration; where all rows end with the same key, the first has at most
    one. Where the column is something else (blocks from a list), and where the
    grid's schedule has `guard_masks`, the loop stays and the mask stands in an
    `scf.if`, on partial blocks only. No `tile_mask` has `full`.

    *Numerics:* bit-exact; a mask is dropped where it keeps everything.

    *Leaves to others:* canonicalization of loops that never run.

    Example:
    ```mlir
    scf.for %i = %c0 to %n { ... tile_mask ... full(%from, %to) ... }
    // becomes
    scf.for %i = %c0 to %n1 { ... tile_mask ... }
    scf.for %i = %n1 to %n2 { ... }
    scf.for %i = %n2 to %n { ... tile_mask ... }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect", "::sparseattn::SparseAttnDialect"];
}

def SparseAttnTileKV : Pass<"sparseattn-tile-kv"> {
  let summary = "attention of a query tile to a loop over key blocks";
  let description = [{
    *Reads* `streaming_attention`.

    *Holds afterwards:* none is left. Each is one `scf.for` over the blocks of
    `schedule.key_tile` keys that some row sees, the last block first: causal
    masks then touch the first blocks, and a loop without mask can follow. It
    carries the state of the normaliser and the accumulated output. With
    `(b0, e0)` and `(b1, e1)` the ranges of the first and of the last row that
    exists, the blocks cover `[b0, e1)`, and every row sees `[b1, e0)`
    (`KeyPatternAttrInterface` promises that bounds do not decrease). Scores are
    masked by `tile_mask ... full`.

    With a positive scale and no score change, the scale is folded into the
    exponentials; otherwise it is multiplied into the scores. Weights are rounded
    to the type of the values before they meet them.

    A score change that bounds its result (`softcap`, of at most 50) makes the
    running maximum superfluous where weights have the exponents of f32: they
    are then relative to one number for all rows, and nothing is rescaled.

    *Numerics:* changes rounding: blocks of another size in another order than at
    L0, base-2 exponentials, weights in the values' type. With scores bounded by
    more than 36, values of a magnitude above 2^64 can overflow.

    *Leaves to others:* `sparseattn-split-masked-blocks`.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect", "::sparseattn::SparseAttnDialect"
  ];
}

def SparseAttnTileToGrid : Pass<"sparseattn-tile-to-grid"> {
  let summary = "attention on tensors to a grid of query tiles";
  let description = [{
    *Reads* `attention`, and `sparse_attention` whose selections are lists of
    blocks for whole query tiles.

    *Holds afterwards:* each is `scf.forall (%b, %h, %t) in (B, Hq, tiles)` with
    `schedule.query_tile` rows a tile, which loads the query tile, attends to one
    KV head (`streaming_attention`) and inserts the rows that exist into the
    results. Its mapping names the three dimensions (`#sparseattn.grid<batch>`,
    `head`, `query_tile`), and it carries the schedule as `sparseattn.schedule`.
    Where rows are left over, the first tile is the one with fewer, since early
    queries see few keys under most patterns; under lists of blocks, which count
    queries from the first, it is the last. Packed documents (layout `thd`) have
    tiles of their own, each in the same way: `T / rows + documents` tiles are
    enough, and those left over store nothing.

    *When it cannot:* a missed remark (category `sparseattn-tile-to-grid`) with
    reason and suggestion; the operation stays.

    | | because |
    |---|---|
    | `attention` with `emit` or `select` | block scores need a second pass over the keys |
    | `sparse_attention` with a bit mask, a bias, or origin `range_begin` | only lists of blocks drive the loop |
    | `query_block` not a multiple of `query_tile` | rows of a tile would have several lists |
    | `block` not a multiple of `key_tile` | a tile of keys would lie in several blocks |

    *Numerics:* bit-exact; see `sparseattn-tile-kv`.

    *Leaves to others:* `sparseattn-tile-kv`.
  }];
  let options = [
    Option<"queryTile", "query-tile", "int64_t", "64", "Query rows of a tile where the operation has no schedule">,
    Option<"keyTile", "key-tile", "int64_t", "64", "Keys of a block where the operation has no schedule">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
    "::sparseattn::SparseAttnDialect"
  ];
}

#endif // SPARSEATTN_TRANSFORMS_PASSES_TD
