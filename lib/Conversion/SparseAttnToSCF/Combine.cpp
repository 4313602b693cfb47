//===- Combine.cpp - gated_combine, lse_merge, hard_concrete_gate ----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "Patterns.h"

#include <cmath>

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

struct LowerLseMerge : OpRewritePattern<LseMergeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LseMergeOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    auto outs = llvm::map_to_vector(op.getOuts(), [&](Value v) { return readHeads(k, v, op.getLayout()); });
    auto lses = llvm::map_to_vector(op.getLses(), [&](Value v) { return k.read(v); });
    Value sink = op.getSink() ? k.read(op.getSink()) : Value();
    HeadView out = {allocateLike(k, op.getOut(), op.getOuts().front()), getLayoutDims(op.getLayout())};
    Value lse = allocateLike(k, op.getLse(), op.getLses().front());

    forEachElement(k, lse, [&](ValueRange row) {
      Value batch = row.size() == 3 ? row[0] : Value(), head = row[row.size() - 2], token = row.back();
      SmallVector<Value> terms = llvm::map_to_vector(lses, [&](Value part) { return k.load(part, row); });
      if (sink)
        terms.push_back(k.load(sink, head));
      Value largest = k.minusInf(), total = k.f32(0.0);
      for (Value term : terms)
        largest = k.max(largest, term);
      Value empty = k.eq(largest, k.minusInf());
      Value shift = k.select(empty, k.f32(0.0), largest);
      for (Value &term : terms) {
        term = k.exp(k.sub(term, shift));
        total = k.add(total, term);
      }
      k.store(k.select(empty, k.minusInf(), k.add(shift, k.log(total))), lse, row);
      Value factor = k.select(empty, k.f32(0.0), k.div(k.f32(1.0), total));
      k.forRange(headDim(k, out), [&](Value channel) {
        SmallVector<Value> at = out.at(batch, head, token, channel);
        Value sum = k.f32(0.0);
        for (auto [part, weight] : llvm::zip(outs, terms))
          sum = k.fma(weight, k.load(part.buffer, at), sum);
        k.store(k.mul(factor, sum), out.buffer, at);
      });
    });
    rewriter.replaceOp(op, {k.asTensor(out.buffer), k.asTensor(lse)});
    return success();
  }
};

struct LowerHardConcreteGate : OpRewritePattern<HardConcreteGateOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(HardConcreteGateOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    double beta = op.getBeta().convertToDouble(), gamma = op.getGamma().convertToDouble();
    double zeta = op.getZeta().convertToDouble();
    Value logAlpha = k.read(op.getLogAlpha()), noise = k.read(op.getNoise());
    Value gate = allocateLike(k, op.getGate(), op.getLogAlpha());
    Value open = allocateLike(k, op.getExpectedOpen(), op.getLogAlpha());
    forEachElement(k, gate, [&](ValueRange at) {
      Value alpha = k.load(logAlpha, at), u = k.load(noise, at), one = k.f32(1.0);
      Value noiseLogit = k.sub(k.log(u), k.log(k.sub(one, u)));
      Value s = k.sigmoid(k.div(k.add(noiseLogit, alpha), k.f32(beta)));
      Value stretched = k.add(k.mul(s, k.f32(zeta - gamma)), k.f32(gamma));
      k.store(k.min(k.max(stretched, k.f32(0.0)), one), gate, at);
      k.store(k.sigmoid(k.sub(alpha, k.f32(beta * std::log(-gamma / zeta)))), open, at);
    });
    rewriter.replaceOp(op, {k.asTensor(gate), k.asTensor(open)});
    return success();
  }
};

} // namespace

void sparseattn::populateCombinePatterns(RewritePatternSet &patterns) {
  patterns.add<LowerGatedCombine, LowerHardConcreteGate, LowerLseMerge>(patterns.getContext());
}
