//===- CpuPipeline.cpp - L0 to the LLVM dialect ----------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Conversion/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Pipelines/Pipelines.h"

#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/BufferizationToMemRef/BufferizationToMemRef.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/OpenMPToLLVM/ConvertOpenMPToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/SCFToOpenMP/SCFToOpenMP.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Conversion/VectorToSCF/VectorToSCF.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/Transforms/RequestCWrappers.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace sparseattn;

/// Tensors to buffers: identity layouts at function boundaries, so that callers
/// pass plain row-major arrays.
static void addBufferization(OpPassManager &manager) {
  bufferization::OneShotBufferizePassOptions options;
  options.bufferizeFunctionBoundaries = true;
  // A loop over decode steps carries a new cache each time.
  options.allowReturnAllocsFromLoops = true;
  options.functionBoundaryTypeConversion = bufferization::LayoutMapOption::IdentityLayoutMap;
  options.unknownTypeConversion = bufferization::LayoutMapOption::IdentityLayoutMap;
  manager.addPass(bufferization::createOneShotBufferizePass(options));
  manager.addPass(createCanonicalizerPass());
  bufferization::buildBufferDeallocationPipeline(manager, {});
  manager.addPass(createConvertBufferizationToMemRefPass());
}

/// Operators on tensors that have no form in tiles, or none yet, to the LLVM
/// dialect, with whatever upstream operations on tensors stand beside them.
static void addCpuTail(OpPassManager &manager, bool parallel) {
  // Operators -> loops over buffers.
  manager.addPass(createConvertSparseAttnCacheToTensor());
  manager.addPass(createConvertSparseAttnToSCF());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  addBufferization(manager);

  // What is left of structured ops and of grids.
  manager.addNestedPass<func::FuncOp>(createForallToParallelLoopPass());
  manager.addPass(createConvertStridedCopyToLinalg());
  manager.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  manager.addNestedPass<func::FuncOp>(LLVM::createLLVMRequestCWrappersPass());
  manager.addPass(memref::createExpandStridedMetadataPass());
  manager.addPass(createLowerAffinePass());

  // bf16 conversions in integer arithmetic: the run-time library of older
  // compilers has no routine for them.
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  manager.addPass(arith::createArithExpandOpsPass(expand));

  if (parallel)
    manager.addPass(createConvertSCFToOpenMPPass());
  else
    manager.addPass(createScopeScratch());
  manager.addPass(createConvertVectorToSCFPass());
  manager.addPass(createConvertVectorToLLVMPass());
  // Before control flow is unstructured: a memref.alloca_scope holds one block.
  manager.addPass(createFinalizeMemRefToLLVMConversionPass());
  manager.addPass(createSCFToControlFlowPass());
  manager.addPass(createConvertMathToLLVMPass());
  manager.addPass(createConvertMathToLibmPass());
  manager.addPass(createConvertOpenMPToLLVMPass());
  manager.addPass(createArithToLLVMConversionPass());
  manager.addPass(createConvertIndexToLLVMPass());
  manager.addPass(createConvertControlFlowToLLVMPass());
  manager.addPass(createConvertFuncToLLVMPass());
  manager.addPass(createReconcileUnrealizedCastsPass());
}

void sparseattn::buildCpuPipeline(OpPassManager &manager, const CpuPipelineOptions &options) {
  manager.addPass(createSparseAttnDecompose());
  addCpuTail(manager, options.parallel);
}

void sparseattn::buildTilesToCpuPipeline(OpPassManager &manager, const TilesToCpuPipelineOptions &options) {
  GraphToTilesPipelineOptions tiles;
  tiles.queryTile = options.queryTile;
  tiles.keyTile = options.keyTile;
  buildGraphToTilesPipeline(manager, tiles);
  manager.addPass(createConvertSparseAttnTilesToLinalg());
  manager.addPass(createConvertElementwiseToLinalgPass());
  addCpuTail(manager, options.parallel);
}
