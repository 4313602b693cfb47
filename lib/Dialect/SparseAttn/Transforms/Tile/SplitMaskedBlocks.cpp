//===- SplitMaskedBlocks.cpp - sparseattn-split-masked-blocks --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "IndexMath.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/DescendingBlocks.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNSPLITMASKEDBLOCKS
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

static void dropFull(TileMaskOp mask) {
  mask.getFullBeginMutable().clear();
  mask.getFullEndMutable().clear();
}

static void splitLoop(scf::ForOp loop, TileMaskOp mask, Value last, int64_t columns) {
  OpBuilder b(loop);
  Location loc = loop.getLoc();
  IndexMath k(b, loc);
  // Blocks [first, end) are seen by every row; block `last - i` is that of iteration i.
  Value end = k.floorDiv(mask.getFullEnd(), columns);
  Value fullFrom = k.clamp(k.add(k.sub(last, end), 1), loop.getLowerBound(), loop.getUpperBound());
  // All rows end with the same key: only its block can be partial.
  if (isLastBlockBefore(last, mask.getFullEnd(), columns) && matchPattern(loop.getLowerBound(), m_Zero()))
    fullFrom = k.min(fullFrom, k.constant(1));
  Value fullTo = loop.getUpperBound();
  if (mask.getBegin()) {
    Value first = k.ceilDiv(mask.getFullBegin(), columns);
    fullTo = k.clamp(k.add(k.sub(last, first), 1), fullFrom, loop.getUpperBound());
  }
  ValueRange carried = loop.getInitArgs();
  auto cloneLoop = [&](Value from, Value to, bool masked) {
    IRMapping mapping;
    auto clone = cast<scf::ForOp>(b.clone(*loop, mapping));
    clone.setLowerBound(from);
    clone.setUpperBound(to);
    clone.getInitArgsMutable().assign(carried);
    auto copy = cast<TileMaskOp>(mapping.lookup(mask.getOperation()));
    if (masked) {
      dropFull(copy);
    } else {
      copy.getResult().replaceAllUsesWith(copy.getTile());
      copy.erase();
    }
    carried = clone.getResults();
  };
  cloneLoop(loop.getLowerBound(), fullFrom, /*masked=*/true);
  cloneLoop(fullFrom, fullTo, /*masked=*/false);
  if (mask.getBegin())
    cloneLoop(fullTo, loop.getUpperBound(), /*masked=*/true);
  loop.replaceAllUsesWith(carried);
  loop.erase();
}

/// Masks partial blocks only.
static void guardMask(TileMaskOp mask, int64_t columns) {
  OpBuilder b(mask);
  Location loc = mask.getLoc();
  IndexMath k(b, loc);
  Value isFull = k.compare(arith::CmpIPredicate::sle, k.add(mask.getColumn(), columns), mask.getFullEnd());
  if (mask.getBegin())
    isFull = k.both(isFull, k.compare(arith::CmpIPredicate::sle, mask.getFullBegin(), mask.getColumn()));
  auto choice = scf::IfOp::create(
      b, loc, isFull, [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, mask.getTile()); },
      [&](OpBuilder &b, Location loc) {
        auto copy = cast<TileMaskOp>(b.clone(*mask));
        dropFull(copy);
        scf::YieldOp::create(b, loc, copy.getResult());
      });
  mask.getResult().replaceAllUsesWith(choice.getResult(0));
  mask.erase();
}

void sparseattn::splitMaskedBlocks(TileMaskOp mask) {
  int64_t columns = cast<RankedTensorType>(mask.getTile().getType()).getDimSize(1);
  auto grid = mask->getParentOfType<scf::ForallOp>();
  auto schedule = grid ? grid->getAttrOfType<ScheduleAttr>(kScheduleAttrName) : ScheduleAttr();
  if (schedule && schedule.getGuardMasks())
    return guardMask(mask, columns);
  if (auto loop = dyn_cast<scf::ForOp>(mask->getParentOp()))
    if (Value last = matchDescendingBlocks(loop, mask.getColumn(), columns);
        last && loop.isDefinedOutsideOfLoop(mask.getFullBegin()) && loop.isDefinedOutsideOfLoop(mask.getFullEnd()))
      return splitLoop(loop, mask, last, columns);
  guardMask(mask, columns);
}

namespace {
struct SplitMaskedBlocks : sparseattn::impl::SparseAttnSplitMaskedBlocksBase<SplitMaskedBlocks> {
  void runOnOperation() override {
    // One at a time: splitting a loop copies the other masks in it.
    auto findMask = [&] {
      TileMaskOp found;
      getOperation()->walk([&](TileMaskOp mask) {
        if (!mask.getFullEnd())
          return WalkResult::advance();
        found = mask;
        return WalkResult::interrupt();
      });
      return found;
    };
    while (TileMaskOp mask = findMask())
      splitMaskedBlocks(mask);
  }
};
} // namespace
