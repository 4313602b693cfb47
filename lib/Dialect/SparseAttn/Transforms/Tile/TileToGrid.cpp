//===- TileToGrid.cpp - sparseattn-tile-to-grid ----------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "../RemarkUtils.h"
#include "IndexMath.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNTILETOGRID
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

static RankedTensorType getTensorType(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {

/// A query tile in the grid.
struct Tile {
  Value batch, head;
  /// Row of the query tensor where it begins, and how many of its rows exist.
  Value firstRow, count;
  /// Position of its first row.
  Value position;
  /// First key and number of keys of a packed document; null otherwise.
  Value origin, length;
};

/// What `attention` and `sparse_attention` have in common.
template <typename OpTy>
class GridBuilder {
public:
  GridBuilder(OpTy op, ScheduleAttr schedule)
      : op(op), schedule(schedule), b(op), loc(op.getLoc()), k(b, loc), dims(getLayoutDims(op.getLayout())),
        rows(schedule.getQueryTile()), documents(op.getCuSeqlensQ()) {}

  void build();

private:
  Value emptyLike(Value result, function_ref<Value(int)> size);
  Value countTiles();
  std::pair<Value, Value> place(Value index, Value length);
  void locate(Tile &tile, Value index);
  void locateInDocuments(Tile &tile, Value index);
  KeyRange loadValidRange(const Tile &tile);
  Value sliceBlocks(const Tile &tile, Value kvHead);
  StreamingAttentionOp attend(const Tile &tile);
  void nameArguments();

  OpTy op;
  ScheduleAttr schedule;
  OpBuilder b;
  Location loc;
  IndexMath k;
  LayoutDims dims;
  int64_t rows;
  Value documents;
};

/// An empty tensor for `result`; `size` gives its dynamic dimensions.
template <typename OpTy>
Value GridBuilder<OpTy>::emptyLike(Value result, function_ref<Value(int)> size) {
  SmallVector<OpFoldResult> sizes;
  for (auto [i, n] : llvm::enumerate(getTensorType(result).getShape()))
    sizes.push_back(ShapedType::isDynamic(n) ? OpFoldResult(size(i)) : b.getIndexAttr(n));
  return tensor::EmptyOp::create(b, loc, sizes, getTensorType(result).getElementType());
}

template <typename OpTy>
Value GridBuilder<OpTy>::countTiles() {
  Value length = k.dim(op.getQuery(), dims.seq);
  if (!documents)
    return k.ceilDiv(length, rows);
  // Each document has at most one tile that is not full.
  return k.add(k.floorDiv(length, rows), k.sub(k.dim(documents, 0), 1));
}

/// First row and number of rows of tile `index` of `length` rows. The tile that is not full comes first: under a causal
/// mask the last one has the most work, which few rows would make no shorter.
template <typename OpTy>
std::pair<Value, Value> GridBuilder<OpTy>::place(Value index, Value length) {
  APInt known;
  if (matchPattern(length, m_ConstantInt(&known)) && known.urem(rows) == 0)
    return {k.mul(index, rows), k.constant(rows)};
  if (std::is_same_v<OpTy, SparseAttentionOp>) {
    // Lists belong to blocks of queries that are counted from the first one.
    Value first = k.mul(index, rows);
    return {first, k.min(k.constant(rows), k.sub(length, first))};
  }
  Value end = k.sub(length, k.mul(k.sub(k.sub(k.ceilDiv(length, rows), 1), index), rows));
  return {k.max(k.sub(end, rows), k.constant(0)), k.min(end, k.constant(rows))};
}

/// Finds the document that the tile belongs to. Tiles past the last one have no
/// rows and no keys.
template <typename OpTy>
void GridBuilder<OpTy>::locateInDocuments(Tile &tile, Value index) {
  Value zero = k.constant(0), one = k.constant(1);
  Value numDocuments = k.sub(k.dim(documents, 0), 1);
  // Carried: tiles of the documents so far; of the document of this tile, its number and its first tile.
  auto loop = scf::ForOp::create(b, loc, zero, numDocuments, one, ValueRange{zero, zero, index});
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value document = loop.getInductionVar(), before = loop.getRegionIterArg(0);
    Value length = k.sub(k.extract(documents, k.add(document, 1)), k.extract(documents, document));
    Value after = k.add(before, k.ceilDiv(length, rows));
    Value isHere = k.both(k.compare(arith::CmpIPredicate::sle, before, index),
                          k.compare(arith::CmpIPredicate::slt, index, after));
    scf::YieldOp::create(b, loc, ValueRange{after, k.select(isHere, document, loop.getRegionIterArg(1)),
                                            k.select(isHere, before, loop.getRegionIterArg(2))});
  }
  Value document = loop.getResult(1);
  Value exists = k.compare(arith::CmpIPredicate::slt, index, loop.getResult(0));
  Value begin = k.extract(documents, document), end = k.extract(documents, k.add(document, 1));
  Value keyDocuments = op.getCuSeqlensK();
  tile.origin = k.extract(keyDocuments, document);
  Value keys = k.sub(k.extract(keyDocuments, k.add(document, 1)), tile.origin);
  auto [offset, count] = place(k.sub(index, loop.getResult(2)), k.sub(end, begin));
  tile.firstRow = k.add(begin, offset);
  tile.count = k.select(exists, count, zero);
  // Queries stand at the end of their document's keys.
  tile.position = k.add(k.sub(keys, k.sub(end, begin)), offset);
  tile.length = k.select(exists, keys, zero);
}

template <typename OpTy>
void GridBuilder<OpTy>::locate(Tile &tile, Value index) {
  if (documents)
    return locateInDocuments(tile, index);
  std::tie(tile.firstRow, tile.count) = place(index, k.dim(op.getQuery(), dims.seq));
  Value offset = op.getQOffset();
  if (!offset && op.getKeys().isTokenAligned())
    offset = buildQueryOffset(b, loc, offset, op.getQuery(), op.getKey(), op.getLayout());
  tile.position = offset ? k.add(offset, tile.firstRow) : tile.firstRow;
}

/// Bounds of the rows of a tile; rows that do not exist repeat the last one.
template <typename OpTy>
KeyRange GridBuilder<OpTy>::loadValidRange(const Tile &tile) {
  auto type = RankedTensorType::get(rows, b.getIndexType());
  Value last = k.sub(k.dim(op.getQuery(), dims.seq), 1);
  auto load = [&](int64_t bound) -> Value {
    return tensor::GenerateOp::create(b, loc, type, ValueRange(), [&](OpBuilder &b, Location loc, ValueRange row) {
      IndexMath k(b, loc);
      Value query = k.min(k.add(tile.firstRow, row.front()), last);
      tensor::YieldOp::create(b, loc, k.extract(op.getValidRange(), {tile.batch, query, k.constant(bound)}));
    });
  };
  return {load(0), load(1)};
}

/// The list of key blocks that a tile attends to.
template <typename OpTy>
Value GridBuilder<OpTy>::sliceBlocks(const Tile &tile, Value kvHead) {
  if constexpr (std::is_same_v<OpTy, SparseAttentionOp>) {
    Value selection = op.getSelection();
    RankedTensorType type = getTensorType(selection);
    // Heads of a selection: one for all, one for each KV head, or one for each query head.
    Value heads = k.dim(selection, 1), one = k.constant(1);
    Value head = k.select(k.compare(arith::CmpIPredicate::eq, heads, k.dim(op.getQuery(), dims.head)), tile.head, kvHead);
    head = k.select(k.compare(arith::CmpIPredicate::eq, heads, one), k.constant(0), head);
    SmallVector<OpFoldResult> offsets = {tile.batch, head, k.floorDiv(tile.firstRow, op.getQueryBlock()),
                                         b.getIndexAttr(0)};
    OpFoldResult width = type.isDynamicDim(3) ? OpFoldResult(k.dim(selection, 3)) : b.getIndexAttr(type.getDimSize(3));
    SmallVector<OpFoldResult> sizes = {b.getIndexAttr(1), b.getIndexAttr(1), b.getIndexAttr(1), width};
    SmallVector<OpFoldResult> strides(4, b.getIndexAttr(1));
    return tensor::ExtractSliceOp::create(b, loc, RankedTensorType::get(type.getDimSize(3), type.getElementType()),
                                          selection, offsets, sizes, strides);
  }
  return {};
}

template <typename OpTy>
StreamingAttentionOp GridBuilder<OpTy>::attend(const Tile &tile) {
  Type element = getTensorType(op.getQuery()).getElementType();
  HeadShape queryShape = getHeadShape(getTensorType(op.getQuery()), op.getLayout());
  HeadShape valueShape = getHeadShape(getTensorType(op.getValue()), op.getLayout());
  Value query = LoadTileOp::create(b, loc, RankedTensorType::get({rows, queryShape.dim}, element), op.getQuery(),
                                   tile.batch, tile.head, tile.firstRow, op.getLayoutAttr());
  // At least one head where sizes are dynamic: nobody may divide by 0.
  Value kvHeads = k.max(k.dim(op.getKey(), dims.head), k.constant(1));
  Value group = k.max(k.floorDiv(k.dim(op.getQuery(), dims.head), kvHeads), k.constant(1));
  Value kvHead = k.floorDiv(tile.head, group);
  Value sink = op.getSink() ? Value(tensor::ExtractOp::create(b, loc, op.getSink(), tile.head)) : Value();
  KeyRange range;
  if (op.getValidRange())
    range = loadValidRange(tile);
  Value blocks = sliceBlocks(tile, kvHead);
  IntegerAttr block;
  if constexpr (std::is_same_v<OpTy, SparseAttentionOp>)
    block = op.getBlockAttr();
  Value atLeastOne = documents ? k.max(tile.count, k.constant(1)) : tile.count;
  return StreamingAttentionOp::create(
      b, loc, RankedTensorType::get({rows, valueShape.dim}, b.getF32Type()), RankedTensorType::get(rows, b.getF32Type()),
      query, op.getKey(), op.getValue(), tile.batch, kvHead, tile.position, atLeastOne, sink, tile.origin, tile.length,
      range.begin, range.end, blocks, block, op.getKeys(), b.getF64FloatAttr(op.getScaleOrDefault()),
      op.getScoreModAttr(), op.getNormalizerAttr(), op.getLayoutAttr(), schedule);
}

/// Tells what the arguments are that decide which keys are seen: loops over tiles
/// only read numbers from them.
template <typename OpTy>
void GridBuilder<OpTy>::nameArguments() {
  auto function = op->template getParentOfType<FunctionOpInterface>();
  auto describe = [&](Value value, StringRef name, ArrayRef<NamedAttribute> more = {}) {
    auto argument = dyn_cast_if_present<BlockArgument>(value);
    if (!argument || !function || argument.getOwner()->getParentOp() != function)
      return;
    SmallVector<NamedAttribute> entries(more);
    entries.push_back(b.getNamedAttr("name", b.getStringAttr(name)));
    function.setArgAttr(argument.getArgNumber(), kOperandAttrName, b.getDictionaryAttr(entries));
  };
  describe(op.getValidRange(), "valid_range");
  describe(op.getCuSeqlensQ(), "cu_seqlens_q");
  describe(op.getCuSeqlensK(), "cu_seqlens_k");
  if constexpr (std::is_same_v<OpTy, SparseAttentionOp>)
    describe(op.getSelection(), "selection",
             b.getNamedAttr("query_block", b.getI64IntegerAttr(op.getQueryBlock())));
}

template <typename OpTy>
void GridBuilder<OpTy>::build() {
  nameArguments();
  Value query = op.getQuery();
  bool hasBatch = dims.batch >= 0;
  Value heads = k.dim(query, dims.head);
  SmallVector<Value> results = {
      emptyLike(op.getOut(), [&](int dim) { return k.dim(dim == dims.dim ? op.getValue() : query, dim); })};
  if (Value lse = op.getLse())
    results.push_back(emptyLike(lse, [&](int dim) {
      int roles[] = {dims.batch, dims.head, dims.seq};
      return k.dim(query, roles[hasBatch ? dim : dim + 1]);
    }));
  SmallVector<OpFoldResult> sizes =
      getAsOpFoldResult({hasBatch ? k.dim(query, dims.batch) : k.constant(1), heads, countTiles()});
  SmallVector<Attribute> roles;
  for (GridDim dim : {GridDim::Batch, GridDim::Head, GridDim::QueryTile})
    roles.push_back(GridAttr::get(b.getContext(), dim));
  auto grid = scf::ForallOp::create(b, loc, sizes, results, b.getArrayAttr(roles));
  grid->setAttr(kScheduleAttrName, schedule);

  b.setInsertionPointToStart(grid.getBody());
  SmallVector<Value> at = grid.getInductionVars();
  Tile tile;
  tile.batch = at[0];
  tile.head = at[1];
  locate(tile, at[2]);
  StreamingAttentionOp streaming = attend(tile);

  // Rows that exist, in the type of the output.
  OpFoldResult zero = b.getIndexAttr(0), one = b.getIndexAttr(1), count = getAsOpFoldResult(tile.count);
  Value out = streaming.getOut();
  auto outType = getTensorType(out);
  Type element = getTensorType(op.getOut()).getElementType();
  if (!element.isF32())
    out = arith::TruncFOp::create(b, loc, RankedTensorType::get(outType.getShape(), element), out);
  OpFoldResult features = b.getIndexAttr(outType.getDimSize(1));
  Value rowsOut = tensor::ExtractSliceOp::create(b, loc, out, {zero, zero}, {count, features}, {one, one});
  Value rowsLse;
  if (op.getLse())
    rowsLse = tensor::ExtractSliceOp::create(b, loc, streaming.getLse(), {zero}, {count}, {one});

  b.setInsertionPointToStart(grid.getTerminator().getBody());
  auto insert = [&](Value slice, Value into, int headDim, int seqDim, int featureDim) {
    int64_t rank = getTensorType(into).getRank();
    SmallVector<OpFoldResult> offsets(rank, zero), extents(rank, one), strides(rank, one);
    if (hasBatch)
      offsets[0] = tile.batch;
    offsets[headDim] = tile.head;
    offsets[seqDim] = tile.firstRow;
    extents[seqDim] = count;
    if (featureDim >= 0)
      extents[featureDim] = features;
    tensor::ParallelInsertSliceOp::create(b, loc, slice, into, offsets, extents, strides);
  };
  insert(rowsOut, grid.getRegionIterArgs()[0], dims.head, dims.seq, dims.dim);
  if (rowsLse)
    insert(rowsLse, grid.getRegionIterArgs()[1], hasBatch ? 1 : 0, hasBatch ? 2 : 1, -1);
  op->replaceAllUsesWith(grid.getResults());
  op->erase();
}

} // namespace

