//===- RaiseCudnn.cpp - stablehlo.custom_call @__cudnn$fmhaSoftmax ---------===//
//
// Part of the sparseattn project.
//
// What JAX writes for `dot_product_attention(implementation="cudnn")`. Query,
// key and value are BTNH or BNTH, the result is BNTH always. cuDNN's causal
// mask and window are aligned top-left: query i stands at position i.
//
//===----------------------------------------------------------------------===//

#include "Raise.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace sparseattn;

/// A number, which this JSON also writes as a string.
static std::optional<double> getNumber(const llvm::json::Object &object, StringRef name) {
  if (std::optional<double> number = object.getNumber(name))
    return number;
  double value;
  if (std::optional<StringRef> text = object.getString(name); text && !text->getAsDouble(value))
    return value;
  return std::nullopt;
}

static std::optional<Layout> getLayout(const llvm::json::Object &config) {
  const llvm::json::Object *dims = config.getObject("bmm1_dot_dimension_numbers");
  const llvm::json::Array *batch = dims ? dims->getArray("lhs_batch_dimensions") : nullptr;
  if (!batch || batch->size() != 2)
    return std::nullopt;
  std::string text;
  for (const llvm::json::Value &dim : *batch) {
    if (auto number = dim.getAsInteger())
      text += std::to_string(*number);
    else if (auto string = dim.getAsString())
      text += string->str();
  }
  if (text == "02")
    return Layout::BSHD;
  if (text == "01")
    return Layout::BHSD;
  return std::nullopt;
}

/// Patterns and alignment; false when the call was refused.
static bool readMask(Operation *op, const llvm::json::Object &config, raise::Spec &spec) {
  StringRef mask = config.getString("mask_type").value_or("NO_MASK");
  double window = getNumber(config, "sliding_window_length").value_or(0.0);
  if (mask.contains("PADDING"))
    return raise::refuse(op, "mask " + mask + " reads sequence lengths at run time",
                         "pass a valid_range, or batch sequences of one length");
  if (mask != "NO_MASK" && mask != "CAUSAL")
    return raise::refuse(op, "mask " + mask + " is not known", "use a causal mask or none");
  // Zero and minus one both stand for no window.
  if (!(window >= -1.0 && window < 9.0e15))
    return raise::refuse(op, "sliding_window_length is no valid length", "export again");
  spec.keys = raise::makePattern(op, mask == "CAUSAL", std::max<int64_t>(static_cast<int64_t>(window), 0));
  return bool(spec.keys);
}

static bool readConfig(Operation *op, raise::Spec &spec) {
  auto text = dyn_cast_or_null<StringAttr>(raise::getAnyAttr(op, "backend_config"));
  if (!text)
    return raise::refuse(op, "backend_config is no string", "export with a JAX that writes it as JSON");
  llvm::Expected<llvm::json::Value> json = llvm::json::parse(text.getValue());
  if (!json)
    return raise::refuse(op, "backend_config is no JSON: " + llvm::toString(json.takeError()), "export again");
  const llvm::json::Object *root = json->getAsObject();
  const llvm::json::Object *config = root ? root->getObject("cudnn_fmha_backend_config") : nullptr;
  if (!config)
    return raise::refuse(op, "backend_config has no cudnn_fmha_backend_config", "export again");
  if (config->getBoolean("is_paged_attention").value_or(false))
    return raise::refuse(op, "paged attention reads page tables at run time", "export with contiguous keys and values");
  if (getNumber(*config, "dropout_rate").value_or(0.0) != 0.0)
    return raise::refuse(op, "dropout is on", "export for inference, with dropout_rate 0");
  if (getNumber(*config, "max_seg_per_batch").value_or(1.0) > 1.0)
    return raise::refuse(op, "several packed sequences for each batch entry", "export one sequence for each entry");
  std::optional<double> scale = getNumber(*config, "fmha_scale");
  std::optional<Layout> layout = getLayout(*config);
  if (!scale || !layout)
    return raise::refuse(op, Twine(scale ? "the layout" : "fmha_scale") + " is not stated in a known form", "export again");
  spec.scale = *scale;
  spec.layout = *layout;
  return readMask(op, *config, spec);
}

