//===- ThreadOps.td - what one thread sees of a matrix product -*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_NV_THREAD_OPS_TD
#define SPARSEATTN_NV_THREAD_OPS_TD

include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVBase.td"

def SparseAttnNV_MmaChainOp : SparseAttnNV_Op<"mma_chain", [
    MemoryEffects<[MemRead, MemWrite]>, AttrSizedOperandSegments]> {
  let summary = "start a matrix product, registers of one thread";
  let description = [{
    What `dot` becomes in `sparseattn-nv-distribute-fragments`: `results` are
    the thread's N/2 values of the accumulator, `acc` its values before, and `a`
    is either `tile_a` or the registers `operands_a` (pairs of 16-bit elements).

    Constraints:
    - (C1) either `tile_a` or `operands_a`, the latter K/4 registers.
    - (C2) `acc` has no value or as many as there are results, N/2.
    - (C3) N is at most 256, K a multiple of 16.
  }];
  let arguments = (ins Optional<SparseAttnNV_TileType>:$tile_a, Variadic<I32>:$operands_a, SparseAttnNV_TileType:$b,
    Variadic<F32>:$acc, UnitAttr:$transpose_b);
  let results = (outs Variadic<F32>:$results);
  let assemblyFormat = [{
    (`tile` `(` $tile_a^ `:` qualified(type($tile_a)) `)`)? (`registers` `(` $operands_a^ `)`)? `,` $b
    (`transpose_b` $transpose_b^)? (`acc` `(` $acc^ `)`)? attr-dict `:` qualified(type($b)) `->` type($results)
  }];
  let hasVerifier = 1;
}

def SparseAttnNV_MmaWaitOp : SparseAttnNV_Op<"mma_wait", [
    MemoryEffects<[MemRead, MemWrite]>, AllTypesMatch<["pending", "results"]>]> {
  let summary = "wait for matrix products, registers of one thread";
  let description = [{
    What `wait` becomes in `sparseattn-nv-distribute-fragments`. The values go
    through the operation, so that no read of them moves above it.
  }];
  let arguments = (ins Variadic<F32>:$pending, I32Attr:$outstanding);
  let results = (outs Variadic<F32>:$results);
  let assemblyFormat = "$pending `outstanding` `(` $outstanding `)` attr-dict `:` type($pending)";
}

#endif // SPARSEATTN_NV_THREAD_OPS_TD
