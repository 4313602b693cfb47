//===- Summaries.cpp - chunk_summarize -------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "Patterns.h"

using namespace mlir;
using namespace sparseattn;

namespace {

/// Writes the summaries of one chunk: the keys [begin, end) of one KV head.
struct ChunkEmitter {
  LoopBuilder &k;
  ChunkSummarizeOp op;
  HeadView keys;
  /// Operands of the mode; null where absent.
  Value query, gate, position, weightIn, weightOut;
  SmallVector<HeadView> results = {};
  Value batch = {}, head = {}, chunk = {}, begin = {}, end = {};

  /// Channels handled together, and a loop over their groups.
  int64_t lanes() const { return laneCount(keys.buffer); }
  void forChannels(function_ref<void(Value)> body) {
    k.forRange(k.index(0), headDim(k, keys), k.index(lanes()), body);
  }
  Value loadKey(Value token, Value channel) {
    return k.loadVector(keys.buffer, keys.at(batch, head, token, channel), lanes());
  }
  void storeResult(Value vector, Value channel, int result = 0) {
    const HeadView &view = results[result];
    k.storeVector(vector, view.buffer, view.at(batch, head, chunk, channel));
  }

  void emit() {
    switch (op.getMode()) {
    case SummaryMode::Mean: return emitMean();
    case SummaryMode::LearnedQuery: return emitLearnedQuery();
    case SummaryMode::MinMax: return emitMinMax();
    case SummaryMode::MLP: return emitMLP();
    case SummaryMode::GatedSoftmax: return emitGatedSoftmax();
    }
  }

  void emitMean() {
    Value count = k.splat(k.toF32(k.sub(end, begin)), lanes());
    forChannels([&](Value channel) {
      Value sum = k.fold(begin, end, k.splat(k.f32(0.0), lanes()), [&](Value token, Value sum) {
        return k.add(sum, loadKey(token, channel));
      });
      storeResult(k.div(sum, count), channel);
    });
  }

  void emitMinMax() {
    forChannels([&](Value channel) {
      Value first = loadKey(begin, channel);
      auto bounds = k.fold(begin, end, k.index(1), {first, first}, [&](Value token, ValueRange bounds) {
        Value key = loadKey(token, channel);
        return SmallVector<Value>{k.min(bounds[0], key), k.max(bounds[1], key)};
      });
      storeResult(bounds[0], channel, 0);
      storeResult(bounds[1], channel, 1);
    });
  }

  void emitLearnedQuery() {
    auto loadQuery = [&](Value channel) {
      bool perChunk = cast<MemRefType>(query.getType()).getRank() == 3;
      SmallVector<Value> at = perChunk ? SmallVector<Value>{head, chunk, channel} : SmallVector<Value>{head, channel};
      return k.loadVector(query, at, lanes());
    };
    Value dim = headDim(k, keys);
    Value scale = op.getScale() ? k.f32(op.getScale()->convertToDouble())
                                : k.div(k.f32(1.0), k.sqrt(k.toF32(dim)));
    Value weights = k.scratch(k.index(op.getBlock()), k.builder().getF32Type());
    Value largest = k.fold(begin, end, k.minusInf(), [&](Value token, Value largest) {
      Value product = sumOver(k, dim, lanes(), [&](Value channel) {
        return k.mul(loadQuery(channel), loadKey(token, channel));
      });
      Value logit = k.mul(scale, product);
      k.store(logit, weights, k.sub(token, begin));
      return k.max(largest, logit);
    });
    Value total = k.fold(begin, end, k.f32(0.0), [&](Value token, Value total) {
      Value weight = k.exp(k.sub(k.load(weights, k.sub(token, begin)), largest));
      k.store(weight, weights, k.sub(token, begin));
      return k.add(total, weight);
    });
    forChannels([&](Value channel) {
      Value sum = k.fold(begin, end, k.splat(k.f32(0.0), lanes()), [&](Value token, Value sum) {
        Value weight = k.load(weights, k.sub(token, begin));
        return k.fma(k.splat(weight, lanes()), loadKey(token, channel), sum);
      });
      storeResult(k.div(sum, k.splat(total, lanes())), channel);
    });
  }

