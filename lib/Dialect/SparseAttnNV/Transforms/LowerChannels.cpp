//===- LowerChannels.cpp - channels to barriers, roles to branches ---------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVLOWERCHANNELS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// Where an item is and in which round of its slot.
struct Slot {
  Value stage, round;
};

class KernelLowering {
public:
  KernelLowering(gpu::GPUFuncOp kernel, SpecializeOp roles)
      : kernel(kernel), roles(roles), b(roles.getLoc(), roles) {}

  LogicalResult run();

private:
  LogicalResult collect();
  void addSharedMemory();
  void initializeBarriers(Value thread);
  void lowerRoles(Value warp);
  // Each builds, at the operation, what takes its place.
  void lower(FillOp fill);
  void lower(AwaitOp await);
  void lower(ReleaseOp release);
  void lower(PostOp post);
  void lower(TakeOp take);
  void lower(NextTileOp next);
  void lower(TakeTurnOp take);
  void lower(PassTurnOp pass);

  Value i32(int64_t value) { return arith::ConstantIntOp::create(b, b.getI32Type(), value); }
  LLVM::LLVMPointerType getPointerType() { return LLVM::LLVMPointerType::get(b.getContext(), 3); }
  Value getPointer(Value offset) {
    return LLVM::GEPOp::create(b, getPointerType(), b.getI8Type(), sharedMemory, ArrayRef<LLVM::GEPArg>{offset});
  }
  Slot getSlot(Value position, ChannelType type);
  /// Number of the barrier at which a consumer waits for its turn.
  Value getTurn(Value consumer) { return arith::AddIOp::create(b, consumer, i32(1)); }
  Value getParity(Value round) { return arith::AndIOp::create(b, round, i32(1)); }
  /// Byte offset of `stage` in an array that begins at `base`.
  Value getOffset(int64_t base, Value stage, int64_t size) {
    return arith::AddIOp::create(b, i32(base), arith::MulIOp::create(b, stage, i32(size)));
  }
  Value getFull(ChannelOp channel, Value stage) {
    return getPointer(getOffset(*channel.getBarriers(), stage, hopper::kBarrierBytes));
  }
  Value getEmpty(ChannelOp channel, Value stage) {
    int64_t base = *channel.getBarriers() + channel.getChannel().getType().getStages() * hopper::kBarrierBytes;
    return getPointer(getOffset(base, stage, hopper::kBarrierBytes));
  }
  /// Where a number of an item is.
  Value getNumber(ChannelOp channel, Value stage, int64_t index) {
    int64_t base = *channel.getBarriers() + 2 * channel.getChannel().getType().getStages() * hopper::kBarrierBytes;
    return getPointer(getOffset(base + index * hopper::kNumberBytes, stage, channel.getNumberBytes()));
  }
  /// A new barrier counts as having completed the round before its first, hence the opposite parity.
  void waitUntilEmpty(ChannelOp channel, Slot slot) {
    wait(getEmpty(channel, slot.stage), arith::XOrIOp::create(b, getParity(slot.round), i32(1)));
  }
  void wait(Value barrier, Value parity) {
    // How long the hardware may suspend the thread before the next look, in nanoseconds.
    NVVM::MBarrierTryWaitParityOp::create(b, barrier, parity, i32(10000000));
  }

  gpu::GPUFuncOp kernel;
  SpecializeOp roles;
  ImplicitLocOpBuilder b;
  SmallVector<ChannelOp> channels;
  /// Pointer to shared memory, and its address in units of matrix descriptors.
  Value sharedMemory, sharedAddress;
};

} // namespace

LogicalResult KernelLowering::collect() {
  WalkResult result = kernel.walk([&](Operation *op) {
    if (auto channel = dyn_cast<ChannelOp>(op)) {
      if (!channel.getOffset()) {
        op->emitOpError("has no place in shared memory; run sparseattn-nv-plan-smem first");
        return WalkResult::interrupt();
      }
      channels.push_back(channel);
    }
    Region *role = isProducerOp(op)   ? &roles.getProducerBody()
                   : isConsumerOp(op) ? &roles.getConsumerBody()
                                      : nullptr;
    if (!role || role->isAncestor(op->getParentRegion()))
      return WalkResult::advance();
    op->emitOpError("is outside the role that runs it, the ")
        << (isProducerOp(op) ? "producer" : "consumer") << " region of sparseattn_nv.specialize";
    return WalkResult::interrupt();
  });
  if (result.wasInterrupted())
    return failure();
  for (ChannelOp channel : channels)
    for (Operation *user : channel.getChannel().getUsers())
      if (!isa<FillOp, PostOp, AwaitOp, TakeOp, ReleaseOp>(user))
        return user->emitOpError("takes a channel as operand, which only fill, post, await, take and release may");
  return success();
}

