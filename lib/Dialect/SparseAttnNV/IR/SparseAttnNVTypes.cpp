//===- SparseAttnNVTypes.cpp - layouts and types ---------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

using EmitError = function_ref<InFlightDiagnostic()>;

static bool isTileElement(Type type) { return type.isBF16() || type.isF16(); }

/// The shape as it is written in a tensor type.
static std::string formatShape(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(shape, os, [&](int64_t size) { ShapedType::isDynamic(size) ? os << '?' : os << size; }, "x");
  return text;
}

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

/// `64xN` with N a multiple of `granularity` up to 256.
static LogicalResult verifyMatrix(EmitError emitError, StringRef label, StringRef name, ArrayRef<int64_t> shape,
                                  int64_t granularity) {
  if (shape.size() == 2 && shape[0] == hopper::kMmaRows && shape[1] >= granularity &&
      shape[1] <= hopper::kMmaMaxColumns && shape[1] % granularity == 0)
    return success();
  return emitError() << "(" << label << ") expected an " << name << " tile of " << hopper::kMmaRows
                     << "xN, N a multiple of " << granularity << " up to " << hopper::kMmaMaxColumns << ", found "
                     << formatShape(shape);
}

static LogicalResult verifyRows(EmitError emitError, StringRef label, ArrayRef<int64_t> shape) {
  if (shape.size() == 1 && shape[0] == hopper::kMmaRows)
    return success();
  return emitError() << "(" << label << ") expected one value for each of " << hopper::kMmaRows << " rows, found "
                     << formatShape(shape);
}

static LogicalResult verifyElement(EmitError emitError, StringRef label, bool valid, StringRef expected, Type found) {
  if (valid)
    return success();
  return emitError() << "(" << label << ") expected elements " << expected << ", found " << found;
}

LogicalResult AccAttr::verifyEncoding(ArrayRef<int64_t> shape, Type element, EmitError emitError) const {
  if (failed(verifyMatrix(emitError, "E1", "acc", shape, hopper::kMmaColumnGranularity)))
    return failure();
  return verifyElement(emitError, "E2",
                       element.isF32() || element.isInteger(32) || element.isInteger(1) || isTileElement(element),
                       "f32, i32, i1, bf16 or f16", element);
}

LogicalResult OperandAttr::verifyEncoding(ArrayRef<int64_t> shape, Type element, EmitError emitError) const {
  if (failed(verifyMatrix(emitError, "E3", "operand", shape, hopper::kMmaDepth)))
    return failure();
  return verifyElement(emitError, "E4", isTileElement(element), "bf16 or f16", element);
}

LogicalResult RowAttr::verifyEncoding(ArrayRef<int64_t> shape, Type element, EmitError emitError) const {
  if (failed(verifyRows(emitError, "E5", shape)))
    return failure();
  return verifyElement(emitError, "E6", element.isF32() || element.isInteger(32) || element.isInteger(1),
                       "f32, i32 or i1", element);
}

LogicalResult RowPartialAttr::verifyEncoding(ArrayRef<int64_t> shape, Type element, EmitError emitError) const {
  if (failed(verifyRows(emitError, "E7", shape)))
    return failure();
  return verifyElement(emitError, "E8", element.isF32(), "f32", element);
}

//===----------------------------------------------------------------------===//
// Shared tiles and channels
//===----------------------------------------------------------------------===//

