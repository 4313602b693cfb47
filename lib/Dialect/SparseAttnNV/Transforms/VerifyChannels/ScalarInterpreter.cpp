//===- ScalarInterpreter.cpp - the scalar program of a kernel --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "ScalarInterpreter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMTypes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include <array>

using namespace mlir;
using namespace sparseattn::nv;

/// Loops of a kernel that never ends must not stop the compiler.
static constexpr int64_t kMaxSteps = 1 << 15;

/// Control flow: the code of its regions, and which values become which at their ends.
struct ScalarProgram::Flow {
  Code first, second;
  Copies enter, firstEnd, secondEnd, results;
};

struct ScalarProgram::Step {
  enum class Kind { Fold, For, If, While, Visit, Ignored };
  /// Memory of at most this many operands.
  static constexpr size_t kMostOperands = 3;
  /// A number, or the place of a value that has it; neither when the operation cannot be folded.
  struct Folded {
    std::optional<int64_t> number;
    std::optional<unsigned> place;
  };

  Kind kind;
  Operation *op;
  /// Of a loop: the induction variable.
  unsigned result = 0;
  /// Places of operands; of control flow, what decides about it: bounds and step, or the condition.
  llvm::SmallVector<unsigned, kMostOperands> operands;
  std::unique_ptr<Flow> flow;
  llvm::DenseMap<std::tuple<int64_t, int64_t, int64_t>, Folded> known;

  Step(Kind kind, Operation *op) : kind(kind), op(op) {}
};

static bool canHaveNumber(Type type) { return type.isIntOrIndex() || isa<LLVM::LLVMPointerType>(type); }

static bool isScalarArithmetic(Operation &op) {
  return op.getNumResults() == 1 && op.getResult(0).getType().isIntOrIndex() &&
         isa_and_nonnull<arith::ArithDialect>(op.getDialect());
}

ScalarProgram::ScalarProgram(Operation *kernel, function_ref<bool(Operation *)> isInteresting) {
  auto add = [&](Value value) {
    if (!canHaveNumber(value.getType()))
      return;
    places.try_emplace(value, initial.size());
    APInt constant;
    initial.push_back(matchPattern(value, m_ConstantInt(&constant)) ? std::optional(constant.getSExtValue())
                                                                   : std::nullopt);
  };
  kernel->walk<WalkOrder::PreOrder>([&](Operation *op) {
    llvm::for_each(op->getResults(), add);
    for (Region &region : op->getRegions())
      for (Block &block : region)
        llvm::for_each(block.getArguments(), add);
    if (!isInteresting(op))
      return;
    for (Operation *parent = op; parent != kernel && interesting.insert(parent).second;)
      parent = parent->getParentOp();
  });
}

ScalarProgram::~ScalarProgram() = default;

ScalarProgram::Copies ScalarProgram::pair(ValueRange from, ValueRange to) const {
  Copies copies;
  for (auto [source, target] : llvm::zip(from, to))
    if (canHaveNumber(target.getType()))
      copies.push_back({places.lookup(source), places.lookup(target)});
  return copies;
}

void ScalarProgram::readFlow(Step &step) {
  using Kind = Step::Kind;
  Operation *op = step.op;
  step.flow = std::make_unique<Flow>();
  Flow *flow = step.flow.get();
  if (auto loop = dyn_cast<scf::ForOp>(op)) {
    step.kind = Kind::For;
    step.result = places.lookup(loop.getInductionVar());
    for (Value bound : {loop.getLowerBound(), loop.getUpperBound(), loop.getStep()})
      step.operands.push_back(places.lookup(bound));
    flow->enter = pair(loop.getInitArgs(), loop.getRegionIterArgs());
    flow->first = read(*loop.getBody());
    flow->firstEnd = pair(loop.getYieldedValues(), loop.getRegionIterArgs());
    flow->results = pair(loop.getRegionIterArgs(), loop.getResults());
  } else if (auto branch = dyn_cast<scf::IfOp>(op)) {
    step.kind = Kind::If;
    step.operands.push_back(places.lookup(branch.getCondition()));
    flow->first = read(*branch.thenBlock());
    flow->firstEnd = pair(branch.thenYield().getOperands(), op->getResults());
    if (branch.elseBlock()) {
      flow->second = read(*branch.elseBlock());
      flow->secondEnd = pair(branch.elseYield().getOperands(), op->getResults());
    }
  } else {
    auto repeat = cast<scf::WhileOp>(op);
    scf::ConditionOp condition = repeat.getConditionOp();
    step.kind = Kind::While;
    step.operands.push_back(places.lookup(condition.getCondition()));
    flow->enter = pair(repeat.getInits(), repeat.getBeforeArguments());
    flow->first = read(*repeat.getBeforeBody());
    flow->firstEnd = pair(condition.getArgs(), repeat.getAfterArguments());
    flow->results = pair(condition.getArgs(), op->getResults());
    flow->second = read(*repeat.getAfterBody());
    flow->secondEnd = pair(repeat.getYieldOp().getOperands(), repeat.getBeforeArguments());
  }
}

ScalarProgram::Code ScalarProgram::read(Block &block) {
  using Kind = Step::Kind;
  Code code;
  for (Operation &op : block) {
    if (op.hasTrait<OpTrait::ConstantLike>() && isScalarArithmetic(op))
      continue;
    Step &step = code.emplace_back(isScalarArithmetic(op) ? Kind::Fold : Kind::Visit, &op);
    if (isa<scf::ForOp, scf::IfOp, scf::WhileOp>(op)) {
      readFlow(step);
    } else if (step.kind == Kind::Fold) {
      step.result = places.lookup(op.getResult(0));
      for (Value operand : op.getOperands()) {
        auto place = places.find(operand);
        // It never has a number then.
        if (place == places.end()) {
          code.pop_back();
          break;
        }
        step.operands.push_back(place->second);
      }
    }
  }
  return code;
}