void KernelLowering::addSharedMemory() {
  sharedMemory = buildSharedMemory(b, kernel->getParentOfType<gpu::GPUModuleOp>());
  Value address = LLVM::PtrToIntOp::create(b, b.getI32Type(), sharedMemory);
  // 14 bits of a matrix descriptor.
  sharedAddress = arith::AndIOp::create(
      b, arith::ShRUIOp::create(b, address, i32(llvm::Log2_64(hopper::kDescriptorUnit))), i32((1 << 14) - 1));
}

void KernelLowering::initializeBarriers(Value thread) {
  Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, thread, i32(0));
  auto branch = scf::IfOp::create(b, isFirst, /*withElseRegion=*/false);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    int64_t consumerThreads = roles.getConsumers() * hopper::kWarpgroupThreads;
    for (ChannelOp channel : channels)
      for (int64_t stage = 0; stage < channel.getChannel().getType().getStages(); ++stage) {
        NVVM::MBarrierInitOp::create(b, getFull(channel, i32(stage)), i32(1), Value());
        NVVM::MBarrierInitOp::create(b, getEmpty(channel, i32(stage)), i32(consumerThreads), Value());
      }
    NVVM::FenceMbarrierInitOp::create(b);
  }
  NVVM::Barrier0Op::create(b);
}

Slot KernelLowering::getSlot(Value position, ChannelType type) {
  int64_t stages = type.getStages();
  if (stages == 1)
    return {i32(0), position};
  if (llvm::isPowerOf2_64(stages))
    return {arith::AndIOp::create(b, position, i32(stages - 1)),
            arith::ShRUIOp::create(b, position, i32(llvm::Log2_64(stages)))};
  return {arith::RemUIOp::create(b, position, i32(stages)), arith::DivUIOp::create(b, position, i32(stages))};
}

void KernelLowering::lower(FillOp fill) {
  auto channel = fill.getChannel().getDefiningOp<ChannelOp>();
  ChannelType type = fill.getChannel().getType();
  int64_t bytes = type.getTile().getSizeInBytes();
  Slot slot = getSlot(fill.getPosition(), type);
  waitUntilEmpty(channel, slot);
  Value full = getFull(channel, slot.stage);
  NVVM::MBarrierArriveExpectTxOp::create(b, Type(), full, i32(bytes), NVVM::MemScopeKind::CTA, /*relaxed=*/false,
                                         Value());
  Value map = UnrealizedConversionCastOp::create(b, LLVM::LLVMPointerType::get(b.getContext()), fill.getMap())
                  .getResult(0);
  // The map's box is the whole tile, or a block of it.
  TileType tile = type.getTile();
  int64_t loads = tile.getColumns() % hopper::kSwizzleColumns == 0 ? 1 : tile.getNumBlocks();
  SmallVector<Value> coordinates(fill.getCoordinates());
  for (int64_t block = 0; block < loads; ++block) {
    if (block != 0)
      coordinates[0] = arith::AddIOp::create(b, coordinates[0], i32(hopper::kSwizzleColumns));
    Value place = getPointer(getOffset(*channel.getOffset() + block * tile.getBlockBytes(), slot.stage, bytes));
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(b, place, map, coordinates, full, ValueRange(), Value(),
                                                           Value(), NVVM::TMALoadMode::TILE, /*isCTAOnly=*/true,
                                                           NVVM::CTAGroupKindAttr(), Value());
  }
}

void KernelLowering::lower(AwaitOp await) {
  auto channel = await.getChannel().getDefiningOp<ChannelOp>();
  ChannelType type = await.getChannel().getType();
  Slot slot = getSlot(await.getPosition(), type);
  wait(getFull(channel, slot.stage), getParity(slot.round));
  Value offset = getOffset(*channel.getOffset() / hopper::kDescriptorUnit, slot.stage,
                           type.getTile().getSizeInBytes() / hopper::kDescriptorUnit);
  Value address = arith::AddIOp::create(b, sharedAddress, offset);
  await.replaceAllUsesWith(TileAtOp::create(b, type.getTile(), address).getResult());
}

