//===- FuseUtils.cpp - conditions that several groups have -----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "../RemarkUtils.h"
#include "FuseGroups.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;
using namespace sparseattn;

bool fuse::miss(Operation *op, StringRef group, const Twine &reason, const Twine &suggestion) {
  emitMissed(op, "sparseattn-fuse", group, reason, suggestion);
  return false;
}

/// The length that `value` is, if it is `tensor.dim` or a static size.
static bool isLengthOf(Value value, Value tensor, Layout layout) {
  int dim = getLayoutDims(layout).seq;
  APInt number;
  int64_t size = cast<RankedTensorType>(tensor.getType()).getDimSize(dim);
  if (matchPattern(value, m_ConstantInt(&number)))
    return !ShapedType::isDynamic(size) && number.getSExtValue() == size;
  auto dimOp = value.getDefiningOp<tensor::DimOp>();
  return dimOp && dimOp.getSource() == tensor && dimOp.getConstantIndex() == dim;
}

/// The position as a number, when it is one.
static std::optional<int64_t> getConstant(const fuse::Position &p) {
  APInt number;
  if (p.offset)
    return matchPattern(p.offset, m_ConstantInt(&number)) ? std::optional<int64_t>(number.getSExtValue())
                                                          : std::nullopt;
  if (!p.query)
    return 0;
  int dim = getLayoutDims(p.layout).seq;
  int64_t queries = cast<RankedTensorType>(p.query.getType()).getDimSize(dim);
  int64_t keys = cast<RankedTensorType>(p.key.getType()).getDimSize(dim);
  if (ShapedType::isDynamic(queries) || ShapedType::isDynamic(keys))
    return std::nullopt;
  return keys - queries;
}

/// True when `a` is an operand that computes the default of `b`.
static bool computesDefault(const fuse::Position &a, const fuse::Position &b) {
  if (!a.offset || b.offset || !b.query)
    return false;
  auto difference = a.offset.getDefiningOp<arith::SubIOp>();
  return difference && isLengthOf(difference.getLhs(), b.key, b.layout) &&
         isLengthOf(difference.getRhs(), b.query, b.layout);
}

bool fuse::isSamePosition(const Position &a, const Position &b) {
  if (a.offset && a.offset == b.offset)
    return true;
  if (!a.offset && !b.offset && a.query == b.query && a.key == b.key)
    return true;
  std::optional<int64_t> x = getConstant(a), y = getConstant(b);
  if (x && y)
    return *x == *y;
  return computesDefault(a, b) || computesDefault(b, a);
}

bool fuse::isDefaultNormalizer(NormalizerAttrInterface normalizer) {
  return !normalizer || isa<SoftmaxAttr>(normalizer);
}

bool fuse::isSameScale(const std::optional<APFloat> &a, const std::optional<APFloat> &b, int64_t dim) {
  auto get = [&](const std::optional<APFloat> &scale) {
    return scale ? scale->convertToDouble() : 1.0 / std::sqrt(static_cast<double>(dim));
  };
  return get(a) == get(b);
}
