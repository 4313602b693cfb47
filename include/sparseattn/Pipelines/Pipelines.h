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

/// Options of the pipelines for Hopper GPUs.
struct HopperPipelineOptions : mlir::PassPipelineOptions<HopperPipelineOptions> {
  Option<std::string> format{*this, "format",
                             llvm::cl::desc("isa: PTX text, needs no CUDA toolkit; bin: machine code (cubin), "
                                            "assembled by the toolkit's ptxas"),
                             llvm::cl::init("isa")};
  Option<std::string> toolkit{*this, "toolkit", llvm::cl::desc("Folder of the CUDA toolkit, for format=bin"),
                              llvm::cl::init("")};
};

/// Level L2 to level L3: kernels (`gpu.func`) on warpgroups, channels and tiles
/// become `llvm.func`s on single values. Each `gpu.module` names its target,
/// `#nvvm.target<chip = "sm_90a", features = "+ptx88">`.
void buildWarpgroupsToNVVM(mlir::OpPassManager &manager);

/// Level L3 to a `gpu.binary` with PTX or machine code.
void buildNVVMToPTX(mlir::OpPassManager &manager, const HopperPipelineOptions &options);

/// Registers all pipelines under their command-line names.
void registerPipelines();

} // namespace sparseattn

#endif // SPARSEATTN_PIPELINES_PIPELINES_H
