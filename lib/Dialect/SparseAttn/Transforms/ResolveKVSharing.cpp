//===- ResolveKVSharing.cpp - explicit edges between layers ----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Analysis/KVSharing.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNRESOLVEKVSHARING
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

/// The tensor behind any edges that were drawn already.
static Value stripShares(Value value) {
  for (int depth = 0; depth < 64; ++depth) {
    auto share = value.getDefiningOp<KVShareOp>();
    if (!share)
      break;
    value = share->getOperand(cast<OpResult>(value).getResultNumber());
  }
  return value;
}

static bool isSharedFrom(const KVUse &use) {
  auto key = use.key->get().getDefiningOp<KVShareOp>();
  auto value = use.value->get().getDefiningOp<KVShareOp>();
  return key && key == value && static_cast<int64_t>(key.getProducer()) == use.producer &&
         use.key->get() == key.getSharedKey() && use.value->get() == key.getSharedValue();
}

static void drawEdges(const KVSharing &sharing) {
  for (const KVUse &use : sharing.getUses()) {
    if (!use.isConsumer() || isSharedFrom(use))
      continue;
    Operation *user = use.key->getOwner();
    OpBuilder builder(user);
    auto share = KVShareOp::create(builder, user->getLoc(), stripShares(use.key->get()),
                                   stripShares(use.value->get()), builder.getI64IntegerAttr(use.producer));
    use.key->set(share.getSharedKey());
    use.value->set(share.getSharedValue());
  }
}

static void setAttributes(const KVSharing &sharing) {
  auto isConsumer = [](const auto &use) { return use.isConsumer(); };
  bool anyEdge = llvm::any_of(sharing.getUses(), isConsumer) || llvm::any_of(sharing.getIndexUses(), isConsumer);
  llvm::MapVector<Operation *, SmallVector<int64_t>> indexSources;
  for (const IndexUse &use : sharing.getIndexUses())
    indexSources[use.selection->getOwner()].push_back(use.producer);
  for (const auto &[layer, ops] : sharing.getLayers()) {
    for (AttentionOpInterface op : ops) {
      Builder builder(op->getContext());
      if (sharing.areLayersInferred() && anyEdge)
        op->setAttr("layer", builder.getI64IntegerAttr(layer));
      if (auto source = sharing.getOnlySource(op))
        op->setAttr("kv_source", builder.getI64IntegerAttr(*source));
      ArrayRef<int64_t> producers = indexSources[op];
      if (llvm::any_of(producers, [&, own = layer](int64_t producer) { return producer != own; }))
        op->setDiscardableAttr(kIndexSourceAttrName, builder.getDenseI64ArrayAttr(producers));
    }
  }
}

LogicalResult sparseattn::resolveKVSharing(Operation *root) {
  for (Operation *scope : findAttentionScopes(root)) {
    FailureOr<KVSharing> sharing = KVSharing::compute(scope);
    if (failed(sharing))
      return failure();
    drawEdges(*sharing);
    setAttributes(*sharing);
  }
  return success();
}

namespace {
struct ResolveKVSharing : sparseattn::impl::SparseAttnResolveKVSharingBase<ResolveKVSharing> {
  void runOnOperation() override {
    if (failed(resolveKVSharing(getOperation())))
      signalPassFailure();
  }
};
} // namespace