  void emitGatedSoftmax() {
    auto loadGate = [&](Value token, Value channel) {
      Value value = k.loadVector(gate, keys.at(batch, head, token, channel), lanes());
      return position ? k.add(value, k.loadVector(position, {k.sub(token, begin), channel}, lanes())) : value;
    };
    forChannels([&](Value channel) {
      Value largest = k.fold(begin, end, k.splat(k.minusInf(), lanes()), [&](Value token, Value largest) {
        return k.max(largest, loadGate(token, channel));
      });
      Value zero = k.splat(k.f32(0.0), lanes());
      auto sums = k.fold(begin, end, k.index(1), {zero, zero}, [&](Value token, ValueRange sums) {
        Value weight = k.exp(k.sub(loadGate(token, channel), largest));
        return SmallVector<Value>{k.add(sums[0], weight), k.fma(weight, loadKey(token, channel), sums[1])};
      });
      storeResult(k.div(sums[1], sums[0]), channel);
    });
  }

  void emitMLP() {
    Value dim = headDim(k, keys), width = k.dim(weightIn, 1);
    Value hidden = k.scratch(width, k.builder().getF32Type());

    int64_t hiddenLanes = laneCount(weightIn);
    k.forRange(k.index(0), width, k.index(hiddenLanes), [&](Value unit) {
      Value zero = k.splat(k.f32(0.0), hiddenLanes);
      Value sum = k.fold(begin, end, zero, [&](Value token, Value sum) {
        Value row = k.sub(token, begin);
        return k.fold(k.index(0), dim, sum, [&](Value channel, Value sum) {
          Value key = k.load(keys.buffer, keys.at(batch, head, token, channel));
          if (position)
            key = k.add(key, k.load(position, {row, channel}));
          Value weights = k.loadVector(weightIn, {k.add(k.mul(row, dim), channel), unit}, hiddenLanes);
          return k.fma(k.splat(key, hiddenLanes), weights, sum);
        });
      });
      k.storeVector(k.max(sum, zero), hidden, unit);
    });

    int64_t outLanes = laneCount(weightOut);
    k.forRange(k.index(0), k.dim(weightOut, 1), k.index(outLanes), [&](Value channel) {
      Value sum = k.fold(k.index(0), width, k.splat(k.f32(0.0), outLanes), [&](Value unit, Value sum) {
        Value weights = k.loadVector(weightOut, {unit, channel}, outLanes);
        return k.fma(k.splat(k.load(hidden, unit), outLanes), weights, sum);
      });
      storeResult(sum, channel);
    });
  }
};

struct LowerChunkSummarize : OpRewritePattern<ChunkSummarizeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ChunkSummarizeOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    auto read = [&](Value operand) { return operand ? k.read(operand) : Value(); };
    ChunkEmitter emitter{k, op, readHeads(k, op.getKey(), op.getLayout()), read(op.getSummaryQuery()),
                         read(op.getGate()), read(op.getPosition()), read(op.getWeightIn()), read(op.getWeightOut())};
    const HeadView &keys = emitter.keys;
    Value numKeys = seqLength(k, keys), block = k.index(op.getBlock()), stride = k.index(op.getStrideOrBlock());
    Value numChunks = op.getCompleteOnly()
                          ? k.max(k.index(0), k.add(k.div(k.sub(numKeys, block), stride), 1))
                          : k.ceilDiv(numKeys, stride);

    SmallVector<Value> sizes(keys.dims.rank());
    sizes[keys.dims.batch] = batchSize(k, keys);
    sizes[keys.dims.head] = headCount(k, keys);
    sizes[keys.dims.seq] = numChunks;
    sizes[keys.dims.dim] = op.getWeightOut() ? k.dim(op.getWeightOut(), 1) : headDim(k, keys);
    for (Value summary : op.getSummaries())
      emitter.results.push_back({allocateResult(k, summary, sizes), keys.dims});

    k.parallel({batchSize(k, keys), headCount(k, keys), numChunks}, [&](ValueRange at) {
      emitter.batch = at[0], emitter.head = at[1], emitter.chunk = at[2];
      emitter.begin = k.mul(at[2], stride);
      emitter.end = k.min(k.add(emitter.begin, block), numKeys);
      emitter.emit();
    });
    rewriter.replaceOp(op, llvm::map_to_vector(emitter.results, [&](const HeadView &view) {
      return k.asTensor(view.buffer);
    }));
    return success();
  }
};

} // namespace

void sparseattn::populateSummaryPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerChunkSummarize>(patterns.getContext());
}
