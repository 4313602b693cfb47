//===- OperandDescriptions.h - what the tensors of a kernel are ------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CONVERSION_SPARSEATTNTONV_OPERANDDESCRIPTIONS_H
#define SPARSEATTN_LIB_CONVERSION_SPARSEATTNTONV_OPERANDDESCRIPTIONS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace sparseattn {

/// Sets the attribute sparseattn_nv.operands of `kernel`, which `grid` in
/// `function` becomes: for each argument, then each result, its name, role, type
/// and the meaning of each axis. Sizes with one name are equal.
void describeOperands(mlir::func::FuncOp function, mlir::scf::ForallOp grid, mlir::gpu::GPUFuncOp kernel);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CONVERSION_SPARSEATTNTONV_OPERANDDESCRIPTIONS_H
