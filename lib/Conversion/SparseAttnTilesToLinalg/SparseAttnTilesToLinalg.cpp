//===- SparseAttnTilesToLinalg.cpp - tiles on the CPU ----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Conversion/Passes.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace sparseattn {
#define GEN_PASS_DEF_CONVERTSPARSEATTNTILESTOLINALG
#include "sparseattn/Conversion/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

static RankedTensorType getTensorType(Value value) { return cast<RankedTensorType>(value.getType()); }

static Value buildFloat(OpBuilder &b, Location loc, Type type, double value) {
  return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, value));
}

static Value buildEmpty(OpBuilder &b, Location loc, RankedTensorType type) {
  return tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
}

static Value buildFilled(OpBuilder &b, Location loc, RankedTensorType type, double value) {
  Value element = buildFloat(b, loc, type.getElementType(), value);
  return linalg::FillOp::create(b, loc, element, buildEmpty(b, loc, type)).getResult(0);
}

static Value widen(OpBuilder &b, Location loc, Value value) {
  return value.getType().isF32() ? value : Value(arith::ExtFOp::create(b, loc, b.getF32Type(), value));
}

namespace {

using Body = function_ref<Value(OpBuilder &, Location, ValueRange)>;

/// A structured op over a tile; dimension 0 are rows. `maps` says which
/// dimensions each operand has, the result last.
Value buildGeneric(OpBuilder &b, Location loc, ArrayRef<SmallVector<unsigned>> maps, unsigned loops,
                   ArrayRef<unsigned> reductions, ValueRange inputs, Value init, Body body) {
  SmallVector<AffineMap> affineMaps;
  for (ArrayRef<unsigned> dims : maps) {
    SmallVector<AffineExpr> exprs =
        llvm::map_to_vector(dims, [&](unsigned dim) { return b.getAffineDimExpr(dim); });
    affineMaps.push_back(AffineMap::get(loops, 0, exprs, b.getContext()));
  }
  SmallVector<utils::IteratorType> iterators(loops, utils::IteratorType::parallel);
  for (unsigned dim : reductions)
    iterators[dim] = utils::IteratorType::reduction;
  return linalg::GenericOp::create(b, loc, init.getType(), inputs, init, affineMaps, iterators,
                                   [&](OpBuilder &b, Location loc, ValueRange args) {
                                     linalg::YieldOp::create(b, loc, body(b, loc, args));
                                   })
      .getResult(0);
}

/// Rows inside the tensor, between rows of zeros.
struct LowerLoadTile : OpRewritePattern<LoadTileOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LoadTileOp op, PatternRewriter &b) const override {
    Location loc = op.getLoc();
    LayoutDims dims = getLayoutDims(op.getLayout());
    auto type = getTensorType(op.getTile());
    auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(b, loc, value); };
    auto clamp = [&](Value value, Value most) -> Value {
      return arith::MaxSIOp::create(b, loc, constant(0), arith::MinSIOp::create(b, loc, value, most));
    };
    Value length = b.createOrFold<tensor::DimOp>(loc, op.getSource(), dims.seq);
    Value from = clamp(op.getPosition(), length);
    Value last = arith::AddIOp::create(b, loc, op.getPosition(), constant(type.getDimSize(0)));
    Value count = arith::SubIOp::create(b, loc, clamp(last, length), from);
    // Where no row is inside, `from - position` may lie past the tile.
    Value place = clamp(arith::SubIOp::create(b, loc, from, op.getPosition()), constant(type.getDimSize(0)));

    OpFoldResult one = b.getIndexAttr(1), features = b.getIndexAttr(type.getDimSize(1));
    SmallVector<OpFoldResult> offsets(dims.rank(), b.getIndexAttr(0)), sizes(dims.rank(), one), ones(dims.rank(), one);
    if (dims.batch >= 0)
      offsets[dims.batch] = op.getBatch();
    offsets[dims.head] = op.getHead();
    offsets[dims.seq] = from;
    sizes[dims.seq] = count;
    sizes[dims.dim] = features;
    auto sliceType = RankedTensorType::get({ShapedType::kDynamic, type.getDimSize(1)}, type.getElementType());
    Value slice = tensor::ExtractSliceOp::create(b, loc, sliceType, op.getSource(), offsets, sizes, ones);
    SmallVector<OpFoldResult> at = {place, b.getIndexAttr(0)}, extents = {count, features}, steps = {one, one};
    b.replaceOpWithNewOp<tensor::InsertSliceOp>(op, slice, buildFilled(b, loc, type, 0.0), at, extents, steps);
    return success();
  }
};

