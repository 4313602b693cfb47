//===- Fuse.cpp - sparseattn-fuse ------------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "FuseGroups.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNFUSE
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

ArrayRef<StringRef> sparseattn::getFusionGroups() {
  // In the order in which they are tried: later groups take what earlier ones made.
  static const StringRef groups[] = {"summarize", "select", "heads", "route", "routed", "branches"};
  return groups;
}

/// Collects first, because a rewrite erases operations.
template <typename OpTy>
static void forEach(Operation *root, function_ref<void(OpTy)> visit) {
  SmallVector<OpTy> ops;
  root->walk([&](OpTy op) { ops.push_back(op); });
  for (OpTy op : ops)
    visit(op);
}

void sparseattn::fuseOps(Operation *root, ArrayRef<std::string> groups, bool routedAlways) {
  IRRewriter rewriter(root->getContext());
  auto has = [&](StringRef group) { return groups.empty() || llvm::is_contained(groups, group); };
  if (has("summarize"))
    forEach<ChunkSummarizeOp>(root, [&](ChunkSummarizeOp op) { fuse::fuseSummarize(rewriter, op); });
  if (has("select"))
    forEach<SelectTopKOp>(root, [&](SelectTopKOp op) { fuse::fuseSelect(rewriter, op); });
  if (has("heads")) {
    forEach<tensor::ConcatOp>(root, [&](tensor::ConcatOp op) { fuse::fuseHeads(rewriter, op); });
    // Only the last insertion of a chain rewrites, and it erases earlier ones only.
    SmallVector<tensor::InsertSliceOp> ends;
    root->walk([&](tensor::InsertSliceOp op) {
      bool goesOn = llvm::any_of(op->getUsers(), [&](Operation *user) {
        auto next = dyn_cast<tensor::InsertSliceOp>(user);
        return next && next.getDest() == op.getResult();
      });
      if (!goesOn)
        ends.push_back(op);
    });
    for (tensor::InsertSliceOp op : ends)
      fuse::fuseHeads(rewriter, op);
  }
  if (has("route"))
    forEach<EntmaxRouteOp>(root, [&](EntmaxRouteOp op) { fuse::fuseRoute(rewriter, op); });
  if (has("routed"))
    forEach<SparseAttentionOp>(
        root, [&](SparseAttentionOp op) { fuse::fuseRoutedAttention(rewriter, op, routedAlways); });
  if (has("branches"))
    forEach<GatedCombineOp>(root, [&](GatedCombineOp op) { fuse::fuseBranches(rewriter, op); });
}

namespace {
struct Fuse : sparseattn::impl::SparseAttnFuseBase<Fuse> {
  using Base::Base;
  void runOnOperation() override {
    for (const std::string &group : groups) {
      if (llvm::is_contained(getFusionGroups(), StringRef(group)))
        continue;
      getOperation()->emitError() << "unknown fusion group '" << group << "': expected "
                                  << llvm::join(getFusionGroups(), ", ");
      return signalPassFailure();
    }
    if (routed != "decode" && routed != "always") {
      getOperation()->emitError() << "expected routed=decode or routed=always, found '" << routed << "'";
      return signalPassFailure();
    }
    SmallVector<std::string> selected(groups.begin(), groups.end());
    fuseOps(getOperation(), selected, routed == "always");
  }
};
} // namespace
