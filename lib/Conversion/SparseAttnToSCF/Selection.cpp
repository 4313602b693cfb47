//===- Selection.cpp - block scores and the choice of blocks ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "Patterns.h"

using namespace mlir;
using namespace sparseattn;

namespace {

//===----------------------------------------------------------------------===//
// block_logits
//===----------------------------------------------------------------------===//

/// Blocks [0, n) that a query at `position` may score, before clamping to M.
Value numVisibleBlocks(LoopBuilder &k, BlockLogitsOp op, Value position, Value numBlocks) {
  Value own = k.div(position, op.getBlock());
  switch (op.getVisibility()) {
  case Visibility::All: return numBlocks;
  case Visibility::BeforeOwn: return own;
  case Visibility::OwnInf: return own;
  case Visibility::Complete:
    return k.add(k.div(k.sub(position, op.getBlock() - 1), op.getStrideOrBlock()), 1);
  }
  return numBlocks;
}

struct LowerBlockLogits : OpRewritePattern<BlockLogitsOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(BlockLogitsOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    HeadView query = readHeads(k, op.getQuery(), op.getLayout());
    HeadView summary = readHeads(k, op.getSummary(), op.getLayout());
    HeadView largest = op.getSummaryMax() ? readHeads(k, op.getSummaryMax(), op.getLayout()) : summary;
    Value headWeight = op.getHeadWeight() ? k.read(op.getHeadWeight()) : Value();
    Value heads = headCount(k, query), numBlocks = seqLength(k, summary);
    Value group = groupSize(k, heads, headCount(k, summary));
    Value offset = queryOffset(op.getQOffset(), k.index(0)), scale = k.f32(op.getScaleOrDefault());
    int64_t lanes = laneCount(query.buffer);

    Value logits = allocateResult(k, op.getLogits(), {batchSize(k, query), headWeight ? k.index(1) : heads,
                                                      seqLength(k, query), numBlocks});
    forEachRow(k, logits, [&](ValueRange row) {
      Value batch = row[0], token = row[2], position = k.add(offset, token);
      auto logit = [&](Value head, Value block) {
        Value product = sumOver(k, headDim(k, query), lanes, [&](Value e) {
          auto load = [&](const HeadView &view, Value head, Value at) {
            return k.loadVector(view.buffer, view.at(batch, head, at, e), lanes);
          };
          Value q = load(query, head, token), kvHead = k.div(head, group);
          Value dot = k.mul(q, load(summary, kvHead, block));
          return op.getBound() == LogitBound::Dot ? dot : k.max(dot, k.mul(q, load(largest, kvHead, block)));
        });
        Value z = k.mul(scale, product);
        return op.getActivation() == ScoreActivation::Relu ? k.max(z, k.f32(0.0)) : z;
      };
      auto score = [&](Value block) {
        if (!headWeight)
          return logit(row[1], block);
        return k.fold(k.index(0), heads, k.f32(0.0), [&](Value head, Value sum) {
          return k.fma(k.load(headWeight, {batch, token, head}), logit(head, block), sum);
        });
      };

      Value visible = numVisibleBlocks(k, op, position, numBlocks);
      visible = k.max(k.index(0), k.min(visible, numBlocks));
      k.forRange(visible, [&](Value block) { k.store(score(block), logits, inRow(row, block)); });
      k.forRange(visible, numBlocks, [&](Value block) { k.store(k.minusInf(), logits, inRow(row, block)); });
      if (op.getVisibility() == Visibility::OwnInf) {
        Value own = k.div(position, op.getBlock());
        k.ifThen(k.both(k.le(k.index(0), own), k.lt(own, numBlocks)),
                 [&] { k.store(k.sub(k.f32(0.0), k.minusInf()), logits, inRow(row, own)); });
      }
    });
    rewriter.replaceOp(op, k.asTensor(logits));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// block_softmax, pool_scores
//===----------------------------------------------------------------------===//

struct LowerBlockSoftmax : OpRewritePattern<BlockSoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(BlockSoftmaxOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    Value logits = k.read(op.getLogits());
    Value heads = k.dim(logits, 1), numBlocks = k.dim(logits, 3);
    bool apart = op.getGroup() == GroupReduce::None;
    Value group = apart ? k.index(1) : groupSize(k, heads, k.index(op.getKvHeads()));
    Value result = allocateResult(k, op.getProbabilities(), {k.dim(logits, 0), k.div(heads, group),
                                                             k.dim(logits, 2), numBlocks});
    Value share = op.getGroup() == GroupReduce::Mean ? k.div(k.f32(1.0), k.toF32(group)) : k.f32(1.0);
    forEachRow(k, result, [&](ValueRange row) {
      // 0 is neutral for sums and for maxima of probabilities.
      k.forRange(numBlocks, [&](Value block) { k.store(k.f32(0.0), result, inRow(row, block)); });
      Value first = k.mul(row[1], group);
      k.forRange(first, k.add(first, group), [&](Value head) {
        auto load = [&](Value block) { return k.load(logits, {row[0], head, row[2], block}); };
        Value largest = k.fold(k.index(0), numBlocks, k.minusInf(), [&](Value block, Value largest) {
          return k.max(largest, load(block));
        });
        // A row of -inf keeps its zeros.
        largest = k.select(k.eq(largest, k.minusInf()), k.f32(0.0), largest);
        auto weight = [&](Value block) { return k.exp(k.sub(load(block), largest)); };
        Value total = k.fold(k.index(0), numBlocks, k.f32(0.0),
                             [&](Value block, Value total) { return k.add(total, weight(block)); });
        Value factor = k.select(k.eq(total, k.f32(0.0)), k.f32(0.0), k.div(share, total));
        k.forRange(numBlocks, [&](Value block) {
          Value p = k.mul(weight(block), factor), other = k.load(result, inRow(row, block));
          k.store(op.getGroup() == GroupReduce::Max ? k.max(p, other) : k.add(p, other), result, inRow(row, block));
        });
      });
    });
    rewriter.replaceOp(op, k.asTensor(result));
    return success();
  }
};

struct LowerPoolScores : OpRewritePattern<PoolScoresOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(PoolScoresOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    Value scores = k.read(op.getScores()), numBlocks = k.dim(scores, 3);
    Value kernel = k.index(op.getKernel()), stride = k.index(op.getStride());
    int64_t rounding = op.getCeilMode() ? op.getStride() - 1 : 0;
    Value span = k.add(numBlocks, 2 * op.getPad() - op.getKernel() + rounding);
    Value pooled = allocateResult(k, op.getPooled(), {k.dim(scores, 0), k.dim(scores, 1), k.dim(scores, 2),
                                                      k.max(k.index(0), k.add(k.div(span, stride), 1))});
    bool isMax = op.getMode() == PoolMode::Max;
    forEachElement(k, pooled, [&](ValueRange at) {
      Value begin = k.sub(k.mul(at[3], stride), op.getPad());
      Value first = k.max(begin, k.index(0)), last = k.min(k.add(begin, kernel), numBlocks);
      Value result = k.fold(first, last, isMax ? k.minusInf() : k.f32(0.0), [&](Value block, Value pooled) {
        Value score = k.load(scores, inRow(at.drop_back(), block));
        return isMax ? k.max(pooled, score) : k.add(pooled, score);
      });
      k.store(result, pooled, at);
    });
    rewriter.replaceOp(op, k.asTensor(pooled));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// select_topk
//===----------------------------------------------------------------------===//

/// Half-open range of columns.
struct Columns {
  Value begin, end;
};

/// Columns that a row may select by position: those of visible blocks.
Columns eligibleColumns(LoopBuilder &k, SelectTopKOp op, Value position, Value validRange, ValueRange row,
                        Value numColumns) {
  Value block = k.index(op.getSelect().getBlock());
  Value begin = k.index(0), end = numColumns;
  if (op.getOrigin() == BlockOrigin::Absolute)
    end = k.min(end, k.add(k.div(position, block), 1));
  if (validRange) {
    Value first = k.max(k.index(0), k.loadIndex(validRange, {row[0], row[2], k.index(0)}));
    Value last = k.loadIndex(validRange, {row[0], row[2], k.index(1)});
    if (op.getOrigin() == BlockOrigin::Absolute) {
      begin = k.div(first, block);
      end = k.select(k.lt(first, last), k.min(end, k.ceilDiv(last, block)), begin);
    } else {
      end = k.min(end, k.ceilDiv(k.sub(last, first), block));
    }
  }
  return {begin, k.max(begin, end)};
}

/// The `room` best of the columns [begin, end), as a condition on (score, tie).
/// Scores become ordered integers, so that the least score kept is found bit by
/// bit in 32 counts of the row, whatever `room` is.
struct Threshold {
  Value least;
  /// How many columns that score exactly `least` are kept: the first ones.
  Value ties;
};

/// 0 for -inf and NaN, which are never chosen by score.
Value rank(LoopBuilder &k, Value score) {
  return k.select(k.gt(score, k.minusInf()), k.toOrdered(score), k.index(0));
}

Threshold findThreshold(LoopBuilder &k, Columns rivals, Value room, function_ref<Value(Value)> rankOf) {
  auto countAbove = [&](Value bound) {
    return k.fold(rivals.begin, rivals.end, k.index(0), [&](Value column, Value count) {
      return k.add(count, k.toIndex(k.gt(rankOf(column), bound)));
    });
  };
  Value scored = countAbove(k.index(0));
  Value least = k.ifElse(
      k.le(scored, room), [&] { return SmallVector<Value>{k.index(0)}; },
      [&] {
        SmallVector<Value> state = k.fold(
            k.index(0), k.index(32), k.index(1), {k.index(0), k.index(int64_t(1) << 31)},
            [&](Value, ValueRange state) {
              Value higher = k.add(state[0], state[1]);
              Value enough = k.ge(countAbove(k.sub(higher, 1)), room);
              return SmallVector<Value>{k.select(enough, higher, state[0]), k.div(state[1], 2)};
            });
        return SmallVector<Value>{state[0]};
      })[0];
  return {least, k.sub(room, countAbove(least))};
}

struct LowerSelectTopK : OpRewritePattern<SelectTopKOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SelectTopKOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    TopKAttr select = op.getSelect();
    Value score = k.read(op.getScore());
    Value validRange = op.getValidRange() ? k.read(op.getValidRange()) : Value();
    Value offset = queryOffset(op.getQOffset(), k.index(0)), width = k.index(select.getWidth());
    SmallVector<Value> sizes = {k.dim(score, 0), k.dim(score, 1), k.dim(score, 2), width};
    Value indices = allocateResult(k, op.getIndices(), sizes);
    Value count = op.getCount() ? allocateResult(k, op.getCount(), ValueRange(sizes).drop_back()) : Value();

    forEachRow(k, indices, [&](ValueRange row) {
      Columns eligible = eligibleColumns(k, op, k.add(offset, row[2]), validRange, row, k.dim(score, 3));
      Columns first = {eligible.begin, k.min(k.add(eligible.begin, select.getForceFirst()), eligible.end)};
      Columns local = {k.max(k.sub(eligible.end, select.getForceLocal()), first.end), eligible.end};
      Columns rivals = {first.end, local.begin};
      Value room = k.index(select.getK());
      if (select.getCountForced())
        room = k.sub(room, k.add(k.sub(first.end, first.begin), k.sub(local.end, local.begin)));

      auto rankOf = [&](Value column) { return rank(k, k.load(score, inRow(row, column))); };
      Threshold threshold = findThreshold(k, rivals, room, rankOf);
      auto takeAll = [&](Columns columns, Value taken) {
        return k.fold(columns.begin, columns.end, taken, [&](Value column, Value taken) {
          k.store(column, indices, inRow(row, taken));
          return k.add(taken, 1);
        });
      };
      Value taken = takeAll(first, k.index(0));
      taken = k.fold(rivals.begin, rivals.end, k.index(1), {taken, threshold.ties}, [&](Value column, ValueRange state) {
        Value rank = rankOf(column);
        Value tied = k.both(k.eq(rank, threshold.least), k.lt(k.index(0), state[1]));
        Value take = k.both(k.lt(k.index(0), rank), k.either(k.gt(rank, threshold.least), tied));
        k.ifThen(take, [&] { k.store(column, indices, inRow(row, state[0])); });
        return SmallVector<Value>{k.add(state[0], k.toIndex(take)), k.sub(state[1], k.toIndex(tied))};
      })[0];
      taken = takeAll(local, taken);
      k.forRange(taken, width, [&](Value column) { k.store(k.i32(-1), indices, inRow(row, column)); });
      if (count)
        k.store(taken, count, row);
    });

    SmallVector<Value> results = {k.asTensor(indices)};
    if (count)
      results.push_back(k.asTensor(count));
    rewriter.replaceOp(op, results);
    return success();
  }
};

} // namespace

void sparseattn::populateSelectionPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerBlockLogits, LowerBlockSoftmax, LowerPoolScores, LowerSelectTopK>(patterns.getContext());
}
