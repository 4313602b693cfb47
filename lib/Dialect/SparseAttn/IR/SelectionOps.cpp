//===- SelectionOps.cpp - from keys to a selection of blocks ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "VerifyUtils.h"

using namespace mlir;
using namespace sparseattn;

static Type getI32(MLIRContext *context) { return IntegerType::get(context, 32); }
static Type getF32(MLIRContext *context) { return Float32Type::get(context); }

static LogicalResult verifyRank4(Operation *op, unsigned number, StringRef name, Value value) {
  if (getTensorType(value).getRank() != 4)
    return emitConstraint(op, number) << "expected " << name << " of rank 4, found rank "
                                      << getTensorType(value).getRank();
  return success();
}

static bool isRank4(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() == 4;
}

//===----------------------------------------------------------------------===//
// chunk_summarize
//===----------------------------------------------------------------------===//

LogicalResult ChunkSummarizeOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                                 Adaptor op, SmallVectorImpl<Type> &types) {
  auto key = cast<RankedTensorType>(op.getKey().getType());
  int64_t stride = op.getStride() ? *op.getStride() : op.getBlock();
  if (!isRank4(op.getKey()) || op.getLayout() == Layout::THD || op.getBlock() < 1 || stride < 1) {
    types.push_back(key);
    return success();
  }
  HeadShape shape = getHeadShape(key, op.getLayout());
  shape.length = getNumBlocks(shape.length, op.getBlock(), stride, op.getCompleteOnly());
  if (op.getMode() == SummaryMode::MLP && op.getWeightOut())
    if (auto weight = cast<RankedTensorType>(op.getWeightOut().getType()); weight.getRank() == 2)
      shape.dim = weight.getDimSize(1);
  auto type = RankedTensorType::get(makeHeadShape(op.getLayout(), shape), key.getElementType());
  types.assign(op.getMode() == SummaryMode::MinMax ? 2 : 1, type);
  return success();
}

LogicalResult ChunkSummarizeOp::verify() {
  if (failed(verifyNotPacked(*this, 1, getLayout())) || failed(verifyRank4(*this, 1, "key", getKey())) ||
      failed(verifyAtLeast(*this, 2, "block", getBlock(), 1)) ||
      failed(verifyAtLeast(*this, 2, "stride", getStrideOrBlock(), 1)))
    return failure();
  SummaryMode mode = getMode();
  bool learned = mode == SummaryMode::LearnedQuery, mlp = mode == SummaryMode::MLP;
  bool gated = mode == SummaryMode::GatedSoftmax;
  auto check = [&](StringRef name, Value value, bool required, bool allowed) -> LogicalResult {
    if (value && !allowed)
      return emitConstraint(*this, 3) << "mode " << stringifySummaryMode(mode) << " takes no " << name;
    if (!value && required)
      return emitConstraint(*this, 3) << "mode " << stringifySummaryMode(mode) << " needs " << name;
    return success();
  };
  if (failed(check("summary_query", getSummaryQuery(), learned, learned)) ||
      failed(check("gate", getGate(), gated, gated)) ||
      failed(check("position", getPosition(), false, gated || mlp)) ||
      failed(check("weight_in", getWeightIn(), mlp, mlp)) ||
      failed(check("weight_out", getWeightOut(), mlp, mlp)))
    return failure();

  HeadShape k = getHeadShape(getTensorType(getKey()), getLayout());
  int64_t blocks = getNumBlocks(k.length, getBlock(), getStrideOrBlock(), getCompleteOnly());
  if (Value query = getSummaryQuery()) {
    SmallVector<int64_t> expected = {k.heads, k.dim};
    if (getTensorType(query).getRank() == 3)
      expected.insert(expected.begin() + 1, blocks);
    if (failed(verifyShape(*this, 4, "summary_query", query, expected)))
      return failure();
  }
  if (getGate() && failed(verifyShape(*this, 5, "gate", getGate(), getTensorType(getKey()).getShape())))
    return failure();
  if (getPosition() && failed(verifyShape(*this, 6, "position", getPosition(), {getBlock(), k.dim})))
    return failure();
  if (mlp) {
    if (!getCompleteOnly())
      return emitConstraint(*this, 7) << "expected complete_only: the MLP reads whole blocks";
    auto in = getTensorType(getWeightIn());
    if (failed(verifyHeadDim(*this, 7, "key", k.dim)))
      return failure();
    int64_t inner = getBlock() * k.dim;
    if (failed(verifyShape(*this, 7, "weight_in", getWeightIn(), {inner, ShapedType::kDynamic})) ||
        failed(verifyShape(*this, 7, "weight_out", getWeightOut(), {in.getDimSize(1), ShapedType::kDynamic})))
      return failure();
  }
  if (failed(verifySameElementType(*this, 8, getOperands())) ||
      failed(verifyFinite(*this, 10, "scale", getScale())))
    return failure();
  return verifyInferredResults(*this, 9);
}

