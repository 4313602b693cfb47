//===- Signature.cpp - what a compiled function takes and gives ------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Target/CPU/Signature.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace sparseattn;

static std::optional<ElementKind> getElementKind(Type type) {
  if (type.isIndex())
    return ElementKind{"index", sizeof(int64_t)};
  if (type.isF16())
    return ElementKind{"f16", 2};
  if (type.isBF16())
    return ElementKind{"bf16", 2};
  if (type.isF32())
    return ElementKind{"f32", 4};
  if (type.isF64())
    return ElementKind{"f64", 8};
  // A boolean takes a byte in memory.
  if (type.isSignlessInteger(1))
    return ElementKind{"i1", 1};
  if (type.isSignlessInteger(8))
    return ElementKind{"i8", 1};
  if (type.isSignlessInteger(16))
    return ElementKind{"i16", 2};
  if (type.isSignlessInteger(32))
    return ElementKind{"i32", 4};
  if (type.isSignlessInteger(64))
    return ElementKind{"i64", 8};
  return std::nullopt;
}

/// The signature of a value of `type`, or the reason why it has none.
static std::string getValueSignature(Type type, ValueSignature &value) {
  // A descriptor is spread over 3 + 2 * rank parameters.
  constexpr int64_t kMaxRank = 16;
  Type elementType = type;
  if (auto shaped = dyn_cast<ShapedType>(type); shaped && !isa<VectorType>(type)) {
    if (!shaped.hasRank())
      return "expected a rank";
    if (shaped.getRank() > kMaxRank)
      return "expected at most " + std::to_string(kMaxRank) + " dimensions";
    if (auto tensor = dyn_cast<RankedTensorType>(type); tensor && tensor.getEncoding())
      return "expected a tensor without encoding";
    if (auto memref = dyn_cast<MemRefType>(type))
      if (!memref.getLayout().isIdentity() || memref.getMemorySpace())
        return "expected a memref without layout and memory space";
    value.kind = isa<MemRefType>(type) ? ValueSignature::Kind::Buffer : ValueSignature::Kind::Tensor;
    value.shape.assign(shaped.getShape().begin(), shaped.getShape().end());
    elementType = shaped.getElementType();
  }
  std::optional<ElementKind> element = getElementKind(elementType);
  if (!element)
    return "expected a scalar, tensor or memref of f16, bf16, f32, f64, index, i1, i8, i16, i32 or i64";
  value.element = *element;
  return "";
}

static bool isExportableName(StringRef name) {
  return !name.empty() && llvm::all_of(name, [](char c) {
    return llvm::isAlnum(c) || c == '_' || c == '.' || c == '$' || c == '-';
  });
}

/// JSON of what attributes of the dialect hold; anything else as MLIR text.
static llvm::json::Value attributeToJSON(Attribute attribute) {
  if (isa<UnitAttr>(attribute))
    return true;
  if (auto boolean = dyn_cast<BoolAttr>(attribute))
    return boolean.getValue();
  if (auto integer = dyn_cast<IntegerAttr>(attribute); integer && integer.getValue().getBitWidth() <= 64)
    return integer.getValue().getSExtValue();
  if (auto number = dyn_cast<FloatAttr>(attribute); number && number.getValue().isFinite())
    return number.getValueAsDouble();
  if (auto text = dyn_cast<StringAttr>(attribute))
    return llvm::json::fixUTF8(text.getValue());
  if (auto array = dyn_cast<ArrayAttr>(attribute)) {
    llvm::json::Array values;
    for (Attribute element : array)
      values.push_back(attributeToJSON(element));
    return values;
  }
  if (auto dictionary = dyn_cast<DictionaryAttr>(attribute)) {
    llvm::json::Object values;
    for (NamedAttribute entry : dictionary)
      values[llvm::json::fixUTF8(entry.getName())] = attributeToJSON(entry.getValue());
    return values;
  }
  std::string text;
  llvm::raw_string_ostream(text) << attribute;
  return llvm::json::fixUTF8(text);
}

