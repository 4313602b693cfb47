//===- Entmax.cpp - entmax_route -------------------------------------------===//
//
// Part of the sparseattn project.
//
// Formulas: specification 4.1. All solvers work on x = (alpha-1)(z - max z),
// so that the threshold kappa lies in [-1, 0] where f32 is finest.
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "Patterns.h"

using namespace mlir;
using namespace sparseattn;

namespace {

/// One row of logits of one query head.
struct EntmaxRow {
  LoopBuilder &k;
  double alpha;
  Value numColumns;
  /// z_c, -inf where the column is not visible.
  function_ref<Value(Value)> logit;
  Value largest = {};

  void findLargest() {
    largest = fold(k.minusInf(), [&](Value column, Value largest) { return k.max(largest, logit(column)); });
    largest = k.select(k.eq(largest, k.minusInf()), k.f32(0.0), largest);
  }
  Value fold(Value init, function_ref<Value(Value, Value)> body) { return k.fold(k.index(0), numColumns, init, body); }
  SmallVector<Value> fold(ValueRange init, function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    return k.fold(k.index(0), numColumns, k.index(1), init, body);
  }

  Value x(Value column) {
    Value shifted = k.sub(logit(column), largest);
    return alpha == 1.0 ? shifted : k.mul(k.f32(alpha - 1.0), shifted);
  }
  /// [excess]_+ ^ (1/(alpha-1)).
  Value power(Value excess) {
    Value positive = k.max(excess, k.f32(0.0));
    if (alpha == 2.0)
      return positive;
    return alpha == 1.5 ? k.mul(positive, positive) : k.pow(positive, k.f32(1.0 / (alpha - 1.0)));
  }

