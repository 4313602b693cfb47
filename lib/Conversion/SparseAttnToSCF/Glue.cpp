//===- Glue.cpp - rope, rms_norm, kv_bridge, kv_share ----------------------===//
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

struct LowerRope : OpRewritePattern<RopeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(RopeOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    HeadView input = readHeads(k, op.getInput(), op.getLayout());
    HeadView output = {allocateLike(k, op.getOutput(), op.getInput()), input.dims};
    Value offset = queryOffset(op.getQOffset(), k.index(0)), size = headDim(k, input);
    int64_t pairs = op.getDims() / 2;
    Value begin = op.getTail() ? k.sub(size, op.getDims()) : k.index(0), end = k.add(begin, op.getDims());
    double logStep = -2.0 * std::log(op.getBase().convertToDouble()) / op.getDims();

    auto forHeads = [&](function_ref<void(Value, Value)> body) {
      k.forRange(batchSize(k, input), [&](Value batch) {
        k.forRange(headCount(k, input), [&](Value head) { body(batch, head); });
      });
    };
    k.parallel({seqLength(k, input)}, [&](ValueRange row) {
      Value token = row[0];
      auto copy = [&](Value first, Value last) {
        forHeads([&](Value batch, Value head) {
          k.forRange(first, last, [&](Value channel) {
            SmallVector<Value> at = input.at(batch, head, token, channel);
            k.store(k.load(input.buffer, at), output.buffer, at);
          });
        });
      };
      copy(k.index(0), begin);
      copy(end, size);
      k.forRange(k.index(pairs), [&](Value pair) {
        // In f32, angles at long contexts would be off by hundredths.
        Value frequency = k.exp(k.mul(k.toF64(pair), k.f64(logStep)));
        Value angle = k.mul(k.toF64(k.add(offset, k.mul(token, op.getStride()))), frequency);
        Value cos = k.truncate(k.cos(angle)), sin = k.truncate(k.sin(angle));
        if (op.getInverse())
          sin = k.sub(k.f32(0.0), sin);
        Value first = k.add(begin, op.getInterleaved() ? k.mul(pair, 2) : pair);
        Value second = k.add(first, op.getInterleaved() ? 1 : pairs);
        forHeads([&](Value batch, Value head) {
          SmallVector<Value> atA = input.at(batch, head, token, first), atB = input.at(batch, head, token, second);
          Value a = k.load(input.buffer, atA), b = k.load(input.buffer, atB);
          k.store(k.sub(k.mul(a, cos), k.mul(b, sin)), output.buffer, atA);
          k.store(k.add(k.mul(a, sin), k.mul(b, cos)), output.buffer, atB);
        });
      });
    });
    rewriter.replaceOp(op, k.asTensor(output.buffer));
    return success();
  }
};

struct LowerRmsNorm : OpRewritePattern<RmsNormOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(RmsNormOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    Value input = k.read(op.getInput()), weight = op.getWeight() ? k.read(op.getWeight()) : Value();
    Value output = allocateLike(k, op.getOutput(), op.getInput());
    Value size = k.dim(input, cast<MemRefType>(input.getType()).getRank() - 1);
    int64_t lanes = laneCount(input);
    forEachRow(k, output, [&](ValueRange row) {
      auto load = [&](Value channel) { return k.loadVector(input, inRow(row, channel), lanes); };
      Value squares = sumOver(k, size, lanes, [&](Value channel) {
        Value x = load(channel);
        return k.mul(x, x);
      });
      Value mean = k.div(squares, k.toF32(size));
      Value factor = k.div(k.f32(1.0), k.sqrt(k.add(mean, k.f32(op.getEps().convertToDouble()))));
      k.forRange(k.index(0), size, k.index(lanes), [&](Value channel) {
        Value y = k.mul(load(channel), k.splat(factor, lanes));
        if (weight)
          y = k.mul(y, k.loadVector(weight, channel, lanes));
        k.storeVector(y, output, inRow(row, channel));
      });
    });
    rewriter.replaceOp(op, k.asTensor(output));
    return success();
  }
};

struct LowerKVBridge : OpRewritePattern<KVBridgeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(KVBridgeOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    Value hidden = k.read(op.getHidden());
    LayoutDims dims = getLayoutDims(op.getLayout());
    Value heads = k.index(op.getKvHeads());

    auto project = [&](Value weightTensor, Value result) {
      Value weight = k.read(weightTensor), size = k.div(k.dim(weight, 1), heads);
      SmallVector<Value> sizes(4);
      sizes[dims.batch] = k.dim(hidden, 0);
      sizes[dims.head] = heads;
      sizes[dims.seq] = k.dim(hidden, 1);
      sizes[dims.dim] = size;
      HeadView out = {allocateResult(k, result, sizes), dims};
      int64_t lanes = laneCount(out.buffer);
      k.parallel({sizes[dims.batch], heads, sizes[dims.seq]}, [&](ValueRange at) {
        k.forRange(k.index(0), size, k.index(lanes), [&](Value channel) {
          Value column = k.add(k.mul(at[1], size), channel), zero = k.splat(k.f32(0.0), lanes);
          Value sum = k.fold(k.index(0), k.dim(hidden, 2), zero, [&](Value e, Value sum) {
            Value x = k.splat(k.load(hidden, {at[0], at[2], e}), lanes);
            return k.fma(x, k.loadVector(weight, {e, column}, lanes), sum);
          });
          k.storeVector(sum, out.buffer, out.at(at[0], at[1], at[2], channel));
        });
      });
      return k.asTensor(out.buffer);
    };
    Value key = project(op.getWeightKey(), op.getKey());
    rewriter.replaceOp(op, {key, project(op.getWeightValue(), op.getValue())});
    return success();
  }
};

/// An edge between layers: the values are the producer's own.
struct LowerKVShare : OpRewritePattern<KVShareOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(KVShareOp op, PatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, {op.getKey(), op.getValue()});
    return success();
  }
};

} // namespace

void sparseattn::populateGluePatterns(RewritePatternSet &patterns) {
  patterns.add<LowerKVBridge, LowerKVShare, LowerRmsNorm, LowerRope>(patterns.getContext());
}
