//===- ProgramOps.td - a kernel before roles and channels ---*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_NV_PROGRAM_OPS_TD
#define SPARSEATTN_NV_PROGRAM_OPS_TD

include "mlir/Interfaces/SideEffectInterfaces.td"
include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVBase.td"

def SparseAttnNV_WarpgroupOp : SparseAttnNV_Op<"warpgroup", [Pure]> {
  let summary = "number of the consumer warpgroup";
  let description = [{
    0, 1, … in a kernel that is still the program of one consumer;
    `sparseattn-nv-specialize-warps` replaces it by the argument of the
    consumers' region.
  }];
  let results = (outs I32:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def SparseAttnNV_LoadOp : SparseAttnNV_Op<"load", [MemoryEffects<[MemRead, MemAlloc]>]> {
  let summary = "a tile of global memory in shared memory";
  let description = [{
    The box of `map` at `coordinates` (innermost first, as in `fill`), in no
    particular place of shared memory; all consumers see the same tile.
    `sparseattn-nv-insert-channels` gives it a channel.

    Constraints:
    - (C1) 3 to 5 coordinates.
  }];
  let arguments = (ins SparseAttnNV_TensorMapType:$map, Variadic<I32>:$coordinates);
  let results = (outs SparseAttnNV_TileType:$result);
  let assemblyFormat = "$map `[` $coordinates `]` attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def SparseAttnNV_NextTileOp : SparseAttnNV_Op<"next_tile", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "number of a query tile that no block works on yet";
  let description = [{
    Blocks begin with the tile of their own number, and ask for the others: the
    next in order, or a number of at least `tiles` when all are taken. A block
    asks once for each tile that it works on, and no more blocks than `tiles`
    are launched. `counter` numbers the launch among those that may run at once.
  }];
  let arguments = (ins I32:$counter, I32:$tiles);
  let results = (outs I32:$tile);
  let assemblyFormat = "$counter `of` $tiles attr-dict `:` type($tile)";
}

#endif // SPARSEATTN_NV_PROGRAM_OPS_TD
