//===- RunningMaximum.h - the maximum of each row that a loop carries ------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_RUNNINGMAXIMUM_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_RUNNINGMAXIMUM_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace sparseattn::nv {

/// m' = max(m, x) and exp2((m - g) * c), where g is m' guarded against -inf.
struct RunningMaximum {
  mlir::arith::MaxNumFOp maximum;
  mlir::math::Exp2Op factor;
  double scale = 1;
};

/// `value` is `maximum`, or a selection between it and something else.
bool isGuarded(mlir::Value value, mlir::Value maximum);

/// The running maximum that a loop carries as its iterated value `index`.
std::optional<RunningMaximum> matchRunningMaximum(mlir::scf::ForOp loop, unsigned index);

} // namespace sparseattn::nv

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_RUNNINGMAXIMUM_H
