//===- Kernels.h - names that the passes of this level share ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_KERNELS_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_KERNELS_H

#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace sparseattn::nv {

/// Pointer to the dynamic shared memory of the kernels of a module: to its global `dsmem`, which is made if there is none.
mlir::Value buildSharedMemory(mlir::ImplicitLocOpBuilder &b, mlir::gpu::GPUModuleOp module);

/// Names of axes, in the attribute sparseattn_nv.operands, whose entries a kernel
/// walks through one by one: entries of a list of blocks, offsets of documents.
inline constexpr llvm::StringLiteral kListWidthAxis = "K";
inline constexpr llvm::StringLiteral kDocumentOffsetsAxis = "S1";

/// Applies `function` to every kernel below `root`, until it fails.
inline llvm::LogicalResult
forEachKernel(mlir::Operation *root, llvm::function_ref<llvm::LogicalResult(mlir::gpu::GPUFuncOp)> function) {
  return llvm::failure(root->walk([&](mlir::gpu::GPUFuncOp kernel) {
                             return kernel.isKernel() && failed(function(kernel)) ? mlir::WalkResult::interrupt()
                                                                                  : mlir::WalkResult::skip();
                           }).wasInterrupted());
}

/// The loop over the query tiles of a block, if `block` has one.
inline mlir::scf::ForOp findTileLoop(mlir::Block &block) {
  for (auto loop : block.getOps<mlir::scf::ForOp>())
    if (loop->hasAttr(kTilesAttr))
      return loop;
  return {};
}

} // namespace sparseattn::nv

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_KERNELS_H