//===----------------------------------------------------------------------===//
// block_logits
//===----------------------------------------------------------------------===//

/// [B, heads, Nq, M] of a query and its summaries; null on malformed ranks.
static RankedTensorType inferLogits(Value query, Value summary, Layout layout, bool reduced) {
  if (!isRank4(query) || !isRank4(summary) || layout == Layout::THD)
    return RankedTensorType::get({}, getF32(query.getContext()));
  HeadShape q = getHeadShape(getTensorType(query), layout);
  HeadShape s = getHeadShape(getTensorType(summary), layout);
  return RankedTensorType::get({mergeDims(q.batch, s.batch), reduced ? 1 : q.heads, q.length, s.length},
                               getF32(query.getContext()));
}

LogicalResult BlockLogitsOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                              SmallVectorImpl<Type> &types) {
  types.push_back(inferLogits(op.getQuery(), op.getSummary(), op.getLayout(), bool(op.getHeadWeight())));
  return success();
}

double BlockLogitsOp::getScaleOrDefault() {
  return scaleOrDefault(getScale(), getTensorType(getQuery()).getShape().back());
}

/// Query against block summaries: C1-C3 or whatever numbers the caller has.
static LogicalResult verifyQuerySummary(Operation *op, unsigned rank, unsigned shape, unsigned groups,
                                        Value query, Value summary, Layout layout) {
  if (failed(verifyNotPacked(op, rank, layout)) || failed(verifyRank4(op, rank, "query", query)) ||
      failed(verifyRank4(op, rank, "summary", summary)) ||
      failed(verifySameElementType(op, shape, {query, summary})))
    return failure();
  HeadShape q = getHeadShape(getTensorType(query), layout);
  HeadShape s = getHeadShape(getTensorType(summary), layout);
  if (!dimsAgree(q.batch, s.batch) || q.dim != s.dim)
    return emitConstraint(op, shape) << "expected query and summary with one batch size and head dimension, found "
                                     << formatShape({q.batch, q.dim}) << " and " << formatShape({s.batch, s.dim});
  if (failed(verifyHeadDim(op, shape, "query", q.dim)))
    return failure();
  return verifyHeadGroups(op, groups, q.heads, s.heads);
}

LogicalResult BlockLogitsOp::verify() {
  if (failed(verifyQuerySummary(*this, 1, 2, 3, getQuery(), getSummary(), getLayout())))
    return failure();
  bool bounded = getBound() == LogitBound::MinMax;
  if (bounded != static_cast<bool>(getSummaryMax()))
    return emitConstraint(*this, 4) << (bounded ? "bound minmax needs max(...), the maxima beside the minima"
                                                : "expected max(...) for bound minmax only");
  if (bounded && (failed(verifyShape(*this, 4, "max", getSummaryMax(), getTensorType(getSummary()).getShape())) ||
                  failed(verifySameElementType(*this, 4, {getSummary(), getSummaryMax()}))))
    return failure();
  HeadShape q = getHeadShape(getTensorType(getQuery()), getLayout());
  if (getHeadWeight() &&
      failed(verifyShape(*this, 5, "head_weight", getHeadWeight(), {q.batch, q.length, q.heads})))
    return failure();
  if (failed(verifyAtLeast(*this, 6, "block", getBlock(), 1)) ||
      failed(verifyAtLeast(*this, 6, "stride", getStrideOrBlock(), 1)) ||
      failed(verifyFinite(*this, 7, "scale", getScale())))
    return failure();
  return verifyInferredResults(*this, 8);
}

