//===- Passes.h - passes on the sparseattn dialect -------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_SPARSEATTN_TRANSFORMS_PASSES_H
#define SPARSEATTN_DIALECT_SPARSEATTN_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace sparseattn {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"

} // namespace sparseattn

#endif // SPARSEATTN_DIALECT_SPARSEATTN_TRANSFORMS_PASSES_H
