//===- FragmentOps.td - tiles in registers ------------------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_NV_FRAGMENT_OPS_TD
#define SPARSEATTN_NV_FRAGMENT_OPS_TD

include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVBase.td"

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

def SparseAttnNV_DotOp : SparseAttnNV_Op<"dot", [
    MemoryEffects<[MemRead, MemWrite]>, InferTypeOpAdaptor]> {
  let summary = "start a matrix product on the tensor cores";
  let description = [{
    `result = a b + acc` in f32 (without `acc`: `a b`), one group of
    asynchronous instructions: fence, K/16 of `wgmma.mma_async.m64nNk16`, commit.
    `a` is `64xK`, a shared tile or an `operand` tensor. `b` is a shared tile:
    `KxN`, or with `transpose_b` `NxK`. Whoever reads the result waits first.

    Constraints:
    - (C1) `a` is a tile of 64 rows or a tensor with encoding `operand`, and has the element type of `b`.
    - (C2) `a` and `b` have one inner size K, a multiple of 16.
    - (C3) N is a multiple of 8, at most 256.
    - (C4) `acc` is a tensor of the result's shape.
    - (C5) the result is used exactly once, by a `sparseattn_nv.wait` in the same block: it never crosses the back edge of a loop, and no accumulator stays unwaited.
  }];
  let arguments = (ins AnyTypeOf<[SparseAttnNV_TileType, SparseAttnNV_Operand]>:$a, SparseAttnNV_TileType:$b,
    Optional<SparseAttnNV_Acc>:$acc, UnitAttr:$transpose_b);
  let results = (outs SparseAttnNV_PendingType:$result);
  let assemblyFormat = [{
    $a `,` $b (`transpose_b` $transpose_b^)? (`acc` `(` $acc^ `:` type($acc) `)`)? attr-dict
    `:` qualified(type($a)) `,` qualified(type($b))
  }];
  let extraClassDeclaration = [{
    /// Columns of the result and the inner size.
    int64_t getN();
    int64_t getK();
  }];
  let hasVerifier = 1;
}

def SparseAttnNV_WaitOp : SparseAttnNV_Op<"wait", [
    MemoryEffects<[MemRead, MemWrite]>, InferTypeOpAdaptor]> {
  let summary = "wait for matrix products";
  let description = [{
    Waits until at most `outstanding` of the groups that the warpgroup started
    are still running, and returns the accumulators of `pending`, which are then
    complete.

    Constraints:
    - (C1) at least one operand.
    - (C2) every operand is the result of a `dot` after which at least `outstanding` others were started in the same block: else it may still be running.
    - (C3) `outstanding` in [0, 7].
  }];
  let arguments = (ins Variadic<SparseAttnNV_PendingType>:$pending, I32Attr:$outstanding);
  let results = (outs Variadic<SparseAttnNV_Acc>:$values);
  let assemblyFormat = "$pending `outstanding` `(` $outstanding `)` attr-dict `:` qualified(type($pending))";
  let hasVerifier = 1;
}