//===----------------------------------------------------------------------===//
// block_softmax, pool_scores
//===----------------------------------------------------------------------===//

LogicalResult BlockSoftmaxOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                               SmallVectorImpl<Type> &types) {
  auto type = cast<RankedTensorType>(op.getLogits().getType());
  SmallVector<int64_t> shape(type.getShape());
  if (shape.size() == 4 && op.getGroup() != GroupReduce::None)
    shape[1] = sizeOrDynamic(op.getKvHeads());
  types.push_back(RankedTensorType::get(shape, type.getElementType()));
  return success();
}

LogicalResult BlockSoftmaxOp::verify() {
  if (failed(verifyRank4(*this, 1, "logits", getLogits())) ||
      failed(verifyAtLeast(*this, 2, "kv_heads", getKvHeads(), 1)) ||
      failed(verifyHeadGroups(*this, 2, getTensorType(getLogits()).getDimSize(1), getKvHeads())))
    return failure();
  return verifyInferredResults(*this, 3);
}

LogicalResult PoolScoresOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                             SmallVectorImpl<Type> &types) {
  auto type = cast<RankedTensorType>(op.getScores().getType());
  SmallVector<int64_t> shape(type.getShape());
  int64_t kernel = sizeOrDynamic(op.getKernel()), stride = sizeOrDynamic(op.getStride());
  int64_t pad = sizeOrDynamic(op.getPad());
  bool known = llvm::none_of(ArrayRef{kernel, stride, pad}, ShapedType::isDynamic) && stride >= 1;
  if (shape.size() == 4 && known && !ShapedType::isDynamic(shape[3])) {
    int64_t span = shape[3] + 2 * pad - kernel;
    if (op.getCeilMode())
      span += stride - 1;
    // Floor division: a kernel wider than the padded input has no position.
    shape[3] = span < 0 ? 0 : span / stride + 1;
  }
  types.push_back(RankedTensorType::get(shape, type.getElementType()));
  return success();
}

LogicalResult PoolScoresOp::verify() {
  if (failed(verifyRank4(*this, 1, "scores", getScores())) ||
      failed(verifyAtLeast(*this, 2, "kernel", getKernel(), 1)) ||
      failed(verifyAtLeast(*this, 2, "stride", getStride(), 1)))
    return failure();
  if (getPad() < 0 || getPad() >= getKernel())
    return emitConstraint(*this, 2) << "expected 0 <= pad < kernel = " << getKernel() << ", found " << getPad();
  return verifyInferredResults(*this, 3);
}

//===----------------------------------------------------------------------===//
// select_topk
//===----------------------------------------------------------------------===//

LogicalResult SelectTopKOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor op,
                                             SmallVectorImpl<Type> &types) {
  SmallVector<int64_t> shape(cast<RankedTensorType>(op.getScore().getType()).getShape());
  if (!shape.empty())
    shape.back() = op.getSelect().getWidth();
  types.push_back(RankedTensorType::get(shape, getI32(context)));
  if (op.getReturnCount())
    types.push_back(RankedTensorType::get(ArrayRef(shape).drop_back(shape.empty() ? 0 : 1), getI32(context)));
  return success();
}

LogicalResult SelectTopKOp::verify() {
  if (failed(verifyRank4(*this, 1, "score", getScore())))
    return failure();
  auto score = getTensorType(getScore());
  if (getValidRange() && failed(verifyShape(*this, 2, "valid_range", getValidRange(),
                                            {score.getDimSize(0), score.getDimSize(2), 2})))
    return failure();
  if (getOrigin() == BlockOrigin::RangeBegin && !getValidRange())
    return emitConstraint(*this, 3) << "expected valid_range for origin range_begin";
  return verifyInferredResults(*this, 4);
}

//===----------------------------------------------------------------------===//
// entmax_route, route
//===----------------------------------------------------------------------===//

