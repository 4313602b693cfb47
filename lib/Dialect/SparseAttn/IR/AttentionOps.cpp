//===- AttentionOps.cpp - operations that attend to keys -------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "VerifyUtils.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace sparseattn;

//===----------------------------------------------------------------------===//
// Type inference
//===----------------------------------------------------------------------===//

/// Inference never fails: on malformed operands it yields any type, and the
/// verifier, which runs its numbered checks first, explains what is wrong.
static bool haveLayoutRank(Layout layout, ValueRange values) {
  return llvm::all_of(values, [&](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.getRank() == getLayoutDims(layout).rank();
  });
}

static RankedTensorType inferOut(Value query, Value value, Layout layout) {
  auto type = dyn_cast<RankedTensorType>(query.getType());
  if (!haveLayoutRank(layout, {query, value}))
    return type;
  HeadShape shape = getHeadShape(type, layout);
  HeadShape valueShape = getHeadShape(getTensorType(value), layout);
  shape.batch = mergeDims(shape.batch, valueShape.batch);
  shape.dim = valueShape.dim;
  return RankedTensorType::get(makeHeadShape(layout, shape), type.getElementType());
}

/// [B, heads, Nq, extra...], without B for `thd`.
static RankedTensorType inferRows(Value query, Layout layout, int64_t heads,
                                  ArrayRef<int64_t> extra, Type elementType) {
  if (!haveLayoutRank(layout, query))
    return getTensorType(query);
  HeadShape shape = getHeadShape(getTensorType(query), layout);
  SmallVector<int64_t> dims;
  if (layout != Layout::THD)
    dims.push_back(shape.batch);
  dims.append({heads, shape.length});
  dims.append(extra.begin(), extra.end());
  return RankedTensorType::get(dims, elementType);
}

static RankedTensorType inferLse(Value query, Layout layout) {
  int64_t heads = haveLayoutRank(layout, query)
                      ? getHeadShape(getTensorType(query), layout).heads
                      : ShapedType::kDynamic;
  return inferRows(query, layout, heads, {}, Float32Type::get(query.getContext()));
}

LogicalResult AttentionOp::inferReturnTypes(MLIRContext *context, std::optional<Location>,
                                            Adaptor op, SmallVectorImpl<Type> &types) {
  Layout layout = op.getLayout();
  types.push_back(inferOut(op.getQuery(), op.getValue(), layout));
  if (op.getReturnLse())
    types.push_back(inferLse(op.getQuery(), layout));
  EpilogueAttrInterface emit = op.getEmitAttr();
  if (!emit || !haveLayoutRank(layout, {op.getQuery(), op.getKey()}))
    return success();
  HeadShape keys = getHeadShape(getTensorType(op.getKey()), layout);
  int64_t heads = emit.getGroup() == GroupReduce::None
                      ? getHeadShape(getTensorType(op.getQuery()), layout).heads
                      : keys.heads;
  if (TopKAttr select = op.getSelectAttr())
    types.push_back(inferRows(op.getQuery(), layout, heads, select.getWidth(),
                              IntegerType::get(context, 32)));
  else
    types.push_back(inferRows(op.getQuery(), layout, heads,
                              ceilDivDim(keys.length, emit.getBlock()),
                              Float32Type::get(context)));
  return success();
}

LogicalResult SparseAttentionOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                                  Adaptor op, SmallVectorImpl<Type> &types) {
  types.push_back(inferOut(op.getQuery(), op.getValue(), op.getLayout()));
  if (op.getReturnLse())
    types.push_back(inferLse(op.getQuery(), op.getLayout()));
  return success();
}

LogicalResult ConcatKVAttentionOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                                    Adaptor op, SmallVectorImpl<Type> &types) {
  Value value = op.getSourceValues().empty() ? op.getQuery() : op.getSourceValues().front();
  types.push_back(inferOut(op.getQuery(), value, op.getLayout()));
  if (op.getReturnLse())
    types.push_back(inferLse(op.getQuery(), op.getLayout()));
  return success();
}

LogicalResult BranchedAttentionOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                                    Adaptor op, SmallVectorImpl<Type> &types) {
  Value value = op.getBranchValues().empty() ? op.getQuery() : op.getBranchValues().front();
  types.push_back(inferOut(op.getQuery(), value, op.getLayout()));
  return success();
}

