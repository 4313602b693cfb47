//===- OverlapSoftmax.cpp - the next scores under this block's softmax -----===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVOVERLAPSOFTMAX
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// One iteration of a key loop, taken apart. `head` makes the weights of a
/// block, `tail` adds the weighted values: it is what a later iteration does.
struct Iteration {
  scf::ForOp loop;
  // The product of queries and keys, and the wait for it.
  DotOp scores;
  WaitOp scoresWait;
  // The product of weights and values, its wait, its item.
  DotOp values;
  WaitOp valuesWait;
  AwaitOp valuesItem;
  ReleaseOp valuesRelease;
  // What is added to the number of an iteration to make that of its item; null for nothing.
  Value firstItem;
  // The item is the keys too: the head needs it before the tail, which then awaits it again.
  bool isShared = false;
  // Number of the iterated value that accumulates the output.
  unsigned accumulator;
  // What needs the accumulator or makes the operand of the tail: it has to
  // come after the wait for the tail of the previous block.
  DenseSet<Operation *> late;

  bool isTail(Operation *op) const {
    return op == values || op == valuesWait || (op == valuesItem && !isShared) || op == valuesRelease;
  }
};

/// Key loops that follow each other, hand their values on, and number the blocks
/// through, from the first loop's lower to the last loop's upper bound.
using Chain = SmallVector<Iteration>;

} // namespace

/// The number of an iteration, or its sum with a number from outside the loop.
static bool matchPosition(Value position, scf::ForOp loop, Value &first) {
  if (position == loop.getInductionVar())
    return true;
  auto sum = position.getDefiningOp<arith::AddIOp>();
  if (!sum || sum.getRhs() != loop.getInductionVar() || !loop.isDefinedOutsideOfLoop(sum.getLhs()))
    return false;
  first = sum.getLhs();
  return true;
}

/// The largest number that a value can have, as far as its own minima and maxima say.
static std::optional<int64_t> findMost(Value value) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return constant;
  Operation *op = value.getDefiningOp();
  if (!isa_and_nonnull<arith::MinSIOp, arith::MaxSIOp>(op))
    return std::nullopt;
  std::optional<int64_t> lhs = findMost(op->getOperand(0)), rhs = findMost(op->getOperand(1));
  if (lhs && rhs)
    return isa<arith::MinSIOp>(op) ? std::min(*lhs, *rhs) : std::max(*lhs, *rhs);
  return isa<arith::MinSIOp>(op) ? (lhs ? lhs : rhs) : std::nullopt;
}

