//===- Passes.h - conversions between levels -------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_CONVERSION_PASSES_H
#define SPARSEATTN_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

namespace sparseattn {

#define GEN_PASS_DECL
#include "sparseattn/Conversion/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "sparseattn/Conversion/Passes.h.inc"

} // namespace sparseattn

#endif // SPARSEATTN_CONVERSION_PASSES_H