LogicalResult RoutedAttentionOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                                  Adaptor op, SmallVectorImpl<Type> &types) {
  types.push_back(inferOut(op.getQuery(), op.getValue(), op.getLayout()));
  if (op.getReturnLse())
    types.push_back(inferLse(op.getQuery(), op.getLayout()));
  return success();
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// C1-C6: query, one key and one value.
static LogicalResult verifyQKV(Operation *op, Value query, Value key, Value value, Layout layout) {
  if (failed(verifyLayoutRank(op, 1, "query", query, layout)) ||
      failed(verifyLayoutRank(op, 1, "key", key, layout)) ||
      failed(verifyLayoutRank(op, 1, "value", value, layout)) ||
      failed(verifySameElementType(op, 2, {query, key, value})))
    return failure();
  HeadShape q = getHeadShape(getTensorType(query), layout);
  HeadShape k = getHeadShape(getTensorType(key), layout);
  HeadShape v = getHeadShape(getTensorType(value), layout);
  if (!dimsAgree(q.batch, k.batch) || !dimsAgree(q.batch, v.batch) || !dimsAgree(k.batch, v.batch))
    return emitConstraint(op, 3) << "expected one batch size, found query " << formatShape(q.batch)
                                 << ", key " << formatShape(k.batch) << ", value "
                                 << formatShape(v.batch);
  if (!dimsAgree(k.heads, v.heads) || !dimsAgree(k.length, v.length))
    return emitConstraint(op, 4) << "expected key and value with the same heads and length, found "
                                 << formatShape({k.heads, k.length}) << " and "
                                 << formatShape({v.heads, v.length});
  if (failed(verifyHeadGroups(op, 5, q.heads, mergeDims(k.heads, v.heads))) ||
      failed(verifyHeadDim(op, 6, "key", k.dim)) || failed(verifyHeadDim(op, 6, "value", v.dim)))
    return failure();
  if (q.dim != k.dim)
    return emitConstraint(op, 6) << "expected query and key with one head dimension, found "
                                 << formatShape(q.dim) << " and " << k.dim;
  return success();
}

/// C7-C13, C16: what `attention` and `sparse_attention` have in common. The
/// numbers are those of both descriptions.
template <typename OpTy>
static LogicalResult verifyTokenAttention(OpTy op, BlockOrigin origin) {
  Layout layout = op.getLayout();
  if (failed(verifyQKV(op, op.getQuery(), op.getKey(), op.getValue(), layout)))
    return failure();
  HeadShape q = getHeadShape(getTensorType(op.getQuery()), layout);
  HeadShape k = getHeadShape(getTensorType(op.getKey()), layout);
  bool packed = layout == Layout::THD;
  if (op.getSink() && failed(verifyShape(op, 7, "sink", op.getSink(), q.heads)))
    return failure();
  if (op.getValidRange()) {
    if (packed)
      return emitConstraint(op, 8) << "expected no valid_range for layout thd, whose cu_seqlens bound the keys";
    if (failed(verifyShape(op, 8, "valid_range", op.getValidRange(), {q.batch, q.length, 2})))
      return failure();
  }
  if (packed != static_cast<bool>(op.getCuSeqlensQ()) || packed != static_cast<bool>(op.getCuSeqlensK()))
    return emitConstraint(op, 9) << (packed ? "expected cu_seqlens for layout thd"
                                            : "expected no cu_seqlens unless the layout is thd");
  if (packed) {
    auto cuQ = getTensorType(op.getCuSeqlensQ());
    auto cuK = getTensorType(op.getCuSeqlensK());
    if (cuQ.getRank() != 1 || cuK.getRank() != 1 || !dimsAgree(cuQ.getDimSize(0), cuK.getDimSize(0)) ||
        cuQ.getDimSize(0) == 0 || cuK.getDimSize(0) == 0)
      return emitConstraint(op, 9) << "expected cu_seqlens of one shape [documents + 1], found "
                                   << formatShape(cuQ.getShape()) << " and " << formatShape(cuK.getShape());
    if (op.getQOffset())
      return emitConstraint(op, 10) << "expected no q_offset for layout thd, whose documents align by their ends";
  }
  if (failed(verifyPattern(op, 11, op.getKeys(), k.heads)) ||
      failed(verifyFinite(op, 12, "scale", op.getScale())))
    return failure();
  if (origin == BlockOrigin::RangeBegin && !packed && !op.getValidRange())
    return emitConstraint(op, 13) << "expected valid_range or layout thd for block origin range_begin";
  return verifyLayer(op, 16, op.getLayer(), op.getKvSource());
}

LogicalResult AttentionOp::verify() {
  EpilogueAttrInterface emit = getEmitAttr();
  if (failed(verifyTokenAttention(*this, emit ? emit.getOrigin() : BlockOrigin::Absolute)))
    return failure();
  if (TopKAttr select = getSelectAttr()) {
    if (!emit)
      return emitConstraint(*this, 14) << "expected emit(#sparseattn.block_score<...>) beside select";
    if (select.getBlock() != emit.getBlock())
      return emitConstraint(*this, 14) << "expected select and emit with one block size, found "
                                       << select.getBlock() << " and " << emit.getBlock();
  }
  return verifyInferredResults(*this, 15);
}

LogicalResult SparseAttentionOp::verify() {
  if (failed(verifyTokenAttention(*this, getOrigin())))
    return failure();
  bool packed = getLayout() == Layout::THD;
  if (!getKeys().isTokenAligned())
    return emitConstraint(*this, 11) << "expected keys that count tokens, found " << getKeys();
  if (packed && getOrigin() != BlockOrigin::RangeBegin)
    return emitConstraint(*this, 13) << "expected origin(range_begin) for layout thd, whose blocks begin with the document";
  if (failed(verifyAtLeast(*this, 14, "block", getBlock(), 1)))
    return failure();

  if (failed(verifyAtLeast(*this, 19, "query_block", getQueryBlock(), 1)))
    return failure();
  if (getQueryBlock() != 1 && (packed || getOrigin() == BlockOrigin::RangeBegin))
    return emitConstraint(*this, 19) << "expected query_block 1, because blocks begin where the range of each query does, found "
                                     << getQueryBlock();

  HeadShape q = getHeadShape(getTensorType(getQuery()), getLayout());
  HeadShape k = getHeadShape(getTensorType(getKey()), getLayout());
  int64_t numBlocks = ceilDivDim(k.length, getBlock());
  q.length = ceilDivDim(q.length, getQueryBlock());
  if (failed(verifySelection(*this, 17, getSelection(), getLayout(), q, k.heads, getFormat(), numBlocks)))
    return failure();
  if (getBias()) {
    bool isMask = getFormat() == SelectionFormat::Bitmask;
    SmallVector<int64_t> expected(getTensorType(getSelection()).getShape());
    expected[packed ? 0 : 1] = k.heads;
    expected.back() = isMask ? numBlocks : expected.back();
    if (failed(verifyShape(*this, 18, "bias", getBias(), expected)))
      return failure();
  }
  return verifyInferredResults(*this, 15);
}

LogicalResult ConcatKVAttentionOp::verify() {
  Layout layout = getLayout();
  if (failed(verifyNotPacked(*this, 1, layout)))
    return failure();
  size_t sources = getSourceKeys().size();
  if (sources == 0 || getSourceValues().size() != sources || getKeys().size() != sources ||
      getSelected().size() != sources)
    return emitConstraint(*this, 8) << "expected as many keys, values, patterns and selected flags, at least one; found "
                                    << sources << ", " << getSourceValues().size() << ", "
                                    << getKeys().size() << " and " << getSelected().size();
  for (auto [key, value] : llvm::zip(getSourceKeys(), getSourceValues()))
    if (failed(verifyQKV(*this, getQuery(), key, value, layout)))
      return failure();
  HeadShape q = getHeadShape(getTensorType(getQuery()), layout);
  HeadShape k = getHeadShape(getTensorType(getSourceKeys().front()), layout);
  HeadShape v = getHeadShape(getTensorType(getSourceValues().front()), layout);
  for (auto [key, value] : llvm::zip(getSourceKeys(), getSourceValues())) {
    int64_t heads = getHeadShape(getTensorType(key), layout).heads;
    if (!dimsAgree(heads, k.heads))
      return emitConstraint(*this, 4) << "expected one number of KV heads for all sources, found "
                                      << formatSize(k.heads) << " and " << formatSize(heads);
    int64_t dim = getHeadShape(getTensorType(value), layout).dim;
    if (dim != v.dim)
      return emitConstraint(*this, 6) << "expected one value head dimension for all sources, found "
                                      << v.dim << " and " << dim;
  }
  if (getSink() && failed(verifyShape(*this, 7, "sink", getSink(), q.heads)))
    return failure();
  size_t flags = llvm::count(getSelected(), true);
  if (getSelections().size() != flags)
    return emitConstraint(*this, 9) << "expected one selection for each of the " << flags
                                    << " sources flagged in selected, found " << getSelections().size();
  for (Value selection : getSelections())
    if (failed(verifySelection(*this, 9, selection, layout, q, k.heads, SelectionFormat::Index,
                               ShapedType::kDynamic)))
      return failure();
  auto patterns = getSourcePatterns();
  if (!getQOffset() && llvm::none_of(patterns, [](KeyPatternAttrInterface p) { return p.isTokenAligned(); }))
    return emitConstraint(*this, 10) << "expected q_offset, because no source counts tokens";
  for (KeyPatternAttrInterface pattern : patterns)
    if (failed(verifyPattern(*this, 11, pattern, k.heads)))
      return failure();
  if (failed(verifyFinite(*this, 12, "scale", getScale())) ||
      failed(verifyLayer(*this, 16, getLayer(), getKvSource())))
    return failure();
  return verifyInferredResults(*this, 15);
}

LogicalResult BranchedAttentionOp::verify() {
  size_t count = getBranches().size();
  if (count == 0 || getBranchKeys().size() != count || getBranchValues().size() != count ||
      getGates().size() != count)
    return emitConstraint(*this, 1) << "expected one key, value and gate for each branch and at least one branch; found "
                                    << count << " branches, " << getBranchKeys().size() << " keys, "
                                    << getBranchValues().size() << " values, " << getGates().size() << " gates";
  auto branches = getBranches().getAsRange<BranchAttr>();
  size_t selections = llvm::count_if(branches, [](BranchAttr b) { return bool(b.getSelection()); });
  size_t sinks = llvm::count_if(branches, [](BranchAttr b) { return b.getSink(); });
  if (getSelections().size() != selections || getSinks().size() != sinks)
    return emitConstraint(*this, 2) << "expected " << selections << " selections and " << sinks
                                    << " sinks as the branches say, found " << getSelections().size()
                                    << " and " << getSinks().size();
  if (failed(verifyNotPacked(*this, 5, getLayout())))
    return failure();
  if (failed(verifyLayoutRank(*this, 3, "query", getQuery(), getLayout())))
    return failure();
  HeadShape q = getHeadShape(getTensorType(getQuery()), getLayout());
  int64_t valueDim = ShapedType::kDynamic;
  size_t nextSelection = 0;
  for (auto [i, key, value] : llvm::enumerate(getBranchKeys(), getBranchValues())) {
    if (failed(verifyLayoutRank(*this, 3, "key", key, getLayout())) ||
        failed(verifyLayoutRank(*this, 3, "value", value, getLayout())))
      return failure();
    HeadShape k = getHeadShape(getTensorType(key), getLayout());
    HeadShape v = getHeadShape(getTensorType(value), getLayout());
    if (!dimsAgree(q.batch, k.batch) || !dimsAgree(q.batch, v.batch) || !dimsAgree(k.heads, v.heads) ||
        !dimsAgree(k.length, v.length) || !dimsAgree(q.dim, k.dim) || !dimsAgree(valueDim, v.dim))
      return emitConstraint(*this, 3) << "branch #" << i << " is no valid attention: query "
                                      << getQuery().getType() << ", key " << key.getType()
                                      << ", value " << value.getType();
    valueDim = v.dim;
    if (failed(verifyHeadGroups(*this, 3, q.heads, k.heads)) ||
        failed(verifyHeadDim(*this, 3, "key", k.dim)) || failed(verifyHeadDim(*this, 3, "value", v.dim)) ||
        failed(verifySameElementType(*this, 3, {getQuery(), key, value})))
      return failure();
    auto branch = cast<BranchAttr>(getBranches()[i]);
    auto pattern = cast<KeyPatternAttrInterface>(branch.getKeys());
    if (failed(verifyPattern(*this, 3, pattern, k.heads)))
      return failure();
    if (branch.getOrigin() == BlockOrigin::RangeBegin && !getValidRange())
      return emitConstraint(*this, 3) << "branch #" << i << " has origin range_begin and needs valid_range";
    if (!branch.getSelection())
      continue;
    if (!pattern.isTokenAligned())
      return emitConstraint(*this, 3) << "branch #" << i << " has a selection and needs keys that count tokens, found "
                                      << pattern;
    if (failed(verifySelection(*this, 3, getSelections()[nextSelection++], getLayout(), q, k.heads,
                               branch.getSelection().getValue(), ceilDivDim(k.length, branch.getBlock()))))
      return failure();
  }
  for (Value sink : getSinks())
    if (failed(verifyShape(*this, 3, "sink", sink, q.heads)))
      return failure();
  if (getValidRange() && failed(verifyShape(*this, 3, "valid_range", getValidRange(), {q.batch, q.length, 2})))
    return failure();
  if (failed(verifyFinite(*this, 3, "scale", getScale())))
    return failure();
  auto outType = inferOut(getQuery(), getBranchValues().front(), getLayout());
  ArrayRef<int64_t> gateShape = outType.getShape();
  if (getGate() == GateShape::Headwise)
    gateShape = gateShape.drop_back();
  for (Value gate : getGates()) {
    if (failed(verifyShape(*this, 4, "gate", gate, gateShape)) ||
        failed(verifySameElementType(*this, 4, {getQuery(), gate})))
      return failure();
  }
  if (failed(verifyLayer(*this, 16, getLayer(), getKvSource())))
    return failure();
  return verifyInferredResults(*this, 15);
}

LogicalResult RoutedAttentionOp::verify() {
  if (failed(verifyNotPacked(*this, 5, getLayout())))
    return failure();
  for (auto [name, value] : {std::pair<StringRef, Value>{"query", getQuery()}, {"key", getKey()},
                             {"value", getValue()}, {"summary", getSummary()}})
    if (failed(verifyLayoutRank(*this, 1, name, value, getLayout())))
      return failure();
  HeadShape q = getHeadShape(getTensorType(getQuery()), getLayout());
  HeadShape k = getHeadShape(getTensorType(getKey()), getLayout());
  HeadShape v = getHeadShape(getTensorType(getValue()), getLayout());
  if (failed(verifyAtLeast(*this, 1, "block", getBlock(), 1)) ||
      failed(verifyAtLeast(*this, 1, "local_blocks", getLocalBlocks(), 0)) ||
      failed(verifySameElementType(*this, 1, {getQuery(), getKey(), getValue(), getSummary()})) ||
      failed(verifyHeadGroups(*this, 1, q.heads, k.heads)) ||
      failed(verifyHeadDim(*this, 1, "key", k.dim)) || failed(verifyHeadDim(*this, 1, "value", v.dim)) ||
      failed(verifyShape(*this, 1, "key", getKey(), makeHeadShape(getLayout(), {q.batch, v.heads, v.length, q.dim}))) ||
      failed(verifyShape(*this, 1, "summary", getSummary(),
                         makeHeadShape(getLayout(), {q.batch, k.heads, ceilDivDim(k.length, getBlock()), k.dim}))))
    return failure();
  if (getSink() && failed(verifyShape(*this, 1, "sink", getSink(), q.heads)))
    return failure();
  if (failed(verifyFinite(*this, 1, "routing_scale", getRoutingScale())) ||
      failed(verifyFinite(*this, 1, "scale", getScale())) ||
      failed(verifyEntmax(*this, {1, 1, 1}, getAlpha(), getSolverAttr(), getSigma())) ||
      failed(verifyLayer(*this, 16, getLayer(), getKvSource())))
    return failure();
  return verifyInferredResults(*this, 15);
}

//===----------------------------------------------------------------------===//
// Accessors
//===----------------------------------------------------------------------===//

Value AttentionOp::getLse() { return getReturnLse() ? getOutputs()[1] : Value(); }
Value AttentionOp::getScore() {
  return getEmitAttr() && !getSelectAttr() ? getOutputs().back() : Value();
}
Value AttentionOp::getIndices() { return getSelectAttr() ? getOutputs().back() : Value(); }

static double getScaleOr(Value query, const std::optional<APFloat> &scale) {
  return scaleOrDefault(scale, getTensorType(query).getShape().back());
}
double AttentionOp::getScaleOrDefault() { return getScaleOr(getQuery(), getScale()); }
double SparseAttentionOp::getScaleOrDefault() { return getScaleOr(getQuery(), getScale()); }
double ConcatKVAttentionOp::getScaleOrDefault() { return getScaleOr(getQuery(), getScale()); }

static NormalizerAttrInterface normalizerOr(Operation *op, NormalizerAttrInterface normalizer) {
  return normalizer ? normalizer : cast<NormalizerAttrInterface>(SoftmaxAttr::get(op->getContext()));
}
NormalizerAttrInterface AttentionOp::getNormalizerOrDefault() {
  return normalizerOr(*this, getNormalizerAttr());
}
NormalizerAttrInterface SparseAttentionOp::getNormalizerOrDefault() {
  return normalizerOr(*this, getNormalizerAttr());
}
NormalizerAttrInterface ConcatKVAttentionOp::getNormalizerOrDefault() {
  return normalizerOr(*this, getNormalizerAttr());
}

void AttentionOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  setName(getOut(), "out");
  if (Value lse = getLse())
    setName(lse, "lse");
  if (Value score = getScore())
    setName(score, "score");
  if (Value indices = getIndices())
    setName(indices, "indices");
}

