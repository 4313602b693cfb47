//===- TileKV.cpp - sparseattn-tile-kv -------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "IndexMath.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"
#include "llvm/Support/MathExtras.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNTILEKV
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

namespace {

/// Which keys the rows of a tile see.
struct TileKeys {
  /// Of each row, [R]; `begin` is null when there is no lower bound.
  Value begin, end;
  /// Keys that some row sees, and keys that every row sees; within [0, length].
  KeyRange hull, full;
};

/// The blocks that a loop visits: iteration `i` of `count` reads the keys from
/// `column(i)` on.
struct BlockOrder {
  Value count;
  std::function<Value(OpBuilder &, Value)> column;
};

class TileExpander {
public:
  TileExpander(StreamingAttentionOp op)
      : op(op), b(op), loc(op.getLoc()), k(b, loc), keyTile(op.getSchedule().getKeyTile()),
        queryType(cast<RankedTensorType>(op.getQuery().getType())),
        outType(cast<RankedTensorType>(op.getOut().getType())),
        rowType(cast<RankedTensorType>(op.getLse().getType())) {}

  void expand();

private:
  RankedTensorType tileType(int64_t columns, Type element) const {
    return RankedTensorType::get({queryType.getDimSize(0), columns}, element);
  }
  Value splat(RankedTensorType type, double value) {
    return arith::ConstantOp::create(b, loc, SplatElementsAttr::get(type, Attribute(b.getF32FloatAttr(value))));
  }
  std::pair<KeyRange, KeyRange> findExtremes(KeyRange rows);
  TileKeys findKeys(Value length);
  BlockOrder orderBlocks(const TileKeys &keys, Value length);
  Value countEntries(function_ref<Value(OpBuilder &, Value)> isSeen);
  BlockOrder orderList(const TileKeys &keys, Value length);
  Value loadBlock(Value source, Value column);
  std::optional<double> findReference();
  Value scoreBlock(Value column, const TileKeys &keys);

  StreamingAttentionOp op;
  OpBuilder b;
  Location loc;
  IndexMath k;
  int64_t keyTile;
  RankedTensorType queryType, outType, rowType;
  /// Multiplies scores to make them exponents of 2.
  double multiplier = llvm::numbers::log2e;
  bool foldsScale = false;
};

} // namespace

static bool isZero(Value value) { return matchPattern(value, m_Zero()); }

/// Keys that some row sees, and keys that every row sees, from the run-time
/// ranges of the rows that exist: they come in no order.
std::pair<KeyRange, KeyRange> TileExpander::findExtremes(KeyRange rows) {
  Value zero = k.constant(0), one = k.constant(1);
  auto at = [&](Value tensor, Value row) -> Value { return tensor::ExtractOp::create(b, loc, tensor, row); };
  Value begin = at(rows.begin, zero), end = at(rows.end, zero);
  auto loop = scf::ForOp::create(b, loc, one, op.getCount(), one, ValueRange{begin, end, begin, end});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  ValueRange found = loop.getRegionIterArgs();
  begin = at(rows.begin, loop.getInductionVar());
  end = at(rows.end, loop.getInductionVar());
  scf::YieldOp::create(b, loc, ValueRange{k.min(found[0], begin), k.max(found[1], end), k.max(found[2], begin),
                                          k.min(found[3], end)});
  return {{loop.getResult(0), loop.getResult(1)}, {loop.getResult(2), loop.getResult(3)}};
}