struct LowerTileDot : OpRewritePattern<TileDotOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TileDotOp op, PatternRewriter &b) const override {
    Location loc = op.getLoc();
    Value init = op.getAcc() ? op.getAcc() : buildFilled(b, loc, getTensorType(op.getResult()), 0.0);
    // Dimensions: row, contracted, column; the columns are innermost because they are contiguous.
    SmallVector<unsigned> rhs = op.getTransposeB() ? SmallVector<unsigned>{2, 1} : SmallVector<unsigned>{1, 2};
    Value result = buildGeneric(b, loc, {{0, 1}, rhs, {0, 2}}, 3, 1, {op.getLhs(), op.getRhs()}, init,
                                [](OpBuilder &b, Location loc, ValueRange args) -> Value {
                                  Value product = arith::MulFOp::create(b, loc, widen(b, loc, args[0]),
                                                                        widen(b, loc, args[1]));
                                  return arith::AddFOp::create(b, loc, args[2], product);
                                });
    b.replaceOp(op, result);
    return success();
  }
};

struct LowerTileReduce : OpRewritePattern<TileReduceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TileReduceOp op, PatternRewriter &b) const override {
    bool isMax = op.getReduction() == TileReduction::Max;
    double neutral = isMax ? -std::numeric_limits<double>::infinity() : 0.0;
    Value init = buildFilled(b, op.getLoc(), getTensorType(op.getRows()), neutral);
    Value result = buildGeneric(b, op.getLoc(), {{0, 1}, {0}}, 2, 1, op.getTile(), init,
                                [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
                                  if (isMax)
                                    return arith::MaxNumFOp::create(b, loc, args[0], args[1]);
                                  return arith::AddFOp::create(b, loc, args[0], args[1]);
                                });
    b.replaceOp(op, result);
    return success();
  }
};

struct LowerTileBroadcast : OpRewritePattern<TileBroadcastOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TileBroadcastOp op, PatternRewriter &b) const override {
    Value init = buildEmpty(b, op.getLoc(), getTensorType(op.getTile()));
    b.replaceOp(op, buildGeneric(b, op.getLoc(), {{0}, {0, 1}}, 2, {}, op.getRows(), init,
                                 [](OpBuilder &, Location, ValueRange args) { return args[0]; }));
    return success();
  }
};

struct LowerTileRows : OpRewritePattern<TileRowsOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TileRowsOp op, PatternRewriter &b) const override {
    Value init = buildEmpty(b, op.getLoc(), getTensorType(op.getRows()));
    SmallVector<unsigned> rows = {0};
    b.replaceOp(op, buildGeneric(b, op.getLoc(), rows, 1, {}, {}, init,
                                 [](OpBuilder &b, Location loc, ValueRange) -> Value {
                                   return linalg::IndexOp::create(b, loc, 0);
                                 }));
    return success();
  }
};

struct LowerTileMask : OpRewritePattern<TileMaskOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TileMaskOp op, PatternRewriter &b) const override {
    SmallVector<Value> inputs = {op.getTile(), op.getEnd()};
    SmallVector<SmallVector<unsigned>> maps = {{0, 1}, {0}};
    if (op.getBegin()) {
      inputs.push_back(op.getBegin());
      maps.push_back({0});
    }
    maps.push_back({0, 1});
    Value init = buildEmpty(b, op.getLoc(), getTensorType(op.getResult()));
    Value result = buildGeneric(
        b, op.getLoc(), maps, 2, {}, inputs, init, [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
          Value key = arith::AddIOp::create(b, loc, op.getColumn(), linalg::IndexOp::create(b, loc, 1));
          Value seen = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, key, args[1]);
          if (op.getBegin())
            seen = arith::AndIOp::create(
                b, loc, seen, arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sle, args[2], key));
          Value minusInf = buildFloat(b, loc, b.getF32Type(), -std::numeric_limits<double>::infinity());
          return arith::SelectOp::create(b, loc, seen, args[0], minusInf);
        });
    b.replaceOp(op, result);
    return success();
  }
};

struct ConvertSparseAttnTilesToLinalg
    : sparseattn::impl::ConvertSparseAttnTilesToLinalgBase<ConvertSparseAttnTilesToLinalg> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<LowerLoadTile, LowerTileBroadcast, LowerTileDot, LowerTileMask, LowerTileReduce, LowerTileRows>(
        &getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
    getOperation()->walk([&](StreamingAttentionOp op) {
      op.emitOpError("is no operation on tiles: run sparseattn-tile-kv first");
      signalPassFailure();
    });
  }
};

} // namespace
