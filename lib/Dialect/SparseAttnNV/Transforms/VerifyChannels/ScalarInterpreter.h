//===- ScalarInterpreter.h - the scalar program of a kernel ----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_SCALARINTERPRETER_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_SCALARINTERPRETER_H

#include "mlir/IR/Block.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"
#include <functional>
#include <optional>

namespace sparseattn::nv {

/// Runs integer arithmetic, `scf.for`, `scf.while` and `scf.if` on concrete integers. Values of other types, and
/// integers from elsewhere (loads), are unknown.
class ScalarInterpreter {
public:
  /// Called for every operation that the interpreter does not run itself.
  using Visitor = std::function<void(mlir::Operation *)>;

  /// `isInteresting` tells operations that no run may miss: control flow over unknown numbers is skipped when it holds
  /// none of them.
  explicit ScalarInterpreter(std::function<bool(mlir::Operation *)> isInteresting)
      : isInteresting(std::move(isInteresting)) {}

  /// Nothing: it is not known.
  void set(mlir::Value value, std::optional<int64_t> number);
  std::optional<int64_t> get(mlir::Value value) const;

  /// Runs the operations of a block. Fails at control flow over unknown numbers that decides what `visit` sees, or
  /// after too many steps; then `getFailure()` is the operation.
  llvm::LogicalResult run(mlir::Block &block, const Visitor &visit);
  mlir::Operation *getFailure() const { return failed; }

private:
  llvm::LogicalResult runOp(mlir::Operation &op, const Visitor &visit);
  llvm::LogicalResult runFor(mlir::Operation &op, const Visitor &visit);
  llvm::LogicalResult runIf(mlir::Operation &op, const Visitor &visit);
  llvm::LogicalResult runWhile(mlir::Operation &op, const Visitor &visit);
  llvm::LogicalResult skip(mlir::Operation &op);
  /// Numbers of `from` become those of `to`, at once.
  void assign(mlir::ValueRange to, mlir::ValueRange from);
  llvm::LogicalResult fail(mlir::Operation &op) {
    failed = &op;
    return llvm::failure();
  }

  std::function<bool(mlir::Operation *)> isInteresting;
  llvm::DenseMap<mlir::Value, int64_t> numbers;
  mlir::Operation *failed = nullptr;
  int64_t steps = 0;
};

} // namespace sparseattn::nv

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_SCALARINTERPRETER_H
