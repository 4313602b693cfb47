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

namespace sparseattn::nv {

/// Global of a module: the dynamic shared memory of its kernels.
inline constexpr llvm::StringLiteral kSharedMemorySymbol = "dsmem";

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