def SparseAttnNV_ToOperandOp : SparseAttnNV_Op<"to_operand", [Pure, InferTypeOpAdaptor]> {
  let summary = "an accumulator as left operand";
  let description = [{
    The registers of the accumulator, in the same order, are those of the
    operand: it costs nothing.

    Constraints:
    - (C1) `64xK` of bf16 or f16, K a multiple of 16.
  }];
  let arguments = (ins SparseAttnNV_Acc:$source);
  let results = (outs SparseAttnNV_Operand:$result);
  let assemblyFormat = "$source attr-dict `:` type($source)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

def SparseAttnNV_ReduceOp : SparseAttnNV_Op<"reduce", [Pure, InferTypeOpAdaptor]> {
  let summary = "maximum or sum of each row";
  let description = [{
    Without `partial` the result has encoding `row` (a shuffle over the 4 lanes
    that share a row). With `partial` it has `row_partial`: each lane keeps the
    sum of its own columns, and `combine` adds them up later.

    numerics: two chains in column order in each thread, added up, then the
    lanes of the row in a butterfly (lane xor 1, lane xor 2).

    Constraints:
    - (C1) elements are f32.
    - (C2) `partial` is for `add` only.
  }];
  let arguments = (ins SparseAttnNV_ReduceKindAttr:$kind, SparseAttnNV_Acc:$source, UnitAttr:$partial);
  let results = (outs AnyTypeOf<[SparseAttnNV_Row, SparseAttnNV_RowPartial]>:$result);
  let assemblyFormat = "$kind $source (`partial` $partial^)? attr-dict `:` type($source)";
  let hasVerifier = 1;
}

def SparseAttnNV_CombineOp : SparseAttnNV_Op<"combine", [Pure, InferTypeOpAdaptor]> {
  let summary = "the sum of each row from its summands";
  let description = [{
    Adds the summands of the 4 lanes that share a row: lane xor 1, then lane
    xor 2. The result has encoding `row`.
  }];
  let arguments = (ins SparseAttnNV_RowPartial:$source);
  let results = (outs SparseAttnNV_Row:$result);
  let assemblyFormat = "$source attr-dict `:` type($source)";
}

def SparseAttnNV_ScaleOp : SparseAttnNV_Op<"scale", [Pure, AllTypesMatch<["source", "result"]>]> {
  let summary = "sums of rows times a factor for each row";
  let description = [{
    Each summand times the factor of its row. A product of the two in `arith`
    would need one encoding for both.

    Constraints:
    - (C1) elements of the factor are f32.
  }];
  let arguments = (ins SparseAttnNV_RowPartial:$source, SparseAttnNV_Row:$factor);
  let results = (outs SparseAttnNV_RowPartial:$result);
  let assemblyFormat = "$source `,` $factor attr-dict `:` type($source) `,` type($factor)";
  let hasVerifier = 1;
}

def SparseAttnNV_RescaleOp : SparseAttnNV_Op<"rescale", [Pure, AllTypesMatch<["source", "result"]>]> {
  let summary = "rows times a factor that is mostly 1";
  let description = [{
    Element (r, c) is element (r, c) of the source times element r of the
    factor. A warp whose factors are all 1 skips the multiplications.

    Constraints:
    - (C1) elements are f32.
  }];
  let arguments = (ins SparseAttnNV_Acc:$source, SparseAttnNV_Row:$factor);
  let results = (outs SparseAttnNV_Acc:$result);
  let assemblyFormat = "$source `,` $factor attr-dict `:` type($source) `,` type($factor)";
  let hasVerifier = 1;
}

def SparseAttnNV_AnyAboveOp : SparseAttnNV_Op<"any_above", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "whether a lane of the warpgroup holds more than a limit";
  let description = [{
    True in all threads of the warpgroup when one of them holds a summand above
    `limit`, or one that is no number. They meet for it at a barrier of their own.
  }];
  let arguments = (ins SparseAttnNV_RowPartial:$source, F32Attr:$limit);
  let results = (outs I1:$result);
  let assemblyFormat = "$source `,` $limit attr-dict `:` type($source)";
}

