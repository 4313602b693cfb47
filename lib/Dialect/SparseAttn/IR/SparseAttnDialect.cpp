//===- SparseAttnDialect.cpp - dialect registration, types -----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"

#include "mlir/IR/DialectImplementation.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sparseattn;

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnDialect.cpp.inc"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnEnums.cpp.inc"

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnAttrInterfaces.cpp.inc"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnOpInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnAttrs.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnTypes.cpp.inc"

#define GET_OP_CLASSES
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnOps.cpp.inc"

void SparseAttnDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

LayoutDims sparseattn::getLayoutDims(Layout layout) {
  switch (layout) {
  case Layout::BHSD:
    return {0, 1, 2, 3};
  case Layout::BSHD:
    return {0, 2, 1, 3};
  case Layout::THD:
    return {-1, 1, 0, 2};
  }
  return {0, 1, 2, 3};
}

HeadShape sparseattn::getHeadShape(RankedTensorType type, Layout layout) {
  LayoutDims dims = getLayoutDims(layout);
  return {dims.batch < 0 ? 1 : type.getDimSize(dims.batch),
          type.getDimSize(dims.head), type.getDimSize(dims.seq),
          type.getDimSize(dims.dim)};
}

SmallVector<int64_t> sparseattn::makeHeadShape(Layout layout, HeadShape shape) {
  LayoutDims dims = getLayoutDims(layout);
  SmallVector<int64_t> result(dims.rank());
  if (dims.batch >= 0)
    result[dims.batch] = shape.batch;
  result[dims.head] = shape.heads;
  result[dims.seq] = shape.length;
  result[dims.dim] = shape.dim;
  return result;
}

int64_t sparseattn::ceilDivDim(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) ? a : (a + b - 1) / b;
}

int64_t sparseattn::getNumBlocks(int64_t length, int64_t block, int64_t stride,
                                 bool completeOnly) {
  if (ShapedType::isDynamic(length))
    return length;
  if (!completeOnly)
    return ceilDivDim(length, stride);
  return length < block ? 0 : (length - block) / stride + 1;
}

//===----------------------------------------------------------------------===//
// kv_cache type
//===----------------------------------------------------------------------===//

LogicalResult KVCacheType::verify(function_ref<InFlightDiagnostic()> emitError,
                                  Attribute kind, int64_t batch, int64_t heads,
                                  int64_t length, int64_t keyDim,
                                  int64_t valueDim, Type dtype,
                                  CacheAccess access) {
  if (batch < 1 || heads < 1 || length < 1 || keyDim < 1 || valueDim < 1)
    return emitError() << "(T1) expected sizes of at least 1, found batch = "
                       << batch << ", heads = " << heads << ", length = "
                       << length << ", key_dim = " << keyDim
                       << ", value_dim = " << valueDim;
  bool isSmallFloat = isa<FloatType>(dtype) && dtype.getIntOrFloatBitWidth() == 8;
  if (!dtype.isF32() && !dtype.isF16() && !dtype.isBF16() && !isSmallFloat)
    return emitError() << "(T2) expected dtype f32, f16, bf16 or an 8-bit float, found "
                       << dtype;
  auto cacheKind = dyn_cast<CacheKindAttrInterface>(kind);
  if (!cacheKind)
    return emitError() << "(T3) expected kind to be #sparseattn.full_cache, ring or head_caches, found "
                       << kind;
  return cacheKind.verifyKind(emitError, heads);
}

CacheKindAttrInterface KVCacheType::getCacheKind() const {
  return cast<CacheKindAttrInterface>(getKind());
}

KVCacheType KVCacheType::withAccess(CacheAccess access) const {
  return get(getContext(), getKind(), getBatch(), getHeads(), getLength(),
             getKeyDim(), getValueDim(), getDtype(), access);
}
