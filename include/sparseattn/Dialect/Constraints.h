//===- Constraints.h - errors that cite a numbered constraint --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_CONSTRAINTS_H
#define SPARSEATTN_DIALECT_CONSTRAINTS_H

#include "mlir/IR/Operation.h"

namespace sparseattn {

/// Starts the error of constraint `C<number>` in the description of `op`.
inline mlir::InFlightDiagnostic emitConstraint(mlir::Operation *op, unsigned number) {
  return op->emitOpError() << "(C" << number << ") ";
}

} // namespace sparseattn

#endif // SPARSEATTN_DIALECT_CONSTRAINTS_H