template <typename OpTy>
static void setOutAndLseNames(OpTy op, OpAsmSetValueNameFn setName) {
  setName(op.getOut(), "out");
  if (Value lse = op.getLse())
    setName(lse, "lse");
}
void SparseAttentionOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setOutAndLseNames(*this, setName); }
void ConcatKVAttentionOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setOutAndLseNames(*this, setName); }
void RoutedAttentionOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setOutAndLseNames(*this, setName); }
void BranchedAttentionOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getOut(), "out"); }

//===----------------------------------------------------------------------===//
// AttentionOpInterface
//===----------------------------------------------------------------------===//

static SmallVector<OpOperand *> toPointers(MutableArrayRef<OpOperand> operands) {
  return llvm::map_to_vector(operands, [](OpOperand &operand) { return &operand; });
}

#define SPARSEATTN_COMMON_ATTENTION_INTERFACE(OP)                                        \
  Value OP::getQueryValue() { return getQuery(); }                                       \
  Layout OP::getTensorLayout() { return getLayout(); }                                   \
  std::optional<int64_t> OP::getLayerIndex() { return getLayer(); }                      \
  std::optional<int64_t> OP::getKvSourceIndex() { return getKvSource(); }
SPARSEATTN_COMMON_ATTENTION_INTERFACE(AttentionOp)
SPARSEATTN_COMMON_ATTENTION_INTERFACE(SparseAttentionOp)
SPARSEATTN_COMMON_ATTENTION_INTERFACE(ConcatKVAttentionOp)
SPARSEATTN_COMMON_ATTENTION_INTERFACE(BranchedAttentionOp)
SPARSEATTN_COMMON_ATTENTION_INTERFACE(RoutedAttentionOp)
#undef SPARSEATTN_COMMON_ATTENTION_INTERFACE

