//===- TileOps.td - operations on tiles (level L1) ----------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TILE_OPS_TD
#define SPARSEATTN_TILE_OPS_TD

include "sparseattn/Dialect/SparseAttn/IR/AttentionOps.td"

//===----------------------------------------------------------------------===//
// Level L1
//
// A tile is a tensor value of static shape: R query rows, C keys of a block, D
// features. Element-wise work on tiles is plain `arith` and `math`; the
// operations here are what those dialects lack. Coordinates are `index`.
// Nothing says where a tile lives: that is level L2's business.
//===----------------------------------------------------------------------===//

def SparseAttn_TileReduction : SparseAttn_Enum<"TileReduction", "how the columns of a tile become one", [
  I32EnumAttrCase<"Max", 0, "max">,
  I32EnumAttrCase<"Add", 1, "add">
]>;
def SparseAttn_TileReductionAttr : SparseAttn_EnumAttr<SparseAttn_TileReduction, "tile_reduction">;

class SparseAttn_TileOp<string mnemonic, list<Trait> traits = []>
    : SparseAttn_Op<mnemonic, !listconcat([Pure], traits)>;

def SparseAttn_IndexRows : RankedTensorOf<[Index]>;

//===----------------------------------------------------------------------===//
// Tiles from tensors
//===----------------------------------------------------------------------===//

def SparseAttn_LoadTileOp : SparseAttn_TileOp<"load_tile"> {
  let summary = "consecutive positions of one head";
  let description = [{
    Row `r` of the result is position `position + r` of head `head` of batch
    entry `batch`; rows outside `[0, N)` are 0. `position` may be negative. For
    layout `thd`, whose tensors have no batch dimension, `batch` is ignored.

    ```mlir
    %q = sparseattn.load_tile %query[%b, %h, %p] : tensor<1x8x?x64xbf16> -> tensor<128x64xbf16>
    ```

    *Preconditions.* `batch` and `head` are inside the tensor.

    Constraints:
    - (C1) `source` has the rank of the layout.
    - (C2) the result is a static matrix with the element type of the source.
    - (C3) the result has as many columns as the source has features.
  }];
  let arguments = (ins SparseAttn_Float:$source, Index:$batch, Index:$head, Index:$position,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout);
  let results = (outs SparseAttn_Float:$tile);
  let assemblyFormat = [{
    $source `[` $batch `,` $head `,` $position `]` (`layout` `(` $layout^ `)`)? attr-dict
    `:` type($source) `->` type($tile)
  }];
  let hasVerifier = 1;
}

def SparseAttn_TileRowsOp : SparseAttn_TileOp<"tile_rows"> {
  let summary = "the numbers 0, 1, 2, ... of the rows of a tile";
  let description = [{
    Added to a splat of the first row's position, the positions of all rows.

    ```mlir
    %i = sparseattn.tile_rows : tensor<128xindex>
    ```

    Constraints: (C1) the result is a static vector of `index`.
  }];
  let results = (outs SparseAttn_IndexRows:$rows);
  let assemblyFormat = "attr-dict `:` type($rows)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Tiles from tiles
//===----------------------------------------------------------------------===//

def SparseAttn_TileDotOp : SparseAttn_TileOp<"tile_dot", [OptionalTypesMatchWith<
    "acc has the type of the result", "result", "acc", "$_self">]> {
  let summary = "product of two tiles, accumulated in f32";
  let description = [{
    `result = lhs * rhs [+ acc]`, with `transpose_b` `lhs * rhs^T`. Products
    and sums are f32 whatever the element type.

    ```mlir
    %s = sparseattn.tile_dot %q, %k transpose_b : tensor<128x64xbf16>, tensor<176x64xbf16> -> tensor<128x176xf32>
    %o = sparseattn.tile_dot %p, %v acc(%a) : tensor<128x176xbf16>, tensor<176x64xbf16> -> tensor<128x64xf32>
    ```

    Constraints:
    - (C1) operands and result are static matrices.
    - (C2) `lhs` and `rhs` have one element type.
    - (C3) the contracted sizes agree: columns of `lhs` with rows of `rhs`, with `transpose_b` with its columns.
    - (C4) the result has the rows of `lhs`, the remaining size of `rhs`, and element type f32.
  }];
  let arguments = (ins SparseAttn_Float:$lhs, SparseAttn_Float:$rhs, Optional<SparseAttn_F32>:$acc,
    UnitAttr:$transpose_b);
  let results = (outs SparseAttn_Float:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs (`acc` `(` $acc^ `)`)? (`transpose_b` $transpose_b^)? attr-dict
    `:` type($lhs) `,` type($rhs) `->` type($result)
  }];
  let hasVerifier = 1;
}

