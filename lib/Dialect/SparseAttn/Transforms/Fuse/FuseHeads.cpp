//===- FuseHeads.cpp - attentions over slices of the heads -----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "FuseGroups.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace sparseattn;

namespace {
/// One attention and the first query head of the joined output that it writes.
struct HeadPart {
  AttentionOp op;
  int64_t offset;
};

/// Slice [offset, offset + size) of dimension `dim` of `source`, other dimensions whole.
struct HeadSlice {
  Value source;
  int64_t offset, size;
};
} // namespace

/// Reads a slice; false when it cuts another dimension than `dim` or is dynamic.
template <typename SliceOp>
static bool readSlice(SliceOp slice, RankedTensorType whole, int dim, int64_t &offset, int64_t &size) {
  for (auto [i, o, n, s] : llvm::enumerate(slice.getStaticOffsets(), slice.getStaticSizes(), slice.getStaticStrides())) {
    if (s != 1 || ShapedType::isDynamic(o) || ShapedType::isDynamic(n))
      return false;
    if (static_cast<int>(i) != dim && (o != 0 || n != whole.getDimSize(i)))
      return false;
  }
  offset = slice.getStaticOffsets()[dim];
  size = slice.getStaticSizes()[dim];
  return true;
}

static std::optional<HeadSlice> getSlice(Value value, int dim) {
  auto slice = value.getDefiningOp<tensor::ExtractSliceOp>();
  HeadSlice result;
  if (!slice || slice.getType().getRank() != slice.getSourceType().getRank() ||
      !readSlice(slice, slice.getSourceType(), dim, result.offset, result.size))
    return std::nullopt;
  result.source = slice.getSource();
  return result;
}

/// The attentions that `op` joins, by ascending head; nothing when it joins something else.
static std::optional<SmallVector<HeadPart>> collectParts(Operation *op) {
  SmallVector<HeadPart> parts;
  if (auto concat = dyn_cast<tensor::ConcatOp>(op)) {
    int64_t offset = 0;
    for (Value input : concat.getInputs()) {
      auto attention = input.getDefiningOp<AttentionOp>();
      if (!attention || attention.getOut() != input ||
          static_cast<int>(concat.getDim()) != getLayoutDims(attention.getLayout()).head)
        return std::nullopt;
      parts.push_back({attention, offset});
      int64_t heads = cast<RankedTensorType>(input.getType()).getDimSize(concat.getDim());
      if (ShapedType::isDynamic(heads))
        return std::nullopt;
      offset += heads;
    }
    return parts;
  }
  Value current = op->getResult(0);
  llvm::SmallPtrSet<Operation *, 8> visited; // Graph regions may be cyclic.
  while (auto insert = current.getDefiningOp<tensor::InsertSliceOp>()) {
    if (!visited.insert(insert).second)
      return std::nullopt;
    auto attention = insert.getSource().getDefiningOp<AttentionOp>();
    if (!attention || attention.getOut() != insert.getSource())
      return std::nullopt;
    int64_t offset, size;
    if (insert.getSourceType().getRank() != insert.getType().getRank() ||
        !readSlice(insert, insert.getType(), getLayoutDims(attention.getLayout()).head, offset, size))
      return std::nullopt;
    parts.push_back({attention, offset});
    current = insert.getDest();
    if (!current.hasOneUse())
      break;
  }
  llvm::stable_sort(parts, [](const HeadPart &a, const HeadPart &b) { return a.offset < b.offset; });
  return parts;
}

/// Why the parts are no attention with a head table; empty when they are.
static std::string checkPart(const HeadPart &part, const HeadPart &first, int64_t nextHead) {
  AttentionOp op = part.op, reference = first.op;
  int dim = getLayoutDims(op.getLayout()).head;
  if (op.getOutputs().size() != 1)
    return "a part also returns its lse, score or indices";
  if (!op.getOut().hasOneUse())
    return "a part's output has other users";
  if (op.getLayout() != reference.getLayout() || op.getScale() != reference.getScale() ||
      op.getScoreModAttr() != reference.getScoreModAttr() ||
      op.getNormalizerAttr() != reference.getNormalizerAttr() || op.getValidRange() != reference.getValidRange() ||
      op.getQOffset() != reference.getQOffset() || op.getCuSeqlensQ() != reference.getCuSeqlensQ() ||
      op.getCuSeqlensK() != reference.getCuSeqlensK() || op.getLayerAttr() != reference.getLayerAttr() ||
      op.getKvSourceAttr() != reference.getKvSourceAttr())
    return "the parts differ in more than their key patterns";
  std::optional<HeadSlice> query = getSlice(op.getQuery(), dim), key = getSlice(op.getKey(), dim),
                           value = getSlice(op.getValue(), dim);
  std::optional<HeadSlice> query0 = getSlice(reference.getQuery(), dim), key0 = getSlice(reference.getKey(), dim),
                           value0 = getSlice(reference.getValue(), dim);
  if (!query || !key || !value || !query0 || !key0 || !value0)
    return "query, key or value of a part is no static slice of the heads of another tensor";
  if (query->source != query0->source || key->source != key0->source || value->source != value0->source)
    return "the parts take their heads from different tensors";
  int64_t groups = query->size / key->size;
  if (key->offset != nextHead || value->offset != nextHead || value->size != key->size ||
      query->offset != nextHead * groups || part.offset != query->offset ||
      groups != query0->size / key0->size)
    return "the parts do not cover the heads once and in order";
  if (bool(op.getSink()) != bool(reference.getSink()))
    return "some parts have a sink and some have none";
  if (op.getSink()) {
    std::optional<HeadSlice> sink = getSlice(op.getSink(), 0), sink0 = getSlice(reference.getSink(), 0);
    if (!sink || !sink0 || sink->source != sink0->source || sink->offset != query->offset)
      return "the sinks are no slices of one vector over the same heads";
  }
  return "";
}