SmallVector<OpOperand *> AttentionOp::getKeyOperands() { return {&getKeyMutable()}; }
SmallVector<OpOperand *> AttentionOp::getValueOperands() { return {&getValueMutable()}; }
SmallVector<OpOperand *> AttentionOp::getSelectionOperands() { return {}; }
SmallVector<KeyPatternAttrInterface> AttentionOp::getSourcePatterns() { return {getKeys()}; }

SmallVector<OpOperand *> SparseAttentionOp::getKeyOperands() { return {&getKeyMutable()}; }
SmallVector<OpOperand *> SparseAttentionOp::getValueOperands() { return {&getValueMutable()}; }
SmallVector<OpOperand *> SparseAttentionOp::getSelectionOperands() { return {&getSelectionMutable()}; }
SmallVector<KeyPatternAttrInterface> SparseAttentionOp::getSourcePatterns() { return {getKeys()}; }

SmallVector<OpOperand *> RoutedAttentionOp::getKeyOperands() { return {&getKeyMutable()}; }
SmallVector<OpOperand *> RoutedAttentionOp::getValueOperands() { return {&getValueMutable()}; }
SmallVector<OpOperand *> RoutedAttentionOp::getSelectionOperands() { return {}; }
SmallVector<KeyPatternAttrInterface> RoutedAttentionOp::getSourcePatterns() {
  return {cast<KeyPatternAttrInterface>(CausalAttr::get(getContext()))};
}

