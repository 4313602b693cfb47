//===- InsertChannels.cpp - loads of shared tiles to channels --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVINSERTCHANNELS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// Loads of one tensor that fill one ring: a single load, or one in each of
/// several loops that follow each other.
struct Group {
  Value source;
  SmallVector<LoadOp> loads;
  LoadOp first() const { return loads.front(); }
  bool inLoops() const { return isa<scf::ForOp>(first()->getParentOp()); }
};

} // namespace

/// The last operation of `block` that reads `tile`, or registers that a matrix
/// product on it will write: after it the tile may be overwritten.
static Operation *findLastUse(Value tile, Block *block) {
  Operation *last = nullptr;
  SmallVector<Value> worklist = {tile};
  while (!worklist.empty()) {
    for (Operation *user : worklist.pop_back_val().getUsers()) {
      Operation *ancestor = block->findAncestorOpInBlock(*user);
      if (ancestor && (!last || last->isBeforeInBlock(ancestor)))
        last = ancestor;
      if (isa<SubtileOp, DotOp>(user))
        llvm::append_range(worklist, user->getResults());
    }
  }
  return last;
}

/// The iterations of the loops of a group, which continue each other's counting,
/// number the items.
static LogicalResult checkCounting(const Group &group) {
  Value next;
  for (LoadOp load : group.loads) {
    auto loop = cast<scf::ForOp>(load->getParentOp());
    bool continues = next ? loop.getLowerBound() == next : isConstantIntValue(loop.getLowerBound(), 0);
    if (!continues || !isConstantIntValue(loop.getStep(), 1) || !loop.getInductionVar().getType().isInteger(32))
      return loop.emitOpError("must count in i32 by 1, from 0 or from where the loop before it ended, because its iterations "
                              "number the items of a channel");
    next = loop.getUpperBound();
  }
  return success();
}

static LogicalResult convertGroup(const Group &group, int64_t stages, StringRef name, OpBuilder &builder) {
  if (group.inLoops() && failed(checkCounting(group)))
    return failure();
  LoadOp first = group.first();
  TileType tile = first.getResult().getType();
  auto type = ChannelType::get(tile.getContext(), tile.getRows(), tile.getColumns(), tile.getElementType(), stages);
  Value channel = ChannelOp::create(builder, first.getLoc(), type, name);
  for (LoadOp load : group.loads) {
    OpBuilder at(load);
    Location loc = load.getLoc();
    Operation *last = findLastUse(load.getResult(), load->getBlock());
    if (!last)
      return load.emitOpError("loads a tile that nothing reads");
    auto loop = dyn_cast<scf::ForOp>(load->getParentOp());
    Value position = loop ? loop.getInductionVar()
                          : arith::ConstantIntOp::create(at, loc, at.getI32Type(), 0).getResult();
    FillOp::create(at, loc, channel, position, load.getMap(), load.getCoordinates());
    Value item = AwaitOp::create(at, loc, channel, position);
    at.setInsertionPointAfter(last);
    ReleaseOp::create(at, loc, channel, position);
    load.getResult().replaceAllUsesWith(item);
    load.erase();
  }
  return success();
}

static LogicalResult insertChannels(gpu::GPUFuncOp kernel) {
  auto schedule = kernel->getAttrOfType<ScheduleAttr>(kScheduleAttrName);
  SmallVector<Group> groups;
  LoadOp misplaced;
  kernel.walk([&](LoadOp load) {
    Operation *parent = load->getParentOp();
    if (parent != kernel && !(isa<scf::ForOp>(parent) && parent->getParentOp() == kernel))
      misplaced = load;
    bool inLoop = isa<scf::ForOp>(load->getParentOp());
    for (Group &group : groups)
      if (group.source == load.getMap() && inLoop && group.inLoops() &&
          group.loads.front()->getParentOp()->getBlock() == load->getParentOp()->getBlock() &&
          group.loads.back()->getParentOp() != load->getParentOp() &&
          group.loads.front().getResult().getType() == load.getResult().getType()) {
        group.loads.push_back(load);
        return;
      }
    groups.push_back({load.getMap(), {load}});
  });
  if (misplaced)
    return misplaced.emitOpError("must stand in the kernel's body or in a loop there, so that its items can be numbered");
  if (groups.empty())
    return success();
  if (!schedule)
    return kernel.emitOpError("has no schedule (attribute sparseattn.schedule), which says how many stages a channel has");
  OpBuilder builder = OpBuilder::atBlockBegin(&kernel.getBody().front());
  for (auto [index, group] : llvm::enumerate(groups))
    if (failed(convertGroup(group, group.inLoops() ? schedule.getStages() : 1, ("c" + Twine(index)).str(), builder)))
      return failure();
  return success();
}

namespace {
struct SparseAttnNVInsertChannels : sparseattn::impl::SparseAttnNVInsertChannelsBase<SparseAttnNVInsertChannels> {
  void runOnOperation() override {
    if (failed(forEachKernel(getOperation(), insertChannels)))
      signalPassFailure();
  }
};
} // namespace