bool fuse::fuseHeads(RewriterBase &rewriter, Operation *op) {
  StringRef group = "heads";
  if (op->getNumResults() != 1)
    return false;
  // The last insertion of a chain stands for all of it.
  if (isa<tensor::InsertSliceOp>(op) && op->getResult(0).hasOneUse())
    if (auto next = dyn_cast<tensor::InsertSliceOp>(*op->getUsers().begin()); next && next.getDest() == op->getResult(0))
      return false;
  std::optional<SmallVector<HeadPart>> parts = collectParts(op);
  if (!parts || parts->size() < 2)
    return false;

  int64_t nextHead = 0;
  SmallVector<Attribute> patterns;
  for (const HeadPart &part : *parts) {
    std::string reason = checkPart(part, parts->front(), nextHead);
    if (!reason.empty())
      return miss(op, group, reason,
                  "slice query, key and value of one layer by KV heads, and join the parts in the same order");
    AttentionOp attention = part.op;
    int dim = getLayoutDims(attention.getLayout()).head;
    int64_t heads = getSlice(attention.getKey(), dim)->size;
    auto table = dyn_cast<HeadTableAttr>(attention.getKeys());
    for (int64_t head = 0; head < heads; ++head)
      patterns.push_back(table ? table.getHeads()[head] : Attribute(attention.getKeys()));
    nextHead += heads;
  }
  AttentionOp first = parts->front().op;
  int dim = getLayoutDims(first.getLayout()).head;
  Value query = getSlice(first.getQuery(), dim)->source, key = getSlice(first.getKey(), dim)->source,
        value = getSlice(first.getValue(), dim)->source;
  Value sink = first.getSink() ? getSlice(first.getSink(), 0)->source : Value();
  int64_t queryHeads = parts->back().offset + getSlice(AttentionOp(parts->back().op).getQuery(), dim)->size;
  if (cast<RankedTensorType>(key.getType()).getDimSize(dim) != nextHead ||
      cast<RankedTensorType>(value.getType()).getDimSize(dim) != nextHead ||
      cast<RankedTensorType>(query.getType()).getDimSize(dim) != queryHeads ||
      cast<RankedTensorType>(op->getResult(0).getType()).getDimSize(dim) != queryHeads)
    return miss(op, group, "the parts do not cover all heads", "slice and join every head");

  rewriter.setInsertionPoint(op);
  Attribute keys = llvm::all_equal(patterns) ? patterns.front() : Attribute(HeadTableAttr::get(op->getContext(), patterns));
  auto fused = AttentionOp::create(
      rewriter, op->getLoc(), op->getResult(0).getType(), query, key, value, sink, first.getValidRange(),
      first.getQOffset(), first.getCuSeqlensQ(), first.getCuSeqlensK(), cast<KeyPatternAttrInterface>(keys),
      first.getScaleAttr(), first.getScoreModAttr(), first.getNormalizerAttr(), EpilogueAttrInterface(), TopKAttr(),
      UnitAttr(), first.getLayoutAttr(), first.getLayerAttr(), first.getKvSourceAttr(), ScheduleAttr());
  for (NamedAttribute attr : first->getDiscardableAttrs())
    if (attr.getName() != kKVPlanAttrName)
      fused->setDiscardableAttr(attr.getName(), attr.getValue());
  // As far down the chain as parts were taken from; graph regions may go on for ever.
  SmallVector<Operation *> inserts;
  Value current = op->getResult(0);
  while (auto insert = current.getDefiningOp<tensor::InsertSliceOp>()) {
    if (inserts.size() == parts->size())
      break;
    inserts.push_back(insert);
    current = insert.getDest();
  }
  rewriter.replaceAllUsesWith(op->getResult(0), fused.getOut());
  if (inserts.empty())
    rewriter.eraseOp(op);
  for (Operation *insert : inserts)
    if (insert->use_empty())
      rewriter.eraseOp(insert);
  for (const HeadPart &part : *parts)
    if (part.op->use_empty())
      rewriter.eraseOp(part.op);
  return true;
}
