//===- AttentionSkeleton.cpp - one loop nest for every attention -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "AttentionSkeleton.h"

using namespace mlir;
using namespace sparseattn;

namespace {

/// Keys per tile: scores of a tile live in one small scratch buffer.
constexpr int64_t kTileKeys = 64;
/// f32 lanes of a vector; targets split it as they need.
constexpr int64_t kLanes = 16;
/// Query tokens per tile when nothing forces one token per tile.
constexpr int64_t kTileTokens = 8;

/// Which (token, head) each row of a tile is: row r is token r / heads of the
/// tile and head r % heads of its head group.
struct RowMap {
  int64_t tokens;
  int64_t heads;
  int64_t rows() const { return tokens * heads; }
  /// Rows handled together in the innermost loops.
  int64_t unroll() const {
    int64_t n = rows();
    if (n <= 4)
      return n;
    for (int64_t u : {4, 3, 2})
      if (n % u == 0)
        return u;
    return 1;
  }
};

/// Heads of a group when they are known, else 0.
int64_t getStaticGroup(const AttentionSpec &spec) {
  int64_t queryHeads = spec.query.staticSize(spec.query.dims.head);
  const HeadView &keys = spec.sources.front().keys;
  int64_t kvHeads = keys.staticSize(keys.dims.head);
  if (ShapedType::isDynamic(queryHeads) || ShapedType::isDynamic(kvHeads))
    return 0;
  return queryHeads / kvHeads;
}

int getSelectionHeadDim(const AttentionSpec &spec) { return spec.query.dims.batch < 0 ? 0 : 1; }

/// True when every head of a group is known to share the selections.
bool sharesSelections(const AttentionSpec &spec) {
  int64_t queryHeads = spec.query.staticSize(spec.query.dims.head);
  const HeadView &keys = spec.sources.front().keys;
  int64_t kvHeads = keys.staticSize(keys.dims.head);
  return llvm::all_of(spec.sources, [&](const KeySource &source) {
    if (!source.selection)
      return true;
    int64_t heads = cast<MemRefType>(source.selection.getType()).getDimSize(getSelectionHeadDim(spec));
    return heads == 1 || (!ShapedType::isDynamic(heads) && heads == kvHeads && queryHeads % kvHeads == 0);
  });
}

/// One token per tile wherever rows must share their key list; a group of
/// heads then fills the tile.
RowMap chooseRowMap(const AttentionSpec &spec) {
  bool listed = llvm::any_of(spec.sources, [](const KeySource &s) { return bool(s.selection); });
  int64_t queries = spec.query.staticSize(spec.query.dims.seq);
  if (!listed && !spec.epilogue && (ShapedType::isDynamic(queries) || queries > 2))
    return {kTileTokens, 1};
  int64_t group = getStaticGroup(spec);
  return {1, group > 0 && sharesSelections(spec) ? group : 1};
}

class AttentionEmitter {
public:
  AttentionEmitter(LoopBuilder &k, const AttentionSpec &spec)
      : k(k), spec(spec), rowMap(chooseRowMap(spec)),
        keyDim(spec.query.staticSize(spec.query.dims.dim)),
        valueDim(spec.out.staticSize(spec.out.dims.dim)) {}

  void emit();

private:
  struct Range {
    Value begin, end;
  };

  SmallVector<Value> rowIndices(Value head, std::initializer_list<Value> rest) const;
  void loadRows();
  void locateRow(Value row, Value token);
  Range rowRange(const KeySource &source, Value row);
  Range tileRange(const KeySource &source);
  Value blockOrigin(const KeySource &source);
  void forKeyTiles(Range keys, function_ref<void(Value, Value)> body);
  void forSelectedBlocks(const KeySource &source, function_ref<void(Value, Value)> body);
  void emitScores(const KeySource &source, Value first, Value end, Value bias);
  Value maskRow(Value row, Value first, Value end, Value bias);
  void admitTile(const KeySource &source, Value first, Value end, Value bias);
  void accumulate(const KeySource &source, Value first, Value count);
  void visitSource(const KeySource &source);
  void storeRows();
  void emitEpilogue();