TileKeys TileExpander::findKeys(Value length) {
  auto indexRows = cast<RankedTensorType>(getIndexRowsType(queryType));
  KeyPatternAttrInterface pattern = op.getKeys();
  Value kvHead = op.getKvHead(), zero = k.constant(0);
  auto rangeAt = [&](Value position) { return pattern.buildKeyRange(b, loc, position, length, kvHead); };
  KeyRange first = rangeAt(op.getPosition());
  KeyRange last = rangeAt(k.add(op.getPosition(), k.sub(op.getCount(), 1)));
  KeyRange rows = rangeAt(k.add(k.splat(op.getPosition(), indexRows), TileRowsOp::create(b, loc, indexRows)));
  TileKeys keys;
  keys.hull = {first.begin, last.end};
  keys.full = {last.begin, first.end};

  if (op.getRangeBegin()) {
    KeyRange given = {op.getRangeBegin(), op.getRangeEnd()};
    auto [some, every] = findExtremes(given);
    keys.hull = {k.max(keys.hull.begin, some.begin), k.min(keys.hull.end, some.end)};
    keys.full = {k.max(keys.full.begin, every.begin), k.min(keys.full.end, every.end)};
    rows = {k.max(rows.begin, given.begin), k.min(rows.end, given.end)};
  }
  for (KeyRange *range : {&keys.hull, &keys.full}) {
    range->begin = isZero(range->begin) ? zero : k.clamp(range->begin, zero, length);
    range->end = range->end == length ? length : k.clamp(range->end, zero, length);
  }
  keys.begin = isZero(rows.begin) ? Value() : rows.begin;
  keys.end = k.min(rows.end, k.splat(length, indexRows));
  return keys;
}

/// From the last block to the first: the blocks that a causal pattern cuts then
/// come first, and a loop without mask can follow.
BlockOrder TileExpander::orderBlocks(const TileKeys &keys, Value length) {
  if (!op.getBlocks()) {
    Value begin = k.floorDiv(keys.hull.begin, keyTile), end = k.ceilDiv(keys.hull.end, keyTile);
    Value last = k.sub(end, 1);
    return {k.max(k.sub(end, begin), k.constant(0)), [=](OpBuilder &b, Value i) {
              IndexMath k(b, loc);
              return k.mul(k.sub(last, i), keyTile);
            }};
  }
  return orderList(keys, length);
}

/// As many entries of a list as have to be visited: those up to the last one that
/// names a block that some row sees. Lists of a fixed width are padded at the end,
/// and causal ones may name blocks that come later than the tile.
Value TileExpander::countEntries(function_ref<Value(OpBuilder &, Value)> isSeen) {
  Value zero = k.constant(0), one = k.constant(1);
  auto loop = scf::ForOp::create(b, loc, zero, k.dim(op.getBlocks(), 0), one, ValueRange{zero});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value index = loop.getInductionVar();
  Value seen = isSeen(b, k.extract(op.getBlocks(), index));
  scf::YieldOp::create(b, loc, k.select(seen, k.add(index, 1), loop.getRegionIterArg(0)));
  return loop.getResult(0);
}

/// The entries of a list, the last one first; each is `parts` tiles of keys.
BlockOrder TileExpander::orderList(const TileKeys &keys, Value length) {
  int64_t block = *op.getBlock(), parts = block / keyTile;
  Value first = k.floorDiv(keys.hull.begin, block), end = k.ceilDiv(keys.hull.end, block);
  Value past = k.mul(k.ceilDiv(length, block), block);
  auto isSeen = [=](OpBuilder &b, Value entry) {
    IndexMath k(b, loc);
    return k.both(k.compare(arith::CmpIPredicate::sge, entry, first), k.compare(arith::CmpIPredicate::slt, entry, end));
  };
  Value count = k.mul(countEntries(isSeen), parts), last = k.sub(count, 1);
  return {count, [=](OpBuilder &b, Value i) {
            IndexMath k(b, loc);
            Value part = k.sub(last, i);
            Value entry = k.extract(op.getBlocks(), k.floorDiv(part, parts));
            // What names no block that is seen becomes the block past the last one, of which nothing is seen.
            Value begin = k.select(isSeen(b, entry), k.mul(entry, block), past);
            return parts == 1 ? begin : k.add(begin, k.mul(k.rem(part, parts), keyTile));
          }};
}

Value TileExpander::loadBlock(Value source, Value column) {
  auto type = cast<RankedTensorType>(source.getType());
  int64_t features = getHeadShape(type, op.getLayout()).dim;
  Value position = op.getOrigin() ? k.add(op.getOrigin(), column) : column;
  return LoadTileOp::create(b, loc, RankedTensorType::get({keyTile, features}, type.getElementType()), source,
                            op.getBatch(), op.getKvHead(), position, op.getLayoutAttr());
}

