//===- SparseAttnAttrs.cpp - the plug-in attributes ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "VerifyUtils.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sparseattn;

/// Checks that every size lies in [least, kMaxSize].
static LogicalResult verifySizes(function_ref<InFlightDiagnostic()> emitError, StringRef label, int64_t least,
                                 ArrayRef<std::pair<StringRef, int64_t>> sizes) {
  for (auto [name, size] : sizes)
    if (size < least || size > kMaxSize)
      return emitError() << "(" << label << ") expected " << name << " in [" << least << ", " << kMaxSize
                         << "], found " << size;
  return success();
}

//===----------------------------------------------------------------------===//
// Key patterns
//===----------------------------------------------------------------------===//

/// A constant of the type of `like`, an `index` or a tensor of them.
static Value buildIndexLike(OpBuilder &b, Location loc, Value like, int64_t value) {
  TypedAttr scalar = b.getIndexAttr(value);
  if (auto tensor = dyn_cast<RankedTensorType>(like.getType()))
    return arith::ConstantOp::create(b, loc, SplatElementsAttr::get(tensor, Attribute(scalar)));
  return arith::ConstantOp::create(b, loc, scalar);
}

/// `scalar` in the shape of `like`.
static Value buildSplatLike(OpBuilder &b, Location loc, Value like, Value scalar) {
  if (auto tensor = dyn_cast<RankedTensorType>(like.getType()))
    return b.createOrFold<tensor::SplatOp>(loc, scalar, tensor);
  return scalar;
}

static Value buildPlusOne(OpBuilder &b, Location loc, Value value) {
  return arith::AddIOp::create(b, loc, value, buildIndexLike(b, loc, value, 1));
}

KeyRange FullAttr::buildKeyRange(OpBuilder &b, Location loc, Value pos, Value numKeys, Value) const {
  return {buildIndexLike(b, loc, pos, 0), buildSplatLike(b, loc, pos, numKeys)};
}
std::optional<int64_t> FullAttr::getMaxVisibleKeys(int64_t) const { return std::nullopt; }
bool FullAttr::isCausal(int64_t) const { return false; }

KeyRange CausalAttr::buildKeyRange(OpBuilder &b, Location loc, Value pos, Value, Value) const {
  return {buildIndexLike(b, loc, pos, 0), buildPlusOne(b, loc, pos)};
}
std::optional<int64_t> CausalAttr::getMaxVisibleKeys(int64_t) const { return std::nullopt; }
bool CausalAttr::isCausal(int64_t) const { return true; }

LogicalResult WindowAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t size) {
  return verifySizes(emitError, "A1", 1, {{"size, which counts the query's own key,", size}});
}
KeyRange WindowAttr::buildKeyRange(OpBuilder &b, Location loc, Value pos, Value, Value) const {
  Value end = buildPlusOne(b, loc, pos);
  return {arith::SubIOp::create(b, loc, end, buildIndexLike(b, loc, pos, getSize())), end};
}
std::optional<int64_t> WindowAttr::getMaxVisibleKeys(int64_t) const { return getSize(); }
bool WindowAttr::isCausal(int64_t) const { return true; }

LogicalResult PrefixLMAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t prefix) {
  return verifySizes(emitError, "A14", 0, {{"prefix", prefix}});
}
KeyRange PrefixLMAttr::buildKeyRange(OpBuilder &b, Location loc, Value pos, Value, Value) const {
  Value prefix = buildIndexLike(b, loc, pos, getPrefix());
  return {buildIndexLike(b, loc, pos, 0), arith::MaxSIOp::create(b, loc, buildPlusOne(b, loc, pos), prefix)};
}
std::optional<int64_t> PrefixLMAttr::getMaxVisibleKeys(int64_t) const { return std::nullopt; }
bool PrefixLMAttr::isCausal(int64_t) const { return getPrefix() <= 1; }

LogicalResult CompleteBlocksAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t block,
                                         int64_t stride) {
  return verifySizes(emitError, "A2", 1, {{"block", block}, {"stride", stride}});
}
KeyRange CompleteBlocksAttr::buildKeyRange(OpBuilder &b, Location loc, Value pos, Value, Value) const {
  // c*stride + block - 1 <= p  <=>  c < floor((p + 1 - block) / stride) + 1.
  Value last = arith::SubIOp::create(b, loc, buildPlusOne(b, loc, pos), buildIndexLike(b, loc, pos, getBlock()));
  Value quotient = arith::FloorDivSIOp::create(b, loc, last, buildIndexLike(b, loc, pos, getStride()));
  return {buildIndexLike(b, loc, pos, 0), buildPlusOne(b, loc, quotient)};
}
std::optional<int64_t> CompleteBlocksAttr::getMaxVisibleKeys(int64_t) const { return std::nullopt; }
bool CompleteBlocksAttr::isCausal(int64_t) const { return true; }
bool CompleteBlocksAttr::isTokenAligned() const { return false; }

