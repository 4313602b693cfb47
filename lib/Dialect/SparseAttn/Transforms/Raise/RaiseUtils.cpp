//===- RaiseUtils.cpp - what the recognised forms have in common -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Raise.h"

#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace sparseattn;

Attribute raise::getAnyAttr(Operation *op, StringRef name) {
  if (auto properties = dyn_cast_or_null<DictionaryAttr>(op->getPropertiesAsAttribute()))
    if (Attribute attribute = properties.get(name))
      return attribute;
  return op->getDiscardableAttr(name);
}

bool raise::isNamed(Operation *op, StringRef name) { return op->getName().getStringRef() == name; }

bool raise::refuse(Operation *op, const Twine &reason, const Twine &suggestion) {
  op->emitRemark() << "not raised to sparseattn.attention: " << reason << "; " << suggestion;
  return false;
}

AttentionOp raise::build(Operation *op, const Spec &spec, Type type) {
  OpBuilder b(op);
  Location loc = op->getLoc();
  for (Value tensor : {spec.query, spec.key, spec.value}) {
    auto ranked = dyn_cast<RankedTensorType>(tensor.getType());
    if (ranked && ranked.getRank() == 4 && isa<Float16Type, BFloat16Type, Float32Type>(ranked.getElementType()))
      continue;
    std::string found;
    llvm::raw_string_ostream(found) << tensor.getType();
    refuse(op, "expected query, key and value of rank 4 and type f32, f16 or bf16, found " + found,
           "convert them before the attention");
    return {};
  }
  if (spec.sink) {
    auto ranked = dyn_cast<RankedTensorType>(spec.sink.getType());
    if (!ranked || !ranked.getElementType().isF32()) {
      refuse(op, "expected a sink of type f32", "convert it before the attention");
      return {};
    }
  }
  IntegerAttr layer = spec.layer ? b.getI64IntegerAttr(*spec.layer) : IntegerAttr();
  LayoutAttr layout = LayoutAttr::get(b.getContext(), spec.layout);
  FloatAttr scale = b.getF64FloatAttr(spec.scale);
  AttentionOp attention;
  auto create = [&](auto... types) {
    return AttentionOp::create(b, loc, types..., spec.query, spec.key, spec.value, spec.sink, Value(), spec.offset,
                               Value(), Value(), spec.keys, scale, spec.scoreMod, NormalizerAttrInterface(),
                               EpilogueAttrInterface(), TopKAttr(), UnitAttr(), layout, layer, IntegerAttr(), ScheduleAttr());
  };
  attention = type ? create(TypeRange(type)) : create();
  std::string message;
  {
    ScopedDiagnosticHandler handler(op->getContext(), [&](Diagnostic &diagnostic) {
      if (message.empty())
        message = diagnostic.str();
      return success();
    });
    if (succeeded(verify(attention, /*verifyRecursively=*/false)))
      return attention;
  }
  refuse(op, "it would be invalid: " + message, "correct the model or keep it opaque");
  attention.erase();
  return {};
}

KeyPatternAttrInterface raise::makePattern(Operation *op, bool causal, int64_t window) {
  MLIRContext *context = op->getContext();
  if (window < 0 || (window > 0 && !causal)) {
    refuse(op, "a window of " + Twine(window) + " keys" + (causal ? "" : " without causality") + " has no pattern",
           "use a causal window of at least 1 key, the query's own included");
    return {};
  }
  Attribute pattern = window > 0 ? Attribute(WindowAttr::get(context, window))
                      : causal   ? Attribute(CausalAttr::get(context))
                                 : Attribute(FullAttr::get(context));
  return cast<KeyPatternAttrInterface>(pattern);
}
