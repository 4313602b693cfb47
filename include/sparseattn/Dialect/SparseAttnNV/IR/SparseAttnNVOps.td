//===- SparseAttnNVOps.td - every operation of the dialect --*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_NV_OPS_TD
#define SPARSEATTN_NV_OPS_TD

include "sparseattn/Dialect/SparseAttnNV/IR/ChannelOps.td"
include "sparseattn/Dialect/SparseAttnNV/IR/FragmentOps.td"
include "sparseattn/Dialect/SparseAttnNV/IR/ProgramOps.td"
include "sparseattn/Dialect/SparseAttnNV/IR/ThreadOps.td"

#endif // SPARSEATTN_NV_OPS_TD
