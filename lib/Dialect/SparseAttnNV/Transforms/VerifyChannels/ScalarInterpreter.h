//===- ScalarInterpreter.h - the scalar program of a kernel ----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_SCALARINTERPRETER_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_SCALARINTERPRETER_H

#include "mlir/IR/Block.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"
#include <functional>
#include <optional>
#include <tuple>

namespace sparseattn::nv {

/// Folds scalar operations of constants. Constant folding of an operation is its semantics here: there is no second
/// definition of arithmetic. Remembers what it folded, for a kernel computes the same numbers in many of its launches.
class ConstantFolder {
public:
  /// The result of `op`, which has one: a number, or the value whose number it is; null when it cannot be folded.
  /// Expects a number for each operand.
  mlir::OpFoldResult fold(mlir::Operation &op, llvm::ArrayRef<int64_t> operands);

private:
  static constexpr size_t kMostOperands = 3;
  using Key = std::pair<mlir::Operation *, std::tuple<int64_t, int64_t, int64_t>>;
  llvm::DenseMap<Key, mlir::OpFoldResult> known;
};

/// Runs integer arithmetic, `scf.for`, `scf.while` and `scf.if` on concrete integers. Values of other types, and
/// integers from elsewhere (loads), are unknown.
class ScalarInterpreter {
public:
  /// Called for every operation that the interpreter does not run itself.
  using Visitor = std::function<void(mlir::Operation *)>;

  /// `isInteresting` tells operations that no run may miss: control flow over unknown numbers is skipped when it holds
  /// none of them.
  /// `folder` must live longer.
  ScalarInterpreter(ConstantFolder &folder, std::function<bool(mlir::Operation *)> isInteresting)
      : folder(&folder), isInteresting(std::move(isInteresting)) {}

  /// Nothing: it is not known.
  void set(mlir::Value value, std::optional<int64_t> number);
  std::optional<int64_t> get(mlir::Value value) const;

  /// Runs the operations of a block. Fails at control flow over unknown numbers that decides what `visit` sees, or
  /// after too many steps; then `getFailure()` is the operation.
  llvm::LogicalResult run(mlir::Block &block, const Visitor &visit);
  mlir::Operation *getFailure() const { return failed; }

private:
  std::optional<int64_t> fold(mlir::Operation &op);
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

  ConstantFolder *folder;
  std::function<bool(mlir::Operation *)> isInteresting;
  llvm::DenseMap<mlir::Value, int64_t> numbers;
  mlir::Operation *failed = nullptr;
  int64_t steps = 0;
};

} // namespace sparseattn::nv

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_SCALARINTERPRETER_H
