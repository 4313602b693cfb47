//===- ScalarInterpreter.cpp - the scalar program of a kernel --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "ScalarInterpreter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace sparseattn::nv;

/// Loops of a kernel that never ends must not stop the compiler.
static constexpr int64_t kMaxSteps = 1 << 15;

std::optional<int64_t> ScalarInterpreter::get(Value value) const {
  auto it = numbers.find(value);
  return it == numbers.end() ? std::nullopt : std::optional(it->second);
}

void ScalarInterpreter::set(Value value, std::optional<int64_t> number) {
  if (number)
    numbers[value] = *number;
  else
    numbers.erase(value);
}

void ScalarInterpreter::assign(ValueRange to, ValueRange from) {
  SmallVector<std::optional<int64_t>> values;
  for (Value value : from)
    values.push_back(get(value));
  for (auto [target, value] : llvm::zip(to, values))
    set(target, value);
}

LogicalResult ScalarInterpreter::run(Block &block, const Visitor &visit) {
  for (Operation &op : block)
    if (llvm::failed(runOp(op, visit)))
      return failure();
  return success();
}

static OpFoldResult foldOnce(Operation &op, ArrayRef<int64_t> numbers) {
  SmallVector<Attribute> operands;
  for (auto [operand, number] : llvm::zip(op.getOperands(), numbers)) {
    Type type = operand.getType();
    // Numbers are kept sign-extended; an i1 is 0 or -1 then.
    if (!type.isIntOrIndex())
      return nullptr;
    unsigned width = type.isIndex() ? IndexType::kInternalStorageBitWidth : type.getIntOrFloatBitWidth();
    operands.push_back(IntegerAttr::get(type, APInt(64, number, true).trunc(width)));
  }
  SmallVector<OpFoldResult> results;
  return succeeded(op.fold(operands, results)) && results.size() == 1 ? results.front() : nullptr;
}

OpFoldResult ConstantFolder::fold(Operation &op, ArrayRef<int64_t> operands) {
  if (operands.size() > kMostOperands)
    return foldOnce(op, operands);
  auto get = [&](size_t index) { return index < operands.size() ? operands[index] : 0; };
  auto [it, isNew] = known.try_emplace({&op, {get(0), get(1), get(2)}});
  if (isNew)
    it->second = foldOnce(op, operands);
  return it->second;
}

std::optional<int64_t> ScalarInterpreter::fold(Operation &op) {
  SmallVector<int64_t, 3> operands;
  for (Value operand : op.getOperands()) {
    std::optional<int64_t> number = get(operand);
    if (!number)
      return std::nullopt;
    operands.push_back(*number);
  }
  OpFoldResult result = folder->fold(op, operands);
  if (auto value = dyn_cast_if_present<Value>(result))
    return get(value);
  auto attr = dyn_cast_if_present<IntegerAttr>(dyn_cast_if_present<Attribute>(result));
  return attr ? std::optional(attr.getValue().getSExtValue()) : std::nullopt;
}

LogicalResult ScalarInterpreter::runOp(Operation &op, const Visitor &visit) {
  if (++steps > kMaxSteps)
    return fail(op);
  if (isa<scf::ForOp>(op))
    return runFor(op, visit);
  if (isa<scf::IfOp>(op))
    return runIf(op, visit);
  if (isa<scf::WhileOp>(op))
    return runWhile(op, visit);
  bool isScalar = op.getNumResults() == 1 && op.getResult(0).getType().isIntOrIndex();
  if (isScalar && isa_and_nonnull<arith::ArithDialect>(op.getDialect())) {
    set(op.getResult(0), fold(op));
    return success();
  }
  visit(&op);
  return success();
}

/// Control flow that nobody can follow is harmless when it holds nothing of interest.
LogicalResult ScalarInterpreter::skip(Operation &op) {
  WalkResult interesting = op.walk([&](Operation *nested) {
    return isInteresting(nested) ? WalkResult::interrupt() : WalkResult::advance();
  });
  if (interesting.wasInterrupted())
    return fail(op);
  for (Value result : op.getResults())
    numbers.erase(result);
  return success();
}

LogicalResult ScalarInterpreter::runFor(Operation &op, const Visitor &visit) {
  auto loop = cast<scf::ForOp>(op);
  std::optional<int64_t> begin = get(loop.getLowerBound()), end = get(loop.getUpperBound()),
                         step = get(loop.getStep());
  if (!begin || !end || !step || *step <= 0)
    return skip(op);
  assign(loop.getRegionIterArgs(), loop.getInitArgs());
  for (int64_t i = *begin; i < *end; i += *step) {
    numbers[loop.getInductionVar()] = i;
    if (++steps > kMaxSteps)
      return fail(op);
    if (llvm::failed(run(*loop.getBody(), visit)))
      return failure();
    assign(loop.getRegionIterArgs(), loop.getYieldedValues());
    // The next i would be past the end, or past the largest number.
    if (static_cast<uint64_t>(*step) >= static_cast<uint64_t>(*end) - static_cast<uint64_t>(i))
      break;
  }
  assign(loop.getResults(), loop.getRegionIterArgs());
  return success();
}

LogicalResult ScalarInterpreter::runIf(Operation &op, const Visitor &visit) {
  auto branch = cast<scf::IfOp>(op);
  std::optional<int64_t> condition = get(branch.getCondition());
  if (!condition)
    return skip(op);
  Region &region = *condition ? branch.getThenRegion() : branch.getElseRegion();
  if (region.empty())
    return success();
  if (llvm::failed(run(region.front(), visit)))
    return failure();
  assign(op.getResults(), region.front().getTerminator()->getOperands());
  return success();
}

LogicalResult ScalarInterpreter::runWhile(Operation &op, const Visitor &visit) {
  auto loop = cast<scf::WhileOp>(op);
  assign(loop.getBeforeArguments(), loop.getInits());
  while (true) {
    if (llvm::failed(run(*loop.getBeforeBody(), visit)))
      return failure();
    scf::ConditionOp condition = loop.getConditionOp();
    std::optional<int64_t> goesOn = get(condition.getCondition());
    if (!goesOn)
      return skip(op);
    if (!*goesOn) {
      assign(loop.getResults(), condition.getArgs());
      return success();
    }
    assign(loop.getAfterArguments(), condition.getArgs());
    if (llvm::failed(run(*loop.getAfterBody(), visit)))
      return failure();
    assign(loop.getBeforeArguments(), loop.getYieldOp().getOperands());
  }
}