/// Fails with the reason when the loop has not the form of an attention.
static FailureOr<Iteration> analyze(scf::ForOp loop, std::string &reason) {
  Iteration it;
  it.loop = loop;
  SmallVector<DotOp> dots(loop.getBody()->getOps<DotOp>());
  if (dots.size() != 2 || !isa<TileType>(dots[0].getA().getType()) || isa<TileType>(dots[1].getA().getType()) ||
      dots[0].getAcc() || !dots[1].getAcc()) {
    reason = "the loop is not a product of tiles followed by a product of weights and a tile";
    return failure();
  }
  it.scores = dots[0];
  it.values = dots[1];
  it.scoresWait = cast<WaitOp>(*it.scores.getResult().getUsers().begin());
  it.valuesWait = cast<WaitOp>(*it.values.getResult().getUsers().begin());
  it.valuesItem = it.values.getB().getDefiningOp<AwaitOp>();
  if (!it.valuesItem || it.valuesItem->getBlock() != loop.getBody() ||
      !matchPosition(it.valuesItem.getPosition(), loop, it.firstItem)) {
    reason = "the values are not the item of a channel with the number of the iteration";
    return failure();
  }
  for (Operation *user : it.valuesItem.getChannel().getUsers())
    if (auto release = dyn_cast<ReleaseOp>(user); release && release->getBlock() == loop.getBody() &&
                                                  release.getPosition() == it.valuesItem.getPosition())
      it.valuesRelease = release;
  if (!it.valuesRelease || it.valuesWait.getNumResults() != 1 || it.scoresWait.getNumResults() != 1) {
    reason = "the values are not released in the loop, or products are waited for together";
    return failure();
  }
  it.isShared = !it.valuesItem.getTile().hasOneUse();
  if (it.isShared && it.valuesItem.getChannel().getType().getStages() < 2) {
    reason = "the values are read otherwise too, and their channel has one stage";
    return failure();
  }
  Value sum = it.valuesWait.getResult(0);
  Operation *yield = loop.getBody()->getTerminator();
  if (!sum.hasOneUse() || *sum.getUsers().begin() != yield) {
    reason = "the accumulated output is used before the next block";
    return failure();
  }
  it.accumulator = sum.getUses().begin()->getOperandNumber();

  // Forward from the accumulator, backward from the operand of the tail.
  SmallVector<Value> forward = {loop.getRegionIterArg(it.accumulator)};
  while (!forward.empty())
    for (Operation *nested : forward.pop_back_val().getUsers()) {
      Operation *user = loop.getBody()->findAncestorOpInBlock(*nested);
      if (it.isTail(user) || user == yield)
        continue;
      if (isa<WaitOp, DotOp>(user)) {
        reason = "the weights depend on the accumulated output";
        return failure();
      }
      if (it.late.insert(user).second)
        llvm::append_range(forward, user->getResults());
    }
  for (Operation *op = it.values.getA().getDefiningOp(); isa_and_nonnull<ToOperandOp, arith::TruncFOp>(op);
       op = op->getOperand(0).getDefiningOp())
    if (op->hasOneUse())
      it.late.insert(op);
  // An item that they read is released behind them, and weights that they choose from are rounded with them.
  for (Operation *op : SmallVector<Operation *>(it.late.begin(), it.late.end()))
    op->walk([&](Operation *nested) {
      auto dot = dyn_cast<DotOp>(nested);
      if (auto item = dot ? dot.getB().getDefiningOp<AwaitOp>() : AwaitOp())
        for (Operation *user : item.getChannel().getUsers())
          if (isa<ReleaseOp>(user) && user != it.valuesRelease && user->getBlock() == loop.getBody())
            it.late.insert(user);
      for (Value operand : nested->getOperands())
        if (auto round = operand.getDefiningOp<arith::TruncFOp>();
            round && round->hasOneUse() && round->getBlock() == loop.getBody())
          it.late.insert(round);
    });
  return it;
}

/// Loops from `first` on, each fed by the results of the one before.
static FailureOr<Chain> findChain(scf::ForOp first, std::string &reason) {
  Chain chain;
  for (scf::ForOp loop = first; loop;) {
    FailureOr<Iteration> iteration = analyze(loop, reason);
    if (failed(iteration))
      return failure();
    Value begin = loop.getLowerBound();
    bool continues = chain.empty() || begin == chain.back().loop.getUpperBound();
    if (!continues || !isConstantIntValue(loop.getStep(), 1)) {
      reason = "the loops do not number the blocks through, by 1";
      return failure();
    }
    chain.push_back(std::move(*iteration));
    scf::ForOp next;
    for (Operation *user : loop->getUsers())
      if (auto candidate = dyn_cast<scf::ForOp>(user); candidate && candidate->getBlock() == loop->getBlock() &&
                                                       llvm::equal(candidate.getInitArgs(), loop.getResults()))
        next = candidate;
    loop = next;
  }
  return chain;
}

namespace {

/// Writes the overlapped form of a chain.
class Overlap {
public:
  Overlap(Chain &chain, OpBuilder &builder)
      : chain(chain), builder(builder), loc(chain.front().loop.getLoc()), begin(chain.front().loop.getLowerBound()),
        end(chain.back().loop.getUpperBound()) {}

  void emit() {
    scf::ForOp last = chain.back().loop;
    // What only products with keys read, such as the queries.
    for (auto release = dyn_cast<ReleaseOp>(last->getNextNode()); release;
         release = dyn_cast<ReleaseOp>(release->getNextNode()))
      releases.push_back(release);
    builder.setInsertionPoint(last);
    last->replaceAllUsesWith(emitGuarded());
    for (ReleaseOp release : releases)
      release.erase();
    for (Iteration &iteration : llvm::reverse(chain))
      iteration.loop.erase();
  }

private:
  Value constant(int64_t value) {
    return arith::ConstantIntOp::create(builder, loc, builder.getI32Type(), value);
  }