def SparseAttnNV_BroadcastOp : SparseAttnNV_Op<"broadcast", [Pure]> {
  let summary = "the value of a row in all its columns";
  let description = [{
    Element (r, c) of the result is element r of the source. It costs nothing.

    Constraints:
    - (C1) one element type.
  }];
  let arguments = (ins SparseAttnNV_Row:$source);
  let results = (outs SparseAttnNV_Acc:$result);
  let assemblyFormat = "$source attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def SparseAttnNV_RowsOp : SparseAttnNV_Op<"rows", [Pure]> {
  let summary = "the number of each row";
  let description = [{
    0 … 63: rows of the warpgroup's own tile.

    Constraints:
    - (C1) elements are i32.
  }];
  let results = (outs SparseAttnNV_Row:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let builders = [OpBuilder<(ins)>];
  let hasVerifier = 1;
}

def SparseAttnNV_GatherRowsOp : SparseAttnNV_Op<"gather_rows", [
    MemoryEffects<[MemRead]>, AllTypesMatch<["index", "result"]>]> {
  let summary = "read one number per row from global memory";
  let description = [{
    Element r of the result is the number at `pointer + index[r] * stride` (in
    elements). The 4 lanes that share a row read the same one.

    Constraints:
    - (C1) elements are i32.
  }];
  let arguments = (ins SparseAttnNV_GlobalPointer:$pointer, SparseAttnNV_Row:$index, I64:$stride);
  let results = (outs SparseAttnNV_Row:$result);
  let assemblyFormat = [{
    $pointer `[` $index `]` `stride` `(` $stride `)` attr-dict `:` type($pointer) `,` type($index)
  }];
  let hasVerifier = 1;
}

def SparseAttnNV_MaskOp : SparseAttnNV_Op<"mask", [
    Pure, AttrSizedOperandSegments, AllTypesMatch<["source", "result"]>]> {
  let summary = "-inf outside a range of columns";
  let description = [{
    Element (r, c) stays iff `begin[r] <= column + c < end[r]`; others become
    -inf. Without `begin` or `end` there is no bound on that side.

    Constraints:
    - (C1) elements are f32, elements of the bounds i32.
    - (C2) there is at least one bound.
  }];
  let arguments = (ins SparseAttnNV_Acc:$source, I32:$column, Optional<SparseAttnNV_Row>:$begin,
    Optional<SparseAttnNV_Row>:$end);
  let results = (outs SparseAttnNV_Acc:$result);
  let assemblyFormat = [{
    $source `at` `(` $column `)` (`begin` `(` $begin^ `:` type($begin) `)`)? (`end` `(` $end^ `:` type($end) `)`)?
    attr-dict `:` type($source)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

def SparseAttnNV_StoreTileOp : SparseAttnNV_Op<"store_tile", [MemoryEffects<[MemWrite]>]> {
  let summary = "write a tile to global memory";
  let description = [{
    Row r goes to `pointer + r * row_stride` (in elements) for
    `r < valid_rows`, which may be 0 or negative. Lanes that share a row exchange
    their elements first, so that each writes 16 bytes at a time.

    With `staging` and `staging_columns`, which `sparseattn-nv-plan-smem` sets,
    each warp passes its 16 rows through shared memory from byte `staging` on,
    that many columns at a time, and its lanes write whole pieces of rows.

    *Preconditions.* `pointer` and rows are aligned to 16 bytes.

    Constraints:
    - (C1) elements are bf16 or f16, and the number of columns is a multiple of 32.
    - (C2) `staging` and `staging_columns` come together; `staging` is a multiple
      of 16, `staging_columns` a power of two from 32 to 256 that divides the
      number of columns.
  }];
  let arguments = (ins SparseAttnNV_Acc:$source, SparseAttnNV_GlobalPointer:$pointer, I64:$row_stride, I32:$valid_rows,
                       OptionalAttr<I32Attr>:$staging, OptionalAttr<I32Attr>:$staging_columns);
  let assemblyFormat = [{
    $source `,` $pointer `row_stride` `(` $row_stride `)` `rows` `(` $valid_rows `)`
    (`staging` `(` $staging^ `)`)? (`columns` `(` $staging_columns^ `)`)? attr-dict `:` type($source) `,` type($pointer)
  }];
  let hasVerifier = 1;
}

def SparseAttnNV_StoreRowsOp : SparseAttnNV_Op<"store_rows", [MemoryEffects<[MemWrite]>]> {
  let summary = "write one value per row to global memory";
  let description = [{
    The value of row r goes to `pointer + r * stride` (in elements) for
    `r < valid_rows`, which may be 0 or negative.

    Constraints:
    - (C1) elements are f32.
  }];
  let arguments = (ins SparseAttnNV_Row:$source, SparseAttnNV_GlobalPointer:$pointer, I64:$stride, I32:$valid_rows);
  let assemblyFormat = [{
    $source `,` $pointer `stride` `(` $stride `)` `rows` `(` $valid_rows `)` attr-dict
    `:` type($source) `,` type($pointer)
  }];
  let hasVerifier = 1;
}

#endif // SPARSEATTN_NV_FRAGMENT_OPS_TD