  Value halley(int64_t iterations);
  Value sorted();
  Value bisect(int64_t iterations);
};

/// Bracketed Halley steps on f(kappa) = sum (x - kappa)^2 - 1 over x > kappa.
Value EntmaxRow::halley(int64_t iterations) {
  SmallVector<Value> start = {k.f32(-0.5), k.f32(-1.0), k.f32(0.0)};
  return k.fold(k.index(0), k.index(iterations), k.index(1), start, [&](Value, ValueRange state) {
    Value kappa = state[0], zero = k.f32(0.0), two = k.f32(2.0);
    SmallVector<Value> sums = fold({zero, zero, zero}, [&](Value column, ValueRange sums) {
      Value excess = k.max(k.sub(x(column), kappa), zero);
      Value active = k.select(k.gt(excess, zero), k.f32(1.0), zero);
      return SmallVector<Value>{k.fma(excess, excess, sums[0]), k.add(sums[1], excess), k.add(sums[2], active)};
    });
    Value f = k.sub(sums[0], k.f32(1.0)), slope = k.mul(k.f32(-2.0), sums[1]), curvature = k.mul(two, sums[2]);
    Value divisor = k.sub(k.mul(two, k.mul(slope, slope)), k.mul(f, curvature));
    Value step = k.sub(kappa, k.div(k.mul(two, k.mul(f, slope)), divisor));
    Value low = k.select(k.gt(f, zero), kappa, state[1]), high = k.select(k.lt(f, zero), kappa, state[2]);
    // False for a NaN step, which a vanishing divisor gives.
    Value inside = k.both(k.le(k.sub(low, k.f32(1e-5)), step), k.le(step, k.add(high, k.f32(1e-5))));
    Value middle = k.mul(k.f32(0.5), k.add(low, high));
    return SmallVector<Value>{k.select(inside, step, middle), low, high};
  })[0];
}

/// The exact threshold for alpha 1.5 and 2: the largest prefix of the sorted
/// row whose threshold does not exceed its last element. Values are visited in
/// descending order, equal ones together; mean and squared deviations are
/// updated in place, so that nothing cancels.
Value EntmaxRow::sorted() {
  Value one = k.f32(1.0), zero = k.f32(0.0);
  enum { kGoing, kLast, kCount, kMean, kDeviation, kKappa };
  SmallVector<Value> start = {k.flag(true), one, zero, zero, zero, k.f32(-1.0)};
  return k.whileLoop(
      start, [&](ValueRange state) { return state[kGoing]; },
      [&](ValueRange state) {
        SmallVector<Value> next = fold({k.minusInf(), zero}, [&](Value column, ValueRange next) {
          Value value = x(column);
          Value below = k.lt(value, state[kLast]), better = k.both(below, k.gt(value, next[0]));
          Value same = k.both(below, k.eq(value, next[0]));
          Value number = k.select(better, one, k.select(same, k.add(next[1], one), next[1]));
          return SmallVector<Value>{k.select(better, value, next[0]), number};
        });
        Value value = next[0], count = k.add(state[kCount], next[1]);
        Value delta = k.sub(value, state[kMean]), share = k.div(next[1], count);
        Value mean = k.add(state[kMean], k.mul(delta, share));
        Value spread = k.mul(k.mul(delta, delta), k.mul(state[kCount], share));
        Value deviation = k.add(state[kDeviation], spread);
        Value drop = alpha == 2.0 ? k.div(one, count)
                                  : k.sqrt(k.div(k.max(k.sub(one, deviation), zero), count));
        Value kappa = k.sub(mean, drop);
        // False also when no value is left: then `value` is -inf.
        Value going = k.both(k.gt(value, k.minusInf()), k.le(kappa, value));
        return SmallVector<Value>{going, value, count, mean, deviation, k.select(going, kappa, state[kKappa])};
      })[kKappa];
}

/// Halvings of [max - 1, max - M^(1-alpha)]; the low end has sum w >= 1, so the
/// support is never too small.
Value EntmaxRow::bisect(int64_t iterations) {
  Value zero = k.f32(0.0), one = k.f32(1.0);
  Value visible = fold(zero, [&](Value column, Value count) {
    return k.add(count, k.select(k.gt(logit(column), k.minusInf()), one, zero));
  });
  Value high = k.sub(zero, k.pow(k.max(visible, one), k.f32(1.0 - alpha)));
  return k.fold(k.index(0), k.index(iterations), k.index(1), {k.f32(-1.0), high}, [&](Value, ValueRange bracket) {
    Value middle = k.mul(k.f32(0.5), k.add(bracket[0], bracket[1]));
    Value total = fold(zero, [&](Value column, Value sum) { return k.add(sum, power(k.sub(x(column), middle))); });
    Value enough = k.ge(total, one);
    return SmallVector<Value>{k.select(enough, middle, bracket[0]), k.select(enough, bracket[1], middle)};
  })[0];
}

struct LowerEntmaxRoute : OpRewritePattern<EntmaxRouteOp> {
  using OpRewritePattern::OpRewritePattern;

  /// Adds the weights of one head to the row that `addWeight` stands for.
  static void emitHead(LoopBuilder &k, EntmaxRouteOp op, Value numColumns, function_ref<Value(Value)> logit,
                       function_ref<void(Value, Value)> addWeight) {
    EntmaxRow row{k, op.getAlpha().convertToDouble(), numColumns, logit};
    row.findLargest();
    // A weight in the support never underflows to 0: the support stays exact.
    Value tiny = k.f32(std::numeric_limits<float>::min());
    if (row.alpha == 1.0) {
      Value total = row.fold(k.f32(0.0), [&](Value c, Value sum) { return k.add(sum, k.exp(row.x(c))); });
      return k.forRange(numColumns, [&](Value c) {
        Value weight = k.max(k.div(k.exp(row.x(c)), total), tiny);
        addWeight(c, k.select(k.gt(logit(c), k.minusInf()), weight, k.f32(0.0)));
      });
    }
    Attribute solver = op.getSolverOrDefault();
    Value kappa;
    if (auto halley = dyn_cast<HalleyAttr>(solver))
      kappa = row.halley(halley.getIterations());
    else if (auto bisect = dyn_cast<BisectAttr>(solver))
      kappa = row.bisect(bisect.getIterations());
    else
      kappa = row.sorted();
    k.forRange(numColumns, [&](Value c) {
      Value excess = k.sub(row.x(c), kappa);
      Value weight = k.max(row.power(excess), tiny);
      addWeight(c, k.select(k.gt(excess, k.f32(0.0)), weight, k.f32(0.0)));
    });
  }