LogicalResult sparseattn::verifyEntmax(Operation *op, EntmaxConstraints numbers, const APFloat &alpha,
                                       Attribute solver, const APFloat &sigma) {
  double a = alpha.convertToDouble();
  if (!(a >= 1.0 && a <= 2.0))
    return emitConstraint(op, numbers.alpha) << "expected alpha in [1, 2], found " << a;
  if (isa_and_nonnull<HalleyAttr>(solver) && a != 1.5)
    return emitConstraint(op, numbers.solver) << "solver halley needs alpha 1.5, found " << a
                                              << "; use #sparseattn.bisect<50>";
  if (isa_and_nonnull<SortAttr>(solver) && a != 1.5 && a != 2.0)
    return emitConstraint(op, numbers.solver) << "solver sort needs alpha 1.5 or 2, found " << a
                                              << "; use #sparseattn.bisect<50>";
  if (!sigma.isFinite() || sigma.isNegative() || sigma.isZero())
    return emitConstraint(op, numbers.sigma) << "expected a finite positive sigma, found "
                                             << sigma.convertToDouble();
  return success();
}

/// mask, bias and count for logits [B,Hq,Nq,M].
static void inferRouting(RankedTensorType logits, int64_t kvHeads, bool returnCount,
                         SmallVectorImpl<Type> &types) {
  MLIRContext *context = logits.getContext();
  if (logits.getRank() != 4) {
    types.assign(returnCount ? 3 : 2, logits);
    return;
  }
  int64_t batch = logits.getDimSize(0), queries = logits.getDimSize(2), blocks = logits.getDimSize(3);
  kvHeads = sizeOrDynamic(kvHeads);
  types.push_back(RankedTensorType::get({batch, kvHeads, queries, ceilDivDim(blocks, 32)}, getI32(context)));
  types.push_back(RankedTensorType::get({batch, kvHeads, queries, blocks}, getF32(context)));
  if (returnCount)
    types.push_back(RankedTensorType::get({batch, kvHeads, queries}, getI32(context)));
}

LogicalResult EntmaxRouteOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                              SmallVectorImpl<Type> &types) {
  inferRouting(cast<RankedTensorType>(op.getLogits().getType()), op.getKvHeads(), op.getReturnCount(), types);
  return success();
}

Attribute EntmaxRouteOp::getSolverOrDefault() {
  if (Attribute solver = getSolverAttr())
    return solver;
  if (getAlpha().convertToDouble() == 1.5)
    return HalleyAttr::get(getContext(), 5);
  return BisectAttr::get(getContext(), 50);
}

LogicalResult EntmaxRouteOp::verify() {
  if (failed(verifyRank4(*this, 1, "logits", getLogits())) ||
      failed(verifyAtLeast(*this, 2, "kv_heads", getKvHeads(), 1)) ||
      failed(verifyHeadGroups(*this, 2, getTensorType(getLogits()).getDimSize(1), getKvHeads())) ||
      failed(verifyEntmax(*this, {3, 4, 6}, getAlpha(), getSolverAttr(), getSigma())) ||
      failed(verifyAtLeast(*this, 5, "block", getBlock(), 1)) ||
      failed(verifyAtLeast(*this, 5, "local_blocks", getLocalBlocks(), 0)))
    return failure();
  return verifyInferredResults(*this, 7);
}

LogicalResult RouteOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                        SmallVectorImpl<Type> &types) {
  int64_t kvHeads = isRank4(op.getSummary()) && op.getLayout() != Layout::THD
                        ? getHeadShape(getTensorType(op.getSummary()), op.getLayout()).heads
                        : 1;
  inferRouting(inferLogits(op.getQuery(), op.getSummary(), op.getLayout(), /*reduced=*/false), kvHeads,
               op.getReturnCount(), types);
  return success();
}

LogicalResult RouteOp::verify() {
  if (failed(verifyQuerySummary(*this, 1, 1, 1, getQuery(), getSummary(), getLayout())) ||
      failed(verifyAtLeast(*this, 1, "block", getBlock(), 1)) ||
      failed(verifyAtLeast(*this, 1, "local_blocks", getLocalBlocks(), 0)) ||
      failed(verifyFinite(*this, 1, "scale", getScale())) ||
      failed(verifyEntmax(*this, {1, 1, 1}, getAlpha(), getSolverAttr(), getSigma())))
    return failure();
  return verifyInferredResults(*this, 2);
}

