//===- SkipMaskedBlocks.cpp - no work on blocks that a warpgroup masks -----===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/DescendingBlocks.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVSKIPMASKEDBLOCKS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// Key loops that follow each other, with the masks in them: iteration i reads
/// the `columns` keys from (last - i) * columns on.
struct MaskedLoops {
  SmallVector<scf::ForOp> loops;
  Value last, begin, end;
  int64_t columns = 0;
};

} // namespace

/// Whether a bound is sure to be the same for all rows.
static bool isUniform(Value bound) {
  Operation *op = bound.getDefiningOp();
  if (isa_and_nonnull<arith::AddIOp, arith::SubIOp, arith::MinSIOp, arith::MaxSIOp>(op))
    return llvm::all_of(op->getOperands(), isUniform);
  return isa_and_nonnull<tensor::SplatOp>(op) || matchPattern(bound, m_Constant());
}

/// Whether a bound is sure not to decrease from row to row.
static bool growsByRow(Value bound) {
  Operation *op = bound.getDefiningOp();
  if (isUniform(bound) || isa_and_nonnull<RowsOp>(op))
    return true;
  if (isa_and_nonnull<arith::SubIOp>(op))
    return growsByRow(op->getOperand(0)) && isUniform(op->getOperand(1));
  return isa_and_nonnull<arith::AddIOp, arith::MinSIOp, arith::MaxSIOp>(op) &&
         llvm::all_of(op->getOperands(), growsByRow);
}

/// Such a bound for one row of the warpgroup.
static Value buildBound(ImplicitLocOpBuilder &b, Value bound, int64_t row) {
  APInt constant;
  Operation *op = bound.getDefiningOp();
  if (isa<RowsOp>(op))
    return arith::ConstantIntOp::create(b, b.getI32Type(), row);
  if (matchPattern(bound, m_ConstantInt(&constant)))
    return arith::ConstantIntOp::create(b, b.getI32Type(), constant.getSExtValue());
  if (auto splat = dyn_cast<tensor::SplatOp>(op))
    return splat.getInput();
  Value lhs = buildBound(b, op->getOperand(0), row), rhs = buildBound(b, op->getOperand(1), row);
  return b.create(OperationState(b.getLoc(), op->getName().getIdentifier(), {lhs, rhs}, b.getI32Type()))->getResult(0);
}

static bool hasMask(scf::ForOp loop) { return !loop.getBody()->getOps<MaskOp>().empty(); }

/// Fails with the reason when no block can be skipped.
static FailureOr<MaskedLoops> findMaskedLoops(Block &tile, std::string &reason) {
  MaskedLoops chain;
  for (auto loop : tile.getOps<scf::ForOp>()) {
    if (loop.getBody()->getOps<DotOp>().empty())
      continue;
    Value begin = loop.getLowerBound();
    bool continues = chain.loops.empty() ? isConstantIntValue(begin, 0) : begin == chain.loops.back().getUpperBound();
    if (!continues || !isConstantIntValue(loop.getStep(), 1)) {
      reason = "the loops do not number the blocks through, from 0 by 1";
      return failure();
    }
    chain.loops.push_back(loop);
    loop.walk([&](MaskOp mask) {
      MaskedLoops found;
      found.columns = mask.getSource().getType().getDimSize(1);
      found.last = matchDescendingBlocks(loop, mask.getColumn(), found.columns);
      found.begin = mask.getBegin();
      found.end = mask.getEnd();
      if (!found.last || (chain.last && (found.last != chain.last || found.columns != chain.columns ||
                                      found.begin != chain.begin || found.end != chain.end)))
        reason = "blocks of keys do not follow each other, from the last to the first, under one mask";
      chain.last = found.last;
      chain.columns = found.columns;
      chain.begin = found.begin;
      chain.end = found.end;
    });
  }
  if (reason.empty() && !chain.last)
    reason = "there is no mask";
  if (!reason.empty())
    return failure();
  return chain;
}

/// Number of rows that the warpgroup stores, if every store says the same, and
/// if it is known before the loops.
static Value findValidRows(Block &tile, Operation *before) {
  Value valid;
  for (Operation &op : tile) {
    Value rows;
    if (auto store = dyn_cast<StoreTileOp>(op))
      rows = store.getValidRows();
    else if (auto store = dyn_cast<StoreRowsOp>(op))
      rows = store.getValidRows();
    if (rows && valid && rows != valid)
      return {};
    valid = rows ? rows : valid;
  }
  Operation *source = valid ? valid.getDefiningOp() : nullptr;
  if (!source || source->getBlock() != before->getBlock() || source->isBeforeInBlock(before))
    return valid;
  bool canMove = isPure(source) && llvm::none_of(source->getOperands(), [&](Value operand) {
                   Operation *op = operand.getDefiningOp();
                   return op && op->getBlock() == before->getBlock() && !op->isBeforeInBlock(before);
                 });
  if (!canMove)
    return {};
  source->moveBefore(before);
  return valid;
}

