//===- Pipelines.h - registered pass pipelines -----------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_PIPELINES_PIPELINES_H
#define SPARSEATTN_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassOptions.h"

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace sparseattn {

/// Options of `sparseattn-to-cpu`.
struct CpuPipelineOptions : mlir::PassPipelineOptions<CpuPipelineOptions> {
  Option<bool> parallel{*this, "parallel",
                        llvm::cl::desc("Run independent iterations on OpenMP threads"),
                        llvm::cl::init(true)};
};

/// Level L0 to the LLVM dialect: a module of functions on tensors becomes one
/// of functions on memref descriptors, each with a C interface
/// (`_mlir_ciface_<name>`) whose results are new buffers, owned by the caller.
void buildCpuPipeline(mlir::OpPassManager &manager, const CpuPipelineOptions &options);

/// Registers all pipelines under their command-line names.
void registerPipelines();

} // namespace sparseattn

#endif // SPARSEATTN_PIPELINES_PIPELINES_H
