//===- Combine.cpp - gated_combine, lse_merge, hard_concrete_gate ----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "Patterns.h"

using namespace mlir;
using namespace sparseattn;

namespace {

struct LowerGatedCombine : OpRewritePattern<GatedCombineOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(GatedCombineOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    auto inputs = llvm::map_to_vector(op.getInputs(), [&](Value v) { return k.read(v); });
    auto gates = llvm::map_to_vector(op.getGates(), [&](Value v) { return k.read(v); });
    Value out = allocateLike(k, op.getOut(), op.getInputs().front());
    forEachElement(k, out, [&](ValueRange at) {
      ValueRange gateAt = op.getGate() == GateShape::Headwise ? at.drop_back() : at;
      Value sum = k.f32(0.0);
      for (auto [input, gate] : llvm::zip(inputs, gates)) {
        Value weight = k.load(gate, gateAt);
        if (op.getActivation() == GateActivation::Sigmoid)
          weight = k.sigmoid(weight);
        sum = k.add(sum, k.mul(weight, k.load(input, at)));
      }
      k.store(sum, out, at);
    });
    rewriter.replaceOp(op, k.asTensor(out));
    return success();
  }
};

} // namespace

void sparseattn::populateCombinePatterns(RewritePatternSet &patterns) {
  patterns.add<LowerGatedCombine>(patterns.getContext());
}
