//===- Passes.h - passes on the sparseattn_nv dialect ----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_SPARSEATTNNV_TRANSFORMS_PASSES_H
#define SPARSEATTN_DIALECT_SPARSEATTNNV_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace sparseattn {

#define GEN_PASS_DECL
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"

} // namespace sparseattn

#endif // SPARSEATTN_DIALECT_SPARSEATTNNV_TRANSFORMS_PASSES_H
