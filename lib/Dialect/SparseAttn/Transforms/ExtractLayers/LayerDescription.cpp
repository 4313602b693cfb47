//===- LayerDescription.cpp - names and facts of an attention layer --------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "LayerDescription.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sparseattn;

/// `name`, numbered when the operation has several.
static std::string numbered(StringRef name, size_t index, size_t count) {
  return count > 1 ? (name + Twine(index)).str() : name.str();
}

/// Operands that AttentionOpInterface does not know, by name.
static SmallVector<std::pair<StringRef, MutableOperandRange>> getOwnOperands(Operation *op) {
  using Named = SmallVector<std::pair<StringRef, MutableOperandRange>>;
  return llvm::TypeSwitch<Operation *, Named>(op)
      .Case([](AttentionOp op) -> Named {
        return {{"sink", op.getSinkMutable()},
                {"valid_range", op.getValidRangeMutable()},
                {"q_offset", op.getQOffsetMutable()},
                {"cu_seqlens_q", op.getCuSeqlensQMutable()},
                {"cu_seqlens_k", op.getCuSeqlensKMutable()}};
      })
      .Case([](SparseAttentionOp op) -> Named {
        return {{"bias", op.getBiasMutable()},
                {"sink", op.getSinkMutable()},
                {"valid_range", op.getValidRangeMutable()},
                {"q_offset", op.getQOffsetMutable()},
                {"cu_seqlens_q", op.getCuSeqlensQMutable()},
                {"cu_seqlens_k", op.getCuSeqlensKMutable()}};
      })
      .Case([](ConcatKVAttentionOp op) -> Named {
        return {{"sink", op.getSinkMutable()}, {"q_offset", op.getQOffsetMutable()}};
      })
      .Case([](BranchedAttentionOp op) -> Named {
        return {{"gate", op.getGatesMutable()},
                {"sink", op.getSinksMutable()},
                {"valid_range", op.getValidRangeMutable()},
                {"q_offset", op.getQOffsetMutable()}};
      })
      .Case([](RoutedAttentionOp op) -> Named {
        return {{"summary", MutableOperandRange(op, op.getSummaryMutable().getOperandNumber(), 1)},
                {"sink", op.getSinkMutable()},
                {"q_offset", op.getQOffsetMutable()}};
      })
      .Case([](GatedCombineOp op) -> Named {
        return {{"input", op.getInputsMutable()}, {"gate", op.getGatesMutable()}};
      })
      .Case([](LseMergeOp op) -> Named {
        return {{"input", op.getOutsMutable()}, {"lse", op.getLsesMutable()}, {"sink", op.getSinkMutable()}};
      })
      .Default([](Operation *) -> Named { return {}; });
}

static std::optional<std::string> findAmong(ArrayRef<OpOperand *> operands, OpOperand &operand, StringRef name) {
  const auto *found = llvm::find(operands, &operand);
  if (found == operands.end())
    return std::nullopt;
  return numbered(name, found - operands.begin(), operands.size());
}

std::string sparseattn::describeOperand(OpOperand &operand) {
  Operation *op = operand.getOwner();
  for (auto &[name, range] : getOwnOperands(op))
    for (auto [index, own] : llvm::enumerate(range))
      if (&own == &operand)
        return numbered(name, index, range.size());
  auto attention = dyn_cast<AttentionOpInterface>(op);
  if (!attention)
    return (op->getName().stripDialect() + "_" + Twine(operand.getOperandNumber())).str();
  if (auto name = findAmong(attention.getKeyOperands(), operand, "key"))
    return *name;
  if (auto name = findAmong(attention.getValueOperands(), operand, "value"))
    return *name;
  if (auto name = findAmong(attention.getSelectionOperands(), operand, "selection"))
    return *name;
  return operand.get() == attention.getQueryValue() ? "query" : ("operand" + Twine(operand.getOperandNumber())).str();
}

std::string sparseattn::describeResult(OpResult result) {
  Operation *op = result.getOwner();
  std::string name;
  if (auto named = dyn_cast<OpAsmOpInterface>(op))
    named.getAsmResultNames([&](Value value, StringRef text) {
      if (value == result)
        name = text.str();
    });
  if (!name.empty())
    return name;
  if (isa<GatedCombineOp, LseMergeOp>(op))
    return result.getResultNumber() == 0 ? "out" : "lse";
  if (isa<SelectTopKOp>(op))
    return result.getResultNumber() == 0 ? "indices" : "count";
  return numbered(op->getName().stripDialect(), result.getResultNumber(), op->getNumResults());
}