SmallVector<OpOperand *> ConcatKVAttentionOp::getKeyOperands() { return toPointers(getSourceKeysMutable()); }
SmallVector<OpOperand *> ConcatKVAttentionOp::getValueOperands() { return toPointers(getSourceValuesMutable()); }
SmallVector<OpOperand *> ConcatKVAttentionOp::getSelectionOperands() { return toPointers(getSelectionsMutable()); }
SmallVector<KeyPatternAttrInterface> ConcatKVAttentionOp::getSourcePatterns() {
  return llvm::map_to_vector(getKeys(), [](Attribute a) { return cast<KeyPatternAttrInterface>(a); });
}

SmallVector<OpOperand *> BranchedAttentionOp::getKeyOperands() { return toPointers(getBranchKeysMutable()); }
SmallVector<OpOperand *> BranchedAttentionOp::getValueOperands() { return toPointers(getBranchValuesMutable()); }
SmallVector<OpOperand *> BranchedAttentionOp::getSelectionOperands() { return toPointers(getSelectionsMutable()); }
SmallVector<KeyPatternAttrInterface> BranchedAttentionOp::getSourcePatterns() {
  return llvm::map_to_vector(getBranches().getAsRange<BranchAttr>(), [](BranchAttr branch) {
    return cast<KeyPatternAttrInterface>(branch.getKeys());
  });
}