  /// Without blocks the values stay what they were.
  SmallVector<Value> emitGuarded() {
    SmallVector<Value> init(chain.front().loop.getInitArgs());
    std::optional<int64_t> from = getConstantIntValue(begin), to = getConstantIntValue(end);
    if (from && to && *from < *to)
      return emitPipeline(init);
    Value some = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, begin, end);
    auto branch = scf::IfOp::create(builder, loc, ValueRange(init).getTypes(), some, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(branch.thenBlock());
    scf::YieldOp::create(builder, loc, emitPipeline(init));
    builder.setInsertionPointToStart(branch.elseBlock());
    cloneReleases();
    scf::YieldOp::create(builder, loc, init);
    return branch.getResults();
  }

  SmallVector<Value> emitPipeline(ArrayRef<Value> init) {
    Iteration &first = chain.front();
    unsigned accumulator = first.accumulator;

    // The first block has no predecessor to overlap with. It is masked, which is right for any block.
    IRMapping map;
    map.map(first.loop.getInductionVar(), begin);
    map.map(first.loop.getRegionIterArgs(), init);
    for (Operation &op : first.loop.getBody()->without_terminator()) {
      auto choice = dyn_cast<scf::IfOp>(op);
      if (choice && choice.getCondition().getDefiningOp<AnyAboveOp>())
        emitExact(first, choice, map);
      else if (!first.isTail(&op) && !isa<AnyAboveOp>(op))
        builder.clone(op, map);
    }
    SmallVector<Value> carried = yieldHead(first, map);

    for (Iteration &iteration : chain)
      carried = emitLoop(iteration, carried);

    // The tail of the last block, under which the next tile's queries can be loaded.
    cloneReleases();
    Value position = arith::SubIOp::create(builder, loc, end, constant(1));
    Iteration &last = chain.back();
    Value pending = emitTailDot(last, position, carried);
    Value sum = emitTailWait(last, position, pending);
    carried.pop_back();
    carried[accumulator] = sum;
    return carried;
  }

  /// Rows have no maximum before the first block: it takes the way of a block whose weights left their range, with the
  /// scores that are there already.
  void emitExact(Iteration &it, scf::IfOp choice, IRMapping &map) {
    for (Operation &op : choice.thenBlock()->without_terminator()) {
      if (isa<DotOp>(op))
        continue;
      if (isa<WaitOp>(op))
        map.map(op.getResult(0), map.lookup(it.scoresWait.getResult(0)));
      else
        builder.clone(op, map);
    }
    for (auto [result, yielded] : llvm::zip(choice.getResults(), choice.thenYield().getOperands()))
      map.map(result, map.lookupOrDefault(yielded));
  }

  /// What an iteration hands on between its head and its tail: the iterated
  /// values, with the rescaled accumulator in its place, then the weights.
  SmallVector<Value> yieldHead(Iteration &it, IRMapping &map) {
    SmallVector<Value> values;
    for (Value value : it.loop.getBody()->getTerminator()->getOperands())
      values.push_back(map.lookupOrDefault(value));
    values[it.accumulator] = map.lookupOrDefault(it.values.getAcc());
    values.push_back(map.lookupOrDefault(it.values.getA()));
    return values;
  }

  void cloneReleases() {
    for (ReleaseOp release : releases)
      builder.clone(*release);
  }

  /// Number of the item of values of a block.
  Value getItem(Iteration &it, Value block) {
    return it.firstItem ? arith::AddIOp::create(builder, loc, it.firstItem, block).getResult() : block;
  }

  Value emitTailDot(Iteration &it, Value block, ArrayRef<Value> carried) {
    Value channel = it.valuesItem.getChannel();
    Value item = AwaitOp::create(builder, loc, channel, getItem(it, block));
    return DotOp::create(builder, loc, it.values.getResult().getType(), carried.back(), item,
                         carried[it.accumulator], it.values.getTransposeB());
  }

