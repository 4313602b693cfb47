//===- VerifyUtils.cpp - numbered constraints ------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "VerifyUtils.h"

#include "llvm/ADT/StringExtras.h"
#include <cmath>

using namespace mlir;
using namespace sparseattn;

std::string sparseattn::formatSize(int64_t size) {
  return ShapedType::isDynamic(size) ? "?" : std::to_string(size);
}

std::string sparseattn::formatShape(ArrayRef<int64_t> shape) {
  return "[" + llvm::join(llvm::map_range(shape, formatSize), ",") + "]";
}

LogicalResult sparseattn::verifyShape(Operation *op, unsigned number, StringRef name,
                                      Value value, ArrayRef<int64_t> expected) {
  ArrayRef<int64_t> shape = getTensorType(value).getShape();
  bool agrees = shape.size() == expected.size();
  for (size_t i = 0; agrees && i < shape.size(); ++i)
    agrees = dimsAgree(shape[i], expected[i]);
  if (!agrees)
    return emitConstraint(op, number) << "expected " << name << " of shape "
                                      << formatShape(expected) << ", found "
                                      << formatShape(shape);
  return success();
}

LogicalResult sparseattn::verifyLayoutRank(Operation *op, unsigned number, StringRef name,
                                           Value value, Layout layout) {
  int expected = getLayoutDims(layout).rank();
  int64_t rank = getTensorType(value).getRank();
  if (rank != expected)
    return emitConstraint(op, number) << "expected " << name << " of rank " << expected
                                      << " for layout " << stringifyLayout(layout)
                                      << ", found rank " << rank;
  return success();
}

LogicalResult sparseattn::verifyNotPacked(Operation *op, unsigned number, Layout layout) {
  if (layout == Layout::THD)
    return emitConstraint(op, number) << "expected layout bhsd or bshd, found thd";
  return success();
}

LogicalResult sparseattn::verifySameElementType(Operation *op, unsigned number, ValueRange values) {
  for (Value value : values.drop_front())
    if (getElementTypeOrSelf(value) != getElementTypeOrSelf(values.front()))
      return emitConstraint(op, number)
             << "expected one element type, found " << getElementTypeOrSelf(values.front())
             << " and " << getElementTypeOrSelf(value);
  return success();
}

LogicalResult sparseattn::verifyHeadGroups(Operation *op, unsigned number, int64_t queryHeads,
                                           int64_t kvHeads) {
  if (kvHeads == 0 || queryHeads == 0 ||
      (!ShapedType::isDynamic(queryHeads) && !ShapedType::isDynamic(kvHeads) &&
       queryHeads % kvHeads != 0))
    return emitConstraint(op, number)
           << "expected the number of query heads to be a positive multiple of the "
              "number of KV heads, found " << formatSize(queryHeads) << " and " << formatSize(kvHeads);
  return success();
}

LogicalResult sparseattn::verifySelection(Operation *op, unsigned number, Value selection, Layout layout,
                                          HeadShape query, int64_t kvHeads, SelectionFormat format,
                                          int64_t numBlocks) {
  bool packed = layout == Layout::THD;
  int64_t columns = format == SelectionFormat::Bitmask ? ceilDivDim(numBlocks, 32) : ShapedType::kDynamic;
  SmallVector<int64_t> expected;
  if (!packed)
    expected.push_back(query.batch);
  expected.append({ShapedType::kDynamic, query.length, columns});
  if (failed(verifyShape(op, number, "selection", selection, expected)))
    return failure();
  int64_t heads = getTensorType(selection).getDimSize(packed ? 0 : 1);
  if (heads != 1 && !dimsAgree(heads, kvHeads) && !dimsAgree(heads, query.heads))
    return emitConstraint(op, number) << "expected a selection for 1, " << formatSize(kvHeads) << " (KV) or "
                                      << formatSize(query.heads) << " (query) heads, found " << heads;
  return success();
}

LogicalResult sparseattn::verifyHeadDim(Operation *op, unsigned number, StringRef name, int64_t dim) {
  if (ShapedType::isDynamic(dim))
    return emitConstraint(op, number) << "expected a static " << name << " head dimension";
  if (dim < 1 || dim > kMaxHeadDim)
    return emitConstraint(op, number) << "expected a " << name << " head dimension of 1 to "
                                      << kMaxHeadDim << ", found " << dim;
  return success();
}

LogicalResult sparseattn::verifyFinite(Operation *op, unsigned number, StringRef name,
                                       const std::optional<APFloat> &value) {
  if (value && !value->isFinite())
    return emitConstraint(op, number) << "expected a finite " << name << ", found "
                                      << value->convertToDouble();
  return success();
}

LogicalResult sparseattn::verifyAtLeast(Operation *op, unsigned number, StringRef name,
                                        int64_t value, int64_t least) {
  if (value < least)
    return emitConstraint(op, number) << "expected " << name << " >= " << least << ", found " << value;
  if (value > kMaxSize)
    return emitConstraint(op, number) << "expected " << name << " <= " << kMaxSize << ", found " << value;
  return success();
}

LogicalResult sparseattn::verifyInferredResults(Operation *op, unsigned number) {
  SmallVector<Type> expected;
  if (failed(cast<InferTypeOpInterface>(op).inferReturnTypes(
          op->getContext(), op->getLoc(), op->getOperands(), op->getRawDictionaryAttrs(),
          op->getPropertiesStorage(), op->getRegions(), expected)))
    return failure();
  if (expected.size() != op->getNumResults())
    return emitConstraint(op, number) << "expected " << expected.size()
                                      << " results for these attributes, found "
                                      << op->getNumResults();
  for (auto [i, types] : llvm::enumerate(llvm::zip(expected, op->getResultTypes()))) {
    auto want = cast<RankedTensorType>(std::get<0>(types));
    auto have = dyn_cast<RankedTensorType>(std::get<1>(types));
    if (!have || want.getElementType() != have.getElementType() ||
        failed(verifyCompatibleShape(want, have)))
      return emitConstraint(op, number) << "expected result #" << i << " of type " << want
                                        << ", found " << std::get<1>(types);
  }
  return success();
}

LogicalResult sparseattn::verifyLayer(Operation *op, unsigned number, std::optional<int64_t> layer,
                                      std::optional<int64_t> kvSource) {
  if (layer && *layer < 0)
    return emitConstraint(op, number) << "expected layer >= 0, found " << *layer;
  if (!kvSource)
    return success();
  if (!layer)
    return emitConstraint(op, number) << "expected a layer beside kv_source = " << *kvSource;
  if (*kvSource < 0 || *kvSource > *layer)
    return emitConstraint(op, number)
           << "expected kv_source in [0, " << *layer
           << "], because the producer of K/V comes before its consumers; found " << *kvSource;
  return success();
}

LogicalResult sparseattn::verifyPattern(Operation *op, unsigned number,
                                        KeyPatternAttrInterface pattern, int64_t kvHeads) {
  return pattern.verifyUse([&] { return emitConstraint(op, number); }, kvHeads);
}

double sparseattn::scaleOrDefault(const std::optional<APFloat> &scale, int64_t dim) {
  return scale ? scale->convertToDouble() : 1.0 / std::sqrt(static_cast<double>(dim));
}