def SparseAttn_TileReduceOp : SparseAttn_TileOp<"tile_reduce"> {
  let summary = "one value for each row of a tile";
  let description = [{
    The maximum (-inf for none; NaN may be dropped) or the sum of the columns.

    ```mlir
    %m = sparseattn.tile_reduce max %s : tensor<128x176xf32> -> tensor<128xf32>
    ```

    Constraints:
    - (C1) the operand is a static matrix.
    - (C2) the result is the f32 vector of its rows.
  }];
  let arguments = (ins SparseAttn_TileReductionAttr:$reduction, SparseAttn_F32:$tile);
  let results = (outs SparseAttn_F32:$rows);
  let assemblyFormat = "$reduction $tile attr-dict `:` type($tile) `->` type($rows)";
  let hasVerifier = 1;
}

def SparseAttn_TileBroadcastOp : SparseAttn_TileOp<"tile_broadcast"> {
  let summary = "a row vector in every column";
  let description = [{
    ```mlir
    %x = sparseattn.tile_broadcast %m : tensor<128xf32> -> tensor<128x176xf32>
    ```

    Constraints:
    - (C1) the result is a static f32 matrix.
    - (C2) the operand is the vector of its rows.
  }];
  let arguments = (ins SparseAttn_F32:$rows);
  let results = (outs SparseAttn_F32:$tile);
  let assemblyFormat = "$rows attr-dict `:` type($rows) `->` type($tile)";
  let hasVerifier = 1;
}

