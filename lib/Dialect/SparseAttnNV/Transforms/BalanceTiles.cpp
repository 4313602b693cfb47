//===- BalanceTiles.cpp - the next tile for the block that is free ---------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Remarks.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVBALANCETILES
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// The loops over tiles of both roles, and the channel with one item for each
/// tile that brings its number to the consumers.
struct TileLoops {
  SpecializeOp roles;
  scf::ForOp producer, consumer;
  NextTileOp next;
  FillOp fill;
  /// Which of the values that a loop carries numbers the items.
  unsigned producerCounter, consumerCounter;
};

} // namespace

static std::optional<unsigned> findCounter(scf::ForOp loop, Value position) {
  auto argument = dyn_cast<BlockArgument>(position);
  if (!argument || argument.getOwner() != loop.getBody() || argument == loop.getInductionVar())
    return std::nullopt;
  return argument.getArgNumber() - loop.getNumInductionVars();
}

/// Fails with the reason when the numbers of tiles have no way to the consumers.
static FailureOr<TileLoops> analyze(SpecializeOp roles, std::string &reason) {
  TileLoops loops{roles, findTileLoop(*roles.getProducerBlock()), findTileLoop(*roles.getConsumerBlock()), {}, {}, 0, 0};
  if (!loops.producer || !loops.consumer) {
    reason = "a role has no loop over tiles";
    return failure();
  }
  auto nexts = loops.producer.getBody()->getOps<NextTileOp>();
  if (llvm::hasSingleElement(nexts))
    loops.next = *nexts.begin();
  for (auto fill : loops.producer.getBody()->getOps<FillOp>()) {
    std::optional<unsigned> counter = findCounter(loops.producer, fill.getPosition());
    for (auto await : loops.consumer.getBody()->getOps<AwaitOp>()) {
      std::optional<unsigned> other = findCounter(loops.consumer, await.getPosition());
      if (!loops.fill && counter && other && await.getChannel() == fill.getChannel()) {
        loops.fill = fill;
        loops.producerCounter = *counter;
        loops.consumerCounter = *other;
      }
    }
  }
  if (loops.next && loops.fill)
    return loops;
  reason = loops.next ? "no channel has one item for each tile" : "the producer does not ask once for the next tile";
  return failure();
}

/// Moves the body of a loop over tiles to the second region of `loop`, whose
/// first argument is the tile; the other arguments are those that it carries.
/// The caller adds the terminator from the returned values.
static SmallVector<Value> moveBody(scf::ForOp from, scf::WhileOp loop, OpBuilder &builder) {
  Block *body = builder.createBlock(&loop.getAfter(), {}, loop->getResultTypes(),
                                    SmallVector<Location>(loop->getNumResults(), from.getLoc()));
  SmallVector<Value> yielded(from.getYieldedValues());
  from.getBody()->getTerminator()->erase();
  body->getOperations().splice(body->end(), from.getBody()->getOperations());
  for (auto [old, argument] : llvm::zip(from.getBody()->getArguments(), body->getArguments())) {
    old.replaceAllUsesWith(argument);
    llvm::replace(yielded, Value(old), Value(argument));
  }
  builder.setInsertionPointToEnd(body);
  return yielded;
}

/// The producer begins with the tile of its block and goes on with those that it
/// gets. It tells their numbers with the items of the channel, and at the end
/// that there is none: -1.
static void rewriteProducer(TileLoops &loops, OpBuilder &builder) {
  scf::ForOp from = loops.producer;
  Location loc = from.getLoc();
  builder.setInsertionPoint(from);
  SmallVector<Value> init = {from.getLowerBound()};
  llvm::append_range(init, from.getInitArgs());
  auto loop = scf::WhileOp::create(builder, loc, ValueRange(init).getTypes(), init);
  Block *before = builder.createBlock(&loop.getBefore(), {}, ValueRange(init).getTypes(),
                                      SmallVector<Location>(init.size(), loc));
  Value goesOn = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, before->getArgument(0),
                                       from.getUpperBound());
  scf::ConditionOp::create(builder, loc, goesOn, before->getArguments());

  // As late as possible: who asks early, for a tile that it begins later, may leave a heavy one to the end.
  loops.next->moveBefore(from.getBody()->getTerminator());
  SmallVector<Value> next = {loops.next};
  llvm::append_range(next, moveBody(from, loop, builder));
  scf::YieldOp::create(builder, loc, next);
  builder.setInsertionPoint(loops.fill);
  Value tile = loop.getAfterArguments().front();
  PostOp::create(builder, loc, loops.fill.getChannel(), loops.fill.getPosition(), tile, /*alone=*/false);
  builder.setInsertionPointAfter(loop);
  Value none = arith::ConstantIntOp::create(builder, loc, builder.getI32Type(), -1);
  PostOp::create(builder, loc, loops.fill.getChannel(), loop.getResult(1 + loops.producerCounter), none, /*alone=*/true);
  from.erase();
}

static void rewriteConsumer(TileLoops &loops, OpBuilder &builder) {
  scf::ForOp from = loops.consumer;
  Location loc = from.getLoc();
  Value channel = loops.fill.getChannel();
  builder.setInsertionPoint(from);
  SmallVector<Value> init(from.getInitArgs());
  SmallVector<Type> types = {builder.getI32Type()};
  llvm::append_range(types, ValueRange(init).getTypes());
  auto loop = scf::WhileOp::create(builder, loc, types, init);
  Block *before = builder.createBlock(&loop.getBefore(), {}, ValueRange(init).getTypes(),
                                      SmallVector<Location>(init.size(), loc));
  Value tile = TakeOp::create(builder, loc, builder.getI32Type(), channel, before->getArgument(loops.consumerCounter))
                   .getNumbers()
                   .front();
  Value zero = arith::ConstantIntOp::create(builder, loc, builder.getI32Type(), 0);
  Value goesOn = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sge, tile, zero);
  SmallVector<Value> values = {tile};
  llvm::append_range(values, before->getArguments());
  scf::ConditionOp::create(builder, loc, goesOn, values);
  SmallVector<Value> yielded = moveBody(from, loop, builder);
  scf::YieldOp::create(builder, loc, yielded);
  builder.setInsertionPointAfter(loop);
  ReleaseOp::create(builder, loc, channel, loop.getResult(1 + loops.consumerCounter));
  from.erase();
}

static LogicalResult balance(gpu::GPUFuncOp kernel) {
  auto roles = kernel.getBody().getOps<SpecializeOp>();
  if (roles.empty())
    return success();
  std::string reason;
  FailureOr<TileLoops> loops = analyze(*roles.begin(), reason);
  OpBuilder builder(kernel.getContext());
  if (succeeded(loops)) {
    rewriteProducer(*loops, builder);
    rewriteConsumer(*loops, builder);
    return success();
  }
  remark::missed(kernel.getLoc(), remark::RemarkOpts::name("NotBalanced")
                                      .category("sparseattn-nv-balance-tiles")
                                      .function(kernel.getName()))
      << remark::detail::Remark::Arg("Reason", reason);
  // The loops go through the tiles in steps of the grid.
  kernel.walk([](NextTileOp next) {
    if (next->use_empty())
      next.erase();
  });
  return success();
}

namespace {
struct SparseAttnNVBalanceTiles : sparseattn::impl::SparseAttnNVBalanceTilesBase<SparseAttnNVBalanceTiles> {
  void runOnOperation() override {
    if (failed(forEachKernel(getOperation(), balance)))
      signalPassFailure();
  }
};
} // namespace
