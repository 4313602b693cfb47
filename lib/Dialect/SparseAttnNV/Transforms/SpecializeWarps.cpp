//===- SpecializeWarps.cpp - one program to a producer's and a consumer's --===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVSPECIALIZEWARPS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// What the producer runs: everything that decides which items are filled, with
/// what and how often.
class Slice {
public:
  LogicalResult collect(gpu::GPUFuncOp kernel);
  /// Copies the slice's part of a block; loops lose the values that only
  /// consumers carry.
  void clone(Block &from, OpBuilder &builder, IRMapping &map) const;
  void drop(Operation *op) { operations.erase(op); }

private:
  void need(Operation *op) {
    if (op && !isa<gpu::GPUFuncOp>(op) && operations.insert(op).second)
      worklist.push_back(op);
  }
  LogicalResult needValue(Operation *user, Value value);
  LogicalResult needCarried(Operation *user, scf::ForOp loop, unsigned index);
  void cloneLoop(scf::ForOp loop, OpBuilder &builder, IRMapping &map) const;

  DenseSet<Operation *> operations;
  SmallVector<Operation *> worklist;
  /// Numbers of the values that a loop carries for the producer too.
  DenseMap<Operation *, SmallVector<unsigned>> carried;
};

} // namespace

LogicalResult Slice::needCarried(Operation *user, scf::ForOp loop, unsigned index) {
  if (isa<ShapedType>(loop.getResult(index).getType()))
    return user->emitOpError("must be known to the producer, but depends on what a loop of the consumers carries");
  need(loop);
  SmallVector<unsigned> &known = carried[loop];
  if (llvm::is_contained(known, index))
    return success();
  known.push_back(index);
  Value first = loop.getInitArgs()[index], next = loop.getYieldedValues()[index];
  return success(succeeded(needValue(loop, first)) && succeeded(needValue(loop, next)));
}

LogicalResult Slice::needValue(Operation *user, Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
    if (!loop || argument == loop.getInductionVar())
      return success();
    return needCarried(user, loop, argument.getArgNumber() - loop.getNumInductionVars());
  }
  Operation *source = value.getDefiningOp();
  if (auto loop = dyn_cast<scf::ForOp>(source))
    return needCarried(user, loop, cast<OpResult>(value).getResultNumber());
  if (isa<AwaitOp, WaitOp>(source))
    return user->emitOpError("must be known to the producer, but depends on what consumers compute");
  need(source);
  return success();
}

LogicalResult Slice::collect(gpu::GPUFuncOp kernel) {
  kernel.walk([&](Operation *op) {
    if (isa<FillOp, NextTileOp>(op))
      need(op);
  });
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val();
    if (op->getNumRegions() != 0 && !isa<scf::ForOp>(op))
      return op->emitOpError("decides which items are filled, but only scf.for may do that");
    need(op->getParentOp());
    SmallVector<Value> values(op->getOperands());
    if (auto loop = dyn_cast<scf::ForOp>(op))
      values = {loop.getLowerBound(), loop.getUpperBound(), loop.getStep()};
    for (Value value : values)
      if (failed(needValue(op, value)))
        return failure();
  }
  return success();
}

void Slice::cloneLoop(scf::ForOp loop, OpBuilder &builder, IRMapping &map) const {
  SmallVector<unsigned> indices = carried.lookup(loop);
  SmallVector<Value> init, yielded;
  for (unsigned index : indices)
    init.push_back(map.lookupOrDefault(loop.getInitArgs()[index]));
  auto made = scf::ForOp::create(builder, loop.getLoc(), map.lookupOrDefault(loop.getLowerBound()),
                                 map.lookupOrDefault(loop.getUpperBound()), map.lookupOrDefault(loop.getStep()), init);
  made->setDiscardableAttrs(loop->getDiscardableAttrDictionary());
  map.map(loop.getInductionVar(), made.getInductionVar());
  for (auto [position, index] : llvm::enumerate(indices)) {
    map.map(loop.getRegionIterArg(index), made.getRegionIterArg(position));
    map.map(loop.getResult(index), made.getResult(position));
  }
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(made.getBody());
  clone(*loop.getBody(), builder, map);
  for (unsigned index : indices)
    yielded.push_back(map.lookupOrDefault(loop.getYieldedValues()[index]));
  if (!yielded.empty())
    scf::YieldOp::create(builder, loop.getLoc(), yielded);
}

void Slice::clone(Block &from, OpBuilder &builder, IRMapping &map) const {
  for (Operation &op : from) {
    if (!operations.contains(&op))
      continue;
    if (auto loop = dyn_cast<scf::ForOp>(op))
      cloneLoop(loop, builder, map);
    else
      builder.clone(op, map);
  }
}

static LogicalResult specialize(gpu::GPUFuncOp kernel) {
  if (!kernel.getBody().hasOneBlock())
    return kernel.emitOpError("must have structured control flow, one block");
  if (kernel.walk([](SpecializeOp) { return WalkResult::interrupt(); }).wasInterrupted())
    return kernel.emitOpError("has roles already");
  Block &body = kernel.getBody().front();
  auto schedule = kernel->getAttrOfType<ScheduleAttr>(kScheduleAttrName);
  if (!schedule)
    return kernel.emitOpError("has no schedule (attribute sparseattn.schedule), which gives the roles their registers");
  Slice slice;
  if (failed(slice.collect(kernel)))
    return failure();

  // Both roles see the channels; the rest is moved into the consumers'.
  SmallVector<Operation *> program;
  Operation *lastChannel = nullptr;
  for (Operation &op : body.without_terminator()) {
    if (isa<ChannelOp>(op)) {
      lastChannel = &op;
      slice.drop(&op);
    } else {
      program.push_back(&op);
    }
  }
  if (!lastChannel)
    return kernel.emitOpError("has no channel: run sparseattn-nv-insert-channels first");
  OpBuilder builder(kernel.getContext());
  builder.setInsertionPointAfter(lastChannel);
  auto roles = SpecializeOp::create(builder, kernel.getLoc(), schedule.getProducerRegisters(), schedule.getConsumers(),
                                    schedule.getConsumerRegisters());

  IRMapping map;
  OpBuilder producer = OpBuilder::atBlockTerminator(roles.getProducerBlock());
  slice.clone(body, producer, map);
  Operation *end = roles.getConsumerBlock()->getTerminator();
  for (Operation *op : program)
    op->moveBefore(end);
  roles.getConsumerBlock()->walk([&](Operation *op) {
    if (isa<FillOp, NextTileOp>(op)) {
      op->erase();
    } else if (auto group = dyn_cast<WarpgroupOp>(op)) {
      group.replaceAllUsesWith(roles.getWarpgroup());
      group.erase();
    }
  });
  return success();
}

namespace {
struct SparseAttnNVSpecializeWarps
    : sparseattn::impl::SparseAttnNVSpecializeWarpsBase<SparseAttnNVSpecializeWarps> {
  void runOnOperation() override {
    if (failed(forEachKernel(getOperation(), specialize)))
      signalPassFailure();
  }
};
} // namespace