static LogicalResult miss(Operation *op, const Twine &reason, const Twine &suggestion) {
  emitMissed(op, "sparseattn-tile-to-grid", op->getName().stripDialect(), reason, suggestion);
  return failure();
}

static LogicalResult checkSelection(SparseAttentionOp op, ScheduleAttr schedule) {
  if (op.getFormat() != SelectionFormat::Index)
    return miss(op, "a bit mask is no list of blocks", "turn it into one with sparseattn.mask_to_index");
  if (op.getBias())
    return miss(op, "there is a bias beside the selection", "lower the operation with sparseattn-to-cpu");
  if (op.getOrigin() != BlockOrigin::Absolute)
    return miss(op, "blocks begin where the range of each query does", "use origin(absolute)");
  if (op.getQueryBlock() % schedule.getQueryTile() != 0)
    return miss(op, "rows of a tile of " + Twine(schedule.getQueryTile()) + " queries have several lists, one for each " +
                        Twine(op.getQueryBlock()),
                "choose a query_block that is a multiple of the schedule's query_tile");
  if (op.getBlock() % schedule.getKeyTile() != 0)
    return miss(op, "a tile of " + Twine(schedule.getKeyTile()) + " keys lies in several blocks of " + Twine(op.getBlock()),
                "choose a key_tile that divides the block");
  return success();
}

LogicalResult sparseattn::tileToGrid(Operation *op, ScheduleAttr fallback) {
  if (!mayHaveSSADominance(*op->getParentRegion()))
    return miss(op, "it stands in a graph region, which has no order of execution", "put it into a function");
  if (auto attention = dyn_cast<AttentionOp>(op)) {
    if (attention.getEmitAttr())
      return miss(op, "block scores need a second pass over the keys", "compute the score with another operation");
    GridBuilder<AttentionOp>(attention, attention.getScheduleAttr() ? attention.getScheduleAttr() : fallback).build();
    return success();
  }
  if (auto attention = dyn_cast<SparseAttentionOp>(op)) {
    ScheduleAttr schedule = attention.getScheduleAttr() ? attention.getScheduleAttr() : fallback;
    if (failed(checkSelection(attention, schedule)))
      return failure();
    GridBuilder<SparseAttentionOp>(attention, schedule).build();
    return success();
  }
  return miss(op, "it is not one softmax over one source of keys", "run sparseattn-decompose first");
}

namespace {
struct TileToGrid : sparseattn::impl::SparseAttnTileToGridBase<TileToGrid> {
  using Base::Base;
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    auto fallback = ScheduleAttr::getChecked(
        [&] { return getOperation()->emitError("options of sparseattn-tile-to-grid: "); }, context,
        int64_t(queryTile), int64_t(keyTile), int64_t(2), int64_t(2), int64_t(40), int64_t(232), TileOrder::Natural,
        /*ping_pong=*/false, /*guard_masks=*/false);
    if (!fallback)
      return signalPassFailure();
    SmallVector<Operation *> ops;
    getOperation()->walk([&](AttentionOpInterface op) { ops.push_back(op); });
    for (Operation *op : ops)
      (void)tileToGrid(op, fallback);
  }
};
} // namespace
