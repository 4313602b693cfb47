//===- RaiseComposite.cpp - stablehlo.composite "sparseattn.attention" -----===//
//
// Part of the sparseattn project.
//
// The contract of the composite is written in python/sparseattn/jax.
//
//===----------------------------------------------------------------------===//

#include "Raise.h"

using namespace mlir;
using namespace sparseattn;

/// The version of the contract that is read here.
static constexpr uint64_t kVersion = 1;

static std::optional<bool> getFlag(DictionaryAttr attributes, StringRef name) {
  Attribute attribute = attributes.get(name);
  if (auto flag = dyn_cast_or_null<BoolAttr>(attribute))
    return flag.getValue();
  return std::nullopt;
}

static std::optional<int64_t> getInteger(DictionaryAttr attributes, StringRef name) {
  auto integer = dyn_cast_or_null<IntegerAttr>(attributes.get(name));
  if (!integer || isa<BoolAttr>(attributes.get(name)) || integer.getValue().getSignificantBits() > 64)
    return std::nullopt;
  return integer.getValue().getSExtValue();
}

static std::optional<double> getFloat(DictionaryAttr attributes, StringRef name) {
  auto number = dyn_cast_or_null<FloatAttr>(attributes.get(name));
  return number ? std::optional<double>(number.getValueAsDouble()) : std::nullopt;
}

bool raise::raiseComposite(Operation *op) {
  auto name = dyn_cast_or_null<StringAttr>(getAnyAttr(op, "name"));
  if (!isNamed(op, "stablehlo.composite") || !name || !name.getValue().starts_with("sparseattn."))
    return false;
  if (name.getValue() != "sparseattn.attention")
    return refuse(op, "composite '" + name.getValue() + "' is not known", "use sparseattn.attention");
  if (auto version = dyn_cast_or_null<IntegerAttr>(getAnyAttr(op, "version"));
      version && version.getValue() != kVersion)
    return refuse(op, "the version of the composite is not known", "export with version " + Twine(kVersion) + " of sparseattn.jax");
  auto attributes = dyn_cast_or_null<DictionaryAttr>(getAnyAttr(op, "composite_attributes"));
  if (!attributes)
    return refuse(op, "the composite has no attributes", "export with sparseattn.jax.attention");
  if (op->getNumResults() != 1 || op->getNumOperands() < 3)
    return refuse(op, "expected query, key and value as the last three operands and one result",
                  "export with sparseattn.jax.attention");

  Spec spec;
  auto layout = dyn_cast_or_null<StringAttr>(attributes.get("layout"));
  if (!layout)
    return refuse(op, "attribute layout is missing, and shapes alone do not tell it",
                  "state layout = \"BTNH\" or \"BNTH\"");
  if (layout.getValue() != "BTNH" && layout.getValue() != "BNTH")
    return refuse(op, "layout '" + layout.getValue() + "' is not known", "use BTNH or BNTH");
  spec.layout = layout.getValue() == "BTNH" ? Layout::BSHD : Layout::BHSD;
  std::optional<double> scale = getFloat(attributes, "scale");
  std::optional<bool> causal = getFlag(attributes, "causal");
  if (!scale || !causal)
    return refuse(op, "attribute " + Twine(scale ? "causal" : "scale") + " is missing",
                  "export with sparseattn.jax.attention, which states both");
  spec.scale = *scale;
  std::optional<int64_t> window = getInteger(attributes, "window");
  if (attributes.get("window") && (!window || *window < 1))
    return refuse(op, "window is no integer of at least 1", "state the number of visible keys, the query's own included");
  spec.keys = makePattern(op, *causal, window.value_or(0));
  if (!spec.keys)
    return false;
  if (attributes.get("softcap")) {
    std::optional<double> cap = getFloat(attributes, "softcap");
    if (!cap || !(*cap > 0.0) || !APFloat(*cap).isFinite())
      return refuse(op, "softcap is no finite positive number", "drop it or correct it");
    spec.scoreMod = cast<ScoreModAttrInterface>(Attribute(SoftcapAttr::get(op->getContext(), APFloat(*cap))));
  }
  spec.layer = getInteger(attributes, "layer");

  // Constants that the decomposition closes over come first, then the sink.
  auto operands = op->getOperands();
  spec.query = operands[operands.size() - 3];
  spec.key = operands[operands.size() - 2];
  spec.value = operands[operands.size() - 1];
  if (getFlag(attributes, "sink").value_or(false)) {
    if (operands.size() < 4)
      return refuse(op, "attribute sink is set, but there is no operand before query, key and value",
                    "pass the sink before the query");
    spec.sink = operands[operands.size() - 4];
  }
  AttentionOp attention = build(op, spec, op->getResult(0).getType());
  if (!attention)
    return false;
  op->getResult(0).replaceAllUsesWith(attention.getOut());
  op->erase();
  return true;
}