LogicalResult HeadTableAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                    ArrayRef<Attribute> heads) {
  if (heads.empty())
    return emitError() << "(A3) expected at least one entry";
  for (auto [i, head] : llvm::enumerate(heads))
    if (!isa<KeyPatternAttrInterface>(head) || isa<HeadTableAttr>(head))
      return emitError() << "(A3) expected entry #" << i
                         << " to be a key pattern other than head_table, found "
                         << head;
  return success();
}
static KeyPatternAttrInterface getHead(HeadTableAttr table, int64_t kvHead) {
  ArrayRef<Attribute> heads = table.getHeads();
  return cast<KeyPatternAttrInterface>(
      heads[std::min<size_t>(kvHead, heads.size() - 1)]);
}
KeyRange HeadTableAttr::buildKeyRange(OpBuilder &b, Location loc, Value pos,
                                      Value numKeys, Value kvHead) const {
  KeyRange range = getHead(*this, 0).buildKeyRange(b, loc, pos, numKeys, kvHead);
  for (int64_t i = 1, e = getHeads().size(); i < e; ++i) {
    KeyRange other = getHead(*this, i).buildKeyRange(b, loc, pos, numKeys, kvHead);
    Value isOther = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq,
                                          kvHead, arith::ConstantIndexOp::create(b, loc, i));
    range.begin = arith::SelectOp::create(b, loc, isOther, other.begin, range.begin);
    range.end = arith::SelectOp::create(b, loc, isOther, other.end, range.end);
  }
  return range;
}
std::optional<int64_t> HeadTableAttr::getMaxVisibleKeys(int64_t kvHead) const {
  return getHead(*this, kvHead).getMaxVisibleKeys(kvHead);
}
bool HeadTableAttr::isCausal(int64_t kvHead) const {
  return getHead(*this, kvHead).isCausal(kvHead);
}
bool HeadTableAttr::isTokenAligned() const {
  return getHead(*this, 0).isTokenAligned();
}
LogicalResult
HeadTableAttr::verifyUse(function_ref<InFlightDiagnostic()> emitError,
                         int64_t kvHeads) const {
  if (!ShapedType::isDynamic(kvHeads) &&
      kvHeads != static_cast<int64_t>(getHeads().size()))
    return emitError() << "expected one head_table entry for each of the "
                       << kvHeads << " KV heads, found " << getHeads().size();
  for (Attribute head : getHeads())
    if (cast<KeyPatternAttrInterface>(head).isTokenAligned() != isTokenAligned())
      return emitError() << "expected head_table entries that all count tokens "
                            "or all count block summaries, found "
                         << Attribute(*this);
  return success();
}

//===----------------------------------------------------------------------===//
// Score modification
//===----------------------------------------------------------------------===//

Attribute SoftcapAttr::parse(AsmParser &parser, Type) {
  double cap;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseFloat(cap) || parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(),
                    APFloat(cap));
}
void SoftcapAttr::print(AsmPrinter &printer) const {
  printer << '<';
  printer.printFloat(getCap());
  printer << '>';
}
LogicalResult SoftcapAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  APFloat cap) {
  if (!cap.isFinite() || cap.isNegative() || cap.isZero())
    return emitError() << "(A4) expected a finite positive cap, found " << cap.convertToDouble();
  return success();
}

/// A constant of the f32 scalar, vector or tensor type `like`.
static Value buildFloatLike(OpBuilder &b, Location loc, Type like, double value) {
  TypedAttr scalar = b.getF32FloatAttr(value);
  if (auto shaped = dyn_cast<ShapedType>(like))
    return arith::ConstantOp::create(b, loc, SplatElementsAttr::get(shaped, Attribute(scalar)));
  return arith::ConstantOp::create(b, loc, scalar);
}