/// The `sparseattn.*` entries of a dictionary, without the prefix.
static llvm::json::Object getOwnAttributes(ArrayRef<NamedAttribute> attributes) {
  llvm::json::Object own;
  for (NamedAttribute attribute : attributes) {
    StringRef name = attribute.getName();
    if (name.consume_front("sparseattn."))
      own[llvm::json::fixUTF8(name)] = attributeToJSON(attribute.getValue());
  }
  return own;
}

static LogicalResult addValues(func::FuncOp function, StringRef what, TypeRange types,
                               function_ref<DictionaryAttr(unsigned)> getAttrs,
                               std::vector<ValueSignature> &values) {
  for (auto [index, type] : llvm::enumerate(types)) {
    ValueSignature &value = values.emplace_back();
    value.name = ((what == "argument" ? "arg" : "result") + Twine(index)).str();
    if (DictionaryAttr attributes = getAttrs(index)) {
      value.attributes = getOwnAttributes(attributes.getValue());
      if (auto name = value.attributes.getString("name"))
        value.name = name->str();
      value.attributes.erase("name");
    }
    std::string reason = getValueSignature(type, value);
    if (!reason.empty())
      return function.emitError() << what << " " << index << " cannot cross a call: " << reason
                                  << ", found " << type;
  }
  return success();
}

FailureOr<std::vector<FunctionSignature>> sparseattn::getSignatures(ModuleOp module) {
  std::vector<FunctionSignature> signatures;
  for (auto function : module.getOps<func::FuncOp>()) {
    if (!function.isPublic())
      continue;
    if (!isExportableName(function.getName()))
      return function.emitError() << "expected a name of letters, digits and _ . $ - only, to be a symbol of compiled code";
    FunctionSignature &signature = signatures.emplace_back();
    signature.name = function.getName().str();
    FunctionType type = function.getFunctionType();
    if (failed(addValues(function, "argument", type.getInputs(),
                         [&](unsigned i) { return function.getArgAttrDict(i); }, signature.arguments)) ||
        failed(addValues(function, "result", type.getResults(),
                         [&](unsigned i) { return function.getResultAttrDict(i); }, signature.results)))
      return failure();
    signature.attributes = getOwnAttributes(function->getDiscardableAttrDictionary().getValue());
  }
  return signatures;
}

static StringRef getKindName(ValueSignature::Kind kind) {
  switch (kind) {
  case ValueSignature::Kind::Scalar:
    return "scalar";
  case ValueSignature::Kind::Tensor:
    return "tensor";
  case ValueSignature::Kind::Buffer:
    return "buffer";
  }
  return "";
}

static llvm::json::Array toJSON(ArrayRef<ValueSignature> values) {
  llvm::json::Array array;
  for (const ValueSignature &value : values) {
    llvm::json::Object object{
        {"name", value.name}, {"kind", getKindName(value.kind)}, {"dtype", value.element.name}};
    if (value.hasDescriptor()) {
      llvm::json::Array shape;
      for (int64_t size : value.shape)
        shape.push_back(ShapedType::isDynamic(size) ? llvm::json::Value(nullptr) : llvm::json::Value(size));
      object["shape"] = std::move(shape);
    }
    object["attributes"] = llvm::json::Object(value.attributes);
    array.push_back(std::move(object));
  }
  return array;
}

llvm::json::Object sparseattn::toJSON(ArrayRef<FunctionSignature> signatures) {
  llvm::json::Array functions;
  for (const FunctionSignature &signature : signatures)
    functions.push_back(llvm::json::Object{
        {"name", signature.name},
        {"attributes", llvm::json::Object(signature.attributes)},
        {"arguments", ::toJSON(ArrayRef<ValueSignature>(signature.arguments))},
        {"results", ::toJSON(ArrayRef<ValueSignature>(signature.results))}});
  return llvm::json::Object{{"functions", std::move(functions)}};
}

std::string sparseattn::toString(const ValueSignature &value) {
  if (!value.hasDescriptor())
    return value.element.name.str();
  std::string text = value.kind == ValueSignature::Kind::Buffer ? "memref<" : "tensor<";
  for (int64_t size : value.shape)
    text += (ShapedType::isDynamic(size) ? std::string("?") : std::to_string(size)) + "x";
  return text + value.element.name.str() + ">";
}