void KernelLowering::lower(ReleaseOp release) {
  auto channel = release.getChannel().getDefiningOp<ChannelOp>();
  Slot slot = getSlot(release.getPosition(), release.getChannel().getType());
  Value empty = getEmpty(channel, slot.stage);
  // Every lane arrives: with a branch on the lane, ptxas takes the loops over tiles and keys for divergent and
  // computes matrix descriptors in vector registers, two moves to uniform ones for each product.
  NVVM::MBarrierArriveOp::create(b, b.getI64Type(), empty, Value());
}

void KernelLowering::lower(PostOp post) {
  auto channel = post.getChannel().getDefiningOp<ChannelOp>();
  Slot slot = getSlot(post.getPosition(), post.getChannel().getType());
  waitUntilEmpty(channel, slot);
  for (auto [index, number] : llvm::enumerate(post.getNumbers()))
    LLVM::StoreOp::create(b, number, getNumber(channel, slot.stage, index));
  if (post.getAlone())
    NVVM::MBarrierArriveOp::create(b, b.getI64Type(), getFull(channel, slot.stage), Value());
}

void KernelLowering::lower(TakeOp take) {
  auto channel = take.getChannel().getDefiningOp<ChannelOp>();
  Slot slot = getSlot(take.getPosition(), take.getChannel().getType());
  wait(getFull(channel, slot.stage), getParity(slot.round));
  // Volatile: another thread writes them.
  for (auto [index, number] : llvm::enumerate(take.getNumbers()))
    number.replaceAllUsesWith(LLVM::LoadOp::create(b, b.getI32Type(), getNumber(channel, slot.stage, index),
                                                   /*alignment=*/0, /*isVolatile=*/true)
                                  .getResult());
}

/// The counters are the kernel's own memory, 0 when it is loaded. Every block asks once for each tile that it works
/// on, so that a launch counts to `tiles` and wraps to 0 again: nothing has to reset it.
void KernelLowering::lower(NextTileOp next) {
  auto module = kernel->getParentOfType<gpu::GPUModuleOp>();
  std::string name = (kernel.getName() + "_tiles").str();
  auto type = LLVM::LLVMArrayType::get(b.getI32Type(), kTileCounters);
  auto global = module.lookupSymbol<LLVM::GlobalOp>(name);
  if (!global) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    global = LLVM::GlobalOp::create(b, type, /*isConstant=*/false, LLVM::Linkage::Internal, name, Attribute(),
                                    /*alignment=*/0, /*addrSpace=*/1);
    b.setInsertionPointToStart(b.createBlock(&global.getInitializer()));
    LLVM::ReturnOp::create(b, LLVM::ZeroOp::create(b, type).getResult());
  }
  Value counters = LLVM::AddressOfOp::create(b, global);
  Value counter = LLVM::GEPOp::create(b, counters.getType(), b.getI32Type(), counters,
                                      ArrayRef<LLVM::GEPArg>{next.getCounter()});
  Value last = arith::SubIOp::create(b, next.getTiles(), i32(1));
  Value taken = LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::uinc_wrap, counter, last,
                                          LLVM::AtomicOrdering::monotonic, "device");
  Value blocks = arith::IndexCastOp::create(b, b.getI32Type(), gpu::GridDimOp::create(b, gpu::Dimension::x));
  next.replaceAllUsesWith(arith::AddIOp::create(b, blocks, taken).getResult());
}

/// The threads of the consumer that waits and of the one that passes the turn meet at a barrier of the former's own;
/// barrier 0 is the block's.
void KernelLowering::lower(TakeTurnOp take) {
  NVVM::BarrierOp::create(b, TypeRange(), getTurn(take.getConsumer()), i32(2 * hopper::kWarpgroupThreads),
                          NVVM::BarrierReductionAttr(), Value());
}

void KernelLowering::lower(PassTurnOp pass) {
  NVVM::BarrierArriveOp::create(b, getTurn(pass.getConsumer()), i32(2 * hopper::kWarpgroupThreads));
}

