//===- Pipelines.cpp - registration ----------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Pipelines/Pipelines.h"

#include "mlir/Pass/PassRegistry.h"

void sparseattn::registerPipelines() {
  mlir::PassPipelineRegistration<CpuPipelineOptions>(
      "sparseattn-to-cpu",
      "Lower sparseattn functions on tensors (L0) to the LLVM dialect for the CPU", buildCpuPipeline);
}