def SparseAttn_TileMaskOp : SparseAttn_TileOp<"tile_mask", [
    AllTypesMatch<["tile", "result"]>,
    OptionalTypesMatchWith<"begin has one index for each row of the tile", "tile", "begin",
                           "::sparseattn::getIndexRowsType($_self)">,
    TypesMatchWith<"end has one index for each row of the tile", "tile", "end",
                   "::sparseattn::getIndexRowsType($_self)">,
    AttrSizedOperandSegments]> {
  let summary = "scores of keys outside a row's range become -inf";
  let description = [{
    Column `c` stands for key `column + c`. Element `(r, c)` is kept when
    `begin[r] <= column + c < end[r]`, and -inf otherwise. A pattern without a
    lower bound has no `begin`.

    `full` are keys that every row of the tile sees: within them the operation
    keeps everything. It is a promise that `sparseattn-split-masked-blocks`
    uses, and drops from the masks that remain.

    ```mlir
    %y = sparseattn.tile_mask %x begin(%b) end(%e) at(%key) full(%from, %to) : tensor<128x176xf32>
    ```

    *Preconditions.* `full_begin` and `full_end` are not negative. For the rows
    that matter (those that exist), `begin[r] <= full_begin` and
    `full_end <= end[r]` unless `full_begin >= full_end`.

    Constraints:
    - (C1) the tile is a static matrix.
    - (C2) `full_begin` and `full_end` come together.
  }];
  let arguments = (ins SparseAttn_F32:$tile, Optional<SparseAttn_IndexRows>:$begin, SparseAttn_IndexRows:$end,
    Index:$column, Optional<Index>:$full_begin, Optional<Index>:$full_end);
  let results = (outs SparseAttn_F32:$result);
  let assemblyFormat = [{
    $tile (`begin` `(` $begin^ `)`)? `end` `(` $end `)` `at` `(` $column `)`
    (`full` `(` $full_begin^ `,` $full_end `)`)? attr-dict `:` type($tile)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// One query tile against one KV head
//===----------------------------------------------------------------------===//

def SparseAttn_StreamingAttentionOp : SparseAttn_TileOp<"streaming_attention", [
    AttrSizedOperandSegments,
    OptionalTypesMatchWith<"range_begin has one index for each row of the query", "query", "range_begin",
                           "::sparseattn::getIndexRowsType($_self)">,
    OptionalTypesMatchWith<"range_end has one index for each row of the query", "query", "range_end",
                           "::sparseattn::getIndexRowsType($_self)">]> {
  let summary = "softmax attention of one query tile over one KV head";
  let description = [{
    What is inside the grid of an attention: `sparseattn-tile-to-grid` makes it,
    `sparseattn-tile-kv` expands it into a loop over key blocks of
    `schedule.key_tile` keys. `key` and `value` are whole tensors, of which head
    `kv_head` of batch entry `batch` is read.

    Row `r` of the query tile stands at position `position + r`; only the first
    `count >= 1` rows exist, the others yield anything. Results are f32: the
    rows of the output, and their natural-log sum of exponentials. Everything
    else is as in `attention`.

    What a run-time choice of keys needs:
    - `sequence(%origin, %length)`: the keys are rows `[origin, origin + length)`
      of the tensors (a packed document), and key and query positions count from
      `origin`. Without it they are `[0, Nk)`.
    - `range(%begin, %end)`: row `r` sees only keys in `[begin[r], end[r])`,
      beside what `keys` says.
    - `blocks(%list) of n`: only keys in blocks of `n` that the list names are
      seen; entries below 0 and past the last block are skipped, the others are
      distinct. `n` is a multiple of `schedule.key_tile`.

    ```mlir
    %out, %lse = sparseattn.streaming_attention %q, %key, %value at(%b, %h) position(%p) rows(%n)
        keys(#sparseattn.causal) scale 0.125 schedule <query_tile = 128, key_tile = 176>
      : tensor<128x64xbf16>, tensor<1x8x?x64xbf16>, tensor<1x8x?x64xbf16> -> tensor<128x64xf32>, tensor<128xf32>
    ```

    Constraints:
    - (C1) `query` is a static matrix of `schedule.query_tile` rows.
    - (C2) `key` and `value` have the rank of the layout.
    - (C3) query, key and value have one element type.
    - (C4) key and value have the same batch size, number of heads and length.
    - (C5) query and key have one feature size.
    - (C6) `out` is a static f32 matrix [query rows, features of value]; `lse` is the f32 vector of the query's rows.
    - (C7) `keys` fits the key's number of heads.
    - (C8) `scale` is finite.
    - (C9) `origin` and `length` come together, and so do `range_begin` and `range_end`.
    - (C10) `blocks` is a vector and comes with `block`, a positive multiple of `schedule.key_tile`.
  }];
  let arguments = (ins SparseAttn_Float:$query, SparseAttn_Float:$key, SparseAttn_Float:$value,
    Index:$batch, Index:$kv_head, Index:$position, Index:$count, Optional<F32>:$sink,
    Optional<Index>:$origin, Optional<Index>:$length,
    Optional<SparseAttn_IndexRows>:$range_begin, Optional<SparseAttn_IndexRows>:$range_end,
    Optional<SparseAttn_I32>:$blocks, OptionalAttr<SparseAttn_IntAttr>:$block,
    SparseAttn_KeyPatternParam:$keys, F64Attr:$scale,
    OptionalAttr<SparseAttn_ScoreModParam>:$score_mod, OptionalAttr<SparseAttn_NormalizerParam>:$normalizer,
    DefaultValuedAttr<SparseAttn_LayoutAttr, "::sparseattn::Layout::BHSD">:$layout,
    SparseAttn_ScheduleAttr:$schedule);
  let results = (outs SparseAttn_F32:$out, SparseAttn_F32:$lse);
  let assemblyFormat = [{
    $query `,` $key `,` $value `at` `(` $batch `,` $kv_head `)` `position` `(` $position `)` `rows` `(` $count `)`
    (`sink` `(` $sink^ `)`)? (`sequence` `(` $origin^ `,` $length `)`)?
    (`range` `(` $range_begin^ `,` $range_end `)`)? (`blocks` `(` $blocks^ `:` type($blocks) `)` `of` $block)? `keys` `(` $keys `)` `scale` $scale (`score` `(` $score_mod^ `)`)?
    (`normalizer` `(` $normalizer^ `)`)? (`layout` `(` $layout^ `)`)? `schedule` $schedule attr-dict
    `:` type($query) `,` type($key) `,` type($value) `->` type($out) `,` type($lse)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::sparseattn::NormalizerAttrInterface getNormalizerOrDefault();
  }];
}

#endif // SPARSEATTN_TILE_OPS_TD
