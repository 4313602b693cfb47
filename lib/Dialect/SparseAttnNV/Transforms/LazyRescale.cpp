//===- LazyRescale.cpp - rescale accumulators only when it matters ---------===//
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

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVLAZYRESCALE
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

/// Below this the vote and the branch cost as much as they save.
static constexpr int64_t kLeastColumns = 96;

/// Products of an accumulator that `loop` carries with the factor.
static SmallVector<arith::MulFOp> findRescales(scf::ForOp loop, Value factor) {
  SmallVector<arith::MulFOp> found;
  for (Operation *user : factor.getUsers()) {
    auto broadcast = dyn_cast<BroadcastOp>(user);
    if (!broadcast || broadcast->getBlock() != loop.getBody())
      continue;
    for (Operation *product : broadcast->getUsers())
      if (auto mul = dyn_cast<arith::MulFOp>(product);
          mul && mul.getRhs() == broadcast && llvm::is_contained(loop.getRegionIterArgs(), mul.getLhs()) &&
          broadcast.getResult().getType().getDimSize(1) >= kLeastColumns)
        found.push_back(mul);
  }
  return found;
}

static void rewrite(RunningMaximum &running, ArrayRef<arith::MulFOp> rescales, Value old, double threshold,
                    OpBuilder &builder) {
  arith::MaxNumFOp maximum = running.maximum;
  Location loc = maximum.getLoc();
  auto type = cast<RankedTensorType>(maximum.getType());
  builder.setInsertionPointAfter(maximum);
  Value excess = arith::ConstantOp::create(
      builder, loc, DenseElementsAttr::get(type, static_cast<float>(threshold / running.scale)));
  Value limit = arith::AddFOp::create(builder, loc, old, excess);
  Value exceeds = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, maximum, limit);
  Value reference = arith::SelectOp::create(builder, loc, exceeds, maximum, old);
  maximum.getResult().replaceUsesWithIf(reference, [&](OpOperand &use) {
    return use.getOwner() != exceeds.getDefiningOp() && use.getOwner() != reference.getDefiningOp();
  });
  for (arith::MulFOp product : rescales) {
    builder.setInsertionPoint(product);
    Value factor = product.getRhs().getDefiningOp<BroadcastOp>().getSource();
    Value scaled = RescaleOp::create(builder, product.getLoc(), product.getType(), product.getLhs(), factor);
    product.replaceAllUsesWith(scaled);
    product.erase();
  }
}

namespace {
struct LazyRescale : sparseattn::impl::SparseAttnNVLazyRescaleBase<LazyRescale> {
  using Base::Base;
  void runOnOperation() override {
    OpBuilder builder(&getContext());
    SmallVector<scf::ForOp> loops;
    getOperation()->walk([&](scf::ForOp loop) { loops.push_back(loop); });
    for (scf::ForOp loop : loops)
      for (unsigned index = 0; index < loop.getNumResults(); ++index) {
        std::optional<RunningMaximum> running = matchRunningMaximum(loop, index);
        if (!running)
          continue;
        SmallVector<arith::MulFOp> rescales = findRescales(loop, running->factor);
        if (!rescales.empty())
          rewrite(*running, rescales, loop.getRegionIterArg(index), threshold, builder);
      }
  }
};
} // namespace
