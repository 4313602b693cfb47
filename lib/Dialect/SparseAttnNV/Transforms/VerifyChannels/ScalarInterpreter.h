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
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

namespace sparseattn::nv {

/// What a kernel does with integers, read once and then run for many launches: its values have consecutive numbers, its
/// constants are known, and operations that nobody looks at are passed over. Constant folding of an operation is its
/// semantics here: there is no second definition of arithmetic. Remembers what it folded, for a kernel computes the
/// same numbers in many of its launches.
///
/// Knows values of integer, index and pointer types, and no others. The kernel must not change meanwhile.
class ScalarProgram {
public:
  /// `isInteresting` tells operations that no run may miss: control flow over unknown numbers is skipped when it holds
  /// none of them.
  ScalarProgram(mlir::Operation *kernel, llvm::function_ref<bool(mlir::Operation *)> isInteresting);
  ~ScalarProgram();

private:
  friend class ScalarInterpreter;
  struct Step;
  struct Flow;
  using Code = std::vector<Step>;
  using Numbers = std::vector<std::optional<int64_t>>;
  /// Places of values, from and to.
  using Copies = std::vector<std::pair<unsigned, unsigned>>;

  Code read(mlir::Block &block);
  void readFlow(Step &step);
  Copies pair(mlir::ValueRange from, mlir::ValueRange to) const;

  /// Of the values that can have a number.
  llvm::DenseMap<mlir::Value, unsigned> places;
  /// Blocks that are not in control flow.
  llvm::DenseMap<mlir::Block *, Code> codes;
  /// Control flow that holds something interesting.
  llvm::DenseSet<mlir::Operation *> interesting;
  /// The constants, before anything ran.
  Numbers initial;
};

/// Runs integer arithmetic, `scf.for`, `scf.while` and `scf.if` on concrete integers. Values of other types, and
/// integers from elsewhere (loads), are unknown.
class ScalarInterpreter {
public:
  /// Called for every operation that the interpreter does not run itself. False: this one is nothing to it, whatever
  /// the numbers are, and it need not be called again.
  using Visitor = llvm::function_ref<bool(mlir::Operation *)>;

  /// `program` must live longer.
  explicit ScalarInterpreter(ScalarProgram &program) : program(&program), numbers(program.initial) {}

  /// Nothing: it is not known.
  void set(mlir::Value value, std::optional<int64_t> number);
  std::optional<int64_t> get(mlir::Value value) const;

  /// Runs the operations of a block. Fails at control flow over unknown numbers that decides what `visit` sees, or
  /// after too many steps; then `getFailure()` is the operation.
  llvm::LogicalResult run(mlir::Block &block, Visitor visit);
  mlir::Operation *getFailure() const { return failed; }

private:
  using Step = ScalarProgram::Step;

  std::optional<int64_t> fold(Step &step);
  llvm::LogicalResult run(ScalarProgram::Code &code, Visitor visit);
  llvm::LogicalResult run(Step &step, Visitor visit);
  llvm::LogicalResult runFor(Step &step, Visitor visit);
  llvm::LogicalResult runIf(Step &step, Visitor visit);
  llvm::LogicalResult runWhile(Step &step, Visitor visit);
  llvm::LogicalResult skip(const Step &step);
  /// All at once.
  void assign(const ScalarProgram::Copies &copies);
  llvm::LogicalResult fail(mlir::Operation *op) {
    failed = op;
    return llvm::failure();
  }

  ScalarProgram *program;
  ScalarProgram::Numbers numbers;
  mlir::Operation *failed = nullptr;
  int64_t steps = 0;
};

} // namespace sparseattn::nv

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_SCALARINTERPRETER_H
