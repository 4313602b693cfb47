//===- FoldScales.cpp - constant factors of tiles to where they are free ---===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVFOLDSCALES
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

static bool isTile(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && isa_and_nonnull<AccAttr>(tensor.getEncoding()) && tensor.getElementType().isF32();
}

static std::optional<double> getConstant(Value value) {
  APFloat number(0.0f);
  return matchPattern(value, m_ConstantFloat(&number)) ? std::optional(number.convertToDouble()) : std::nullopt;
}

static Value buildConstant(OpBuilder &builder, Location loc, Type type, double value) {
  return arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(cast<ShapedType>(type), static_cast<float>(value)));
}

/// A tile times a constant: the tile and the constant.
static std::optional<std::pair<Value, double>> matchScaled(Value value) {
  auto product = value.getDefiningOp<arith::MulFOp>();
  if (!product || !isTile(value.getType()))
    return std::nullopt;
  if (std::optional<double> factor = getConstant(product.getRhs()))
    return std::pair(product.getLhs(), *factor);
  if (std::optional<double> factor = getConstant(product.getLhs()))
    return std::pair(product.getRhs(), *factor);
  return std::nullopt;
}

namespace {

struct DivisionToProduct : OpRewritePattern<arith::DivFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::DivFOp op, PatternRewriter &rewriter) const override {
    std::optional<double> divisor = getConstant(op.getRhs());
    if (!divisor || *divisor == 0 || !isTile(op.getType()))
      return failure();
    rewriter.replaceOpWithNewOp<arith::MulFOp>(op, op.getLhs(),
                                               buildConstant(rewriter, op.getLoc(), op.getType(), 1 / *divisor));
    return success();
  }
};

struct ProductOfProduct : OpRewritePattern<arith::MulFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::MulFOp op, PatternRewriter &rewriter) const override {
    auto outer = matchScaled(op.getResult());
    auto inner = outer ? matchScaled(outer->first) : std::nullopt;
    if (!inner)
      return failure();
    Value factor = buildConstant(rewriter, op.getLoc(), op.getType(), inner->second * outer->second);
    rewriter.replaceOpWithNewOp<arith::MulFOp>(op, inner->first, factor);
    return success();
  }
};

/// -inf times a positive number is -inf.
struct MaskOfProduct : OpRewritePattern<MaskOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MaskOp op, PatternRewriter &rewriter) const override {
    auto scaled = matchScaled(op.getSource());
    if (!scaled || scaled->second <= 0)
      return failure();
    Value factor = buildConstant(rewriter, op.getLoc(), op.getType(), scaled->second);
    rewriter.modifyOpInPlace(op, [&] { op.getSourceMutable().assign(scaled->first); });
    rewriter.setInsertionPointAfter(op);
    auto product = arith::MulFOp::create(rewriter, op.getLoc(), op.getResult(), factor);
    rewriter.replaceAllUsesExcept(op.getResult(), product, product);
    return success();
  }
};

struct MaximumOfProduct : OpRewritePattern<ReduceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ReduceOp op, PatternRewriter &rewriter) const override {
    auto scaled = matchScaled(op.getSource());
    if (!scaled || scaled->second <= 0 || op.getKind() != ReduceKind::Max || op.getPartial())
      return failure();
    Value rows = ReduceOp::create(rewriter, op.getLoc(), ReduceKind::Max, scaled->first, /*partial=*/false);
    rewriter.replaceOpWithNewOp<arith::MulFOp>(op, rows,
                                               buildConstant(rewriter, op.getLoc(), op.getType(), scaled->second));
    return success();
  }
};

struct FmaOfProduct : OpRewritePattern<math::FmaOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::FmaOp op, PatternRewriter &rewriter) const override {
    auto scaled = matchScaled(op.getA());
    std::optional<double> factor = getConstant(op.getB());
    if (!scaled || !factor)
      return failure();
    rewriter.replaceOpWithNewOp<math::FmaOp>(
        op, scaled->first, buildConstant(rewriter, op.getLoc(), op.getType(), scaled->second * *factor), op.getC());
    return success();
  }
};

struct FoldScales : sparseattn::impl::SparseAttnNVFoldScalesBase<FoldScales> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<DivisionToProduct, FmaOfProduct, MaskOfProduct, MaximumOfProduct, ProductOfProduct>(&getContext());
    // Nothing else changes: a loop over one block numbers the items of a channel.
    GreedyRewriteConfig config;
    config.enableFolding(false).enableConstantCSE(false).setRegionSimplificationLevel(
        GreedySimplifyRegionLevel::Disabled);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns), config)))
      signalPassFailure();
  }
};

} // namespace