/// Awaits and releases what iterations [from, to) of `loop` would.
static void emitSkip(ImplicitLocOpBuilder &b, scf::ForOp loop, Value from, Value to) {
  auto skip = scf::ForOp::create(b, from, to, loop.getStep());
  IRMapping map;
  map.map(loop.getInductionVar(), skip.getInductionVar());
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(skip.getBody());
  for (Operation &op : loop.getBody()->without_terminator()) {
    bool isNumber = op.getNumResults() == 1 && op.getResult(0).getType().isInteger(32) && isPure(&op) &&
                    op.getNumRegions() == 0;
    if (isNumber || isa<AwaitOp, ReleaseOp>(op))
      b.clone(op, map);
  }
}

static void skipBlocks(MaskedLoops &chain, ImplicitLocOpBuilder &b) {
  auto constant = [&](int64_t value) -> Value { return arith::ConstantIntOp::create(b, b.getI32Type(), value); };
  auto add = [&](Value x, Value y) -> Value { return arith::AddIOp::create(b, x, y); };
  auto clamp = [&](Value x, Value least, Value most) -> Value {
    return arith::MinSIOp::create(b, arith::MaxSIOp::create(b, x, least), most);
  };
  scf::ForOp first = chain.loops.front(), final = chain.loops.back();
  Value zero = constant(0), columns = constant(chain.columns), total = final.getUpperBound();
  Value blocks = add(chain.last, constant(1));
  // How many iterations read blocks that hold the key of a bound or later ones; with `roundUp`, that begin there or
  // later.
  auto iterationOf = [&](Value bound, int64_t row, bool roundUp) -> Value {
    Value key = arith::MaxSIOp::create(b, buildBound(b, bound, row), zero);
    key = roundUp ? add(key, constant(chain.columns - 1)) : key;
    return arith::SubIOp::create(b, blocks, arith::DivUIOp::create(b, key, columns));
  };
  constexpr int64_t lastRow = hopper::kMmaRows - 1;
  Value from = zero, to = arith::MaxSIOp::create(b, total, zero);
  if (chain.end)
    from = clamp(iterationOf(chain.end, lastRow, /*roundUp=*/true), zero, to);
  if (chain.begin)
    to = clamp(iterationOf(chain.begin, 0, /*roundUp=*/false), from, to);
  if (Value valid = findValidRows(*first->getBlock(), first)) {
    Value exist = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, valid, zero);
    to = arith::SelectOp::create(b, exist, to, from);
  }
  emitSkip(b, first, zero, from);
  // Where the loops hand over, for these rows: what is full for all rows of the tile is full for them.
  Value next = from;
  MutableArrayRef<scf::ForOp> loops = chain.loops;
  for (auto [loop, after] : llvm::zip(loops.drop_back(), loops.drop_front())) {
    Value upper = loop.getUpperBound();
    if (hasMask(loop) && !hasMask(after) && chain.end)
      upper = iterationOf(chain.end, 0, /*roundUp=*/false);
    else if (!hasMask(loop) && hasMask(after) && chain.begin)
      upper = iterationOf(chain.begin, lastRow, /*roundUp=*/true);
    upper = clamp(upper, next, to);
    loop.setLowerBound(next);
    loop.setUpperBound(upper);
    next = upper;
  }
  final.setLowerBound(next);
  final.setUpperBound(to);
  // What only products with keys read, such as the queries, is released before the rest is skipped.
  Operation *behind = final->getNextNode();
  while (isa<ReleaseOp>(behind))
    behind = behind->getNextNode();
  b.setInsertionPoint(behind);
  emitSkip(b, final, to, total);
}

static void skipIn(gpu::GPUFuncOp kernel, SpecializeOp roles) {
  scf::ForOp tiles = findTileLoop(*roles.getConsumerBlock());
  Block &tile = tiles ? *tiles.getBody() : *roles.getConsumerBlock();
  std::string reason;
  FailureOr<MaskedLoops> chain = findMaskedLoops(tile, reason);
  if (succeeded(chain)) {
    ImplicitLocOpBuilder b(kernel.getLoc(), chain->loops.front());
    // A bound that all rows share is that of the loops already; warpgroups without rows skip everything.
    bool isKnown = true;
    for (Value *bound : {&chain->begin, &chain->end}) {
      if (!*bound)
        continue;
      bool isShared = isUniform(*bound), grows = growsByRow(*bound);
      isKnown &= grows;
      if (isShared || !grows)
        *bound = {};
    }
    if (isKnown || chain->begin || chain->end)
      return skipBlocks(*chain, b);
    reason = "it is not known whether the ranges of keys grow from row to row";
  }
  remark::missed(kernel.getLoc(), remark::RemarkOpts::name("NothingSkipped")
                                      .category("sparseattn-nv-skip-masked-blocks")
                                      .function(kernel.getName()))
      << remark::detail::Remark::Arg("Reason", reason);
}

namespace {
struct SparseAttnNVSkipMaskedBlocks : sparseattn::impl::SparseAttnNVSkipMaskedBlocksBase<SparseAttnNVSkipMaskedBlocks> {
  void runOnOperation() override {
    (void)forEachKernel(getOperation(), [](gpu::GPUFuncOp kernel) {
      for (auto roles : kernel.getBody().getOps<SpecializeOp>())
        if (roles.getConsumers() > 1)
          skipIn(kernel, roles);
      return success();
    });
  }
};
} // namespace
