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

/// Everything that decides which items are filled, with what and how often.
static LogicalResult collectSlice(gpu::GPUFuncOp kernel, DenseSet<Operation *> &slice) {
  SmallVector<Operation *> worklist;
  auto need = [&](Operation *op) {
    if (op && !isa<gpu::GPUFuncOp>(op) && slice.insert(op).second)
      worklist.push_back(op);
  };
  kernel.walk([&](FillOp fill) { need(fill); });
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val();
    if (op->getNumRegions() != 0 && !isa<scf::ForOp>(op))
      return op->emitOpError("decides which items are filled, but only scf.for may do that");
    need(op->getParentOp());
    SmallVector<Value> values(op->getOperands());
    if (auto loop = dyn_cast<scf::ForOp>(op))
      values = {loop.getLowerBound(), loop.getUpperBound(), loop.getStep()};
    for (Value value : values) {
      if (Operation *producer = value.getDefiningOp()) {
        if (isa<scf::ForOp, AwaitOp, WaitOp>(producer))
          return op->emitOpError("must be known to the producer, but depends on what consumers compute");
        need(producer);
        continue;
      }
      auto argument = cast<BlockArgument>(value);
      Operation *owner = argument.getOwner()->getParentOp();
      auto loop = dyn_cast<scf::ForOp>(owner);
      if (owner != kernel && !(loop && argument == loop.getInductionVar()))
        return op->emitOpError("must be known to the producer, but depends on what a loop of the consumers carries");
    }
  }
  return success();
}

/// Copies the operations of `slice`; loops lose the values that they carry.
static void cloneSlice(Block &from, OpBuilder &builder, const DenseSet<Operation *> &slice, IRMapping &map) {
  for (Operation &op : from) {
    if (!slice.contains(&op))
      continue;
    auto loop = dyn_cast<scf::ForOp>(op);
    if (!loop) {
      builder.clone(op, map);
      continue;
    }
    auto made = scf::ForOp::create(builder, loop.getLoc(), map.lookupOrDefault(loop.getLowerBound()),
                                   map.lookupOrDefault(loop.getUpperBound()), map.lookupOrDefault(loop.getStep()));
    map.map(loop.getInductionVar(), made.getInductionVar());
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(made.getBody());
    cloneSlice(*loop.getBody(), builder, slice, map);
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
  DenseSet<Operation *> slice;
  if (failed(collectSlice(kernel, slice)))
    return failure();

  // Both roles see the channels; the rest is moved into the consumers'.
  SmallVector<Operation *> program;
  Operation *lastChannel = nullptr;
  for (Operation &op : body.without_terminator()) {
    if (isa<ChannelOp>(op)) {
      lastChannel = &op;
      slice.erase(&op);
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
  cloneSlice(body, producer, slice, map);
  Operation *end = roles.getConsumerBlock()->getTerminator();
  for (Operation *op : program)
    op->moveBefore(end);
  roles.getConsumerBlock()->walk([&](Operation *op) {
    if (isa<FillOp>(op)) {
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