//===----------------------------------------------------------------------===//
// Canonicalization
//===----------------------------------------------------------------------===//

namespace {

/// A table whose heads all have one pattern is that pattern.
template <typename OpTy>
struct FoldUniformHeadTable : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;
  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    auto table = dyn_cast<HeadTableAttr>(op.getKeys());
    if (!table || !llvm::all_equal(table.getHeads()))
      return failure();
    rewriter.modifyOpInPlace(op, [&] {
      op.setKeysAttr(cast<KeyPatternAttrInterface>(table.getHeads().front()));
    });
    return success();
  }
};

/// An lse or score that nobody reads need not leave the operation.
template <typename OpTy>
struct DropUnusedResults : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;
  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    bool dropLse = op.getReturnLse() && op.getLse().use_empty();
    bool dropLast = false;
    if constexpr (std::is_same_v<OpTy, AttentionOp>)
      dropLast = op.getEmitAttr() && op.getOutputs().back().use_empty();
    if (!dropLse && !dropLast)
      return failure();
    SmallVector<Value> kept;
    SmallVector<Type> types;
    for (auto [i, result] : llvm::enumerate(op.getOutputs())) {
      bool isLse = op.getReturnLse() && i == 1;
      bool isLast = dropLast && i + 1 == op.getOutputs().size();
      if ((isLse && dropLse) || isLast)
        continue;
      kept.push_back(result);
      types.push_back(result.getType());
    }
    auto clone = OpTy::create(rewriter, op.getLoc(), types, op->getOperands(),
                              op.getProperties(), llvm::to_vector(op->getDiscardableAttrs()));
    if (dropLse)
      clone.setReturnLse(false);
    if constexpr (std::is_same_v<OpTy, AttentionOp>) {
      if (dropLast) {
        clone.removeEmitAttr();
        clone.removeSelectAttr();
      }
    }
    for (auto [oldResult, newResult] : llvm::zip(kept, clone.getOutputs()))
      rewriter.replaceAllUsesWith(oldResult, newResult);
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<FoldUniformHeadTable<AttentionOp>, DropUnusedResults<AttentionOp>>(context);
}
void SparseAttentionOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<FoldUniformHeadTable<SparseAttentionOp>, DropUnusedResults<SparseAttentionOp>>(context);
}
