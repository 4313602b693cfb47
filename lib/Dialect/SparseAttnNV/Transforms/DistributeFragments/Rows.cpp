//===- Rows.cpp - reductions, broadcasts and masks of a thread -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <limits>

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

using Results = SmallVector<SmallVector<Value>>;

Value buildReduction(ImplicitLocOpBuilder &b, ReduceKind kind, Value x, Value y) {
  if (kind == ReduceKind::Max)
    return arith::MaxNumFOp::create(b, x, y);
  return arith::AddFOp::create(b, x, y);
}

/// Over the lanes that share a row.
Value buildQuadReduction(ImplicitLocOpBuilder &b, ReduceKind kind, Value value) {
  for (int64_t distance = 1; distance < fragment::kQuad; distance *= 2)
    value = buildReduction(b, kind, value, buildExchange(b, value, distance));
  return value;
}

struct DistributeReduce : FragmentPattern<ReduceOp> {
  using FragmentPattern::FragmentPattern;
  Results build(ReduceOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    SmallVector<Value> rows;
    for (int64_t row = 0; row < fragment::kRowsPerThread; ++row) {
      // Two chains, for even and odd columns: one would wait for the latency of every step.
      Value chains[fragment::kPair];
      for (auto [i, value] : llvm::enumerate(adaptor.getSource())) {
        if (fragment::getRowOfValue(i) != row)
          continue;
        Value &chain = chains[i % fragment::kPair];
        chain = chain ? buildReduction(b, op.getKind(), chain, value) : value;
      }
      Value result = buildReduction(b, op.getKind(), chains[0], chains[1]);
      rows.push_back(op.getPartial() ? result : buildQuadReduction(b, op.getKind(), result));
    }
    return {rows};
  }
};

struct DistributeCombine : FragmentPattern<CombineOp> {
  using FragmentPattern::FragmentPattern;
  Results build(CombineOp, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    SmallVector<Value> rows;
    for (Value value : adaptor.getSource())
      rows.push_back(buildQuadReduction(b, ReduceKind::Add, value));
    return {rows};
  }
};

struct DistributeScale : FragmentPattern<ScaleOp> {
  using FragmentPattern::FragmentPattern;
  Results build(ScaleOp, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    SmallVector<Value> rows;
    for (auto [value, factor] : llvm::zip(adaptor.getSource(), adaptor.getFactor()))
      rows.push_back(arith::MulFOp::create(b, value, factor));
    return {rows};
  }
};

/// One vote for the warp: rows of a warp mostly keep their scale together.
struct DistributeRescale : FragmentPattern<RescaleOp> {
  using FragmentPattern::FragmentPattern;
  Results build(RescaleOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    Value one = arith::ConstantOp::create(b, b.getF32FloatAttr(1.0f)), changes;
    for (Value factor : adaptor.getFactor()) {
      Value differs = arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, factor, one);
      changes = changes ? arith::OrIOp::create(b, changes, differs).getResult() : differs;
    }
    auto any = NVVM::VoteSyncKindAttr::get(b.getContext(), NVVM::VoteSyncKind::any);
    Value vote = NVVM::VoteSyncOp::create(b, b.getI1Type(), buildI32(b, -1), changes, any);
    ValueRange source = adaptor.getSource();
    auto branch = scf::IfOp::create(b, source.getTypes(), vote, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    SmallVector<Value> scaled;
    for (auto [i, value] : llvm::enumerate(source))
      scaled.push_back(arith::MulFOp::create(b, value, adaptor.getFactor()[fragment::getRowOfValue(i)]));
    scf::YieldOp::create(b, scaled);
    b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(b, source);
    return {SmallVector<Value>(branch.getResults())};
  }
};

struct DistributeAnyAbove : FragmentPattern<AnyAboveOp> {
  using FragmentPattern::FragmentPattern;
  Results build(AnyAboveOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    Value limit = arith::ConstantOp::create(b, op.getLimitAttr()), any;
    for (Value value : adaptor.getSource()) {
      Value above = arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, value, limit);
      any = any ? arith::OrIOp::create(b, any, above).getResult() : above;
    }
    // Barriers 1 to kMaxConsumers are those of turns; consumers are warpgroups 1 and up.
    Value warpgroup = arith::DivUIOp::create(b, NVVM::ThreadIdXOp::create(b, b.getI32Type()),
                                             buildI32(b, hopper::kWarpgroupThreads));
    Value barrier = arith::AddIOp::create(b, warpgroup, buildI32(b, hopper::kMaxConsumers));
    // nvvm.barrier reduces at barrier 0 only.
    auto vote = LLVM::CallIntrinsicOp::create(b, b.getI1Type(),
                                              b.getStringAttr("llvm.nvvm.barrier.cta.red.or.aligned.count"),
                                              ValueRange{barrier, buildI32(b, hopper::kWarpgroupThreads), any});
    // What comes of a vote of the warp is uniform to ptxas, what comes of a barrier is not: it would keep matrix
    // descriptors in vector registers.
    auto kind = NVVM::VoteSyncKindAttr::get(b.getContext(), NVVM::VoteSyncKind::any);
    return {{NVVM::VoteSyncOp::create(b, b.getI1Type(), buildI32(b, -1), vote.getResult(0), kind)}};
  }
};

