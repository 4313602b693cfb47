//===- StridedCopyToLinalg.cpp - copies of slices as loops -----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Conversion/Passes.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace sparseattn {
#define GEN_PASS_DEF_CONVERTSTRIDEDCOPYTOLINALG
#include "sparseattn/Conversion/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;

namespace {

struct ConvertCopy : OpRewritePattern<memref::CopyOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(memref::CopyOp op, PatternRewriter &rewriter) const override {
    auto isStrided = [](Value buffer) {
      auto type = dyn_cast<MemRefType>(buffer.getType());
      return type && !type.getLayout().isIdentity();
    };
    if (!isStrided(op.getSource()) && !isStrided(op.getTarget()))
      return failure();
    linalg::makeMemRefCopyOp(rewriter, op.getLoc(), op.getSource(), op.getTarget());
    rewriter.eraseOp(op);
    return success();
  }
};

struct ConvertStridedCopyToLinalg
    : sparseattn::impl::ConvertStridedCopyToLinalgBase<ConvertStridedCopyToLinalg> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ConvertCopy>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace
