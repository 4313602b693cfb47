//===- TileOps.cpp - operations on tiles (level L1) ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "VerifyUtils.h"

using namespace mlir;
using namespace sparseattn;

Type sparseattn::getIndexRowsType(Type tile) {
  return RankedTensorType::get(cast<RankedTensorType>(tile).getShape().take_front(1), IndexType::get(tile.getContext()));
}

/// A tile has a static shape of the given rank.
static LogicalResult verifyTile(Operation *op, unsigned number, StringRef name, Value value, int64_t rank) {
  auto type = getTensorType(value);
  if (type.getRank() == rank && type.hasStaticShape() && type.getNumElements() > 0)
    return success();
  return emitConstraint(op, number) << "expected " << name << " to be a non-empty static "
                                    << (rank == 1 ? "vector" : "matrix") << ", found " << type;
}

static LogicalResult verifyF32(Operation *op, unsigned number, StringRef name, Value value) {
  if (!getElementTypeOrSelf(value).isF32())
    return emitConstraint(op, number) << "expected " << name << " of element type f32, found " << value.getType();
  return success();
}

LogicalResult LoadTileOp::verify() {
  if (failed(verifyLayoutRank(*this, 1, "source", getSource(), getLayout())) ||
      failed(verifyTile(*this, 2, "the result", getTile(), 2)) ||
      failed(verifySameElementType(*this, 2, {getSource(), getTile()})))
    return failure();
  int64_t features = getHeadShape(getTensorType(getSource()), getLayout()).dim;
  int64_t columns = getTensorType(getTile()).getDimSize(1);
  if (features != columns)
    return emitConstraint(*this, 3) << "expected as many columns as the source has features, found " << columns
                                    << " and " << formatSize(features);
  return success();
}

LogicalResult TileRowsOp::verify() { return verifyTile(*this, 1, "the result", getRows(), 1); }

LogicalResult TileDotOp::verify() {
  for (auto [name, value] :
       {std::pair<StringRef, Value>{"lhs", getLhs()}, {"rhs", getRhs()}, {"the result", getResult()}})
    if (failed(verifyTile(*this, 1, name, value, 2)))
      return failure();
  if (failed(verifySameElementType(*this, 2, {getLhs(), getRhs()})))
    return failure();
  auto lhs = getTensorType(getLhs()), rhs = getTensorType(getRhs());
  int64_t contracted = rhs.getDimSize(getTransposeB() ? 1 : 0), columns = rhs.getDimSize(getTransposeB() ? 0 : 1);
  if (lhs.getDimSize(1) != contracted)
    return emitConstraint(*this, 3) << "expected lhs and rhs to contract one size, found " << lhs.getDimSize(1)
                                    << " and " << contracted
                                    << (getTransposeB() ? " (columns of rhs, because of transpose_b)" : "");
  if (failed(verifyShape(*this, 4, "the result", getResult(), {lhs.getDimSize(0), columns})))
    return failure();
  return verifyF32(*this, 4, "the result", getResult());
}

LogicalResult TileReduceOp::verify() {
  if (failed(verifyTile(*this, 1, "the operand", getTile(), 2)) ||
      failed(verifyTile(*this, 2, "the result", getRows(), 1)))
    return failure();
  return verifyShape(*this, 2, "the result", getRows(), getTensorType(getTile()).getDimSize(0));
}

LogicalResult TileBroadcastOp::verify() {
  if (failed(verifyTile(*this, 1, "the result", getTile(), 2)) ||
      failed(verifyTile(*this, 2, "the operand", getRows(), 1)))
    return failure();
  return verifyShape(*this, 2, "the operand", getRows(), getTensorType(getTile()).getDimSize(0));
}

LogicalResult TileMaskOp::verify() {
  if (failed(verifyTile(*this, 1, "the tile", getTile(), 2)))
    return failure();
  if (static_cast<bool>(getFullBegin()) != static_cast<bool>(getFullEnd()))
    return emitConstraint(*this, 2) << "expected both full_begin and full_end, or none of them";
  return success();
}

LogicalResult StreamingAttentionOp::verify() {
  if (failed(verifyTile(*this, 1, "query", getQuery(), 2)) ||
      failed(verifyShape(*this, 1, "query", getQuery(), {getSchedule().getQueryTile(), ShapedType::kDynamic})) ||
      failed(verifyLayoutRank(*this, 2, "key", getKey(), getLayout())) ||
      failed(verifyLayoutRank(*this, 2, "value", getValue(), getLayout())) ||
      failed(verifySameElementType(*this, 3, {getQuery(), getKey(), getValue()})))
    return failure();
  HeadShape k = getHeadShape(getTensorType(getKey()), getLayout());
  HeadShape v = getHeadShape(getTensorType(getValue()), getLayout());
  if (!dimsAgree(k.batch, v.batch) || !dimsAgree(k.heads, v.heads) || !dimsAgree(k.length, v.length))
    return emitConstraint(*this, 4) << "expected key and value with one batch size, number of heads and length, found "
                                    << getKey().getType() << " and " << getValue().getType();
  auto query = getTensorType(getQuery());
  if (query.getDimSize(1) != k.dim)
    return emitConstraint(*this, 5) << "expected query and key with one feature size, found " << query.getDimSize(1)
                                    << " and " << formatSize(k.dim);
  if (failed(verifyTile(*this, 6, "out", getOut(), 2)) || failed(verifyTile(*this, 6, "lse", getLse(), 1)) ||
      failed(verifyShape(*this, 6, "out", getOut(), {query.getDimSize(0), v.dim})) ||
      failed(verifyShape(*this, 6, "lse", getLse(), query.getDimSize(0))) ||
      failed(verifyPattern(*this, 7, getKeys(), k.heads)))
    return failure();
  if (failed(verifyFinite(*this, 8, "scale", getScale())))
    return failure();
  if (bool(getOrigin()) != bool(getLength()) || bool(getRangeBegin()) != bool(getRangeEnd()))
    return emitConstraint(*this, 9) << "expected both origin and length or none, and both range_begin and range_end or none";
  if (bool(getBlocks()) != getBlock().has_value())
    return emitConstraint(*this, 10) << "expected both blocks and their size, or none of them";
  if (!getBlocks())
    return success();
  int64_t keyTile = getSchedule().getKeyTile();
  if (getTensorType(getBlocks()).getRank() != 1)
    return emitConstraint(*this, 10) << "expected blocks to be a vector, found " << getBlocks().getType();
  if (*getBlock() < 1 || *getBlock() % keyTile != 0)
    return emitConstraint(*this, 10) << "expected blocks of a positive multiple of key_tile = " << keyTile
                                     << " keys, found " << *getBlock();
  return success();
}

NormalizerAttrInterface StreamingAttentionOp::getNormalizerOrDefault() {
  if (NormalizerAttrInterface normalizer = getNormalizerAttr())
    return normalizer;
  return cast<NormalizerAttrInterface>(SoftmaxAttr::get(getContext()));
}
