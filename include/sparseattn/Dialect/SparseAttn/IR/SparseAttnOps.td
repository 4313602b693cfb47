//===- SparseAttnOps.td - every operation of the dialect ----*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_OPS_TD
#define SPARSEATTN_OPS_TD

include "sparseattn/Dialect/SparseAttn/IR/AttentionOps.td"
include "sparseattn/Dialect/SparseAttn/IR/SelectionOps.td"
include "sparseattn/Dialect/SparseAttn/IR/CombineOps.td"
include "sparseattn/Dialect/SparseAttn/IR/CacheOps.td"
include "sparseattn/Dialect/SparseAttn/IR/GlueOps.td"
include "sparseattn/Dialect/SparseAttn/IR/TileOps.td"

#endif // SPARSEATTN_OPS_TD
