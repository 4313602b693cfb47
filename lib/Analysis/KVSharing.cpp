//===- KVSharing.cpp - finding the edges -----------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Analysis/KVSharing.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sparseattn;

/// Walks the operations of `scope` that no nested isolated operation hides.
template <typename OpTy>
static void walkScope(Operation *scope, function_ref<void(OpTy)> visit) {
  scope->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op != scope && op->hasTrait<OpTrait::IsIsolatedFromAbove>())
      return WalkResult::skip();
    if (auto match = dyn_cast<OpTy>(op))
      visit(match);
    return WalkResult::advance();
  });
}

//===----------------------------------------------------------------------===//
// Layer numbers
//===----------------------------------------------------------------------===//

/// Operations that put the parts of one layer together.
static bool joinsParts(Operation *op) {
  return isa<GatedCombineOp, LseMergeOp, tensor::ConcatOp, tensor::InsertSliceOp>(op);
}

/// The operation at the end of the chain of joins that `op`'s output feeds.
static Operation *findLayerEnd(Operation *op) {
  llvm::SmallPtrSet<Operation *, 8> visited;
  Operation *end = op;
  while (visited.insert(end).second) {
    Operation *next = nullptr;
    for (Operation *user : end->getResult(0).getUsers())
      if (joinsParts(user))
        next = user;
    if (!next)
      return end;
    end = next;
  }
  return op;
}