Value SoftcapAttr::buildScore(OpBuilder &b, Location loc, Value score) const {
  Value cap = buildFloatLike(b, loc, score.getType(), getCap().convertToDouble());
  Value inner = arith::DivFOp::create(b, loc, score, cap);
  return arith::MulFOp::create(b, loc, cap, math::TanhOp::create(b, loc, inner));
}

std::optional<double> SoftcapAttr::getBound() const { return getCap().convertToDouble(); }

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

/// Finite, so that `-inf - max` is -inf and its exponential 0, never NaN; below
/// any score or sink in use, or rows would lose them; and so that its multiple
/// by log2(e) is finite, too.
static constexpr double kInitialMax = -1.0e38;

NormalizerState SoftmaxAttr::buildInit(OpBuilder &b, Location loc, Value sink) const {
  Type type = sink ? sink.getType() : b.getF32Type();
  Value initialMax = buildFloatLike(b, loc, type, kInitialMax);
  if (!sink)
    return {initialMax, buildFloatLike(b, loc, type, 0.0)};
  Value max = arith::MaximumFOp::create(b, loc, sink, initialMax);
  return {max, math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, sink, max))};
}

Value SoftmaxAttr::buildAdmit(OpBuilder &b, Location loc, NormalizerState &state,
                              Value tileMax) const {
  Value max = arith::MaximumFOp::create(b, loc, state.max, tileMax);
  Value factor = math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, state.max, max));
  state = {max, arith::MulFOp::create(b, loc, state.sum, factor)};
  return factor;
}

Value SoftmaxAttr::buildWeight(OpBuilder &b, Location loc, NormalizerState state,
                               Value score) const {
  return math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, score, state.max));
}

void SoftmaxAttr::buildAccumulate(OpBuilder &b, Location loc, NormalizerState &state,
                                  Value weightSum) const {
  state.sum = arith::AddFOp::create(b, loc, state.sum, weightSum);
}

NormalizerResult SoftmaxAttr::buildFinish(OpBuilder &b, Location loc,
                                          NormalizerState state) const {
  Type type = state.sum.getType();
  Value zero = buildFloatLike(b, loc, type, 0.0);
  Value one = buildFloatLike(b, loc, type, 1.0);
  Value hasKeys = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, state.sum, zero);
  Value factor = arith::SelectOp::create(
      b, loc, hasKeys, arith::DivFOp::create(b, loc, one, state.sum), zero);
  Value lse = arith::AddFOp::create(b, loc, state.max, math::LogOp::create(b, loc, state.sum));
  Value minusInf = buildFloatLike(b, loc, type, -std::numeric_limits<double>::infinity());
  return {factor, arith::SelectOp::create(b, loc, hasKeys, lse, minusInf)};
}

/// 0 where `value` is -inf, so that differences with it are never NaN.
static Value buildFinite(OpBuilder &b, Location loc, Value value) {
  Type type = value.getType();
  Value minusInf = buildFloatLike(b, loc, type, -std::numeric_limits<double>::infinity());
  Value isEmpty = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, value, minusInf);
  return arith::SelectOp::create(b, loc, isEmpty, buildFloatLike(b, loc, type, 0.0), value);
}

NormalizerState SoftmaxAttr::buildTileInit(OpBuilder &b, Location loc, RankedTensorType rows,
                                           std::optional<double> reference) const {
  double max = reference.value_or(-std::numeric_limits<double>::infinity());
  return {buildFloatLike(b, loc, rows, max), buildFloatLike(b, loc, rows, 0.0), reference.has_value()};
}

TileStep SoftmaxAttr::buildTileStep(OpBuilder &b, Location loc, NormalizerState &state, Value scores,
                                    double multiplier) const {
  Type rows = state.max.getType(), tile = scores.getType();
  Value perRow = buildFloatLike(b, loc, rows, multiplier);
  Value shift = state.max, sum = state.sum, factor;
  if (!state.isFixed) {
    Value blockMax = TileReduceOp::create(b, loc, rows, TileReduction::Max, scores);
    Value max = arith::MaxNumFOp::create(b, loc, state.max, blockMax);
    // A row that has seen no key yet has maximum -inf: exp2(-inf - 0) = 0, where -inf - -inf would be NaN.
    shift = buildFinite(b, loc, max);
    Value exponent = arith::MulFOp::create(b, loc, arith::SubFOp::create(b, loc, state.max, shift), perRow);
    factor = math::Exp2Op::create(b, loc, exponent);
    state.max = max;
  }
  Value negated = arith::NegFOp::create(b, loc, arith::MulFOp::create(b, loc, shift, perRow));
  Value weights = math::Exp2Op::create(
      b, loc, math::FmaOp::create(b, loc, scores, buildFloatLike(b, loc, tile, multiplier),
                                  TileBroadcastOp::create(b, loc, tile, negated)));
  Value blockSum = TileReduceOp::create(b, loc, rows, TileReduction::Add, weights);
  if (factor)
    sum = arith::MulFOp::create(b, loc, sum, factor);
  state.sum = arith::AddFOp::create(b, loc, sum, blockSum);
  return {weights, factor};
}

