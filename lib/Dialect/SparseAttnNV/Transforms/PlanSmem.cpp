//===- PlanSmem.cpp - places of channels in shared memory ------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Analysis/FragmentLayout.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"
#include "sparseattn/Target/HopperTarget.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVPLANSMEM
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

/// Barriers of a channel, and the numbers that come with its items.
static int64_t getBarrierBytes(ChannelOp channel) {
  return (2 * hopper::kBarrierBytes + channel.getNumberBytes()) * channel.getChannel().getType().getStages();
}

/// What does not fit: one note for each channel.
static LogicalResult reportTooLarge(gpu::GPUFuncOp kernel, ArrayRef<ChannelOp> channels, int64_t total) {
  InFlightDiagnostic diag = kernel.emitOpError()
                            << "needs " << total << " bytes of shared memory, " << total - hopper::kSharedMemoryLimit
                            << " more than the " << hopper::kSharedMemoryLimit
                            << " that a block can have; use fewer stages or smaller tiles";
  for (ChannelOp channel : channels) {
    ChannelType type = channel.getChannel().getType();
    diag.attachNote(channel.getLoc()) << "channel " << channel.getName().value_or("without name") << ": "
                                      << type.getStages() << " x " << type.getTile().getSizeInBytes() << " bytes";
  }
  return diag;
}

/// Gives tiles that are stored the shared memory that channels leave, from `begin` on: for as many of their columns as
/// fit. They are stored one after the other, so that all begin at the same place. Returns where the last one ends.
static int64_t planStores(gpu::GPUFuncOp kernel, int64_t begin) {
  SmallVector<StoreTileOp> stores;
  SpecializeOp roles;
  kernel.walk([&](Operation *op) {
    if (auto store = dyn_cast<StoreTileOp>(op))
      stores.push_back(store);
    else if (auto specialize = dyn_cast<SpecializeOp>(op))
      roles = specialize;
  });
  if (!roles)
    return begin;
  int64_t first = llvm::alignTo(begin, fragment::kStagingUnit), end = begin;
  Builder builder(kernel.getContext());
  for (StoreTileOp store : stores) {
    int64_t columns = cast<ShapedType>(store.getSource().getType()).getDimSize(1);
    auto getEnd = [&](int64_t staged) {
      return first + roles.getConsumers() * hopper::kWarpgroupWarps * fragment::getStagingBytes(staged);
    };
    int64_t staged = fragment::getMaxStagingColumns(columns);
    while (staged >= fragment::kMinStagingColumns && getEnd(staged) > hopper::kSharedMemoryLimit)
      staged /= 2;
    if (staged < fragment::kMinStagingColumns)
      continue;
    store.setStagingAttr(builder.getI32IntegerAttr(first));
    store.setStagingColumnsAttr(builder.getI32IntegerAttr(staged));
    end = std::max(end, getEnd(staged));
  }
  return end;
}

static LogicalResult planKernel(gpu::GPUFuncOp kernel) {
  SmallVector<ChannelOp> channels;
  kernel.walk([&](ChannelOp channel) { channels.push_back(channel); });
  if (channels.empty())
    return success();
  int64_t slots = 0, barriers = 0;
  for (ChannelOp channel : channels) {
    ChannelType type = channel.getChannel().getType();
    slots += type.getStages() * type.getTile().getSizeInBytes();
    barriers += getBarrierBytes(channel);
  }
  if (slots + barriers > hopper::kSharedMemoryLimit)
    return reportTooLarge(kernel, channels, slots + barriers);
  // Tiles have a multiple of 1024 bytes each, so every slot is aligned to the swizzle.
  Builder builder(kernel.getContext());
  int64_t slot = 0, barrier = slots;
  for (ChannelOp channel : channels) {
    ChannelType type = channel.getChannel().getType();
    channel.setOffsetAttr(builder.getI32IntegerAttr(slot));
    channel.setBarriersAttr(builder.getI32IntegerAttr(barrier));
    slot += type.getStages() * type.getTile().getSizeInBytes();
    barrier += getBarrierBytes(channel);
  }
  kernel->setAttr(kSharedBytesAttr, builder.getI32IntegerAttr(planStores(kernel, slots + barriers)));
  return success();
}

namespace {
struct PlanSmem : sparseattn::impl::SparseAttnNVPlanSmemBase<PlanSmem> {
  void runOnOperation() override {
    if (failed(forEachKernel(getOperation(), planKernel)))
      signalPassFailure();
  }
};
} // namespace
