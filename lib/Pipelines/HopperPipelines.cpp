//===- HopperPipelines.cpp - warpgroups (L2) to PTX ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Conversion/Passes.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"
#include "sparseattn/Pipelines/Pipelines.h"

#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace sparseattn;

void sparseattn::buildWarpgroupsToNVVM(OpPassManager &manager) {
  manager.addPass(createSparseAttnNVPlanSmem());
  manager.addPass(createSparseAttnNVVerifyChannels());
  manager.addPass(createSparseAttnNVLowerChannels());
  manager.addPass(createSparseAttnNVVerifyBarriers());
  manager.addPass(createSparseAttnNVDistributeFragments());
  manager.addPass(createConvertSparseAttnNVToNVVM());
  manager.addPass(createSparseAttnNVFinalizeKernel());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void sparseattn::buildNVVMToPTX(OpPassManager &manager, const HopperPipelineOptions &options) {
  OpPassManager &kernels = manager.nest<gpu::GPUModuleOp>();
  kernels.addPass(createSCFToControlFlowPass());
  // Not convert-cf-to-llvm, which refuses to run inside a gpu.module.
  kernels.addPass(createConvertToLLVMPass());
  kernels.addPass(createConvertNVVMToLLVMPass());
  kernels.addPass(createReconcileUnrealizedCastsPass());
  GpuModuleToBinaryPassOptions binary;
  binary.compilationTarget = options.format;
  binary.toolkitPath = options.toolkit;
  manager.addPass(createGpuModuleToBinaryPass(binary));
  manager.addPass(createSparseAttnNVVerifyPTX());
}
