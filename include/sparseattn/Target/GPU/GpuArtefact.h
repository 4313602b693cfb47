//===- GpuArtefact.h - kernels as files ------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TARGET_GPU_GPUARTEFACT_H
#define SPARSEATTN_TARGET_GPU_GPUARTEFACT_H

#include "sparseattn/Target/GPU/KernelManifest.h"

#include "mlir/IR/BuiltinOps.h"
#include <string>
#include <vector>

namespace sparseattn {

struct GpuArtefactOptions {
  /// ptxas, to add a cubin to each PTX; empty: PTX only, which the driver
  /// assembles when it is loaded.
  std::string ptxas;
};

/// manifest.json, and for each kernel PTX and, with ptxas, a cubin. `module`
/// holds `gpu.module`s with lowered kernels (level L3, what
/// sparseattn-warpgroups-to-nvvm leaves) and is changed. What ptxas says
/// of serialised matrix products (C75xx) or spilled registers is an error.
llvm::FailureOr<std::vector<ArtefactFile>> makeGpuArtefact(mlir::ModuleOp module, const GpuArtefactOptions &options);

} // namespace sparseattn

#endif // SPARSEATTN_TARGET_GPU_GPUARTEFACT_H