struct DistributeBroadcast : FragmentPattern<BroadcastOp> {
  using FragmentPattern::FragmentPattern;
  Results build(BroadcastOp op, Adaptor adaptor, ImplicitLocOpBuilder &) const override {
    SmallVector<Value> values;
    int64_t count = fragment::getNumValues(cast<RankedTensorType>(op.getResult().getType()).getDimSize(1));
    for (int64_t i = 0; i < count; ++i)
      values.push_back(adaptor.getSource()[fragment::getRowOfValue(i)]);
    return {values};
  }
};

struct DistributeRows : FragmentPattern<RowsOp> {
  using FragmentPattern::FragmentPattern;
  Results build(RowsOp, Adaptor, ImplicitLocOpBuilder &b) const override {
    Value first = buildThreadRow(b, buildThread(b));
    return {{first, arith::AddIOp::create(b, first, buildI32(b, fragment::kRowDistance))}};
  }
};

constexpr int64_t wordBits = 32;

/// A bit for each element of a row that a thread holds, in words: set for the columns below `bound`, which
/// counts from the thread's first column. A thread has the first two of every 8 columns.
SmallVector<Value> buildColumnBits(ImplicitLocOpBuilder &b, Value bound, int64_t columns) {
  auto op = [&](auto tag, Value x, int64_t y) -> Value { return decltype(tag)::create(b, x, buildI32(b, y)); };
  auto clamp = [&](Value x, int64_t most) {
    return op(arith::MinSIOp(), op(arith::MaxSIOp(), x, 0), most);
  };
  constexpr int64_t group = fragment::kQuadColumns;
  bound = clamp(bound, columns);
  Value groups = op(arith::DivUIOp(), bound, group), rest = op(arith::RemUIOp(), bound, group);
  Value count = arith::AddIOp::create(b, op(arith::MulIOp(), groups, fragment::kPair),
                                      op(arith::MinSIOp(), rest, fragment::kPair));
  SmallVector<Value> words;
  for (int64_t first = 0; first < columns / group * fragment::kPair; first += wordBits) {
    Value bits = clamp(op(arith::SubIOp(), count, first), wordBits);
    // 2^bits - 1 by two shifts, because one by 32 is undefined.
    Value half = op(arith::ShRUIOp(), bits, 1), power = arith::ShLIOp::create(b, buildI32(b, 1), half);
    power = arith::ShLIOp::create(b, power, arith::SubIOp::create(b, bits, half));
    words.push_back(op(arith::SubIOp(), power, 1));
  }
  return words;
}

/// The bits of a row are computed once, whatever its bounds; predicates are then loaded from them several at a time.
struct DistributeMask : FragmentPattern<MaskOp> {
  using FragmentPattern::FragmentPattern;
  Results build(MaskOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    Value column = arith::AddIOp::create(b, adaptor.getColumn().front(), buildThreadColumn(b, buildThread(b)));
    int64_t columns = cast<RankedTensorType>(op.getType()).getDimSize(1);
    SmallVector<Value> visible[fragment::kRowsPerThread];
    auto addBounds = [&](ValueRange bounds, bool isBegin) {
      for (auto [row, bound] : llvm::enumerate(bounds)) {
        SmallVector<Value> bits = buildColumnBits(b, arith::SubIOp::create(b, bound, column), columns);
        for (Value &word : bits)
          if (isBegin)
            word = arith::XOrIOp::create(b, word, buildI32(b, -1));
        if (visible[row].empty())
          visible[row] = bits;
        else
          for (auto [word, other] : llvm::zip(visible[row], bits))
            word = arith::AndIOp::create(b, word, other);
      }
    };
    if (op.getEnd())
      addBounds(adaptor.getEnd(), /*isBegin=*/false);
    if (op.getBegin())
      addBounds(adaptor.getBegin(), /*isBegin=*/true);
    Value minusInf = arith::ConstantOp::create(b, b.getF32FloatAttr(-std::numeric_limits<float>::infinity()));
    Value zero = buildI32(b, 0);
    SmallVector<Value> values;
    for (auto [i, value] : llvm::enumerate(adaptor.getSource())) {
      ArrayRef<Value> words = visible[fragment::getRowOfValue(i)];
      if (words.empty()) {
        values.push_back(value);
        continue;
      }
      int64_t column = fragment::getColumnOfValue(i);
      int64_t bit = column / fragment::kQuadColumns * fragment::kPair + column % fragment::kQuadColumns;
      Value flag = arith::AndIOp::create(b, words[bit / wordBits], buildI32(b, int64_t{1} << bit % wordBits));
      values.push_back(arith::SelectOp::create(b, arith::CmpIOp::create(b, arith::CmpIPredicate::ne, flag, zero), value,
                                               minusInf));
    }
    return {values};
  }
};

} // namespace

void nv::populateRowPatterns(const TypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<DistributeAnyAbove, DistributeBroadcast, DistributeCombine, DistributeMask, DistributeReduce, DistributeRescale, DistributeRows,
               DistributeScale>(converter, patterns.getContext());
}
