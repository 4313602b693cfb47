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

#endif // SPARSEATTN_NV_PROGRAM_OPS_TD