  Value emitTailWait(Iteration &it, Value block, Value pending) {
    Value sum = WaitOp::create(builder, loc, it.valuesWait.getResultTypes(), ValueRange{pending}, 0).getResult(0);
    ReleaseOp::create(builder, loc, it.valuesItem.getChannel(), getItem(it, block));
    return sum;
  }

  /// All blocks of a loop but the very first of the chain: scores of this block
  /// and weighted values of the one before run together, the softmax of this
  /// block under the latter.
  SmallVector<Value> emitLoop(Iteration &it, ArrayRef<Value> carried) {
    // A loop that only ever has the first block of the chain, such as that over the last keys under one mask for all.
    std::optional<int64_t> first = getConstantIntValue(begin), most = findMost(it.loop.getUpperBound());
    if (first && most && *most <= *first + 1)
      return llvm::to_vector(carried);
    Value second = arith::AddIOp::create(builder, loc, begin, constant(1));
    Value lower = arith::MaxSIOp::create(builder, loc, it.loop.getLowerBound(), second);
    auto loop = scf::ForOp::create(builder, loc, lower, it.loop.getUpperBound(), it.loop.getStep(), carried);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> arguments(loop.getRegionIterArgs());

    IRMapping map;
    map.map(it.loop.getInductionVar(), loop.getInductionVar());
    for (auto [old, current] : llvm::zip(it.loop.getRegionIterArgs(), arguments))
      map.map(old, current);
    Value previous = arith::SubIOp::create(builder, loc, loop.getInductionVar(), constant(1));

    Value pending;
    for (Operation &op : it.loop.getBody()->without_terminator()) {
      if (it.isTail(&op) || it.late.contains(&op))
        continue;
      if (&op == it.scoresWait) {
        pending = emitTailDot(it, previous, arguments);
        Value scores = WaitOp::create(builder, loc, op.getResultTypes(),
                                      ValueRange{map.lookup(it.scores.getResult())}, /*outstanding=*/1).getResult(0);
        map.map(it.scoresWait.getResult(0), scores);
        continue;
      }
      builder.clone(op, map);
    }
    Value sum = emitTailWait(it, previous, pending);
    map.map(it.loop.getRegionIterArg(it.accumulator), sum);
    for (Operation &op : it.loop.getBody()->without_terminator())
      if (it.late.contains(&op))
        builder.clone(op, map);
    scf::YieldOp::create(builder, loc, yieldHead(it, map));
    return loop.getResults();
  }

  Chain &chain;
  OpBuilder &builder;
  Location loc;
  /// Numbers of the first block and of the one behind the last.
  Value begin, end;
  /// Behind the chain: items that the tail of the last block does not read.
  SmallVector<ReleaseOp> releases;
};

} // namespace

static StringRef getKernelName(Operation *op) {
  auto kernel = op->getParentOfType<gpu::GPUFuncOp>();
  return kernel ? kernel.getName() : StringRef();
}

namespace {
struct SparseAttnNVOverlapSoftmax : sparseattn::impl::SparseAttnNVOverlapSoftmaxBase<SparseAttnNVOverlapSoftmax> {
  void runOnOperation() override {
    SmallVector<scf::ForOp> firsts;
    getOperation()->walk([&](scf::ForOp loop) {
      bool continues = llvm::any_of(loop.getInitArgs(), [](Value value) { return value.getDefiningOp<scf::ForOp>(); });
      if (!continues && !loop.getBody()->getOps<DotOp>().empty())
        firsts.push_back(loop);
    });
    OpBuilder builder(&getContext());
    for (scf::ForOp first : firsts) {
      std::string reason;
      FailureOr<Chain> chain = findChain(first, reason);
      if (failed(chain)) {
        remark::missed(first.getLoc(), remark::RemarkOpts::name("NotOverlapped")
                                           .category("sparseattn-nv-overlap-softmax")
                                           .function(getKernelName(first)))
            << remark::detail::Remark::Arg("Reason", reason);
        continue;
      }
      Overlap(*chain, builder).emit();
    }
  }
};
} // namespace
