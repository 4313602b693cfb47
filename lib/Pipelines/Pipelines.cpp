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
  mlir::PassPipelineRegistration<>("sparseattn-tiles-to-warpgroups",
                                   "Lower loops over tiles (L1) to kernels of warpgroups (L2)", buildTilesToWarpgroups);
  mlir::PassPipelineRegistration<ToNVVMPipelineOptions>(
      "sparseattn-to-nvvm", "Lower attention on tensors (L0) to kernels of single threads (L3) for Hopper",
      [](mlir::OpPassManager &manager, const ToNVVMPipelineOptions &options) {
        buildToNVVM(manager, options.expectedKeys, options.scheduleTable.getValue());
      });
  mlir::PassPipelineRegistration<ToPTXPipelineOptions>(
      "sparseattn-to-ptx", "Lower attention on tensors (L0) to PTX or machine code for Hopper",
      [](mlir::OpPassManager &manager, const ToPTXPipelineOptions &options) {
        buildToNVVM(manager, options.expectedKeys, options.scheduleTable.getValue());
        buildNVVMToPTX(manager, options);
      });
  mlir::PassPipelineRegistration<HopperPipelineOptions>(
      "sparseattn-warpgroups-to-nvvm", "Lower kernels of warpgroups (L2) to operations of single threads (L3)",
      [](mlir::OpPassManager &manager, const HopperPipelineOptions &) { buildWarpgroupsToNVVM(manager); });
  mlir::PassPipelineRegistration<HopperPipelineOptions>(
      "sparseattn-nvvm-to-ptx", "Lower kernels of single threads (L3) to PTX or machine code in a gpu.binary",
      buildNVVMToPTX);
  mlir::PassPipelineRegistration<GraphToTilesPipelineOptions>(
      "sparseattn-graph-to-tiles", "Lower attention on tensors (L0) to loops over tiles (L1)", buildGraphToTilesPipeline);
  mlir::PassPipelineRegistration<TilesToCpuPipelineOptions>(
      "sparseattn-tiles-to-cpu",
      "Lower sparseattn functions on tensors (L0) through tiles (L1) to the LLVM dialect for the CPU",
      buildTilesToCpuPipeline);
}