void KernelLowering::lowerRoles(Value warp) {
  int64_t launch = hopper::getLaunchRegisters(roles.getNumThreads());
  auto setRegisters = [&](uint32_t count) {
    if (count == launch)
      return;
    NVVM::SetMaxRegisterOp::create(b, count,
                                   count < launch ? NVVM::SetMaxRegisterAction::decrease
                                                  : NVVM::SetMaxRegisterAction::increase);
  };
  Value warpgroup = arith::ShRUIOp::create(b, warp, i32(llvm::Log2_64(hopper::kWarpgroupWarps)));
  Value isProducer = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, warpgroup, i32(0));
  auto branch = scf::IfOp::create(b, isProducer, /*withElseRegion=*/true);
  roles.getProducerBlock()->getTerminator()->erase();
  roles.getConsumerBlock()->getTerminator()->erase();

  // The producer: one lane of the first warp of the first warpgroup.
  b.setInsertionPointToStart(branch.thenBlock());
  setRegisters(roles.getProducerRegisters());
  Value isFirstWarp = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, warp, i32(0));
  auto inWarp = scf::IfOp::create(b, isFirstWarp, /*withElseRegion=*/false);
  b.setInsertionPointToStart(inWarp.thenBlock());
  auto elected = scf::IfOp::create(b, NVVM::ElectSyncOp::create(b, b.getI1Type(), Value()).getResult(),
                                   /*withElseRegion=*/false);
  Block *producer = elected.thenBlock();
  producer->getOperations().splice(producer->begin(), roles.getProducerBlock()->getOperations());

  // The consumers: every other warpgroup.
  Block *consumer = branch.elseBlock();
  b.setInsertionPointToStart(consumer);
  setRegisters(roles.getConsumerRegisters());
  roles.getWarpgroup().replaceAllUsesWith(arith::SubIOp::create(b, warpgroup, i32(1)));
  consumer->getOperations().splice(b.getInsertionPoint(), roles.getConsumerBlock()->getOperations());
}

LogicalResult KernelLowering::run() {
  if (failed(collect()))
    return failure();
  addSharedMemory();
  Value thread = NVVM::ThreadIdXOp::create(b, b.getI32Type());
  initializeBarriers(thread);
  Value warp = arith::ShRUIOp::create(b, thread, i32(llvm::Log2_64(hopper::kWarpThreads)));
  auto reduction = NVVM::ReduxKindAttr::get(b.getContext(), NVVM::ReduxKind::OR);
  warp = NVVM::ReduxOp::create(b, b.getI32Type(), warp, reduction, i32(-1));
  lowerRoles(warp);
  kernel.setKnownBlockSizeAttr(b.getDenseI32ArrayAttr({static_cast<int32_t>(roles.getNumThreads()), 1, 1}));

  SmallVector<Operation *> users;
  for (ChannelOp channel : channels)
    llvm::append_range(users, channel.getChannel().getUsers());
  kernel.walk([&](Operation *op) {
    if (isa<NextTileOp, TakeTurnOp, PassTurnOp>(op))
      users.push_back(op);
  });
  for (Operation *user : users)
    TypeSwitch<Operation *>(user).Case<FillOp, PostOp, AwaitOp, TakeOp, ReleaseOp, NextTileOp, TakeTurnOp, PassTurnOp>(
        [&](auto op) {
          b.setLoc(op.getLoc());
          b.setInsertionPoint(op);
          lower(op);
          op.erase();
        });
  for (ChannelOp channel : channels)
    channel.erase();
  roles.erase();
  return success();
}

static LogicalResult lowerKernel(gpu::GPUFuncOp kernel) {
  for (auto roles : kernel.getBody().getOps<SpecializeOp>())
    return KernelLowering(kernel, roles).run();
  WalkResult stray = kernel.walk([](Operation *op) {
    if (!isa<ChannelOp>(op) && !isProducerOp(op) && !isConsumerOp(op))
      return WalkResult::advance();
    op->emitOpError("needs roles: no sparseattn_nv.specialize in this kernel");
    return WalkResult::interrupt();
  });
  return failure(stray.wasInterrupted());
}

namespace {
struct LowerChannels : sparseattn::impl::SparseAttnNVLowerChannelsBase<LowerChannels> {
  void runOnOperation() override {
    if (failed(forEachKernel(getOperation(), lowerKernel)))
      signalPassFailure();
  }
};
} // namespace
