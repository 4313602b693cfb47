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

/// Gives tiles that are stored the shared memory that channels leave, from `begin` on: for as many columns as fit and as
/// divide those of all tiles, because a warp uses its place for one tile after the other. Returns where the places end.
static int64_t planStores(gpu::GPUFuncOp kernel, int64_t begin) {
  SmallVector<StoreTileOp> stores;
  int64_t warps = 0, staged = 0;
  kernel.walk([&](Operation *op) {
    if (auto store = dyn_cast<StoreTileOp>(op)) {
      int64_t most = fragment::getMaxStagingColumns(cast<ShapedType>(store.getSource().getType()).getDimSize(1));
      staged = stores.empty() ? most : std::min(staged, most);
      stores.push_back(store);
    } else if (auto roles = dyn_cast<SpecializeOp>(op)) {
      warps = roles.getConsumers() * hopper::kWarpgroupWarps;
    }
  });
  int64_t first = llvm::alignTo(begin, fragment::kStagingUnit);
  auto getEnd = [&] { return first + warps * fragment::getStagingBytes(staged); };
  while (staged >= fragment::kMinStagingColumns && getEnd() > hopper::kSharedMemoryLimit)
    staged /= 2;
  bool hasRoom = warps != 0 && staged >= fragment::kMinStagingColumns;
  Builder builder(kernel.getContext());
  for (StoreTileOp store : stores) {
    store.setStagingAttr(hasRoom ? builder.getI32IntegerAttr(first) : nullptr);
    store.setStagingColumnsAttr(hasRoom ? builder.getI32IntegerAttr(staged) : nullptr);
  }
  return hasRoom ? getEnd() : begin;
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