LogicalResult KVSharing::numberLayers(Operation *scope) {
  walkScope<AttentionOpInterface>(scope, [&](AttentionOpInterface op) { ops.push_back(op); });
  auto isNumbered = [](AttentionOpInterface op) { return op.getLayerIndex().has_value(); };
  auto *numbered = llvm::find_if(ops, isNumbered);
  auto *unnumbered = llvm::find_if_not(ops, isNumbered);
  if (numbered != ops.end() && unnumbered != ops.end()) {
    InFlightDiagnostic diag = (*unnumbered)->emitOpError()
                              << "expected a layer attribute, because other attention operations have one: number "
                                 "all layers, or none and they are numbered in program order";
    diag.attachNote((*numbered)->getLoc()) << "layer " << *(*numbered).getLayerIndex() << " is here";
    return failure();
  }
  inferredLayers = numbered == ops.end() && !ops.empty();
  llvm::DenseMap<Operation *, int64_t> numberOfEnd;
  for (AttentionOpInterface op : ops) {
    int64_t layer = op.getLayerIndex().value_or(0);
    if (inferredLayers)
      layer = numberOfEnd.try_emplace(findLayerEnd(op), numberOfEnd.size()).first->second;
    layers[layer].push_back(op);
    layerOf[op] = layer;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// K/V edges
//===----------------------------------------------------------------------===//

namespace {
/// Tokens that are appended to a cache and what is read from it are one origin.
struct StoredRoots {
  llvm::DenseMap<Value, Value> keyCache, valueCache;

  explicit StoredRoots(Operation *scope) {
    walkScope<KVCacheAppendOp>(scope, [&](KVCacheAppendOp append) {
      KVRoot key = findKVRoot(append.getKey()), value = findKVRoot(append.getValue());
      Value base = findCacheBase(append.getCache());
      if (key.part == KVRoot::Part::Tensor)
        keyCache.try_emplace(key.value, base);
      if (value.part == KVRoot::Part::Tensor)
        valueCache.try_emplace(value.value, base);
    });
  }

  KVRoot getKey(Value value) const { return get(value, keyCache, KVRoot::Part::Key); }
  KVRoot getValue(Value value) const { return get(value, valueCache, KVRoot::Part::Value); }

private:
  static KVRoot get(Value value, const llvm::DenseMap<Value, Value> &caches, KVRoot::Part part) {
    KVRoot root = findKVRoot(value);
    if (root.part != KVRoot::Part::Tensor)
      return root;
    Value cache = caches.lookup(root.value);
    return cache ? KVRoot{cache, part} : root;
  }
};
} // namespace

LogicalResult KVSharing::collectUses(Operation *scope) {
  StoredRoots stored(scope);
  for (AttentionOpInterface op : ops) {
    auto keys = op.getKeyOperands();
    auto values = op.getValueOperands();
    auto patterns = op.getSourcePatterns();
    if (keys.size() != values.size() || keys.size() != patterns.size())
      return op->emitOpError() << "expected one value and one pattern for each key source";
    int64_t layer = layerOf[op];
    for (auto [i, key, value, pattern] : llvm::enumerate(keys, values, patterns))
      uses.push_back({op, static_cast<unsigned>(i), key, value, pattern, stored.getKey(key->get()),
                      stored.getValue(value->get()), layer, layer});
  }
  return success();
}

LogicalResult KVSharing::findProducers() {
  for (auto it = uses.begin(); it != uses.end(); ++it) {
    // The first user in program order owns the keys.
    auto *first = llvm::find_if(uses, [&](const KVUse &other) {
      return other.keyRoot == it->keyRoot || other.valueRoot == it->valueRoot;
    });
    if (first->layer == it->layer)
      continue;
    if (first->keyRoot != it->keyRoot || first->valueRoot != it->valueRoot) {
      bool sameKeys = first->keyRoot == it->keyRoot;
      InFlightDiagnostic diag = it->op->emitOpError()
                                << "layer " << it->layer << " shares the " << (sameKeys ? "keys" : "values")
                                << " of layer " << first->layer << " but not its " << (sameKeys ? "values" : "keys")
                                << "; share both or project both";
      diag.attachNote(first->op->getLoc()) << "layer " << first->layer;
      return diag;
    }
    if (first->layer > it->layer) {
      InFlightDiagnostic diag = it->op->emitOpError()
                                << "layer " << it->layer << " reads the keys and values of layer " << first->layer
                                << ", which comes first in the program: expected the producer to have the lower "
                                   "layer number";
      diag.attachNote(first->op->getLoc()) << "producer, layer " << first->layer;
      return diag;
    }
    it->producer = first->layer;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Index edges
//===----------------------------------------------------------------------===//

/// Key source that each selection operand restricts.
static SmallVector<unsigned> getSelectedSources(AttentionOpInterface op) {
  SmallVector<unsigned> sources;
  if (auto branched = dyn_cast<BranchedAttentionOp>(op.getOperation())) {
    for (auto [i, branch] : llvm::enumerate(branched.getBranches().getAsRange<BranchAttr>()))
      if (branch.getSelection())
        sources.push_back(i);
  } else if (auto concat = dyn_cast<ConcatKVAttentionOp>(op.getOperation())) {
    for (auto [i, flag] : llvm::enumerate(concat.getSelected()))
      if (flag)
        sources.push_back(i);
  } else {
    sources.assign(op.getSelectionOperands().size(), 0);
  }
  return sources;
}

/// The operation that chose the blocks of `selection`: what makes the scores
/// or logits of a selection, or the value itself when that is unknown.
static Value findSelectionOrigin(Value selection) {
  llvm::SmallPtrSet<Operation *, 8> visited;
  while (true) {
    selection = findKVRoot(selection).value;
    Operation *op = selection.getDefiningOp();
    if (!op || !visited.insert(op).second)
      return selection;
    if (auto select = dyn_cast<SelectTopKOp>(op))
      selection = select.getScore();
    else if (isa<MaskToIndexOp, IndexToMaskOp, UnionTileOp, PoolScoresOp, BlockSoftmaxOp>(op))
      selection = op->getOperand(0);
    else
      return op->getResult(0);
  }
}

LogicalResult KVSharing::findIndexProducers() {
  llvm::DenseMap<Value, int64_t> firstUser;
  for (AttentionOpInterface op : ops) {
    int64_t layer = layerOf[op];
    auto selections = op.getSelectionOperands();
    SmallVector<unsigned> sources = getSelectedSources(op);
    if (sources.size() != selections.size())
      return op->emitOpError() << "expected one selection for each selected source";
    for (auto [selection, source] : llvm::zip(selections, sources)) {
      Value origin = findSelectionOrigin(selection->get());
      int64_t producer;
      auto *shared = llvm::find_if(uses, [&, source = source](KVUse &use) {
        return use.op == op && use.source == source && use.isConsumer();
      });
      if (Operation *scorer = origin.getDefiningOp(); scorer && layerOf.contains(scorer))
        producer = layerOf[scorer];
      else if (shared != uses.end())
        // Nothing in sight scored the blocks: they are blocks of the producer's keys.
        producer = shared->producer;
      else
        producer = firstUser.try_emplace(origin, layer).first->second;
      if (producer > layer) {
        InFlightDiagnostic diag = op->emitOpError()
                                  << "layer " << layer << " uses indices of layer " << producer
                                  << ": expected the layer that selects to have the lower number";
        diag.attachNote(origin.getLoc()) << "selection of layer " << producer;
        return diag;
      }
      indexUses.push_back({op, selection, source, layer, producer});
    }
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

FailureOr<KVSharing> KVSharing::compute(Operation *scope) {
  KVSharing sharing;
  if (failed(sharing.numberLayers(scope)) || failed(sharing.collectUses(scope)) ||
      failed(sharing.findProducers()) || failed(sharing.checkExplicitSources()) ||
      failed(sharing.findIndexProducers()) || failed(sharing.checkPatterns()) ||
      failed(sharing.checkCaches(scope)) || failed(sharing.checkPositions()) ||
      failed(sharing.checkIndexAgainstKV()))
    return failure();
  return sharing;
}

std::optional<int64_t> KVSharing::getOnlySource(Operation *op) const {
  std::optional<int64_t> only;
  for (const KVUse &use : uses) {
    // Not the operand's owner: a caller may have erased other operations meanwhile.
    AttentionOpInterface reader = use.op;
    if (reader.getOperation() != op || !use.isConsumer())
      continue;
    if (only && *only != use.producer)
      return std::nullopt;
    only = use.producer;
  }
  return only;
}
