//===- SparseAttnDialect.cpp - dialect registration, types -----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"

#include "VerifyUtils.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sparseattn;

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnDialect.cpp.inc"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnEnums.cpp.inc"

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnAttrInterfaces.cpp.inc"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnOpInterfaces.cpp.inc"

/// The value of an enumeration, as keyword or as keyword in angle brackets.
template <typename EnumTy>
static ParseResult parseEnumValue(AsmParser &parser, EnumTy &value) {
  bool bracketed = succeeded(parser.parseOptionalLess());
  FailureOr<EnumTy> parsed = FieldParser<EnumTy>::parse(parser);
  if (failed(parsed) || (bracketed && parser.parseGreater()))
    return failure();
  value = *parsed;
  return success();
}

template <typename EnumTy>
static void printEnumValue(AsmPrinter &printer, EnumTy value) {
  printer << stringifyEnum(value);
}

/// `[a, b]`, possibly empty: the verifier of the attribute says what an empty list lacks.
static ParseResult parseAttributeList(AsmParser &parser, SmallVectorImpl<Attribute> &attrs) {
  return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                        [&] { return parser.parseAttribute(attrs.emplace_back()); });
}
static void printAttributeList(AsmPrinter &printer, ArrayRef<Attribute> attrs) {
  printer << '[';
  llvm::interleaveComma(attrs, printer);
  printer << ']';
}

#define GET_ATTRDEF_CLASSES
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnAttrs.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnTypes.cpp.inc"

/// A type with its dialect and name, where the default format would drop them.
static ParseResult parseFullType(OpAsmParser &parser, Type &type) {
  KVCacheType cache;
  if (parser.parseType(cache))
    return failure();
  type = cache;
  return success();
}
static void printFullType(OpAsmPrinter &printer, Operation *, Type type) { printer << type; }

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
// Attributes
//===----------------------------------------------------------------------===//

Attribute SparseAttnDialect::parseAttribute(DialectAsmParser &parser, Type type) const {
  SMLoc loc = parser.getCurrentLocation();
  StringRef mnemonic;
  Attribute attr;
  if (OptionalParseResult result = generatedAttributeParser(parser, &mnemonic, type, attr); result.has_value())
    return attr;
  parser.emitError(loc) << "unknown attribute `" << mnemonic << "` in dialect `" << getNamespace() << "`";
  return {};
}

void SparseAttnDialect::printAttribute(Attribute attr, DialectAsmPrinter &printer) const {
  TypeSwitch<Attribute>(attr)
      .Case<LayoutAttr, BlockOriginAttr, GroupReduceAttr, SummaryModeAttr, VisibilityAttr, ScoreActivationAttr,
            LogitBoundAttr, PoolModeAttr, PriorAttr, SelectionFormatAttr, StrategyAttr, GateShapeAttr,
            GateActivationAttr, TileReductionAttr>([&](auto enumeration) {
        printer << enumeration.getMnemonic() << '<';
        enumeration.print(printer);
        printer << '>';
      })
      .Default([&](Attribute other) { (void)generatedAttributePrinter(other, printer); });
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
  return ShapedType::isDynamic(a) ? a : a / b + (a % b != 0 ? 1 : 0);
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
  for (auto [name, size, most] : {std::tuple<StringRef, int64_t, int64_t>{"batch", batch, kMaxSize},
                                  {"heads", heads, kMaxHeads},
                                  {"length", length, kMaxSize},
                                  {"key_dim", keyDim, kMaxHeadDim},
                                  {"value_dim", valueDim, kMaxHeadDim}})
    if (size < 1 || size > most)
      return emitError() << "(T1) expected " << name << " in [1, " << most << "], found " << size;
  bool isSmallFloat = isa<FloatType>(dtype) && dtype.getIntOrFloatBitWidth() == 8;
  if (!dtype.isF32() && !dtype.isF16() && !dtype.isBF16() && !isSmallFloat)
    return emitError() << "(T2) expected dtype f32, f16, bf16 or an 8-bit float, found "
                       << dtype;
  auto cacheKind = dyn_cast<CacheKindAttrInterface>(kind);
  if (!cacheKind)
    return emitError() << "(T3) expected kind to be #sparseattn.full_cache, ring or head_caches, found "
                       << kind;
  if (failed(cacheKind.verifyKind(emitError, heads)))
    return failure();
  // Sizes are below 2^31, heads and dimensions below 2^17: no product of three overflows.
  int64_t tokens = batch * length;
  int64_t tokenBytes = heads * (keyDim + valueDim) * (dtype.getIntOrFloatBitWidth() / 8);
  if (tokens > kMaxCacheBytes / tokenBytes)
    return emitError() << "(T4) expected a cache of at most " << kMaxCacheBytes << " bytes, found " << tokens
                       << " tokens of " << tokenBytes << " bytes";
  return success();
}

CacheKindAttrInterface KVCacheType::getCacheKind() const {
  return cast<CacheKindAttrInterface>(getKind());
}

KVCacheType KVCacheType::withAccess(CacheAccess access) const {
  return get(getContext(), getKind(), getBatch(), getHeads(), getLength(),
             getKeyDim(), getValueDim(), getDtype(), access);
}