NormalizerResult SoftmaxAttr::buildTileFinish(OpBuilder &b, Location loc, NormalizerState state, Value sink,
                                              double multiplier) const {
  Type rows = state.max.getType();
  auto constant = [&](double value) { return buildFloatLike(b, loc, rows, value); };
  Value zero = constant(0.0), one = constant(1.0);
  Value empty = constant(-std::numeric_limits<double>::infinity());
  Value hasKeys = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, state.sum, zero);
  // Maxima in base 2.
  Value max = arith::MulFOp::create(b, loc, state.max, constant(multiplier)), sum = state.sum, rescale;
  if (sink) {
    empty = tensor::SplatOp::create(b, loc, sink, cast<RankedTensorType>(rows));
    Value own = arith::MulFOp::create(b, loc, empty, constant(llvm::numbers::log2e));
    Value joined = arith::MaxNumFOp::create(b, loc, max, own);
    Value shift = buildFinite(b, loc, joined);
    rescale = math::Exp2Op::create(b, loc, arith::SubFOp::create(b, loc, max, shift));
    Value weight = math::Exp2Op::create(b, loc, arith::SubFOp::create(b, loc, own, shift));
    sum = arith::AddFOp::create(b, loc, arith::MulFOp::create(b, loc, sum, rescale), weight);
    max = joined;
  }
  Value factor = arith::DivFOp::create(b, loc, rescale ? rescale : one, sum);
  Value lse = arith::MulFOp::create(b, loc, arith::AddFOp::create(b, loc, max, math::Log2Op::create(b, loc, sum)),
                                    constant(llvm::numbers::ln2));
  return {arith::SelectOp::create(b, loc, hasKeys, factor, zero), arith::SelectOp::create(b, loc, hasKeys, lse, empty)};
}

//===----------------------------------------------------------------------===//
// Block score
//===----------------------------------------------------------------------===//

LogicalResult BlockScoreAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                     int64_t block, ScoreKind, GroupReduce,
                                     BlockOrigin) {
  return verifySizes(emitError, "A5", 1, {{"block", block}});
}

Value BlockScoreAttr::buildElement(OpBuilder &b, Location loc, Value score,
                                   Value lse) const {
  if (getKind() == ScoreKind::LogitMax)
    return score;
  Value logProb = arith::SubFOp::create(b, loc, score, lse);
  if (getKind() == ScoreKind::LogProbMax)
    return logProb;
  return math::ExpOp::create(b, loc, logProb);
}

double BlockScoreAttr::getInvisible() const {
  return getKind() == ScoreKind::ProbMax ? 0.0 : -std::numeric_limits<double>::infinity();
}

//===----------------------------------------------------------------------===//
// Selection, solvers, branches, summaries
//===----------------------------------------------------------------------===//

LogicalResult TopKAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                               int64_t k, int64_t block, int64_t forceFirst,
                               int64_t forceLocal, bool countForced) {
  if (failed(verifySizes(emitError, "A6", 1, {{"k", k}, {"block", block}})) ||
      failed(verifySizes(emitError, "A6", 0, {{"force_first", forceFirst}, {"force_local", forceLocal}})))
    return failure();
  if (countForced && forceFirst + forceLocal > k)
    return emitError() << "(A6) forced columns count in k, but force_first + force_local = "
                       << forceFirst + forceLocal << " exceeds k = " << k
                       << "; raise k or set count_forced = false";
  return success();
}

static LogicalResult verifyIterations(function_ref<InFlightDiagnostic()> emitError,
                                      StringRef label, int64_t iterations, int64_t most) {
  if (iterations < 1 || iterations > most)
    return emitError() << "(" << label << ") expected 1 to " << most
                       << " iterations, found " << iterations;
  return success();
}
LogicalResult HalleyAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t iterations) {
  return verifyIterations(emitError, "A7", iterations, 64);
}
LogicalResult BisectAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t iterations) {
  return verifyIterations(emitError, "A8", iterations, 256);
}

