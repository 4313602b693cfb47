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
#include "sparseattn/Target/HopperTarget.h"

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
  bool inLoops() const {
    auto loop = dyn_cast<scf::ForOp>(first()->getParentOp());
    return loop && !loop->hasAttr(kTilesAttr);
  }
  /// Items of one tile; null for one item.
  Value getCount() const {
    return inLoops() ? cast<scf::ForOp>(loads.back()->getParentOp()).getUpperBound() : Value();
  }
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

/// Items of all tiles of a block are numbered through: `first` is the number of
/// a tile's first item, null where there is no loop over tiles.
static LogicalResult convertGroup(const Group &group, Value first, int64_t stages, StringRef name, OpBuilder &builder) {
  TileType tile = group.first().getResult().getType();
  auto type = ChannelType::get(tile.getContext(), tile.getRows(), tile.getColumns(), tile.getElementType(), stages);
  Value channel = ChannelOp::create(builder, group.first().getLoc(), type, name);
  bool inLoops = group.inLoops();
  for (LoadOp load : group.loads) {
    OpBuilder at(load);
    Location loc = load.getLoc();
    Operation *last = findLastUse(load.getResult(), load->getBlock());
    if (!last)
      return load.emitOpError("loads a tile that nothing reads");
    Value position = inLoops ? cast<scf::ForOp>(load->getParentOp()).getInductionVar() : Value();
    if (first && position)
      position = arith::AddIOp::create(at, loc, first, position);
    else if (!position)
      position = first ? first : arith::ConstantIntOp::create(at, loc, at.getI32Type(), 0).getResult();
    FillOp::create(at, loc, channel, position, load.getMap(), load.getCoordinates());
    Value item = AwaitOp::create(at, loc, channel, position);
    at.setInsertionPointAfter(last);
    ReleaseOp::create(at, loc, channel, position);
    load.getResult().replaceAllUsesWith(item);
    load.erase();
  }
  return success();
}

/// Lets the loop over tiles carry how many items there were before this tile:
/// one counter for each number of items a tile. Returns the counter of each group.
static SmallVector<Value> addCounters(scf::ForOp tiles, ArrayRef<Group> groups) {
  SmallVector<Value> counts;
  SmallVector<unsigned> counterOf;
  for (const Group &group : groups) {
    auto known = llvm::find(counts, group.getCount());
    counterOf.push_back(known - counts.begin());
    if (known == counts.end())
      counts.push_back(group.getCount());
  }
  IRRewriter rewriter(tiles);
  Location loc = tiles.getLoc();
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIntOp::create(rewriter, loc, rewriter.getI32Type(), value);
  };
  SmallVector<Value> init(counts.size(), constant(0));
  auto yield = [&](OpBuilder &builder, Location, ArrayRef<BlockArgument> counters) {
    SmallVector<Value> next;
    for (auto [counter, count] : llvm::zip(counters, counts)) {
      Value items = count ? arith::MaxSIOp::create(builder, loc, count, constant(0)).getResult() : constant(1);
      next.push_back(arith::AddIOp::create(builder, loc, counter, items));
    }
    return next;
  };
  unsigned carried = tiles.getNumRegionIterArgs();
  auto loop = cast<scf::ForOp>(
      *tiles.replaceWithAdditionalYields(rewriter, init, /*replaceInitOperandUsesInLoop=*/false, yield));
  SmallVector<Value> result;
  for (unsigned counter : counterOf)
    result.push_back(loop.getRegionIterArg(carried + counter));
  return result;
}

/// What a slot takes beside its tile, at most: two barriers, and the number of a tile with what it is divided into.
static constexpr int64_t kSlotBytes = 2 * hopper::kBarrierBytes + 8 * hopper::kNumberBytes;

/// Whether shared memory has room for two items of the groups that have one item
/// for each tile.
static bool fitsTwice(ArrayRef<Group> groups, int64_t stages) {
  int64_t bytes = 0;
  for (const Group &group : groups) {
    int64_t items = group.inLoops() ? stages : 2;
    // Two barriers, and numbers.
    bytes += items * (LoadOp(group.first()).getResult().getType().getSizeInBytes() + kSlotBytes);
  }
  return bytes <= hopper::kSharedMemoryLimit;
}

static LogicalResult insertChannels(gpu::GPUFuncOp kernel) {
  auto schedule = kernel->getAttrOfType<ScheduleAttr>(kScheduleAttrName);
  SmallVector<Group> groups;
  LoadOp misplaced;
  scf::ForOp tiles = findTileLoop(kernel.getBody().front());
  Operation *scope = tiles ? tiles.getOperation() : kernel.getOperation();
  kernel.walk([&](LoadOp load) {
    Operation *parent = load->getParentOp();
    bool inLoop = parent != scope;
    if (inLoop && !(isa<scf::ForOp>(parent) && parent->getParentOp() == scope))
      misplaced = load;
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
    return misplaced.emitOpError("must stand in the kernel's body, its loop over tiles or a loop there, so that its items can be numbered");
  if (groups.empty())
    return success();
  if (!schedule)
    return kernel.emitOpError("has no schedule (attribute sparseattn.schedule), which says how many stages a channel has");
  for (const Group &group : groups)
    if (group.inLoops() && failed(checkCounting(group)))
      return failure();
  SmallVector<Value> firsts(groups.size());
  if (tiles)
    firsts = addCounters(tiles, groups);
  // The next tile's items load under this tile where two fit.
  int64_t single = tiles && fitsTwice(groups, schedule.getStages()) ? 2 : 1;
  OpBuilder builder = OpBuilder::atBlockBegin(&kernel.getBody().front());
  for (auto [index, group] : llvm::enumerate(groups))
    if (failed(convertGroup(group, firsts[index], group.inLoops() ? schedule.getStages() : single,
                            ("c" + Twine(index)).str(), builder)))
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
