//===- LayerGroups.cpp - the operations that make up each attention layer --===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "LayerGroups.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SmallPtrSet.h"
#include <map>

using namespace mlir;
using namespace sparseattn;

/// Operations on tensors that compiled code can hold.
static bool isComputation(Operation &op) {
  if (!isa_and_present<SparseAttnDialect>(op.getDialect()) || isa<ExternOp, KVShareOp>(op) || op.getNumRegions() > 0)
    return false;
  auto isPlain = [](Type type) { return isa<RankedTensorType, IndexType>(type); };
  return llvm::all_of(op.getOperandTypes(), isPlain) && llvm::all_of(op.getResultTypes(), isPlain);
}

/// True for what follows attention; everything else prepares it.
static bool isAfterAttention(Operation &op) {
  if (auto rope = dyn_cast<RopeOp>(op))
    return rope.getInverse();
  return isa<GatedCombineOp, LseMergeOp, SelectTopKOp, PoolScoresOp, BlockSoftmaxOp, MaskToIndexOp, IndexToMaskOp,
             UnionTileOp>(op);
}

namespace {
class Grouping {
public:
  Grouping(Block &block, const KVSharing &sharing) : block(block), sharing(sharing) {}

  SmallVector<LayerGroup> run() {
    assignLayers();
    SmallVector<LayerGroup> groups;
    // Any number may be a layer; the keys of a DenseMap may not be the largest ones.
    llvm::MapVector<int64_t, SmallVector<Operation *>, std::map<int64_t, unsigned>> byLayer;
    for (Operation &op : block)
      if (auto layer = layerOf.find(&op); layer != layerOf.end())
        byLayer[layer->second].push_back(&op);
    for (auto &[layer, ops] : byLayer) {
      if (isConvex(ops)) {
        groups.push_back({layer, ops});
        continue;
      }
      for (Operation *op : ops)
        if (isa<AttentionOpInterface>(op))
          groups.push_back({layer, {op}});
    }
    auto firstAttention = [](const LayerGroup &group) {
      return *llvm::find_if(group.ops, [](Operation *op) { return isa<AttentionOpInterface>(op); });
    };
    llvm::stable_sort(groups, [&](const LayerGroup &a, const LayerGroup &b) {
      return firstAttention(a)->isBeforeInBlock(firstAttention(b));
    });
    return groups;
  }

private:
  void assignLayers() {
    for (Operation &op : block)
      if (isa<AttentionOpInterface>(op) && isComputation(op))
        layerOf[&op] = sharing.getLayer(&op);
    // Forward: the last layer whose results it takes.
    for (Operation &op : block) {
      if (layerOf.count(&op) || !isComputation(op) || !isAfterAttention(op))
        continue;
      std::optional<int64_t> last;
      for (Value operand : op.getOperands())
        if (auto found = layerOf.find(operand.getDefiningOp()); found != layerOf.end())
          last = std::max(last.value_or(found->second), found->second);
      if (last)
        layerOf[&op] = *last;
    }
    // Backward: the first layer that takes its results.
    for (Operation &op : llvm::reverse(block)) {
      if (layerOf.count(&op) || !isComputation(op))
        continue;
      std::optional<int64_t> first;
      for (Operation *user : op.getUsers())
        if (auto found = layerOf.find(user); found != layerOf.end())
          first = std::min(first.value_or(found->second), found->second);
      if (first)
        layerOf[&op] = *first;
    }
  }

  /// No data flows from the group through an operation outside back into it.
  bool isConvex(ArrayRef<Operation *> ops) {
    llvm::SmallPtrSet<Operation *, 16> inside(ops.begin(), ops.end());
    llvm::SmallPtrSet<Operation *, 16> downstream;
    for (Operation *op = ops.front(); op; op = op->getNextNode()) {
      bool isInside = inside.contains(op);
      // Regions of an operation count as the operation.
      bool fromDownstream = false, fromInside = false;
      op->walk([&](Operation *nested) {
        for (Value operand : nested->getOperands()) {
          Operation *producer = operand.getDefiningOp();
          fromDownstream |= downstream.contains(producer);
          fromInside |= inside.contains(producer);
        }
      });
      if (isInside && fromDownstream)
        return false;
      if (!isInside && (fromInside || fromDownstream))
        downstream.insert(op);
    }
    return true;
  }

  Block &block;
  const KVSharing &sharing;
  llvm::DenseMap<Operation *, int64_t> layerOf;
};
} // namespace

SmallVector<LayerGroup> sparseattn::findLayerGroups(Block &block, const KVSharing &sharing) {
  return Grouping(block, sharing).run();
}
