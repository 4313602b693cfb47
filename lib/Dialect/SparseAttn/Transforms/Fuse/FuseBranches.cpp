//===- FuseBranches.cpp - attentions and gated_combine ---------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "FuseGroups.h"

using namespace mlir;
using namespace sparseattn;

namespace {
/// What `attention` and `sparse_attention` have in common, as a branch.
struct BranchParts {
  Operation *op = nullptr;
  Value query, key, value, sink, validRange, offset, selection;
  std::optional<APFloat> scale;
  FloatAttr scaleAttr;
  ScoreModAttrInterface scoreMod;
  LayoutAttr layout;
  IntegerAttr layer, source;
  BranchAttr branch;
};
} // namespace

template <typename OpTy>
static BranchParts getCommonParts(OpTy op) {
  BranchParts parts;
  parts.op = op;
  parts.query = op.getQuery();
  parts.key = op.getKey();
  parts.value = op.getValue();
  parts.sink = op.getSink();
  parts.validRange = op.getValidRange();
  parts.offset = op.getQOffset();
  parts.scale = op.getScale();
  parts.scaleAttr = op.getScaleAttr();
  parts.scoreMod = op.getScoreModAttr();
  parts.layout = op.getLayoutAttr();
  parts.layer = op.getLayerAttr();
  parts.source = op.getKvSourceAttr();
  return parts;
}

/// The parts, or the reason why `op` is no branch.
static FailureOr<BranchParts> getParts(Operation *op, std::string &reason) {
  if (auto attention = dyn_cast<AttentionOp>(op)) {
    BranchParts parts = getCommonParts(attention);
    if (attention.getOutputs().size() != 1)
      reason = "a branch also returns its lse, score or indices";
    else if (!fuse::isDefaultNormalizer(attention.getNormalizerAttr()))
      reason = "a branch has a normaliser other than softmax";
    parts.branch = BranchAttr::get(op->getContext(), attention.getKeys(), SelectionFormatAttr(), 1,
                                   BlockOrigin::Absolute, bool(parts.sink));
    return reason.empty() ? FailureOr<BranchParts>(parts) : FailureOr<BranchParts>(failure());
  }
  auto attention = cast<SparseAttentionOp>(op);
  BranchParts parts = getCommonParts(attention);
  parts.selection = attention.getSelection();
  if (attention.getOutputs().size() != 1)
    reason = "a branch also returns its lse";
  else if (attention.getBias())
    reason = "a branch has a bias";
  else if (attention.getQueryBlock() != 1)
    reason = "a branch has one selection for several queries";
  else if (!fuse::isDefaultNormalizer(attention.getNormalizerAttr()))
    reason = "a branch has a normaliser other than softmax";
  parts.branch = BranchAttr::get(op->getContext(), attention.getKeys(), attention.getFormatAttr(),
                                 attention.getBlock(), attention.getOrigin(), bool(parts.sink));
  return reason.empty() ? FailureOr<BranchParts>(parts) : FailureOr<BranchParts>(failure());
}

/// Why two branches cannot be one operation; empty when they can.
static std::string findDifference(const BranchParts &a, const BranchParts &b) {
  if (a.query != b.query)
    return "the branches have different queries";
  if (a.layout != b.layout)
    return "the branches have different layouts";
  int64_t dim = cast<RankedTensorType>(a.query.getType()).getShape().back();
  if (!fuse::isSameScale(a.scale, b.scale, dim) || a.scoreMod != b.scoreMod)
    return "the branches have different scales or score modifications";
  if (a.validRange != b.validRange || a.offset != b.offset)
    return "the branches have different valid ranges or query positions";
  if (a.layer && b.layer && a.layer != b.layer)
    return "the branches belong to different layers";
  if (a.source && b.source && a.source != b.source)
    return "the branches read the keys of different layers";
  return "";
}

/// `sparseattn.index_source` of the fused operation: an entry for each selection.
static DenseI64ArrayAttr mergeIndexSources(ArrayRef<BranchParts> branches, IntegerAttr layer) {
  SmallVector<int64_t> merged;
  bool any = false;
  for (const BranchParts &branch : branches) {
    if (!branch.selection)
      continue;
    auto sources = branch.op->getAttrOfType<DenseI64ArrayAttr>(kIndexSourceAttrName);
    any |= bool(sources);
    merged.push_back(sources && sources.size() == 1 ? sources[0] : layer ? layer.getInt() : 0);
  }
  return any ? DenseI64ArrayAttr::get(branches.front().op->getContext(), merged) : DenseI64ArrayAttr();
}

bool fuse::fuseBranches(RewriterBase &rewriter, GatedCombineOp op) {
  StringRef group = "branches";
  auto isBranch = [](Value input) { return isa_and_nonnull<AttentionOp, SparseAttentionOp>(input.getDefiningOp()); };
  if (llvm::none_of(op.getInputs(), isBranch))
    return false;
  if (!llvm::all_of(op.getInputs(), isBranch))
    return miss(op, group, "an input of gated_combine is no attention", "fuse its producer first, or split the combination");

  SmallVector<BranchParts> branches;
  for (Value input : op.getInputs()) {
    std::string reason;
    FailureOr<BranchParts> parts = getParts(input.getDefiningOp(), reason);
    if (failed(parts))
      return miss(op, group, reason, "keep the operations apart, or drop what the branch has in addition");
    if (parts->layout.getValue() == Layout::THD)
      return miss(op, group, "layout thd has no fused form", "use layout bhsd or bshd with valid_range");
    if (!input.hasOneUse())
      return miss(op, group, "a branch's output has other users", "combine a copy of the branch");
    if (!branches.empty())
      if (std::string difference = findDifference(branches.front(), *parts); !difference.empty())
        return miss(op, group, difference, "give the branches one query, scale, position and layer");
    branches.push_back(*parts);
  }

  const BranchParts &first = branches.front();
  IntegerAttr layer, source;
  SmallVector<Value> keys, values, selections, sinks;
  SmallVector<Attribute> attributes;
  NamedAttrList discardable;
  for (const BranchParts &branch : branches) {
    layer = layer ? layer : branch.layer;
    source = source ? source : branch.source;
    keys.push_back(branch.key);
    values.push_back(branch.value);
    if (branch.selection)
      selections.push_back(branch.selection);
    if (branch.sink)
      sinks.push_back(branch.sink);
    attributes.push_back(branch.branch);
    for (NamedAttribute attr : branch.op->getDiscardableAttrs())
      discardable.set(attr.getName(), attr.getValue());
  }
  for (NamedAttribute attr : op->getDiscardableAttrs())
    discardable.set(attr.getName(), attr.getValue());
  discardable.erase(kIndexSourceAttrName);
  if (auto sources = mergeIndexSources(branches, layer))
    discardable.set(kIndexSourceAttrName, sources);
  // A plan counts caches by source; it is made again after fusion.
  discardable.erase(kKVPlanAttrName);

  rewriter.setInsertionPoint(op);
  auto fused = BranchedAttentionOp::create(
      rewriter, op.getLoc(), op.getOut().getType(), first.query, keys, values, op.getGates(), selections, sinks,
      first.validRange, first.offset, rewriter.getArrayAttr(attributes), first.scaleAttr, first.scoreMod,
      op.getGateAttr(), op.getActivationAttr(), first.layout, layer, source);
  for (NamedAttribute attr : discardable)
    fused->setDiscardableAttr(attr.getName(), attr.getValue());
  rewriter.replaceOp(op, fused.getOut());
  for (const BranchParts &branch : branches)
    rewriter.eraseOp(branch.op);
  return true;
}
