//===- FuseRoute.cpp - block logits, routing, routed attention -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "FuseGroups.h"

#include <cmath>

using namespace mlir;
using namespace sparseattn;

/// Largest number of queries that counts as decode (specification 0).
static constexpr int64_t kMaxDecodeQueries = 8;

static HeadShape getShape(Value value, Layout layout) {
  return getHeadShape(cast<RankedTensorType>(value.getType()), layout);
}

bool fuse::fuseRoute(RewriterBase &rewriter, EntmaxRouteOp op) {
  StringRef group = "route";
  auto logits = op.getLogits().getDefiningOp<BlockLogitsOp>();
  if (!logits)
    return false;
  if (!op.getLogits().hasOneUse())
    return miss(op, group, "the block logits have other users, so they have to leave the operation",
                "drop the other users, or compute the logits twice");
  if (logits.getVisibility() != Visibility::BeforeOwn)
    return miss(op, group, "the logits have visibility " + stringifyVisibility(logits.getVisibility()) +
                               ", and routing fuses before_own only",
                "use visibility before_own");
  if (logits.getBound() != LogitBound::Dot || logits.getHeadWeight() ||
      logits.getActivation() != ScoreActivation::None)
    return miss(op, group, "the logits are no plain dot products", "drop bound, head_weight and activation");
  if (logits.getBlock() != op.getBlock() || logits.getStrideOrBlock() != logits.getBlock())
    return miss(op, group, "logits and routing count different blocks", "use one block size, without stride");
  if (getShape(logits.getSummary(), logits.getLayout()).heads != op.getKvHeads())
    return miss(op, group, "routing reduces to " + Twine(op.getKvHeads()) +
                               " KV heads, which is not the number of heads of the summary",
                "set kv_heads to the heads of the summary, and make them static");
  if (!isSamePosition({logits.getQOffset()}, {op.getQOffset()}))
    return miss(op, group, "logits and routing place query 0 at positions that are not known to be equal",
                "pass one q_offset to both");

  rewriter.setInsertionPoint(op);
  auto fused = RouteOp::create(rewriter, op.getLoc(), op->getResultTypes(), logits.getQuery(), logits.getSummary(),
                               op.getQOffset(), op.getBlockAttr(), logits.getScaleAttr(), op.getAlphaAttr(),
                               op.getSolverAttr(), op.getLocalBlocksAttr(), op.getPriorAttr(), op.getSigmaAttr(),
                               op.getReturnCountAttr(), logits.getLayoutAttr());
  for (NamedAttribute attr : op->getDiscardableAttrs())
    fused->setDiscardableAttr(attr.getName(), attr.getValue());
  rewriter.replaceOp(op, fused.getOutputs());
  rewriter.eraseOp(logits);
  return true;
}

bool fuse::fuseRoutedAttention(RewriterBase &rewriter, SparseAttentionOp op, bool always) {
  StringRef group = "routed";
  if (auto unfused = op.getSelection().getDefiningOp<EntmaxRouteOp>())
    if (unfused.getLogits().getDefiningOp<BlockLogitsOp>())
      fuseRoute(rewriter, unfused);
  auto route = op.getSelection().getDefiningOp<RouteOp>();
  if (!route || route.getOutputs()[0] != op.getSelection())
    return false;

  int64_t queries = getShape(op.getQuery(), op.getLayout()).length;
  if (!always && (ShapedType::isDynamic(queries) || queries > kMaxDecodeQueries))
    return miss(op, group, "the number of queries is not known to be at most " + Twine(kMaxDecodeQueries) +
                               ", and the fused form is meant for decode",
                "use routed=always to fuse whatever the number");
  Value bias = route.getOutputs()[1];
  if (op.getBias() != bias && (op.getBias() || route.getPrior() != Prior::None))
    return miss(op, group, "the attention does not take the bias of its routing",
                "pass the routing's bias, or route with prior(none)");
  bool usesBias = op.getBias() == bias;
  bool countUsed = route.getReturnCount() && !route.getOutputs()[2].use_empty();
  if (!op.getSelection().hasOneUse() || countUsed || (usesBias ? !bias.hasOneUse() : !bias.use_empty()))
    return miss(op, group, "mask, bias or count of the routing have other users, so they have to leave the operation",
                "drop the other users");
  if (op.getFormat() != SelectionFormat::Bitmask || op.getOrigin() != BlockOrigin::Absolute ||
      op.getBlock() != static_cast<int64_t>(route.getBlock()) || op.getQueryBlock() != 1)
    return miss(op, group, "routing and attention encode or count blocks differently",
                "use format(bitmask), origin(absolute), query_block 1 and one block size");
  if (!isa<CausalAttr>(op.getKeys()))
    return miss(op, group, "the attention's keys are not #sparseattn.causal", "use causal keys");
  if (op.getValidRange() || op.getScoreModAttr() || !isDefaultNormalizer(op.getNormalizerAttr()) ||
      op.getLayout() == Layout::THD)
    return miss(op, group, "routed_attention has no valid_range, score modification, other normaliser or layout thd",
                "drop them, or keep the operations apart");
  if (op.getQuery() != route.getQuery() || op.getLayout() != route.getLayout())
    return miss(op, group, "routing and attention have different queries or layouts", "use one query");
  HeadShape summary = getShape(route.getSummary(), op.getLayout());
  HeadShape key = getShape(op.getKey(), op.getLayout());
  int64_t blocks = ceilDivDim(key.length, op.getBlock());
  if (summary.heads != key.heads || summary.dim != key.dim ||
      (!ShapedType::isDynamic(blocks) && !ShapedType::isDynamic(summary.length) && blocks != summary.length))
    return miss(op, group, "the summary has not one entry for each block and KV head of the keys",
                "summarise the same keys, the last block included");
  if (!isSamePosition({op.getQOffset(), op.getQuery(), op.getKey(), op.getLayout()}, {route.getQOffset()}))
    return miss(op, group, "routing and attention place query 0 at positions that are not known to be equal",
                "pass one q_offset to both; without it routing takes 0 and attention Nk - Nq");

  rewriter.setInsertionPoint(op);
  int64_t dim = getShape(op.getQuery(), op.getLayout()).dim;
  FloatAttr routingScale = route.getScaleAttr()
                               ? route.getScaleAttr()
                               : rewriter.getF64FloatAttr(1.0 / std::sqrt(static_cast<double>(dim)));
  auto fused = RoutedAttentionOp::create(
      rewriter, op.getLoc(), op->getResultTypes(), op.getQuery(), op.getKey(), op.getValue(), route.getSummary(),
      op.getSink(), op.getQOffset(), op.getBlockAttr(), routingScale, op.getScaleAttr(), route.getAlphaAttr(),
      route.getSolverAttr(), route.getLocalBlocksAttr(), route.getPriorAttr(), route.getSigmaAttr(),
      op.getReturnLseAttr(), op.getLayoutAttr(), op.getLayerAttr(), op.getKvSourceAttr());
  for (NamedAttribute attr : op->getDiscardableAttrs())
    if (attr.getName() != kIndexSourceAttrName)
      fused->setDiscardableAttr(attr.getName(), attr.getValue());
  rewriter.replaceOp(op, fused.getOutputs());
  rewriter.eraseOp(route);
  return true;
}