std::optional<int64_t> ScalarInterpreter::get(Value value) const {
  auto place = program->places.find(value);
  return place == program->places.end() ? std::nullopt : numbers[place->second];
}

void ScalarInterpreter::set(Value value, std::optional<int64_t> number) {
  if (auto place = program->places.find(value); place != program->places.end())
    numbers[place->second] = number;
}

void ScalarInterpreter::assign(const ScalarProgram::Copies &copies) {
  SmallVector<std::optional<int64_t>, 16> values;
  for (auto [from, to] : copies)
    values.push_back(numbers[from]);
  for (auto [copy, value] : llvm::zip(copies, values))
    numbers[copy.second] = value;
}

LogicalResult ScalarInterpreter::run(Block &block, Visitor visit) {
  auto [code, isNew] = program->codes.try_emplace(&block);
  if (isNew)
    code->second = program->read(block);
  return run(code->second, visit);
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

std::optional<int64_t> ScalarInterpreter::fold(Step &step) {
  SmallVector<int64_t, Step::kMostOperands> operands;
  for (unsigned place : step.operands) {
    if (!numbers[place])
      return std::nullopt;
    operands.push_back(*numbers[place]);
  }
  auto compute = [&] {
    Step::Folded folded;
    OpFoldResult result = foldOnce(*step.op, operands);
    if (auto value = dyn_cast_if_present<Value>(result)) {
      if (auto place = program->places.find(value); place != program->places.end())
        folded.place = place->second;
    } else if (auto attr = dyn_cast_if_present<IntegerAttr>(dyn_cast_if_present<Attribute>(result))) {
      folded.number = attr.getValue().getSExtValue();
    }
    return folded;
  };
  auto read = [&](const Step::Folded &folded) { return folded.place ? numbers[*folded.place] : folded.number; };
  if (operands.size() > Step::kMostOperands)
    return read(compute());
  std::array<int64_t, Step::kMostOperands> key{};
  llvm::copy(operands, key.begin());
  auto [known, isNew] = step.known.try_emplace(std::tuple_cat(key));
  if (isNew)
    known->second = compute();
  return read(known->second);
}

LogicalResult ScalarInterpreter::run(Step &step, Visitor visit) {
  switch (step.kind) {
  case Step::Kind::For:
    return runFor(step, visit);
  case Step::Kind::If:
    return runIf(step, visit);
  case Step::Kind::While:
    return runWhile(step, visit);
  case Step::Kind::Fold:
    numbers[step.result] = fold(step);
    break;
  case Step::Kind::Visit:
    if (!visit(step.op))
      step.kind = Step::Kind::Ignored;
    break;
  case Step::Kind::Ignored:
    break;
  }
  return success();
}

LogicalResult ScalarInterpreter::run(ScalarProgram::Code &code, Visitor visit) {
  bool isIgnored = false;
  for (Step &step : code) {
    if (++steps > kMaxSteps)
      return fail(step.op);
    if (llvm::failed(run(step, visit)))
      return failure();
    isIgnored |= step.kind == Step::Kind::Ignored;
  }
  if (isIgnored)
    llvm::erase_if(code, [](const Step &step) { return step.kind == Step::Kind::Ignored; });
  return success();
}

/// Control flow that nobody can follow is harmless when it holds nothing of interest.
LogicalResult ScalarInterpreter::skip(const Step &step) {
  if (program->interesting.contains(step.op))
    return fail(step.op);
  for (Value result : step.op->getResults())
    set(result, std::nullopt);
  return success();
}

LogicalResult ScalarInterpreter::runFor(Step &step, Visitor visit) {
  std::optional<int64_t> begin = numbers[step.operands[0]], end = numbers[step.operands[1]],
                         stride = numbers[step.operands[2]];
  if (!begin || !end || !stride || *stride <= 0)
    return skip(step);
  assign(step.flow->enter);
  for (int64_t i = *begin; i < *end; i += *stride) {
    numbers[step.result] = i;
    if (++steps > kMaxSteps)
      return fail(step.op);
    if (llvm::failed(run(step.flow->first, visit)))
      return failure();
    assign(step.flow->firstEnd);
    // The next i would be past the end, or past the largest number.
    if (static_cast<uint64_t>(*stride) >= static_cast<uint64_t>(*end) - static_cast<uint64_t>(i))
      break;
  }
  assign(step.flow->results);
  return success();
}

LogicalResult ScalarInterpreter::runIf(Step &step, Visitor visit) {
  std::optional<int64_t> condition = numbers[step.operands[0]];
  if (!condition)
    return skip(step);
  if (llvm::failed(run(*condition ? step.flow->first : step.flow->second, visit)))
    return failure();
  assign(*condition ? step.flow->firstEnd : step.flow->secondEnd);
  return success();
}

LogicalResult ScalarInterpreter::runWhile(Step &step, Visitor visit) {
  assign(step.flow->enter);
  while (true) {
    // One without anything to run ends all the same.
    if (++steps > kMaxSteps)
      return fail(step.op);
    if (llvm::failed(run(step.flow->first, visit)))
      return failure();
    std::optional<int64_t> goesOn = numbers[step.operands[0]];
    if (!goesOn)
      return skip(step);
    if (!*goesOn) {
      assign(step.flow->results);
      return success();
    }
    assign(step.flow->firstEnd);
    if (llvm::failed(run(step.flow->second, visit)))
      return failure();
    assign(step.flow->secondEnd);
  }
}