  void forRows(function_ref<void(Value)> body) { k.forRange(k.index(rowMap.rows()), body); }
  void forRowGroups(function_ref<void(Value)> body) {
    k.forRange(k.index(0), k.index(rowMap.rows()), k.index(rowMap.unroll()), body);
  }
  Value rowHead(Value row) { return k.add(firstHead, k.rem(row, rowMap.heads)); }

  LoopBuilder &k;
  const AttentionSpec &spec;
  RowMap rowMap;
  int64_t keyDim, valueDim;

  // Of the tile in hand.
  Value batch, firstHead, kvHead, firstToken, numQueries;
  // Scratch: queries, scores, accumulated output, normaliser state, final lse.
  Value q, scores, acc, rowMax, rowSum, rowLse;
  // Scratch: position of each row relative to its document, the document's
  // first key and its number of keys, the visible range of the source in hand.
  Value rowPos, rowBase, rowKeys, rowBegin, rowEnd;
};

} // namespace

/// [batch, head, rest...], without the batch for packed documents.
SmallVector<Value> AttentionEmitter::rowIndices(Value head, std::initializer_list<Value> rest) const {
  SmallVector<Value> indices;
  if (spec.query.dims.batch >= 0)
    indices.push_back(batch);
  indices.push_back(head);
  indices.append(rest);
  return indices;
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Position, document and number of keys of a row.
void AttentionEmitter::locateRow(Value row, Value token) {
  Value position, base = k.index(0), numKeys;
  if (spec.cuSeqlensQ) {
    // The document of a token is the number of documents that end at or before it.
    Value documents = k.sub(k.dim(spec.cuSeqlensQ, 0), 1);
    Value document = k.fold(k.index(0), documents, k.index(0), [&](Value i, Value count) {
      Value end = k.loadIndex(spec.cuSeqlensQ, k.add(i, 1));
      return k.add(count, k.toIndex(k.le(end, token)));
    });
    document = k.min(document, k.max(k.sub(documents, 1), k.index(0)));
    Value queryBegin = k.loadIndex(spec.cuSeqlensQ, document);
    Value next = k.min(k.add(document, 1), documents);
    Value queryEnd = k.loadIndex(spec.cuSeqlensQ, next);
    base = k.loadIndex(spec.cuSeqlensK, document);
    numKeys = k.sub(k.loadIndex(spec.cuSeqlensK, next), base);
    Value offset = k.sub(numKeys, k.sub(queryEnd, queryBegin));
    position = k.add(k.sub(token, queryBegin), offset);
    k.store(numKeys, rowKeys, row);
  } else {
    position = k.add(spec.queryOffset, token);
  }
  k.store(position, rowPos, row);
  k.store(base, rowBase, row);
}

void AttentionEmitter::loadRows() {
  Value lastQuery = k.sub(numQueries, 1);
  forRows([&](Value row) {
    // Rows past the end repeat the last query; they see no key and are not stored.
    Value token = k.min(k.add(firstToken, k.div(row, rowMap.heads)), lastQuery);
    Value head = rowHead(row);
    int64_t main = keyDim / kLanes * kLanes;
    k.forRange(k.index(0), k.index(main), k.index(kLanes), [&](Value e) {
      k.storeVector(k.loadVector(spec.query.buffer, spec.query.at(batch, head, token, e), kLanes), q, {row, e});
    });
    k.forRange(k.index(main), k.index(keyDim), [&](Value e) {
      k.store(k.load(spec.query.buffer, spec.query.at(batch, head, token, e)), q, {row, e});
    });
    k.forRange(k.index(valueDim), [&](Value e) { k.store(k.f32(0.0), acc, {row, e}); });
    Value sink = spec.sink ? k.load(spec.sink, head) : Value();
    NormalizerState state = spec.normalizer.buildInit(k.builder(), k.location(), sink);
    k.store(state.max, rowMax, row);
    k.store(state.sum, rowSum, row);
    locateRow(row, token);
  });
}

AttentionEmitter::Range AttentionEmitter::rowRange(const KeySource &source, Value row) {
  Value length = seqLength(k, source.keys);
  Value numKeys = spec.cuSeqlensQ ? k.load(rowKeys, row) : length;
  KeyRange pattern = source.pattern.buildKeyRange(k.builder(), k.location(), k.load(rowPos, row), numKeys, kvHead);
  Value base = k.load(rowBase, row);
  Value begin = k.add(base, k.max(pattern.begin, k.index(0)));
  Value end = k.add(base, k.min(pattern.end, numKeys));
  Value token = k.add(firstToken, k.div(row, rowMap.heads));
  Value exists = k.lt(token, numQueries);
  if (spec.validRange) {
    Value safe = k.min(token, k.sub(numQueries, 1));
    begin = k.max(begin, k.loadIndex(spec.validRange, {batch, safe, k.index(0)}));
    end = k.min(end, k.loadIndex(spec.validRange, {batch, safe, k.index(1)}));
  }
  // An absent row must not widen the range of its tile.
  return {k.select(exists, begin, length), k.select(exists, end, k.index(0))};
}

/// Stores the range of every row and returns their hull.
AttentionEmitter::Range AttentionEmitter::tileRange(const KeySource &source) {
  SmallVector<Value> hull = k.fold(
      k.index(0), k.index(rowMap.rows()), k.index(1), {seqLength(k, source.keys), k.index(0)},
      [&](Value row, ValueRange carried) -> SmallVector<Value> {
        Range range = rowRange(source, row);
        k.store(range.begin, rowBegin, row);
        k.store(range.end, rowEnd, row);
        return {k.min(carried[0], range.begin), k.max(carried[1], range.end)};
      });
  return {hull[0], hull[1]};
}

/// First key of block 0; all rows of a tile share it, because tiles of listed
/// sources and of epilogues hold one token.
Value AttentionEmitter::blockOrigin(const KeySource &source) {
  if (source.origin == BlockOrigin::Absolute)
    return k.index(0);
  if (spec.validRange)
    return k.max(k.loadIndex(spec.validRange, {batch, firstToken, k.index(0)}), k.index(0));
  return k.load(rowBase, k.index(0));
}

//===----------------------------------------------------------------------===//
// Key tiles
//===----------------------------------------------------------------------===//

/// Calls `body(first, end)` for tiles of at most kTileKeys keys.
void AttentionEmitter::forKeyTiles(Range keys, function_ref<void(Value, Value)> body) {
  k.forRange(keys.begin, keys.end, k.index(kTileKeys), [&](Value first) {
    body(first, k.min(k.add(first, kTileKeys), keys.end));
  });
}

/// Calls `body(block, bias)` for every selected block, in ascending order of
/// entries.
void AttentionEmitter::forSelectedBlocks(const KeySource &source, function_ref<void(Value, Value)> body) {
  Value selectionHeads = k.dim(source.selection, getSelectionHeadDim(spec));
  Value ownHead = k.select(k.eq(selectionHeads, headCount(k, spec.query)), firstHead, kvHead);
  Value head = k.select(k.eq(selectionHeads, k.index(1)), k.index(0), ownHead);
  Value selector = k.div(firstToken, source.queryBlock);
  auto biasAt = [&](Value column) {
    return source.bias ? k.load(source.bias, rowIndices(kvHead, {selector, column})) : Value();
  };
  int64_t last = cast<MemRefType>(source.selection.getType()).getRank() - 1;
  if (source.format == SelectionFormat::Index) {
    k.forRange(k.dim(source.selection, last), [&](Value entry) {
      Value block = k.loadIndex(source.selection, rowIndices(head, {selector, entry}));
      k.ifThen(k.ge(block, k.index(0)), [&] { body(block, biasAt(entry)); });
    });
    return;
  }
  Value blocks = k.ceilDiv(seqLength(k, source.keys), k.index(source.block));
  k.forRange(blocks, [&](Value block) {
    Value selected = k.loadBit(source.selection, rowIndices(head, {selector}), block);
    k.ifThen(selected, [&] { body(block, biasAt(block)); });
  });
}

/// scores[row, t] = scale <q_row, k_{first+t}>.
void AttentionEmitter::emitScores(const KeySource &source, Value first, Value end, Value bias) {
  int64_t main = keyDim / kLanes * kLanes, unroll = rowMap.unroll();
  Value scale = k.f32(spec.scale);
  k.forRange(k.sub(end, first), [&](Value t) {
    Value key = k.add(first, t);
    forRowGroups([&](Value row) {
      SmallVector<Value> rows;
      for (int64_t u = 0; u < unroll; ++u)
        rows.push_back(k.add(row, u));
      SmallVector<Value> sums(unroll, k.f32(0.0));
      if (main > 0) {
        SmallVector<Value> zero(unroll, k.splat(k.f32(0.0), kLanes));
        SmallVector<Value> lanes = k.fold(
            k.index(0), k.index(main), k.index(kLanes), zero, [&](Value e, ValueRange carried) {
              Value keys = k.loadVector(source.keys.buffer, source.keys.at(batch, kvHead, key, e), kLanes);
              SmallVector<Value> next;
              for (int64_t u = 0; u < unroll; ++u)
                next.push_back(k.fma(k.loadVector(q, {rows[u], e}, kLanes), keys, carried[u]));
              return next;
            });
        for (int64_t u = 0; u < unroll; ++u)
          sums[u] = k.sumLanes(lanes[u]);
      }
      if (main < keyDim)
        sums = k.fold(k.index(main), k.index(keyDim), k.index(1), sums, [&](Value e, ValueRange carried) {
          Value element = k.load(source.keys.buffer, source.keys.at(batch, kvHead, key, e));
          SmallVector<Value> next;
          for (int64_t u = 0; u < unroll; ++u)
            next.push_back(k.fma(k.load(q, {rows[u], e}), element, carried[u]));
          return next;
        });
      for (int64_t u = 0; u < unroll; ++u)
        k.store(k.mul(scale, sums[u]), scores, {rows[u], t});
    });
  });
}

/// Applies score change, bias and visibility to a row of a tile and returns
/// its largest score. Lanes past the tile become -inf.
Value AttentionEmitter::maskRow(Value row, Value first, Value end, Value bias) {
  Value begin = k.sub(k.load(rowBegin, row), first);
  Value limit = k.sub(k.min(k.load(rowEnd, row), end), first);
  Value minusInf = k.splat(k.minusInf(), kLanes);
  Value largest = k.fold(
      k.index(0), k.index(kTileKeys), k.index(kLanes), ValueRange{minusInf},
      [&](Value t, ValueRange carried) -> SmallVector<Value> {
        Value score = k.loadVector(scores, {row, t}, kLanes);
        if (spec.scoreMod)
          score = spec.scoreMod.buildScore(k.builder(), k.location(), score);
        if (bias)
          score = k.add(score, k.splat(bias, kLanes));
        Value lane = k.add(k.laneIndices(kLanes), k.splat(t, kLanes));
        Value visible = k.both(k.ge(lane, k.splat(begin, kLanes)), k.lt(lane, k.splat(limit, kLanes)));
        score = k.select(visible, score, minusInf);
        k.storeVector(score, scores, {row, t});
        return {k.max(carried[0], score)};
      })[0];
  return k.maxLanes(largest);
}

/// Scores, weights and weighted values of one key tile.
void AttentionEmitter::admitTile(const KeySource &source, Value first, Value end, Value bias) {
  emitScores(source, first, end, bias);
  forRows([&](Value row) {
    Value largest = maskRow(row, first, end, bias);
    NormalizerState state = {k.load(rowMax, row), k.load(rowSum, row)};
    Value factor = spec.normalizer.buildAdmit(k.builder(), k.location(), state, largest);
    NormalizerState lanes = {k.splat(state.max, kLanes), k.splat(state.sum, kLanes)};
    Value total = k.fold(
        k.index(0), k.index(kTileKeys), k.index(kLanes), ValueRange{k.splat(k.f32(0.0), kLanes)},
        [&](Value t, ValueRange carried) -> SmallVector<Value> {
          Value weight = spec.normalizer.buildWeight(k.builder(), k.location(), lanes,
                                                     k.loadVector(scores, {row, t}, kLanes));
          k.storeVector(weight, scores, {row, t});
          return {k.add(carried[0], weight)};
        })[0];
    spec.normalizer.buildAccumulate(k.builder(), k.location(), state, k.sumLanes(total));
    k.store(state.max, rowMax, row);
    k.store(state.sum, rowSum, row);
    k.ifThen(k.negate(k.eq(factor, k.f32(1.0))), [&] {
      k.forRange(k.index(valueDim), [&](Value e) { k.store(k.mul(factor, k.load(acc, {row, e})), acc, {row, e}); });
    });
  });
  accumulate(source, first, k.sub(end, first));
}

/// acc[row] += sum_t scores[row, t] v_{first+t}.
void AttentionEmitter::accumulate(const KeySource &source, Value first, Value count) {
  int64_t main = valueDim / kLanes * kLanes, unroll = rowMap.unroll();
  auto emitColumns = [&](Value row, Value e, int64_t lanes) {
    auto loadElement = [&](Value buffer, ValueRange at) {
      return lanes > 1 ? k.loadVector(buffer, at, lanes) : k.load(buffer, at);
    };
    SmallVector<Value> rows, init;
    for (int64_t u = 0; u < unroll; ++u) {
      rows.push_back(k.add(row, u));
      init.push_back(loadElement(acc, {rows[u], e}));
    }
    SmallVector<Value> sums =
        k.fold(k.index(0), count, k.index(1), init, [&](Value t, ValueRange carried) {
          Value value = loadElement(source.values.buffer, source.values.at(batch, kvHead, k.add(first, t), e));
          SmallVector<Value> next;
          for (int64_t u = 0; u < unroll; ++u) {
            Value weight = k.load(scores, {rows[u], t});
            next.push_back(k.fma(lanes > 1 ? k.splat(weight, lanes) : weight, value, carried[u]));
          }
          return next;
        });
    for (int64_t u = 0; u < unroll; ++u) {
      if (lanes > 1)
        k.storeVector(sums[u], acc, {rows[u], e});
      else
        k.store(sums[u], acc, {rows[u], e});
    }
  };
  forRowGroups([&](Value row) {
    k.forRange(k.index(0), k.index(main), k.index(kLanes), [&](Value e) { emitColumns(row, e, kLanes); });
    k.forRange(k.index(main), k.index(valueDim), [&](Value e) { emitColumns(row, e, 1); });
  });
}

void AttentionEmitter::visitSource(const KeySource &source) {
  Range visible = tileRange(source);
  if (!source.selection) {
    forKeyTiles(visible, [&](Value first, Value end) { admitTile(source, first, end, {}); });
    return;
  }
  Value origin = blockOrigin(source);
  forSelectedBlocks(source, [&](Value block, Value bias) {
    Value begin = k.add(origin, k.mul(block, source.block));
    Range keys = {k.max(begin, visible.begin), k.min(k.add(begin, source.block), visible.end)};
    forKeyTiles(keys, [&](Value first, Value end) { admitTile(source, first, end, bias); });
  });
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

void AttentionEmitter::storeRows() {
  forRows([&](Value row) {
    Value token = k.add(firstToken, k.div(row, rowMap.heads));
    NormalizerState state = {k.load(rowMax, row), k.load(rowSum, row)};
    NormalizerResult result = spec.normalizer.buildFinish(k.builder(), k.location(), state);
    k.store(result.lse, rowLse, row);
    k.ifThen(k.lt(token, numQueries), [&] {
      Value head = rowHead(row);
      k.forRange(k.index(valueDim), [&](Value e) {
        k.store(k.mul(result.factor, k.load(acc, {row, e})), spec.out.buffer, spec.out.at(batch, head, token, e));
      });
      if (spec.lse)
        k.store(result.lse, spec.lse, rowIndices(head, {token}));
    });
  });
}

/// Block scores need the final lse, so scores are computed a second time.
void AttentionEmitter::emitEpilogue() {
  KeySource source = spec.sources.front();
  source.origin = spec.epilogue.getOrigin();
  Range visible = tileRange(source);
  Value origin = blockOrigin(source);
  int64_t block = spec.epilogue.getBlock();
  Value blockMax = k.scratch({rowMap.rows()}, k.builder().getF32Type());
  Value columns = k.dim(spec.score, cast<MemRefType>(spec.score.getType()).getRank() - 1);
  k.forRange(columns, [&](Value column) {
    forRows([&](Value row) { k.store(k.minusInf(), blockMax, row); });
    Value begin = k.add(origin, k.mul(column, block));
    Range keys = {k.max(begin, visible.begin), k.min(k.add(begin, block), visible.end)};
    forKeyTiles(keys, [&](Value first, Value end) {
      emitScores(source, first, end, {});
      forRows([&](Value row) {
        k.store(k.max(k.load(blockMax, row), maskRow(row, first, end, {})), blockMax, row);
      });
    });
    auto element = [&](Value row) {
      Value score = k.load(blockMax, row);
      Value invisible = k.f32(spec.epilogue.getInvisible());
      return k.select(k.eq(score, k.minusInf()), invisible,
                      spec.epilogue.buildElement(k.builder(), k.location(), score, k.load(rowLse, row)));
    };
    GroupReduce group = spec.epilogue.getGroup();
    if (group == GroupReduce::None) {
      forRows([&](Value row) { k.store(element(row), spec.score, rowIndices(rowHead(row), {firstToken, column})); });
      return;
    }
    Value total = k.fold(k.index(1), k.index(rowMap.rows()), element(k.index(0)), [&](Value row, Value sum) {
      return group == GroupReduce::Max ? k.max(sum, element(row)) : k.add(sum, element(row));
    });
    if (group == GroupReduce::Mean)
      total = k.div(total, k.f32(rowMap.rows()));
    k.store(total, spec.score, rowIndices(kvHead, {firstToken, column}));
  });
}

void AttentionEmitter::emit() {
  Value queryHeads = headCount(k, spec.query);
  Value group = k.div(queryHeads, headCount(k, spec.sources.front().keys));
  numQueries = seqLength(k, spec.query);
  Value headGroups = k.div(queryHeads, k.index(rowMap.heads));
  Value tiles = k.ceilDiv(numQueries, k.index(rowMap.tokens));
  k.parallel({batchSize(k, spec.query), headGroups, tiles}, [&](ValueRange at) {
    batch = at[0];
    firstHead = k.mul(at[1], rowMap.heads);
    kvHead = k.div(firstHead, group);
    firstToken = k.mul(at[2], rowMap.tokens);
    int64_t rows = rowMap.rows();
    Type f32 = k.builder().getF32Type(), index = k.builder().getIndexType();
    q = k.scratch({rows, keyDim}, f32);
    scores = k.scratch({rows, kTileKeys}, f32);
    acc = k.scratch({rows, valueDim}, f32);
    rowMax = k.scratch({rows}, f32);
    rowSum = k.scratch({rows}, f32);
    rowLse = k.scratch({rows}, f32);
    rowPos = k.scratch({rows}, index);
    rowBase = k.scratch({rows}, index);
    rowKeys = k.scratch({rows}, index);
    rowBegin = k.scratch({rows}, index);
    rowEnd = k.scratch({rows}, index);
    loadRows();
    for (const KeySource &source : spec.sources)
      visitSource(source);
    storeRows();
    if (spec.epilogue)
      emitEpilogue();
  });
}

void sparseattn::buildAttention(LoopBuilder &k, const AttentionSpec &spec) {
  AttentionEmitter(k, spec).emit();
}
