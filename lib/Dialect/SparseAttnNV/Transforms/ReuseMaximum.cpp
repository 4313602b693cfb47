//===- ReuseMaximum.cpp - weights relative to an earlier maximum -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "RunningMaximum.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVREUSEMAXIMUM
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// One iteration of a key loop with an online softmax.
struct SoftmaxLoop {
  scf::ForOp loop;
  DotOp scores, values;
  WaitOp scoresWait;
  RunningMaximum running;
  Value maximum, sum, accumulator;
  /// The yielded sum of each row, and the block's part of it.
  OpOperand *nextMaximum = nullptr, *nextSum = nullptr;
  ReduceOp blockSum;
  /// Makes the rounded weights an operand of the second product.
  ToOperandOp operand;

  /// Before they are rounded.
  Value getWeights() {
    auto round = operand.getSource().getDefiningOp<arith::TruncFOp>();
    return round ? round.getIn() : operand.getSource();
  }
};

} // namespace

/// Columns of an accumulator beside which there is room for both, wherever the loop stands.
static constexpr int64_t kMostColumns = 192;

/// Fails when the loop has not the form of an online softmax over full blocks: with the reason, but for masked ones,
/// whose rows may have no maximum yet.
static FailureOr<SoftmaxLoop> analyze(scf::ForOp loop, std::string &reason) {
  auto fail = [&](StringRef why) {
    reason = why.str();
    return failure();
  };
  SoftmaxLoop found;
  found.loop = loop;
  SmallVector<DotOp> dots(loop.getBody()->getOps<DotOp>());
  if (dots.size() != 2 || dots[0].getAcc() || !dots[1].getAcc() || !dots[1].getA().getDefiningOp<ToOperandOp>())
    return fail("the loop is not a product of tiles followed by a product of weights and a tile");
  found.scores = dots[0];
  found.values = dots[1];
  found.scoresWait = cast<WaitOp>(*found.scores.getResult().user_begin());
  found.operand = dots[1].getA().getDefiningOp<ToOperandOp>();
  if (found.scoresWait.getNumResults() != 1 || found.operand->getBlock() != loop.getBody())
    return fail("products are waited for together");
  if (!loop.getBody()->getOps<MaskOp>().empty())
    return failure();
  // Between loops over masked blocks, as windows have them, ptxas spilled up to 144 bytes of the widest accumulator.
  bool isLast = llvm::none_of(loop->getUsers(), [](Operation *user) { return isa<scf::ForOp>(user); });
  int64_t columns = cast<RankedTensorType>(found.values.getAcc().getType()).getDimSize(1);
  if (!isLast && columns > kMostColumns)
    return fail("between masked blocks an accumulator of " + std::to_string(columns) +
                " columns leaves no registers for two ways through a block");
  std::optional<RunningMaximum> running;
  for (unsigned index = 0; index < loop.getNumResults() && !running; ++index)
    if ((running = matchRunningMaximum(loop, index))) {
      found.running = *running;
      found.maximum = loop.getRegionIterArg(index);
      found.nextMaximum = &loop.getBody()->getTerminator()->getOpOperand(index);
    }
  if (!running)
    return fail("it carries no maximum of each row");
  for (Operation *user : found.getWeights().getUsers())
    if (auto reduce = dyn_cast<ReduceOp>(user); reduce && reduce.getPartial() && reduce->getBlock() == loop.getBody())
      found.blockSum = reduce;
  if (!found.blockSum || !found.blockSum->hasOneUse() || !found.blockSum->user_begin()->hasOneUse())
    return fail("it carries no sum of each row by lanes");
  found.nextSum = &*found.blockSum->user_begin()->use_begin();
  auto rescale = found.values.getAcc().getDefiningOp<arith::MulFOp>();
  if (found.nextSum->getOwner() != loop.getBody()->getTerminator() || !rescale ||
      !llvm::is_contained(loop.getRegionIterArgs(), rescale.getLhs()))
    return fail("it does not rescale what it accumulates");
  found.sum = loop.getRegionIterArg(found.nextSum->getOperandNumber());
  found.accumulator = rescale.getLhs();
  return found;
}