LogicalResult TileType::verify(EmitError emitError, int64_t rows, int64_t columns, Type element, int64_t pitch) {
  if (!isTileElement(element))
    return emitError() << "(T1) expected elements bf16 or f16, found " << element;
  if (rows < hopper::kSwizzleRows || rows > hopper::kMaxBoxExtent || rows % hopper::kSwizzleRows != 0)
    return emitError() << "(T2) expected a number of rows that is a multiple of " << hopper::kSwizzleRows << " in ["
                       << hopper::kSwizzleRows << ", " << hopper::kMaxBoxExtent << "], found " << rows;
  constexpr int64_t most = 1024;
  if (columns < hopper::kColumnGranularity || columns > most || columns % hopper::kColumnGranularity != 0)
    return emitError() << "(T3) expected a number of columns that is a multiple of " << hopper::kColumnGranularity
                       << " in [" << hopper::kColumnGranularity << ", " << most << "], found " << columns;
  if (pitch < rows || pitch > hopper::kMaxBoxExtent || pitch % hopper::kSwizzleRows != 0)
    return emitError() << "(T4) expected a pitch that is a multiple of " << hopper::kSwizzleRows << " in [" << rows
                       << ", " << hopper::kMaxBoxExtent << "], found " << pitch;
  return success();
}

int64_t TileType::getNumBlocks() const { return llvm::divideCeil(getColumns(), hopper::kSwizzleColumns); }

int64_t TileType::getBlockBytes() const { return getRows() * hopper::kSwizzleBytes; }

LogicalResult ChannelType::verify(EmitError emitError, int64_t rows, int64_t columns, Type element, int64_t stages) {
  if (failed(TileType::verify(emitError, rows, columns, element, rows)))
    return failure();
  constexpr int64_t most = 32;
  if (stages < 1 || stages > most)
    return emitError() << "(T5) expected stages in [1, " << most << "], found " << stages;
  return success();
}

TileType ChannelType::getTile() const { return TileType::get(getRows(), getColumns(), getElementType()); }

LogicalResult PendingType::verify(EmitError emitError, RankedTensorType tensor) {
  if (!tensor.getElementType().isF32() || !isa_and_nonnull<AccAttr>(tensor.getEncoding()))
    return emitError() << "(T6) expected a tensor of f32 with encoding #sparseattn_nv.acc, found " << tensor;
  return success();
}

/// `<128x64xbf16` and then `, <keyword> = <number>` when it follows.
static ParseResult parseTile(AsmParser &parser, StringRef keyword, int64_t &rows, int64_t &columns, Type &element,
                             std::optional<int64_t> &number) {
  SmallVector<int64_t> shape;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseDimensionList(shape, /*allowDynamic=*/false) || parser.parseType(element))
    return failure();
  if (shape.size() != 2)
    return parser.emitError(loc) << "expected 2 dimensions, rows x columns, found " << shape.size();
  rows = shape[0];
  columns = shape[1];
  if (succeeded(parser.parseOptionalComma())) {
    int64_t value = 0;
    if (parser.parseKeyword(keyword) || parser.parseEqual() || parser.parseInteger(value))
      return failure();
    number = value;
  }
  return parser.parseGreater();
}

Type TileType::parse(AsmParser &parser) {
  int64_t rows = 0, columns = 0;
  Type element;
  std::optional<int64_t> pitch;
  SMLoc loc = parser.getCurrentLocation();
  if (parseTile(parser, "pitch", rows, columns, element, pitch))
    return {};
  return parser.getChecked<TileType>(loc, parser.getContext(), rows, columns, element, pitch.value_or(rows));
}

void TileType::print(AsmPrinter &printer) const {
  printer << '<' << getRows() << 'x' << getColumns() << 'x' << getElementType();
  if (getPitch() != getRows())
    printer << ", pitch = " << getPitch();
  printer << '>';
}

Type ChannelType::parse(AsmParser &parser) {
  int64_t rows = 0, columns = 0;
  Type element;
  std::optional<int64_t> stages;
  SMLoc loc = parser.getCurrentLocation();
  if (parseTile(parser, "stages", rows, columns, element, stages))
    return {};
  return parser.getChecked<ChannelType>(loc, parser.getContext(), rows, columns, element, stages.value_or(1));
}

void ChannelType::print(AsmPrinter &printer) const {
  printer << '<' << getRows() << 'x' << getColumns() << 'x' << getElementType() << ", stages = " << getStages()
          << '>';
}
