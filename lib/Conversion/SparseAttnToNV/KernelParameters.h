//===- KernelParameters.h - arguments of a kernel, by what they mean -------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CONVERSION_SPARSEATTNTONV_KERNELPARAMETERS_H
#define SPARSEATTN_LIB_CONVERSION_SPARSEATTNTONV_KERNELPARAMETERS_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Builders.h"

namespace sparseattn {

/// The arguments that a kernel takes, made when they are first asked for. Each
/// says what the launcher has to pass: the tensor map of an operand, its
/// address, one of its sizes or strides, or a scalar. Operands are numbered:
/// arguments of the function, then its results.
class KernelParameters {
public:
  explicit KernelParameters(mlir::gpu::GPUFuncOp kernel) : kernel(kernel) {}

  /// Tensor map whose box holds `rows` positions of one head.
  mlir::Value getTensorMap(unsigned operand, int64_t rows);
  /// Address in global memory.
  mlir::Value getPointer(unsigned operand);
  /// Size of an axis, i32.
  mlir::Value getSize(unsigned operand, int64_t axis);
  /// Elements between neighbours along an axis, i64.
  mlir::Value getStride(unsigned operand, int64_t axis);
  /// An argument that is a number itself, i32 or f32.
  mlir::Value getScalar(unsigned operand, mlir::Type type);
  /// How many query heads blocks that run at once should share, i32: the
  /// launcher knows the sizes that decide it.
  mlir::Value getHeadGroup();

  /// How many query tiles there are for all blocks together, i32.
  mlir::Value getNumTiles();
  /// A number of the launch, i32, that no other launch which may run at once has.
  mlir::Value getTileCounter();

  /// Writes the list, in the order of the arguments, to the kernel.
  void attach();

private:
  mlir::Value get(llvm::StringRef kind, llvm::ArrayRef<std::pair<llvm::StringRef, int64_t>> numbers, mlir::Type type);

  mlir::gpu::GPUFuncOp kernel;
  llvm::SmallVector<std::pair<mlir::DictionaryAttr, mlir::Value>> entries;
};

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CONVERSION_SPARSEATTNTONV_KERNELPARAMETERS_H
