//===- CacheOps.cpp - KV caches and edges between layers -------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "VerifyUtils.h"

using namespace mlir;
using namespace sparseattn;

static LogicalResult verifyLayerNumber(Operation *op, unsigned number, std::optional<int64_t> layer) {
  return verifyAtLeast(op, number, "layer", layer.value_or(0), 0);
}

/// Key and value of `n` tokens of the cache.
static LogicalResult verifyCacheTensors(Operation *op, unsigned shapeNumber, unsigned typeNumber,
                                        KVCacheType cache, Value key, Value value, Layout layout) {
  if (failed(verifyNotPacked(op, shapeNumber, layout)) ||
      failed(verifyLayoutRank(op, shapeNumber, "key", key, layout)) ||
      failed(verifyLayoutRank(op, shapeNumber, "value", value, layout)))
    return failure();
  int64_t n = mergeDims(getHeadShape(getTensorType(key), layout).length,
                        getHeadShape(getTensorType(value), layout).length);
  auto shape = [&](int64_t dim) {
    return makeHeadShape(layout, {cache.getBatch(), cache.getHeads(), n, dim});
  };
  if (failed(verifyShape(op, shapeNumber, "key", key, shape(cache.getKeyDim()))) ||
      failed(verifyShape(op, shapeNumber, "value", value, shape(cache.getValueDim()))))
    return failure();
  Type dtype = cache.getDtype();
  bool stored = dtype.isF32() || dtype.isF16() || dtype.isBF16();
  for (Value tensor : {key, value})
    if (stored && getElementTypeOrSelf(tensor) != dtype)
      return emitConstraint(op, typeNumber) << "expected elements of the cache's dtype " << dtype << ", found "
                                            << getElementTypeOrSelf(tensor);
  return success();
}

LogicalResult KVCacheCreateOp::verify() {
  if (getCache().getType().getAccess() != CacheAccess::Owner)
    return emitConstraint(*this, 1) << "expected a cache with access owner; a consumer layer takes a kv_cache.view "
                                       "of its producer's cache and allocates none";
  return verifyLayerNumber(*this, 2, getLayer());
}

LogicalResult KVCacheAppendOp::verify() {
  KVCacheType cache = getCache().getType();
  if (cache.getAccess() == CacheAccess::ReadOnly)
    return emitConstraint(*this, 1) << "expected a cache with access owner, found a read_only view: "
                                       "a consumer layer never writes the cache of its producer";
  if (failed(verifyCacheTensors(*this, 2, 3, cache, getKey(), getValue(), getLayout())))
    return failure();
  if (getUpdated().getType() != cache)
    return emitConstraint(*this, 4) << "expected a result of type " << cache << ", found " << getUpdated().getType();
  for (Operation *user : getCache().getUsers()) {
    auto other = dyn_cast<KVCacheAppendOp>(user);
    if (!other || other == *this || other.getCache() != getCache())
      continue;
    InFlightDiagnostic diag = emitConstraint(*this, 5) << "expected a single writer of the cache; append to the "
                                                          "result of the earlier append instead";
    diag.attachNote(other.getLoc()) << "other append";
    return diag;
  }
  SummaryAttr summarize = getSummarizeAttr();
  bool learned = summarize && summarize.getMode() == SummaryMode::LearnedQuery;
  if (learned != static_cast<bool>(getSummaryQuery()))
    return emitConstraint(*this, 6) << (learned ? "summarize mode learned_query needs summary_query"
                                                : "expected summary_query for summarize mode learned_query only");
  if (static_cast<bool>(summarize) != static_cast<bool>(getSummary()))
    return emitConstraint(*this, 6) << (summarize ? "expected a second result, the summaries"
                                                  : "expected one result without summarize");
  if (!summarize)
    return success();
  HeadShape k = getHeadShape(getTensorType(getKey()), getLayout());
  k.length = getNumBlocks(k.length, summarize.getBlock(), summarize.getStride(), summarize.getCompleteOnly());
  if (failed(verifyShape(*this, 6, "summary", getSummary(), makeHeadShape(getLayout(), k))) ||
      failed(verifySameElementType(*this, 6, {getKey(), getSummary()})))
    return failure();
  if (Value query = getSummaryQuery()) {
    SmallVector<int64_t> expected = {k.heads, k.dim};
    if (getTensorType(query).getRank() == 3)
      expected.insert(expected.begin() + 1, k.length);
    if (failed(verifyShape(*this, 6, "summary_query", query, expected)) ||
        failed(verifySameElementType(*this, 6, {getKey(), query})))
      return failure();
  }
  return success();
}

