//===- DeferRowSums.cpp - add up the lanes of a row after the loops --------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVDEFERROWSUMS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// sum' = sum * factor + reduce add tile, where `update` makes sum'; without a factor, sum' = sum + reduce add tile.
struct RunningSum {
  Operation *update;
  /// Null when the product is part of `update` (a fused multiply-add).
  Operation *product;
  Value factor;
  ReduceOp reduce;
};

} // namespace

/// The running sum that a loop carries as its iterated value `index`, if it
/// carries one there and nothing else in the loop reads it.
static std::optional<RunningSum> matchRunningSum(scf::ForOp loop, unsigned index) {
  Value sum = loop.getRegionIterArg(index);
  auto type = dyn_cast<RankedTensorType>(sum.getType());
  Operation *update = loop.getBody()->getTerminator()->getOperand(index).getDefiningOp();
  if (!type || !isa_and_nonnull<RowAttr>(type.getEncoding()) || !sum.hasOneUse() || !update ||
      update->getBlock() != loop.getBody() || !update->hasOneUse())
    return std::nullopt;
  RunningSum found = {update, nullptr, {}, {}};
  Value added;
  if (auto fma = dyn_cast<math::FmaOp>(update)) {
    found.factor = fma.getA() == sum ? fma.getB() : fma.getA();
    if (fma.getA() != sum && fma.getB() != sum)
      return std::nullopt;
    added = fma.getC();
  } else if (auto add = dyn_cast<arith::AddFOp>(update)) {
    for (auto [one, other] : {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())})
      if (one == sum) {
        added = other;
      } else if (auto mul = one.getDefiningOp<arith::MulFOp>(); mul && llvm::is_contained(mul->getOperands(), sum)) {
        found.product = mul;
        found.factor = mul.getLhs() == sum ? mul.getRhs() : mul.getLhs();
        added = other;
      }
  }
  if (!added || (found.product && !found.product->hasOneUse()))
    return std::nullopt;
  found.reduce = added.getDefiningOp<ReduceOp>();
  if (!found.reduce || found.reduce->getBlock() != loop.getBody() || found.reduce.getKind() != ReduceKind::Add || found.reduce.getPartial() || !added.hasOneUse())
    return std::nullopt;
  return found;
}

/// Loops that hand value `index` on to each other, from `first`; empty when one
/// of them does something else with it.
static SmallVector<std::pair<scf::ForOp, RunningSum>> matchChain(scf::ForOp first, unsigned index) {
  SmallVector<std::pair<scf::ForOp, RunningSum>> chain;
  for (scf::ForOp loop = first; loop;) {
    std::optional<RunningSum> sum = matchRunningSum(loop, index);
    if (!sum)
      return {};
    chain.emplace_back(loop, *sum);
    Value result = loop.getResult(index);
    scf::ForOp next = result.hasOneUse() ? dyn_cast<scf::ForOp>(*result.getUsers().begin()) : scf::ForOp();
    if (!next || index >= next.getNumResults() || next.getInitArgs()[index] != result)
      break;
    loop = next;
  }
  return chain;
}

static void defer(MutableArrayRef<std::pair<scf::ForOp, RunningSum>> chain, unsigned index, OpBuilder &builder) {
  scf::ForOp first = chain.front().first;
  auto rowType = cast<RankedTensorType>(first.getResult(index).getType());
  auto type = RankedTensorType::get(rowType.getShape(), rowType.getElementType(),
                                    RowPartialAttr::get(rowType.getContext()));
  builder.setInsertionPoint(first);
  Value zero = arith::ConstantOp::create(builder, first.getLoc(), DenseElementsAttr::get(type, 0.0f));
  first.getInitArgsMutable()[index].assign(zero);
  for (auto &[loop, sum] : chain) {
    Location loc = sum.update->getLoc();
    loop.getRegionIterArg(index).setType(type);
    loop.getResult(index).setType(type);
    builder.setInsertionPoint(sum.update);
    Value scaled = loop.getRegionIterArg(index);
    if (sum.factor)
      scaled = ScaleOp::create(builder, loc, type, scaled, sum.factor);
    Value added = ReduceOp::create(builder, loc, ReduceKind::Add, sum.reduce.getSource(), /*partial=*/true);
    Value next = arith::AddFOp::create(builder, loc, scaled, added);
    sum.update->getResult(0).replaceAllUsesWith(next);
    sum.update->erase();
    if (sum.product)
      sum.product->erase();
    sum.reduce.erase();
  }
  Value last = chain.back().first.getResult(index);
  builder.setInsertionPointAfter(chain.back().first);
  auto combine = CombineOp::create(builder, first.getLoc(), last);
  last.replaceAllUsesExcept(combine.getResult(), combine);
}

namespace {
struct SparseAttnNVDeferRowSums : sparseattn::impl::SparseAttnNVDeferRowSumsBase<SparseAttnNVDeferRowSums> {
  void runOnOperation() override {
    OpBuilder builder(&getContext());
    SmallVector<scf::ForOp> loops;
    getOperation()->walk([&](scf::ForOp loop) { loops.push_back(loop); });
    for (scf::ForOp loop : loops)
      for (unsigned index = 0; index < loop.getNumResults(); ++index)
        if (matchPattern(loop.getInitArgs()[index], m_AnyZeroFloat()))
          if (auto chain = matchChain(loop, index); !chain.empty())
            defer(chain, index, builder);
  }
};
} // namespace
