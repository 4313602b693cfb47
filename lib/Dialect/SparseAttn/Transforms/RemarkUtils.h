//===- RemarkUtils.h - what a pass could not do, and why -------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_REMARKUTILS_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_REMARKUTILS_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/Twine.h"

namespace sparseattn {

/// A missed remark at `op`: pass `category` did not do `name` for `reason`;
/// `suggestion` says what the user can change.
void emitMissed(mlir::Operation *op, llvm::StringRef category, llvm::StringRef name, const llvm::Twine &reason,
                const llvm::Twine &suggestion);

/// A passed remark at `op`: pass `category` chose `name` for `reason`.
void emitPassed(mlir::Operation *op, llvm::StringRef category, llvm::StringRef name, const llvm::Twine &reason);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_REMARKUTILS_H