  LogicalResult matchAndRewrite(EntmaxRouteOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    Value logits = k.read(op.getLogits());
    Value kvHeads = k.index(op.getKvHeads()), numColumns = k.dim(logits, 3);
    Value numWords = k.ceilDiv(numColumns, k.index(32)), offset = queryOffset(op.getQOffset(), k.index(0));
    Value group = groupSize(k, k.dim(logits, 1), kvHeads);
    SmallVector<Value> sizes = {k.dim(logits, 0), kvHeads, k.dim(logits, 2), numColumns};
    Value bias = allocateResult(k, op.getBias(), sizes);
    Value count = op.getCount() ? allocateResult(k, op.getCount(), ValueRange(sizes).drop_back()) : Value();
    sizes.back() = numWords;
    Value mask = allocateResult(k, op.getMask(), sizes);

    forEachRow(k, bias, [&](ValueRange row) {
      // The row of biases holds the sums of the weights until the end.
      auto weightAt = [&](Value column) { return k.load(bias, inRow(row, column)); };
      Value zero = k.f32(0.0);
      k.forRange(numColumns, [&](Value column) { k.store(zero, bias, inRow(row, column)); });
      Value first = k.mul(row[1], group);
      k.forRange(first, k.add(first, group), [&](Value head) {
        auto logit = [&](Value column) { return k.load(logits, {row[0], head, row[2], column}); };
        emitHead(k, op, numColumns, logit, [&](Value column, Value weight) {
          k.store(k.add(weightAt(column), weight), bias, inRow(row, column));
        });
      });

      Value own = k.div(k.add(offset, row[2]), op.getBlock());
      auto isForced = [&](Value column) {
        return k.both(k.le(column, own), k.le(k.sub(own, op.getLocalBlocks()), column));
      };
      auto isRouted = [&](Value column) { return k.either(k.gt(weightAt(column), zero), isForced(column)); };
      k.forRange(numWords, [&](Value word) { k.store(k.i32(0), mask, inRow(row, word)); });
      Value routed = k.fold(k.index(0), numColumns, k.index(0), [&](Value column, Value routed) {
        Value here = isRouted(column);
        k.ifThen(here, [&] { k.setBit(mask, llvm::to_vector(row), column); });
        return k.add(routed, k.toIndex(here));
      });
      if (count)
        k.store(routed, count, row);
      emitPrior(k, op, bias, row, numColumns, group, isForced);
    });

    SmallVector<Value> results = {k.asTensor(mask), k.asTensor(bias)};
    if (count)
      results.push_back(k.asTensor(count));
    rewriter.replaceOp(op, results);
    return success();
  }

  /// Turns a row of summed weights into biases.
  static void emitPrior(LoopBuilder &k, EntmaxRouteOp op, Value bias, ValueRange row, Value numColumns, Value group,
                        function_ref<Value(Value)> isForced) {
    Value zero = k.f32(0.0), one = k.f32(1.0);
    auto logWeight = [&](Value weight) { return k.log(k.div(weight, k.toF32(group))); };
    Value centre = zero, sigma = one;
    if (op.getPrior() == Prior::Tempered) {
      SmallVector<Value> sums =
          k.fold(k.index(0), numColumns, k.index(1), {zero, zero}, [&](Value column, ValueRange sums) {
            Value weight = k.load(bias, inRow(row, column)), routed = k.gt(weight, zero);
            return SmallVector<Value>{k.add(sums[0], k.select(routed, logWeight(weight), zero)),
                                      k.add(sums[1], k.select(routed, one, zero))};
          });
      centre = k.div(sums[0], k.max(sums[1], one));
      sigma = k.f32(op.getSigma().convertToDouble());
    }
    k.forRange(numColumns, [&](Value column) {
      Value weight = k.load(bias, inRow(row, column));
      Value biased = op.getPrior() == Prior::None ? k.flag(false)
                                                  : k.both(k.gt(weight, zero), k.negate(isForced(column)));
      Value value = k.div(k.sub(logWeight(weight), centre), sigma);
      k.store(k.select(biased, value, zero), bias, inRow(row, column));
    });
  }
};

} // namespace

void sparseattn::populateEntmaxPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerEntmaxRoute>(patterns.getContext());
}
