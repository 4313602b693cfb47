//===- HopperPipelines.cpp - warpgroups (L2) to PTX ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Conversion/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"
#include "sparseattn/Pipelines/Pipelines.h"
#include "sparseattn/Target/HopperTarget.h"

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

void sparseattn::buildTilesToWarpgroups(OpPassManager &manager) {
  manager.addPass(createConvertSparseAttnToNV());
  manager.addPass(createCSEPass());
  manager.addPass(createSparseAttnNVFoldScales());
  manager.addPass(createSparseAttnNVDeferRowSums());
  manager.addPass(createSparseAttnNVReuseMaximum());
  manager.addPass(createSparseAttnNVLazyRescale());
  manager.addPass(createSparseAttnNVInsertChannels());
  manager.addPass(createSparseAttnNVSpecializeWarps());
  manager.addPass(createSparseAttnNVSkipMaskedBlocks());
  manager.addPass(createSparseAttnNVOverlapSoftmax());
  manager.addPass(createSparseAttnNVPingPong());
  manager.addPass(createSparseAttnNVBalanceTiles());
  manager.addPass(createSparseAttnNVPostQuotients());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

void sparseattn::buildToNVVM(OpPassManager &manager, int64_t expectedKeys, StringRef scheduleTable) {
  manager.addPass(createSparseAttnDecompose());
  SparseAttnSelectScheduleOptions schedule;
  schedule.expectedKeys = expectedKeys;
  schedule.table = scheduleTable.str();
  manager.addPass(createSparseAttnSelectSchedule(schedule));
  // For what has no schedule in the table: tiles of a shape that warpgroups have.
  addTilePasses(manager, /*queryTile=*/2 * hopper::kMmaRows, /*keyTile=*/hopper::kMmaRows);
  manager.addPass(createSparseAttnCheckTiles());
  // No canonicalisation before channels: it would unroll a loop over one masked
  // block, whose iterations number the items of a channel.
  manager.addPass(createCSEPass());
  buildTilesToWarpgroups(manager);
  buildWarpgroupsToNVVM(manager);
}

void sparseattn::buildWarpgroupsToNVVM(OpPassManager &manager) {
  manager.addPass(createSparseAttnNVPlanSmem());
  manager.addPass(createSparseAttnNVVerifyChannels());
  manager.addPass(createSparseAttnNVLowerChannels());
  manager.addPass(createSparseAttnNVVerifyBarriers());
  manager.addPass(createSparseAttnNVDistributeFragments());
  manager.addPass(createConvertSparseAttnNVToNVVM());
  manager.addPass(createSparseAttnNVFinalizeKernel());
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