LogicalResult KVCacheReadOp::verify() {
  KVCacheType cache = getCache().getType();
  if (failed(verifyCacheTensors(*this, 1, 2, cache, getKey(), getValue(), getLayout())))
    return failure();
  for (OpOperand &use : getKey().getUses()) {
    auto attention = dyn_cast<AttentionOpInterface>(use.getOwner());
    if (!attention)
      continue;
    for (auto [operand, pattern] : llvm::zip(attention.getKeyOperands(), attention.getSourcePatterns())) {
      if (operand != &use)
        continue;
      for (int64_t head = 0; head < cache.getHeads(); ++head) {
        std::optional<int64_t> ring = cache.getCacheKind().getRing(head);
        std::optional<int64_t> seen = pattern.getMaxVisibleKeys(head);
        if (!ring || (seen && *seen <= *ring))
          continue;
        InFlightDiagnostic diag =
            emitConstraint(*this, 3) << "KV head " << head << " keeps the last " << *ring
                                     << " tokens, but its reader's pattern " << pattern
                                     << " sees more; state the window on the attention, it is never taken from the cache";
        diag.attachNote(use.getOwner()->getLoc()) << "reader";
        return diag;
      }
    }
  }
  return success();
}

LogicalResult KVCacheViewOp::verify() {
  KVCacheType expected = getCache().getType().withAccess(CacheAccess::ReadOnly);
  if (getView().getType() != expected)
    return emitConstraint(*this, 1) << "expected a result of type " << expected << ", found " << getView().getType();
  return verifyLayerNumber(*this, 2, getLayer());
}

LogicalResult KVShareOp::verify() {
  if (failed(verifyAtLeast(*this, 1, "producer", getProducer(), 0)))
    return failure();
  for (Value shared : getResults())
    for (Operation *user : shared.getUsers())
      if (auto attention = dyn_cast<AttentionOpInterface>(user))
        if (auto layer = attention.getLayerIndex(); layer && *layer <= getProducer()) {
          InFlightDiagnostic diag = emitConstraint(*this, 2)
                                    << "expected consumers after layer " << getProducer()
                                    << ", found layer " << *layer << ": the producer comes first";
          diag.attachNote(user->getLoc()) << "consumer";
          return diag;
        }
  return success();
}

//===----------------------------------------------------------------------===//
// kv_bridge
//===----------------------------------------------------------------------===//

LogicalResult KVBridgeOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                           SmallVectorImpl<Type> &types) {
  auto hidden = cast<RankedTensorType>(op.getHidden().getType());
  for (Value weight : {op.getWeightKey(), op.getWeightValue()}) {
    auto type = cast<RankedTensorType>(weight.getType());
    if (hidden.getRank() != 3 || type.getRank() != 2 || op.getKvHeads() < 1 || op.getLayout() == Layout::THD) {
      types.push_back(hidden);
      continue;
    }
    int64_t columns = type.getDimSize(1);
    int64_t heads = op.getKvHeads();
    int64_t dim = ShapedType::isDynamic(columns) ? columns : columns / heads;
    types.push_back(RankedTensorType::get(
        makeHeadShape(op.getLayout(), {hidden.getDimSize(0), heads, hidden.getDimSize(1), dim}),
        hidden.getElementType()));
  }
  return success();
}

LogicalResult KVBridgeOp::verify() {
  if (getTensorType(getHidden()).getRank() != 3)
    return emitConstraint(*this, 1) << "expected hidden of rank 3, found " << getHidden().getType();
  int64_t width = getTensorType(getHidden()).getDimSize(2);
  if (failed(verifyShape(*this, 1, "weight_key", getWeightKey(), {width, ShapedType::kDynamic})) ||
      failed(verifyShape(*this, 1, "weight_value", getWeightValue(), {width, ShapedType::kDynamic})) ||
      failed(verifySameElementType(*this, 1, getOperands())) ||
      failed(verifyAtLeast(*this, 2, "kv_heads", getKvHeads(), 1)))
    return failure();
  for (Value weight : {getWeightKey(), getWeightValue()}) {
    int64_t columns = getTensorType(weight).getDimSize(1);
    if (!ShapedType::isDynamic(columns) && columns % getKvHeads() != 0)
      return emitConstraint(*this, 2) << "expected kv_heads = " << getKvHeads() << " to divide " << columns
                                      << " columns";
  }
  if (failed(verifyNotPacked(*this, 3, getLayout())) ||
      failed(verifyAtLeast(*this, 4, "source_layer", getSourceLayer(), 0)))
    return failure();
  return verifyInferredResults(*this, 5);
}
