//===- Products.cpp - matrix products on the values of a thread ------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

using Results = SmallVector<SmallVector<Value>>;

struct DistributeDot : FragmentPattern<DotOp> {
  using FragmentPattern::FragmentPattern;
  Results build(DotOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    bool shared = isa<TileType>(op.getA().getType());
    auto chain = MmaChainOp::create(b, getThreadTypes(op.getResult().getType()),
                                    shared ? adaptor.getA().front() : Value(),
                                    shared ? ValueRange() : adaptor.getA(), adaptor.getB().front(),
                                    op.getAcc() ? adaptor.getAcc() : ValueRange(), op.getTransposeB());
    return {SmallVector<Value>(chain.getResults())};
  }
};

struct DistributeWait : FragmentPattern<WaitOp> {
  using FragmentPattern::FragmentPattern;
  Results build(WaitOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    SmallVector<Value> pending;
    for (ValueRange values : adaptor.getPending())
      llvm::append_range(pending, values);
    auto wait = MmaWaitOp::create(b, ValueRange(pending).getTypes(), pending, op.getOutstanding());
    Results results;
    ValueRange rest = wait.getResults();
    for (ValueRange values : adaptor.getPending()) {
      results.emplace_back(rest.take_front(values.size()));
      rest = rest.drop_front(values.size());
    }
    return results;
  }
};

/// The packed accumulator is the operand: columns 2k, 2k+1 of row r, then of row r + 8, of 16 columns at a time.
struct DistributeToOperand : FragmentPattern<ToOperandOp> {
  using FragmentPattern::FragmentPattern;
  Results build(ToOperandOp, Adaptor adaptor, ImplicitLocOpBuilder &) const override {
    return {SmallVector<Value>(adaptor.getSource())};
  }
};

} // namespace

void nv::populateProductPatterns(const TypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<DistributeDot, DistributeToOperand, DistributeWait>(converter, patterns.getContext());
}