/// What weights can be relative to instead of the row's maximum, in natural units: with scores of at most `bound` in
/// magnitude, a number from which no score is far enough for its weight to vanish or a sum to overflow. Only for
/// weights with the exponents of f32.
std::optional<double> TileExpander::findReference() {
  // f32 reaches down to 2^-126; 20 are left to the values that a weight multiplies. Upwards, 2^20 keys and values
  // of magnitude 2^64 fit under 2^127 with weights up to 2^40.
  constexpr double least = -106, most = 40;
  Type element = queryType.getElementType();
  ScoreModAttrInterface change = op.getScoreModAttr();
  std::optional<double> bound = change ? change.getBound() : std::nullopt;
  if (!bound || !(element.isBF16() || element.isF32()))
    return std::nullopt;
  double exponent = *bound * llvm::numbers::log2e, reference = std::min(exponent, -exponent - least);
  if (exponent - reference > most)
    return std::nullopt;
  return reference / llvm::numbers::log2e;
}

/// Masked scores, in the units of the normaliser's multiplier.
Value TileExpander::scoreBlock(Value column, const TileKeys &keys) {
  RankedTensorType type = tileType(keyTile, b.getF32Type());
  Value score = TileDotOp::create(b, loc, type, op.getQuery(), loadBlock(op.getKey(), column), Value(),
                                  /*transpose_b=*/true);
  if (!foldsScale)
    score = arith::MulFOp::create(b, loc, score, splat(type, op.getScale().convertToDouble()));
  if (ScoreModAttrInterface change = op.getScoreModAttr())
    score = change.buildScore(b, loc, score);
  return TileMaskOp::create(b, loc, type, score, keys.begin, keys.end, column, keys.full.begin, keys.full.end);
}

void TileExpander::expand() {
  double scale = op.getScale().convertToDouble();
  // Masked scores are -inf; only a positive factor keeps them so.
  foldsScale = scale > 0 && !op.getScoreModAttr();
  if (foldsScale)
    multiplier *= scale;
  Value length = op.getLength() ? op.getLength() : k.dim(op.getKey(), getLayoutDims(op.getLayout()).seq);
  TileKeys keys = findKeys(length);
  BlockOrder order = orderBlocks(keys, length);
  NormalizerAttrInterface normalizer = op.getNormalizerOrDefault();
  NormalizerState state = normalizer.buildTileInit(b, loc, rowType, findReference());

  SmallVector<Value> init = {state.sum, splat(outType, 0.0)};
  if (!state.isFixed)
    init.insert(init.begin(), state.max);
  auto loop = scf::ForOp::create(b, loc, k.constant(0), order.count, k.constant(1), init);
  auto carry = [&](ValueRange values) {
    state.max = state.isFixed ? state.max : values.front();
    state.sum = values.drop_back().back();
    return values.back();
  };
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value out = carry(loop.getRegionIterArgs());
    Value column = order.column(b, loop.getInductionVar());
    TileStep step = normalizer.buildTileStep(b, loc, state, scoreBlock(column, keys), multiplier);
    if (step.factor)
      out = arith::MulFOp::create(b, loc, out, TileBroadcastOp::create(b, loc, outType, step.factor));
    Value weights = step.weights;
    if (!queryType.getElementType().isF32())
      weights = arith::TruncFOp::create(b, loc, tileType(keyTile, queryType.getElementType()), weights);
    out = TileDotOp::create(b, loc, outType, weights, loadBlock(op.getValue(), column), out,
                            /*transpose_b=*/false);
    SmallVector<Value> yielded = {state.sum, out};
    if (!state.isFixed)
      yielded.insert(yielded.begin(), state.max);
    scf::YieldOp::create(b, loc, yielded);
  }
  Value out = carry(loop.getResults());
  NormalizerResult result = normalizer.buildTileFinish(b, loc, state, op.getSink(), multiplier);
  out = arith::MulFOp::create(b, loc, out, TileBroadcastOp::create(b, loc, outType, result.factor));
  op->replaceAllUsesWith(ValueRange{out, result.lse});
  op.erase();
}

void sparseattn::tileKV(StreamingAttentionOp op) { TileExpander(op).expand(); }

namespace {
struct TileKV : sparseattn::impl::SparseAttnTileKVBase<TileKV> {
  void runOnOperation() override {
    SmallVector<StreamingAttentionOp> ops;
    getOperation()->walk([&](StreamingAttentionOp op) { ops.push_back(op); });
    for (StreamingAttentionOp op : ops)
      tileKV(op);
  }
};
} // namespace