/// Top-left alignment, where it differs from ours.
static Value buildOffset(Operation *op, const raise::Spec &spec) {
  auto query = dyn_cast<RankedTensorType>(spec.query.getType());
  auto key = dyn_cast<RankedTensorType>(spec.key.getType());
  if (isa<FullAttr>(spec.keys) || !query || !key || query.getRank() != 4 || key.getRank() != 4)
    return {};
  int dim = getLayoutDims(spec.layout).seq;
  if (!query.isDynamicDim(dim) && query.getDimSize(dim) == key.getDimSize(dim))
    return {};
  OpBuilder builder(op);
  return arith::ConstantIndexOp::create(builder, op->getLoc(), 0);
}

static bool isHeadTranspose(Operation *op) {
  auto permutation = dyn_cast_or_null<DenseI64ArrayAttr>(raise::getAnyAttr(op, "permutation"));
  return raise::isNamed(op, "stablehlo.transpose") && op->getNumOperands() == 1 && op->getNumResults() == 1 &&
         permutation &&
         permutation.asArrayRef() == ArrayRef<int64_t>{0, 2, 1, 3};
}

/// Uses of the BNTH result, which a BTNH attention has not: a transpose that
/// JAX put right behind it cancels, any other use gets one.
static void replaceResult(Operation *op, AttentionOp attention) {
  Value result = op->getResult(0);
  for (Operation *user : llvm::make_early_inc_range(result.getUsers())) {
    if (!isHeadTranspose(user) || user->getResult(0).getType() != attention.getOut().getType())
      continue;
    user->getResult(0).replaceAllUsesWith(attention.getOut());
    user->erase();
  }
  if (result.use_empty())
    return;
  OpBuilder builder(op);
  auto transpose = ExternOp::create(builder, op->getLoc(), result.getType(),
                                    builder.getStringAttr("stablehlo.transpose"), attention.getOut());
  transpose->setDiscardableAttr(
      kExternAttributesName,
      builder.getDictionaryAttr(builder.getNamedAttr("permutation", builder.getDenseI64ArrayAttr({0, 2, 1, 3}))));
  result.replaceAllUsesWith(transpose.getOutputs().front());
}

bool raise::raiseCudnn(Operation *op) {
  auto target = dyn_cast_or_null<StringAttr>(getAnyAttr(op, "call_target_name"));
  if (!isNamed(op, "stablehlo.custom_call") || !target || !target.getValue().starts_with("__cudnn$fmha"))
    return false;
  if (target.getValue() != "__cudnn$fmhaSoftmax")
    return refuse(op, "only the forward call without bias is known, found '" + target.getValue() + "'",
                  "export inference without bias");
  Spec spec;
  if (!readConfig(op, spec))
    return false;
  if (op->getNumOperands() != 3)
    return refuse(op, "expected query, key and value, found " + Twine(op->getNumOperands()) + " operands",
                  "export without padding lengths and page tables");
  if (op->getNumResults() < 1 || llvm::any_of(op->getResults().drop_front(), [](Value v) { return !v.use_empty(); }))
    return refuse(op, "a result other than the output is used", "export inference, which needs no softmax statistics");
  spec.query = op->getOperand(0);
  spec.key = op->getOperand(1);
  spec.value = op->getOperand(2);
  spec.offset = buildOffset(op, spec);
  Operation *offset = spec.offset ? spec.offset.getDefiningOp() : nullptr;

  bool transposed = spec.layout == Layout::BSHD;
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  Type outType = type;
  if (type && transposed && type.getRank() == 4) {
    ArrayRef<int64_t> shape = type.getShape();
    outType = RankedTensorType::get({shape[0], shape[2], shape[1], shape[3]}, type.getElementType());
  }
  AttentionOp attention = outType ? build(op, spec, outType) : AttentionOp();
  if (!attention) {
    if (offset)
      offset->erase();
    return outType ? false : refuse(op, "its result is no ranked tensor", "export with static shapes");
  }
  if (transposed)
    replaceResult(op, attention);
  else
    op->getResult(0).replaceAllUsesWith(attention.getOut());
  op->erase();
  return true;
}