/// Operations of the loop that `values` are computed from, in their order, up to the scores and what `map` has already.
static void cloneSlice(SoftmaxLoop &softmax, ValueRange values, IRMapping &map, OpBuilder &builder) {
  llvm::SetVector<Operation *> slice;
  SmallVector<Value> worklist(values);
  auto add = [&](Value value) {
    Operation *op = value.getDefiningOp();
    if (op && op->getBlock() == softmax.loop.getBody() && op != softmax.scoresWait && !map.contains(value) &&
        slice.insert(op))
      op->walk([&](Operation *each) { llvm::append_range(worklist, each->getOperands()); });
  };
  while (!worklist.empty())
    add(worklist.pop_back_val());
  for (Operation &op : softmax.loop.getBody()->without_terminator())
    if (slice.contains(&op))
      builder.clone(op, map);
}

static void rewrite(SoftmaxLoop &softmax, double limit) {
  Location loc = softmax.scores.getLoc();
  OpBuilder builder(softmax.operand);
  Value newMaximum = softmax.running.maximum, weights = softmax.operand.getSource();

  // Relative to the maximum so far, -inf itself included, which makes the weights infinite.
  IRMapping fast;
  fast.map(newMaximum, softmax.maximum);
  for (Operation *user : newMaximum.getUsers())
    if (user->getNumResults() == 1 && isGuarded(user->getResult(0), newMaximum))
      fast.map(user->getResult(0), softmax.maximum);
  cloneSlice(softmax, {weights, softmax.blockSum}, fast, builder);
  Value blockSum = fast.lookup(softmax.blockSum.getResult());
  Value fastSum = arith::AddFOp::create(builder, loc, softmax.sum, blockSum);
  Value exceeds = AnyAboveOp::create(builder, loc, blockSum, builder.getF32FloatAttr(limit));

  SmallVector<Value> kept = {softmax.maximum, fastSum, softmax.accumulator, fast.lookup(weights)};
  auto choice = scf::IfOp::create(builder, loc, ValueRange(kept).getTypes(), exceeds, /*withElseRegion=*/true);
  builder.setInsertionPointToStart(choice.elseBlock());
  scf::YieldOp::create(builder, loc, kept);

  // The scores once more, for the weights took their place.
  builder.setInsertionPointToStart(choice.thenBlock());
  IRMapping exact;
  builder.clone(*softmax.scores, exact);
  builder.clone(*softmax.scoresWait, exact);
  SmallVector<Value> results = {newMaximum, softmax.nextSum->get(), softmax.values.getAcc(), weights};
  cloneSlice(softmax, results, exact, builder);
  for (Value &result : results)
    result = exact.lookup(result);
  scf::YieldOp::create(builder, loc, results);

  softmax.nextMaximum->set(choice.getResult(0));
  softmax.nextSum->set(choice.getResult(1));
  softmax.values.getAccMutable().assign(choice.getResult(2));
  softmax.operand.getSourceMutable().assign(choice.getResult(3));
  SmallVector<Operation *> body(llvm::make_pointer_range(softmax.loop.getBody()->without_terminator()));
  for (Operation *op : llvm::reverse(body))
    if (op->use_empty() && isMemoryEffectFree(op))
      op->erase();
}

namespace {
struct ReuseMaximum : sparseattn::impl::SparseAttnNVReuseMaximumBase<ReuseMaximum> {
  void runOnOperation() override {
    SmallVector<scf::ForOp> loops;
    getOperation()->walk([&](scf::ForOp loop) {
      if (!loop.getBody()->getOps<DotOp>().empty())
        loops.push_back(loop);
    });
    for (scf::ForOp loop : loops) {
      std::string reason;
      FailureOr<SoftmaxLoop> softmax = analyze(loop, reason);
      if (succeeded(softmax)) {
        // Lanes add up a block's weights, none of which is then larger. f16 ends at 2^16; the sums of f32 have room for
        // a million blocks and values of magnitude 2^64.
        bool isF16 = getElementTypeOrSelf(softmax->operand.getSource()).isF16();
        rewrite(*softmax, std::ldexp(1.0, isF16 ? 14 : 40));
        continue;
      }
      if (reason.empty())
        continue;
      auto kernel = loop->getParentOfType<gpu::GPUFuncOp>();
      remark::missed(loop.getLoc(), remark::RemarkOpts::name("MaximumNotReused")
                                        .category("sparseattn-nv-reuse-maximum")
                                        .function(kernel ? kernel.getName() : StringRef()))
          << remark::detail::Remark::Arg("Reason", reason);
    }
  }
};
} // namespace
