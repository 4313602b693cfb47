//===- KVSharingRules.cpp - rules that broken models have violated ---------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/Matchers.h"
#include "sparseattn/Analysis/KVSharing.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"

using namespace mlir;
using namespace sparseattn;

//===----------------------------------------------------------------------===//
// Explicit sources
//===----------------------------------------------------------------------===//

/// Producer that a `kv_share` on the way to `value` states.
static std::optional<int64_t> getStatedProducer(Value value) {
  for (int depth = 0; depth < 64; ++depth) {
    Operation *op = value.getDefiningOp();
    if (!op)
      return std::nullopt;
    if (auto share = dyn_cast<KVShareOp>(op))
      return share.getProducer();
    if (op->getNumOperands() == 0 || findKVRoot(value).value == value)
      return std::nullopt;
    value = op->getOperand(0);
  }
  return std::nullopt;
}

LogicalResult KVSharing::checkExplicitSources() {
  auto emitDisagreement = [&](const KVUse &use, StringRef what, int64_t stated) {
    InFlightDiagnostic diag = use.op->emitOpError();
    diag << what << " = " << stated << " disagrees with the data flow: ";
    if (use.isConsumer())
      diag << "layer " << use.layer << " reads the keys and values of layer " << use.producer;
    else
      diag << "layer " << use.layer << " reads keys and values of its own, source " << use.layer;
    diag << "; correct " << what << " or the operands";
    if (auto it = layers.find(stated); it != layers.end())
      diag.attachNote(it->second.front()->getLoc()) << "layer " << stated << ", the stated source";
    if (auto it = layers.find(use.producer); use.isConsumer() && it != layers.end())
      diag.attachNote(it->second.front()->getLoc()) << "layer " << use.producer << ", the source by data flow";
    return diag;
  };

  for (KVUse &use : uses) {
    std::optional<int64_t> stated = getStatedProducer(use.key->get());
    std::optional<int64_t> statedForValue = getStatedProducer(use.value->get());
    // An edge may be drawn for both or, before this analysis completes it, for one of them.
    if (!stated || (statedForValue && *statedForValue != use.producer))
      stated = statedForValue;
    if (!stated || *stated == use.producer)
      continue;
    // A producer outside of this function cannot be contradicted here.
    if (use.isConsumer() || layers.count(*stated))
      return emitDisagreement(use, "kv_share from", *stated);
    use.producer = *stated;
  }

  for (AttentionOpInterface op : ops) {
    std::optional<int64_t> stated = op.getKvSourceIndex();
    if (!stated)
      continue;
    SmallVector<KVUse *> own;
    for (KVUse &use : uses)
      if (use.op == op)
        own.push_back(&use);
    if (own.empty() || llvm::any_of(own, [&](KVUse *use) { return use->producer == *stated; }))
      continue;
    bool external = !layers.count(*stated) && llvm::none_of(own, [](KVUse *use) { return use->isConsumer(); });
    if (!external) {
      auto *consumer = llvm::find_if(own, [](KVUse *use) { return use->isConsumer(); });
      return emitDisagreement(consumer == own.end() ? *own.front() : **consumer, "kv_source", *stated);
    }
    // Several sources: nothing says which of them is the other layer's.
    if (own.size() == 1)
      own.front()->producer = *stated;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

/// Heads that have to be looked at one by one: a uniform pattern is the same for all.
static int64_t getDistinctHeads(ArrayRef<KeyPatternAttrInterface> patterns, int64_t heads) {
  bool uniform = llvm::all_of(patterns, [](Attribute pattern) {
    return isa<FullAttr, CausalAttr, WindowAttr, CompleteBlocksAttr>(pattern);
  });
  return uniform || ShapedType::isDynamic(heads) ? 1 : heads;
}

/// Most keys that the owner's patterns let a head see; nothing when unbounded.
static std::optional<int64_t> getKept(ArrayRef<const KVUse *> owners, int64_t head) {
  int64_t kept = 0;
  for (const KVUse *owner : owners) {
    std::optional<int64_t> seen = owner->pattern.getMaxVisibleKeys(head);
    if (!seen)
      return std::nullopt;
    kept = std::max(kept, *seen);
  }
  return kept;
}

LogicalResult KVSharing::checkPatterns() {
  for (KVUse &use : uses) {
    if (!use.isConsumer())
      continue;
    SmallVector<const KVUse *> owners;
    for (KVUse &other : uses)
      if (other.layer == use.producer && other.keyRoot == use.keyRoot)
        owners.push_back(&other);
    if (owners.empty())
      continue;
    auto keyType = cast<RankedTensorType>(use.key->get().getType());
    int64_t heads = getHeadShape(keyType, use.op.getTensorLayout()).heads;
    SmallVector<KeyPatternAttrInterface> patterns = {use.pattern};
    for (const KVUse *owner : owners)
      patterns.push_back(owner->pattern);
    for (int64_t head = 0, e = getDistinctHeads(patterns, heads); head < e; ++head) {
      std::optional<int64_t> kept = getKept(owners, head);
      std::optional<int64_t> seen = use.pattern.getMaxVisibleKeys(head);
      if (!kept || (seen && *seen <= *kept))
        continue;
      InFlightDiagnostic diag = use.op->emitOpError()
                                << "no producer of the same type: KV head " << head << " of layer " << use.layer
                                << " sees " << (seen ? std::to_string(*seen) : std::string("all"))
                                << " keys, but layer " << use.producer << " keeps only the last " << *kept
                                << "; share with a layer whose pattern is at least as wide";
      diag.attachNote(owners.front()->op->getLoc())
          << "producer, layer " << use.producer << ", with keys " << owners.front()->pattern;
      return diag;
    }
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Caches
//===----------------------------------------------------------------------===//

LogicalResult KVSharing::checkCaches(Operation *scope) {
  SmallVector<KVCacheCreateOp> creates;
  SmallVector<KVCacheAppendOp> appends;
  scope->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op != scope && op->hasTrait<OpTrait::IsIsolatedFromAbove>())
      return WalkResult::skip();
    if (auto create = dyn_cast<KVCacheCreateOp>(op))
      creates.push_back(create);
    else if (auto append = dyn_cast<KVCacheAppendOp>(op))
      appends.push_back(append);
    return WalkResult::advance();
  });

  for (KVCacheCreateOp create : creates) {
    if (!create.getLayer())
      continue;
    KVUse *consumer = nullptr;
    bool owns = false;
    for (KVUse &use : uses) {
      if (use.layer != *create.getLayer())
        continue;
      if (use.isConsumer())
        consumer = &use;
      else
        owns = true;
    }
    if (!consumer || owns)
      continue;
    InFlightDiagnostic diag = create.emitOpError()
                              << "layer " << *create.getLayer() << " is a consumer of layer " << consumer->producer
                              << " and is never allocated a cache; take a kv_cache.view of the producer's";
    diag.attachNote(consumer->op->getLoc()) << "layer " << consumer->layer;
    return diag;
  }

  llvm::DenseMap<Value, KVCacheAppendOp> writerOf;
  for (KVCacheAppendOp append : appends) {
    if (std::optional<int64_t> producer = getStatedProducer(append.getKey()))
      return append.emitOpError() << "appends keys shared by layer " << *producer
                                  << ": a consumer layer never writes a cache; read the producer's instead";
    KVRoot root = findKVRoot(append.getKey());
    if (root.part != KVRoot::Part::Tensor)
      return append.emitOpError() << "appends keys that were read from a cache: K/V are stored once; "
                                     "take a kv_cache.view of that cache";
    KVCacheAppendOp &writer = writerOf[root.value];
    if (!writer) {
      writer = append;
      continue;
    }
    InFlightDiagnostic diag = append.emitOpError()
                              << "stores keys that another append stores already: expected a single writer; "
                                 "a consumer layer reads the producer's cache through kv_cache.view";
    diag.attachNote(writer.getLoc()) << "first writer";
    return diag;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

/// The append whose tokens are the newest in what `read` returns.
static KVCacheAppendOp findLastAppend(KVCacheReadOp read) {
  Value cache = read.getCache();
  for (int depth = 0; depth < 64; ++depth) {
    auto view = cache.getDefiningOp<KVCacheViewOp>();
    if (!view)
      break;
    cache = view.getCache();
  }
  return cache.getDefiningOp<KVCacheAppendOp>();
}

/// True when two index values are computed in the same way from the same values.
static bool isSameValue(Value a, Value b, int depth = 0) {
  if (a == b)
    return true;
  APInt x, y;
  if (matchPattern(a, m_ConstantInt(&x)) && matchPattern(b, m_ConstantInt(&y)))
    return x.getSExtValue() == y.getSExtValue();
  Operation *left = a.getDefiningOp(), *right = b.getDefiningOp();
  if (!left || !right || depth > 16 || left->getNumRegions() != 0 ||
      cast<OpResult>(a).getResultNumber() != cast<OpResult>(b).getResultNumber())
    return false;
  return left->getName() == right->getName() && left->getAttrDictionary() == right->getAttrDictionary() &&
         left->getNumOperands() == right->getNumOperands() &&
         llvm::all_of(llvm::zip(left->getOperands(), right->getOperands()), [&](auto pair) {
           return isSameValue(std::get<0>(pair), std::get<1>(pair), depth + 1);
         });
}

LogicalResult KVSharing::checkPositions() {
  for (KVUse &use : uses) {
    Value query = use.op.getQueryValue();
    for (int depth = 0; depth < 64; ++depth) {
      query = findKVRoot(query).value;
      auto norm = query.getDefiningOp<RmsNormOp>();
      if (!norm)
        break;
      query = norm.getInput();
    }
    auto rope = query.getDefiningOp<RopeOp>();
    Value key = use.key->get();
    for (int depth = 0; depth < 64 && key.getDefiningOp() && !key.getDefiningOp<KVCacheReadOp>(); ++depth) {
      if (findKVRoot(key).value == key)
        break;
      key = key.getDefiningOp()->getOperand(0);
    }
    auto read = key.getDefiningOp<KVCacheReadOp>();
    KVCacheAppendOp append = read ? findLastAppend(read) : KVCacheAppendOp();
    if (!rope || !append)
      continue;
    // Only queries of the very tokens that were appended stand at their positions.
    Layout layout = use.op.getTensorLayout();
    if (getHeadShape(cast<RankedTensorType>(use.op.getQueryValue().getType()), layout).length !=
        getHeadShape(cast<RankedTensorType>(append.getKey().getType()), append.getLayout()).length)
      continue;
    bool agrees = rope.getQOffset() ? isSameValue(rope.getQOffset(), append.getPosition())
                                    : matchPattern(append.getPosition(), m_Zero());
    if (agrees)
      continue;
    InFlightDiagnostic diag = rope.emitOpError()
                              << "expected the offset of layer " << use.layer
                              << "'s queries to be the position before the append of the cache it reads"
                              << (rope.getQOffset() ? "" : ", found none (position 0)")
                              << "; pass the append's position as q_offset";
    diag.attachNote(append.getLoc()) << "append";
    diag.attachNote(use.op->getLoc()) << "layer " << use.layer;
    return diag;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Indices beside K/V
//===----------------------------------------------------------------------===//

LogicalResult KVSharing::checkIndexAgainstKV() {
  for (IndexUse &index : indexUses) {
    if (!index.isConsumer())
      continue;
    for (KVUse &use : uses) {
      if (use.op != index.op || use.source != index.source || !use.isConsumer() || use.producer == index.producer)
        continue;
      InFlightDiagnostic diag = use.op->emitOpError()
                                << "layer " << use.layer << " takes its keys from layer " << use.producer
                                << " but its selection from layer " << index.producer
                                << ": expected one producer for both";
      for (int64_t layer : {use.producer, index.producer})
        if (auto it = layers.find(layer); it != layers.end())
          diag.attachNote(it->second.front()->getLoc()) << "layer " << layer;
      return diag;
    }
  }
  return success();
}