std::optional<Layout> sparseattn::getLayoutOf(OpOperand &operand) {
  auto attention = dyn_cast<AttentionOpInterface>(operand.getOwner());
  if (!attention)
    return std::nullopt;
  bool hasLayout = operand.get() == attention.getQueryValue() ||
                   llvm::is_contained(attention.getKeyOperands(), &operand) ||
                   llvm::is_contained(attention.getValueOperands(), &operand);
  return hasLayout ? std::optional(attention.getTensorLayout()) : std::nullopt;
}

std::optional<Layout> sparseattn::getLayoutOf(OpResult result) {
  auto attention = dyn_cast<AttentionOpInterface>(result.getOwner());
  if (!attention || result.getResultNumber() != 0)
    return std::nullopt;
  return attention.getTensorLayout();
}

/// `window<32>`: a pattern as it is written, without the dialect's prefix.
static std::string getPatternText(KeyPatternAttrInterface pattern) {
  std::string text;
  llvm::raw_string_ostream(text) << pattern;
  StringRef rest(text);
  rest.consume_front("#sparseattn.");
  return rest.str();
}

static std::string describeKind(AttentionOpInterface op) {
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case([](AttentionOp op) {
        return StringRef(getPatternText(op.getKeys())).take_until([](char c) { return c == '<'; }).str();
      })
      .Case([](SparseAttentionOp) { return "sparse"; })
      .Case([](BranchedAttentionOp) { return "branched"; })
      .Case([](RoutedAttentionOp) { return "routed"; })
      .Case([](ConcatKVAttentionOp) { return "concat_kv"; })
      .Default([](Operation *op) { return op->getName().stripDialect().str(); });
}

std::string sparseattn::describeKind(const LayerGroup &group) {
  std::string kind;
  for (Operation *op : group.ops)
    if (auto attention = dyn_cast<AttentionOpInterface>(op))
      kind += (kind.empty() ? "" : "+") + ::describeKind(attention);
  return kind;
}

/// The factor of the scores: as written, or 1/sqrt(d) for a static d.
static std::optional<double> getScale(AttentionOpInterface op) {
  if (auto scale = op->getAttrOfType<FloatAttr>("scale"))
    return scale.getValueAsDouble();
  HeadShape shape = getHeadShape(cast<RankedTensorType>(op.getQueryValue().getType()), op.getTensorLayout());
  if (ShapedType::isDynamic(shape.dim))
    return std::nullopt;
  return 1.0 / std::sqrt(static_cast<double>(shape.dim));
}

ArrayAttr sparseattn::describeOperations(const LayerGroup &group, const KVSharing &sharing) {
  SmallVector<Attribute> descriptions;
  for (Operation *op : group.ops) {
    auto attention = dyn_cast<AttentionOpInterface>(op);
    if (!attention)
      continue;
    Builder builder(op->getContext());
    NamedAttrList facts;
    facts.set("operation", builder.getStringAttr(op->getName().stripDialect()));
    SmallVector<Attribute> patterns;
    std::optional<int64_t> window = 0;
    for (KeyPatternAttrInterface pattern : attention.getSourcePatterns()) {
      patterns.push_back(builder.getStringAttr(getPatternText(pattern)));
      std::optional<int64_t> visible = pattern.getMaxVisibleKeys(0);
      window = window && visible ? std::optional(std::max(*window, *visible)) : std::nullopt;
    }
    facts.set("keys", builder.getArrayAttr(patterns));
    if (window && patterns.size() == 1 && !isa<HeadTableAttr>(attention.getSourcePatterns().front()))
      facts.set("window", builder.getI64IntegerAttr(*window));
    if (std::optional<double> scale = getScale(attention))
      facts.set("scale", builder.getF64FloatAttr(*scale));
    facts.set("layout", builder.getStringAttr(stringifyLayout(attention.getTensorLayout())));
    if (std::optional<int64_t> source = sharing.getOnlySource(op))
      facts.set("kv_source", builder.getI64IntegerAttr(*source));
    if (auto source = op->getAttrOfType<DenseI64ArrayAttr>(kIndexSourceAttrName))
      facts.set("index_source", builder.getI64ArrayAttr(source.asArrayRef()));
    descriptions.push_back(facts.getDictionary(op->getContext()));
  }
  return ArrayAttr::get(group.ops.front()->getContext(), descriptions);
}
