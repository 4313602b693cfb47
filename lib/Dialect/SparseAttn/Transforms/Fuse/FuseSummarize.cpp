//===- FuseSummarize.cpp - chunk_summarize and kv_cache.append -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "FuseGroups.h"

#include "mlir/IR/Dominance.h"

using namespace mlir;
using namespace sparseattn;

bool fuse::fuseSummarize(RewriterBase &rewriter, ChunkSummarizeOp op) {
  StringRef group = "summarize";
  KVCacheAppendOp append;
  for (OpOperand &use : op.getKey().getUses())
    if (auto candidate = dyn_cast<KVCacheAppendOp>(use.getOwner()); candidate && candidate.getKey() == op.getKey())
      append = candidate;
  if (!append)
    return false;
  if (append.getSummarizeAttr())
    return miss(op, group, "the append makes other summaries of the keys already", "summarise once for each append");
  if (op.getMode() != SummaryMode::Mean && op.getMode() != SummaryMode::LearnedQuery)
    return miss(op, group, "an append summarises by mean or learned_query, not by " +
                               stringifySummaryMode(op.getMode()),
                "keep the operations apart");
  if (op.getLayout() != append.getLayout())
    return miss(op, group, "summary and append read the keys in different layouts", "use one layout");
  int64_t dim = cast<RankedTensorType>(op.getKey().getType()).getShape().back();
  if (op.getScale() && (op.getMode() == SummaryMode::Mean || ShapedType::isDynamic(dim) ||
                        !isSameScale(op.getScale(), std::nullopt, dim)))
    return miss(op, group, "an append summarises with scale 1/sqrt(d) only", "drop the scale");
  if (op->getBlock() != append->getBlock())
    return miss(op, group, "summary and append are in different blocks", "move them together");
  // The fused operation stands where the earlier one did, so that all users still follow it.
  DominanceInfo dominance;
  bool appendFirst = append->isBeforeInBlock(op);
  Operation *place = appendFirst ? append.getOperation() : op.getOperation();
  Operation *other = appendFirst ? op.getOperation() : append.getOperation();
  if (!llvm::all_of(other->getOperands(), [&](Value value) { return dominance.properlyDominates(value, place); }))
    return miss(op, group, "an operand of the later of summary and append is not computed yet at the earlier one",
                "move its computation before both");

  rewriter.setInsertionPoint(place);
  auto summary = SummaryAttr::get(op.getContext(), op.getBlock(), op.getStrideOrBlock(), op.getMode(),
                                  op.getCompleteOnly());
  auto fused = KVCacheAppendOp::create(rewriter, append.getLoc(), append.getUpdated().getType(),
                                       op.getSummaries().front().getType(), append.getCache(), append.getKey(),
                                       append.getValue(), append.getPosition(), op.getSummaryQuery(), summary,
                                       append.getLayoutAttr());
  for (NamedAttribute attr : append->getDiscardableAttrs())
    fused->setDiscardableAttr(attr.getName(), attr.getValue());
  rewriter.replaceOp(op, fused.getSummary());
  rewriter.replaceOp(append, fused.getUpdated());
  return true;
}