LogicalResult BranchAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 Attribute keys, SelectionFormatAttr selection,
                                 int64_t block, BlockOrigin, bool) {
  if (!isa<KeyPatternAttrInterface>(keys))
    return emitError() << "(A9) expected keys to be a key pattern, found " << keys;
  return verifySizes(emitError, "A9", 1, {{"block", block}});
}

LogicalResult SummaryAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t block, int64_t stride, SummaryMode mode, bool) {
  if (failed(verifySizes(emitError, "A10", 1, {{"block", block}, {"stride", stride}})))
    return failure();
  if (mode != SummaryMode::Mean && mode != SummaryMode::LearnedQuery)
    return emitError() << "(A10) expected mode mean or learned_query, found "
                       << stringifySummaryMode(mode);
  return success();
}

//===----------------------------------------------------------------------===//
// Schedules
//===----------------------------------------------------------------------===//

LogicalResult ScheduleAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t queryTile, int64_t keyTile,
                                   int64_t consumers, int64_t stages, int64_t producerRegisters,
                                   int64_t consumerRegisters, TileOrder, bool, bool) {
  for (auto [name, value, least, most] : {std::tuple<StringRef, int64_t, int64_t, int64_t>{"query_tile", queryTile, 1, 1024},
                                          {"key_tile", keyTile, 1, 1024},
                                          {"consumers", consumers, 1, 3},
                                          {"stages", stages, 1, 8},
                                          {"producer_registers", producerRegisters, 24, 256},
                                          {"consumer_registers", consumerRegisters, 24, 256}})
    if (value < least || value > most)
      return emitError() << "(A13) expected " << name << " in [" << least << ", " << most << "], found " << value;
  for (auto [name, value] : {std::pair<StringRef, int64_t>{"producer_registers", producerRegisters},
                             {"consumer_registers", consumerRegisters}})
    if (value % 8 != 0)
      return emitError() << "(A13) expected " << name << " to be a multiple of 8, as setmaxnreg takes it, found "
                         << value;
  return success();
}

int64_t GridAttr::getMappingId() const { return static_cast<int64_t>(getDim()); }
bool GridAttr::isLinearMapping() const { return false; }
int64_t GridAttr::getRelativeIndex() const { return getMappingId(); }

//===----------------------------------------------------------------------===//
// Cache kinds
//===----------------------------------------------------------------------===//

int64_t FullCacheAttr::getSlotsAt(int64_t, int64_t length) const { return length; }
std::optional<int64_t> FullCacheAttr::getRing(int64_t) const { return std::nullopt; }

LogicalResult RingAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t slots) {
  return verifySizes(emitError, "A11", 1, {{"slots", slots}});
}
int64_t RingAttr::getSlotsAt(int64_t, int64_t length) const {
  return std::min(getSlots(), length);
}
std::optional<int64_t> RingAttr::getRing(int64_t) const { return getSlots(); }

LogicalResult HeadCachesAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                     ArrayRef<Attribute> heads) {
  if (heads.empty())
    return emitError() << "(A12) expected at least one entry";
  for (auto [i, head] : llvm::enumerate(heads))
    if (!isa<FullCacheAttr, RingAttr>(head))
      return emitError() << "(A12) expected entry #" << i << " to be full_cache or ring, found "
                         << head;
  return success();
}
static CacheKindAttrInterface getHead(HeadCachesAttr caches, int64_t kvHead) {
  ArrayRef<Attribute> heads = caches.getHeads();
  return cast<CacheKindAttrInterface>(
      heads[std::min<size_t>(kvHead, heads.size() - 1)]);
}
int64_t HeadCachesAttr::getSlotsAt(int64_t kvHead, int64_t length) const {
  return getHead(*this, kvHead).getSlotsAt(kvHead, length);
}
std::optional<int64_t> HeadCachesAttr::getRing(int64_t kvHead) const {
  return getHead(*this, kvHead).getRing(kvHead);
}
LogicalResult HeadCachesAttr::verifyKind(function_ref<InFlightDiagnostic()> emitError,
                                         int64_t kvHeads) const {
  if (kvHeads != static_cast<int64_t>(getHeads().size()))
    return emitError() << "(T3) expected one head_caches entry for each of the "
                       << kvHeads << " KV heads, found " << getHeads().size();
  return success();
}
