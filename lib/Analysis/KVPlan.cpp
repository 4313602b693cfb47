//===- KVPlan.cpp - who keeps how many keys and values ---------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Analysis/KVPlan.h"

#include "mlir/IR/TypeUtilities.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sparseattn;

//===----------------------------------------------------------------------===//
// One cache
//===----------------------------------------------------------------------===//

int64_t PlannedCache::getSlotsAt(int64_t head, int64_t length) const {
  if (summary)
    return getNumBlocks(length, summary->block, summary->stride, summary->completeOnly);
  return kind.getSlotsAt(head, length);
}

static std::optional<int64_t> multiply(std::optional<int64_t> a, int64_t b) {
  int64_t result;
  if (!a || llvm::MulOverflow(*a, b, result))
    return std::nullopt;
  return result;
}

static std::optional<int64_t> add(std::optional<int64_t> a, std::optional<int64_t> b) {
  int64_t result;
  if (!a || !b || llvm::AddOverflow(*a, *b, result))
    return std::nullopt;
  return result;
}

static int64_t getTokenBytes(const PlannedCache &cache) {
  return (cache.keyDim + cache.valueDim) * (cache.dtype.getIntOrFloatBitWidth() / 8);
}

std::optional<int64_t> PlannedCache::getBytesAt(int64_t length, int64_t batch) const {
  if (isAlias())
    return 0;
  std::optional<int64_t> slots = 0;
  if (isa<HeadCachesAttr>(kind))
    for (int64_t head = 0; head < heads; ++head)
      slots = add(slots, getSlotsAt(head, length));
  else
    slots = multiply(getSlotsAt(0, length), heads);
  return multiply(multiply(slots, getTokenBytes(*this)), batch);
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

static LogicalResult setSizes(PlannedCache &cache, Operation *op, Value tensor, Layout layout,
                              const KVPlanOptions &options) {
  auto type = cast<RankedTensorType>(tensor.getType());
  HeadShape shape = getHeadShape(type, layout);
  if (ShapedType::isDynamic(shape.heads) || ShapedType::isDynamic(shape.dim))
    return op->emitOpError() << "expected a static number of KV heads and a static head dimension to plan a cache, found "
                             << type << "; cast the operand to a static shape";
  if (!options.batch && ShapedType::isDynamic(shape.batch))
    return op->emitOpError() << "the batch size of " << type
                             << " is dynamic: give the number of sequences to plan for, option batch=<n>";
  if (!options.length && ShapedType::isDynamic(shape.length))
    return op->emitOpError() << "the number of keys of " << type
                             << " is dynamic: give the context length to plan for, option length=<tokens>";
  cache.heads = shape.heads;
  cache.keyDim = shape.dim;
  cache.batch = options.batch.value_or(shape.batch);
  cache.length = options.length.value_or(shape.length);
  // M summaries stand for at least this many tokens.
  if (cache.summary && !options.length)
    cache.length = cache.summary->completeOnly && shape.length > 0
                       ? (shape.length - 1) * cache.summary->stride + cache.summary->block
                       : shape.length * cache.summary->stride;
  return success();
}

static LogicalResult setDtype(PlannedCache &cache, Operation *op, Value tensor, KVRoot root,
                              const KVPlanOptions &options) {
  cache.dtype = options.dtype ? options.dtype : getElementTypeOrSelf(tensor.getType());
  if (auto type = dyn_cast<KVCacheType>(root.value.getType()); type && !options.dtype)
    cache.dtype = type.getDtype();
  Type dtype = cache.dtype;
  if (dtype.isF32() || dtype.isF16() || dtype.isBF16() ||
      (isa<FloatType>(dtype) && dtype.getIntOrFloatBitWidth() == 8))
    return success();
  return op->emitOpError() << "expected a cache dtype of f32, f16, bf16 or an 8-bit float, found " << dtype
                           << "; choose one with option dtype=<type>";
}

/// What a cache has to keep for every pattern that reads it.
static CacheKindAttrInterface chooseKind(MLIRContext *context, ArrayRef<KeyPatternAttrInterface> patterns,
                                         int64_t heads) {
  bool perHead = llvm::any_of(patterns, [](Attribute pattern) {
    return !isa<FullAttr, CausalAttr, WindowAttr, CompleteBlocksAttr>(pattern);
  });
  SmallVector<Attribute> kinds;
  for (int64_t head = 0, e = perHead ? heads : 1; head < e; ++head) {
    std::optional<int64_t> ring = 0;
    for (KeyPatternAttrInterface pattern : patterns) {
      std::optional<int64_t> seen = pattern.getMaxVisibleKeys(head);
      ring = ring && seen ? std::optional<int64_t>(std::max(*ring, *seen)) : std::nullopt;
    }
    if (ring)
      kinds.push_back(RingAttr::get(context, std::max<int64_t>(*ring, 1)));
    else
      kinds.push_back(FullCacheAttr::get(context));
  }
  if (llvm::all_equal(kinds))
    return cast<CacheKindAttrInterface>(kinds.front());
  return cast<CacheKindAttrInterface>(Attribute(HeadCachesAttr::get(context, kinds)));
}

//===----------------------------------------------------------------------===//
// Keys and values
//===----------------------------------------------------------------------===//

static std::optional<SummaryShape> getSummaryShape(KeyPatternAttrInterface pattern) {
  if (pattern.isTokenAligned())
    return std::nullopt;
  Attribute first = pattern;
  if (auto table = dyn_cast<HeadTableAttr>(first))
    first = table.getHeads().front();
  if (auto blocks = dyn_cast<CompleteBlocksAttr>(first))
    return SummaryShape{blocks.getBlock(), blocks.getStride(), true};
  return SummaryShape{};
}

LogicalResult KVPlan::addTokenCaches(const KVSharing &sharing, const KVPlanOptions &options) {
  ArrayRef<KVUse> uses = sharing.getUses();
  for (const auto &[i, use] : llvm::enumerate(uses)) {
    Operation *op = use.key->getOwner();
    auto isSame = [&, &use = use](const KVUse &other) {
      return other.layer == use.layer && other.keyRoot == use.keyRoot;
    };
    // Several operations of one layer may read one cache.
    if (llvm::any_of(uses.take_front(i), isSame))
      continue;
    PlannedCache cache;
    cache.layer = use.layer;
    cache.producer = use.producer;
    cache.summary = getSummaryShape(use.pattern);
    SmallVector<KeyPatternAttrInterface> patterns;
    for (const KVUse &other : uses) {
      if (isSame(other))
        cache.users.push_back(other.key->getOwner());
      if (other.keyRoot == use.keyRoot)
        patterns.push_back(other.pattern);
    }
    Layout layout = AttentionOpInterface(use.op).getTensorLayout();
    if (failed(setSizes(cache, op, use.key->get(), layout, options)) ||
        failed(setDtype(cache, op, use.key->get(), use.keyRoot, options)))
      return failure();
    cache.valueDim = getHeadShape(cast<RankedTensorType>(use.value->get().getType()), layout).dim;
    if (ShapedType::isDynamic(cache.valueDim))
      return op->emitOpError() << "expected a static value dimension to plan a cache, found "
                               << use.value->get().getType();
    cache.kind = cache.summary ? cast<CacheKindAttrInterface>(Attribute(FullCacheAttr::get(op->getContext())))
                               : chooseKind(op->getContext(), patterns, cache.heads);
    caches.push_back(std::move(cache));
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Summaries that routing reads
//===----------------------------------------------------------------------===//

/// The attention operation that a routing ends in, lowest layer first.
static Operation *findRoutedAttention(Operation *op, const KVSharing &sharing) {
  SmallVector<Operation *> pending = {op};
  llvm::SmallPtrSet<Operation *, 16> visited;
  Operation *best = nullptr;
  while (!pending.empty()) {
    Operation *current = pending.pop_back_val();
    if (!visited.insert(current).second)
      continue;
    if (isa<AttentionOpInterface>(current)) {
      if (!best || sharing.getLayer(current) < sharing.getLayer(best))
        best = current;
      continue;
    }
    if (isa<BlockLogitsOp, RouteOp, EntmaxRouteOp, SelectTopKOp, BlockSoftmaxOp, PoolScoresOp, MaskToIndexOp,
            IndexToMaskOp, UnionTileOp, ExternOp, KVShareOp>(current))
      llvm::append_range(pending, current->getUsers());
  }
  return best;
}

static SummaryShape getSummaryShape(Value root, int64_t block, int64_t stride) {
  if (auto summarize = root.getDefiningOp<ChunkSummarizeOp>())
    return {summarize.getBlock(), summarize.getStrideOrBlock(), summarize.getCompleteOnly()};
  if (auto append = root.getDefiningOp<KVCacheAppendOp>(); append && append.getSummarizeAttr()) {
    SummaryAttr summary = append.getSummarizeAttr();
    return {summary.getBlock(), summary.getStride(), summary.getCompleteOnly()};
  }
  return {block, stride, false};
}

LogicalResult KVPlan::addSummaries(Operation *scope, const KVSharing &sharing, const KVPlanOptions &options) {
  llvm::MapVector<Value, int64_t> ownerOf;
  auto addOne = [&](Operation *op, Value summary, Layout layout, int64_t block, int64_t stride) -> LogicalResult {
    Operation *attention = findRoutedAttention(op, sharing);
    KVRoot root = findKVRoot(summary);
    bool planned = llvm::any_of(sharing.getUses(), [&](const KVUse &use) { return use.keyRoot == root; });
    if (!attention || planned)
      return success();
    PlannedCache cache;
    cache.layer = sharing.getLayer(attention);
    auto [it, isNew] = ownerOf.try_emplace(root.value, cache.layer);
    cache.producer = it->second;
    if (!isNew && !cache.isAlias())
      return success();
    cache.summary = getSummaryShape(root.value, block, stride);
    cache.kind = cast<CacheKindAttrInterface>(Attribute(FullCacheAttr::get(op->getContext())));
    cache.users.push_back(attention);
    if (failed(setSizes(cache, op, summary, layout, options)) ||
        failed(setDtype(cache, op, summary, root, options)))
      return failure();
    caches.push_back(std::move(cache));
    return success();
  };

  WalkResult result = scope->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op != scope && op->hasTrait<OpTrait::IsIsolatedFromAbove>())
      return WalkResult::skip();
    LogicalResult added = success();
    if (auto logits = dyn_cast<BlockLogitsOp>(op)) {
      added = addOne(op, logits.getSummary(), logits.getLayout(), logits.getBlock(), logits.getStrideOrBlock());
      if (succeeded(added) && logits.getSummaryMax())
        added = addOne(op, logits.getSummaryMax(), logits.getLayout(), logits.getBlock(), logits.getStrideOrBlock());
    } else if (auto route = dyn_cast<RouteOp>(op)) {
      added = addOne(op, route.getSummary(), route.getLayout(), route.getBlock(), route.getBlock());
    } else if (auto routed = dyn_cast<RoutedAttentionOp>(op)) {
      added = addOne(op, routed.getSummary(), routed.getLayout(), routed.getBlock(), routed.getBlock());
    }
    return failed(added) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

//===----------------------------------------------------------------------===//
// Totals
//===----------------------------------------------------------------------===//

LogicalResult KVPlan::addUp(Operation *scope) {
  llvm::stable_sort(caches, [](const PlannedCache &a, const PlannedCache &b) { return a.layer < b.layer; });
  std::optional<int64_t> total = 0, dense = 0;
  for (auto it = caches.begin(); it != caches.end();) {
    // What the layer would keep if it kept everything: its widest source, once.
    std::optional<int64_t> widest = 0;
    int64_t layer = it->layer;
    for (; it != caches.end() && it->layer == layer; ++it) {
      total = add(total, it->getBytesAt(it->length, it->batch));
      if (it->valueDim == 0)
        continue;
      std::optional<int64_t> all =
          multiply(multiply(multiply(it->length, it->heads), getTokenBytes(*it)), it->batch);
      widest = all && widest ? std::optional<int64_t>(std::max(*all, *widest)) : std::nullopt;
    }
    dense = add(dense, widest);
  }
  if (!total || !dense)
    return scope->emitError() << "the bytes of the KV caches do not fit 64 bits; plan for fewer tokens or sequences";
  totalBytes = *total;
  denseBytes = *dense;
  return success();
}

double KVPlan::getRatio() const {
  return totalBytes == 0 ? 0.0 : static_cast<double>(denseBytes) / static_cast<double>(totalBytes);
}

FailureOr<KVPlan> KVPlan::compute(Operation *scope, const KVSharing &sharing, const KVPlanOptions &options) {
  KVPlan plan;
  if (failed(plan.addTokenCaches(sharing, options)) || failed(plan.addSummaries(scope, sharing, options)) ||
      failed(plan.addUp(scope)))
    return failure();
  return plan;
}