//===----------------------------------------------------------------------===//
// Masks and indices
//===----------------------------------------------------------------------===//

/// `type` with the last dimension replaced.
static RankedTensorType withLastDim(RankedTensorType type, int64_t dim) {
  SmallVector<int64_t> shape(type.getShape());
  if (!shape.empty())
    shape.back() = dim;
  return RankedTensorType::get(shape, type.getElementType());
}

static LogicalResult verifyHasRows(Operation *op, unsigned number, StringRef name, Value value) {
  if (getTensorType(value).getRank() < 1)
    return emitConstraint(op, number) << "expected " << name << " of rank at least 1";
  return success();
}

LogicalResult MaskToIndexOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                              SmallVectorImpl<Type> &types) {
  auto mask = cast<RankedTensorType>(op.getMask().getType());
  types.push_back(withLastDim(mask, sizeOrDynamic(op.getCap())));
  types.push_back(RankedTensorType::get(mask.getShape().drop_back(mask.getRank() ? 1 : 0), mask.getElementType()));
  return success();
}
LogicalResult MaskToIndexOp::verify() {
  if (failed(verifyHasRows(*this, 1, "mask", getMask())) || failed(verifyAtLeast(*this, 2, "cap", getCap(), 1)))
    return failure();
  return verifyInferredResults(*this, 3);
}

LogicalResult IndexToMaskOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                              SmallVectorImpl<Type> &types) {
  types.push_back(withLastDim(cast<RankedTensorType>(op.getIndices().getType()), ceilDivDim(sizeOrDynamic(op.getNumBlocks()), 32)));
  return success();
}
LogicalResult IndexToMaskOp::verify() {
  if (failed(verifyHasRows(*this, 1, "indices", getIndices())) ||
      failed(verifyAtLeast(*this, 2, "num_blocks", getNumBlocks(), 1)))
    return failure();
  return verifyInferredResults(*this, 3);
}

OpFoldResult IndexToMaskOp::fold(FoldAdaptor) {
  // Only a list that holds every bit of the mask gives the mask back.
  auto source = getIndices().getDefiningOp<MaskToIndexOp>();
  if (!source || source.getMask().getType() != getType())
    return {};
  int64_t words = getType().getShape().back();
  if (ShapedType::isDynamic(words) || words * 32 != getNumBlocks() ||
      source.getCap() < getNumBlocks())
    return {};
  return source.getMask();
}

LogicalResult UnionTileOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                            SmallVectorImpl<Type> &types) {
  auto type = cast<RankedTensorType>(op.getIndices().getType());
  if (type.getRank() != 4 || op.getTile() < 1) {
    types.assign(2, type);
    return success();
  }
  int64_t width = type.getDimSize(3);
  int64_t cap = ShapedType::kDynamic;
  if (op.getCap())
    cap = sizeOrDynamic(*op.getCap());
  else if (!ShapedType::isDynamic(width) && width <= kMaxSize / op.getTile())
    cap = op.getTile() * width;
  types.push_back(RankedTensorType::get(
      {type.getDimSize(0), type.getDimSize(1), ceilDivDim(type.getDimSize(2), op.getTile()), cap},
      type.getElementType()));
  types.push_back(withLastDim(type, ceilDivDim(cap, 32)));
  return success();
}
LogicalResult UnionTileOp::verify() {
  if (failed(verifyRank4(*this, 1, "indices", getIndices())) ||
      failed(verifyAtLeast(*this, 2, "tile", getTile(), 1)) ||
      failed(verifyAtLeast(*this, 2, "cap", getCap().value_or(1), 1)))
    return failure();
  if (!getCap() && ShapedType::isDynamic(getTensorType(getIndices()).getDimSize(3)))
    return emitConstraint(*this, 2) << "expected cap, because the number of indices per query is dynamic";
  if (!getCap() && getTensorType(getIndices()).getDimSize(3) > kMaxSize / getTile())
    return emitConstraint(*this, 2) << "expected cap, because tile * K exceeds " << kMaxSize;
  return verifyInferredResults(*this, 3);
}
