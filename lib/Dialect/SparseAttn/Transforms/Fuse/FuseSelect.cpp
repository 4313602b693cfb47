//===- FuseSelect.cpp - attention and select_topk --------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "FuseGroups.h"

using namespace mlir;
using namespace sparseattn;

bool fuse::fuseSelect(RewriterBase &rewriter, SelectTopKOp op) {
  StringRef group = "select";
  auto attention = op.getScore().getDefiningOp<AttentionOp>();
  if (!attention || attention.getScore() != op.getScore())
    return false;
  EpilogueAttrInterface emit = attention.getEmitAttr();
  if (!op.getScore().hasOneUse())
    return miss(op, group, "the score has other users, so it has to leave the attention",
                "drop the other users, or give them an attention of their own");
  if (op.getSelect().getBlock() != emit.getBlock())
    return miss(op, group, "select_topk counts blocks of " + Twine(op.getSelect().getBlock()) +
                               " keys, the attention emits blocks of " + Twine(emit.getBlock()),
                "use one block size");
  if (op.getOrigin() != emit.getOrigin())
    return miss(op, group, "select_topk and the emitted score begin their blocks at different origins",
                "use one origin");
  if (op.getValidRange() != attention.getValidRange())
    return miss(op, group, "select_topk and the attention have different valid ranges",
                "pass the attention's valid_range to select_topk");
  if (op.getReturnCount() && !op.getCount().use_empty())
    return miss(op, group, "the count of selected blocks is used, and a fused selection returns indices only",
                "count the entries that are not -1 instead");
  Position selectPosition{op.getQOffset()};
  Position attentionPosition{attention.getQOffset()};
  if (attention.getKeys().isTokenAligned())
    attentionPosition = {attention.getQOffset(), attention.getQuery(), attention.getKey(), attention.getLayout()};
  if (!isSamePosition(selectPosition, attentionPosition))
    return miss(op, group, "select_topk and the attention place query 0 at positions that are not known to be equal",
                "pass one q_offset to both; without it select_topk takes 0 and attention Nk - Nq");

  rewriter.setInsertionPoint(attention);
  SmallVector<Type> types(attention.getOutputs().getTypes());
  types.back() = op.getIndices().getType();
  auto fused = AttentionOp::create(rewriter, attention.getLoc(), types, attention->getOperands(),
                                   attention.getProperties(), llvm::to_vector(attention->getDiscardableAttrs()));
  fused.setSelectAttr(op.getSelectAttr());
  rewriter.replaceAllUsesWith(op.getIndices(), fused.getIndices());
  rewriter.eraseOp(op);
  for (auto [before, after] : llvm::zip(attention.getOutputs().drop_back(), fused.getOutputs().drop_back()))
    rewriter.replaceAllUsesWith(before, after);
  rewriter.eraseOp(attention);
  return true;
}
