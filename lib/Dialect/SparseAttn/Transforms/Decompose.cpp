//===- Decompose.cpp - fused operations into their parts -------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"
#include "llvm/ADT/TypeSwitch.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNDECOMPOSE
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

using Parts = FailureOr<SmallVector<Value>>;

static Value buildLength(OpBuilder &b, Location loc, Value tensor, Layout layout) {
  int dim = getLayoutDims(layout).seq;
  int64_t size = cast<RankedTensorType>(tensor.getType()).getDimSize(dim);
  if (ShapedType::isDynamic(size))
    return tensor::DimOp::create(b, loc, tensor, dim);
  return arith::ConstantIndexOp::create(b, loc, size);
}

Value sparseattn::buildQueryOffset(OpBuilder &b, Location loc, Value offset, Value query, Value key,
                                   Layout layout) {
  if (offset)
    return offset;
  int dim = getLayoutDims(layout).seq;
  int64_t queries = cast<RankedTensorType>(query.getType()).getDimSize(dim);
  int64_t keys = cast<RankedTensorType>(key.getType()).getDimSize(dim);
  if (!ShapedType::isDynamic(queries) && !ShapedType::isDynamic(keys))
    return arith::ConstantIndexOp::create(b, loc, keys - queries);
  Value numKeys = buildLength(b, loc, key, layout);
  return arith::SubIOp::create(b, loc, numKeys, buildLength(b, loc, query, layout));
}

/// The parts infer static sizes that the fused operation may have left open,
/// and the other way round.
static Value castTo(OpBuilder &b, Location loc, Value value, Type type) {
  if (value.getType() == type)
    return value;
  return tensor::CastOp::create(b, loc, type, value);
}

static void copyDiscardable(Operation *from, Operation *to) {
  for (NamedAttribute attr : from->getDiscardableAttrs())
    to->setDiscardableAttr(attr.getName(), attr.getValue());
}

//===----------------------------------------------------------------------===//
// attention with select
//===----------------------------------------------------------------------===//

static Parts decompose(OpBuilder &b, AttentionOp op) {
  if (op.getLayout() == Layout::THD)
    return op.emitOpError() << "expected layout bhsd or bshd to separate select from attention, found thd: "
                               "select_topk takes scores of rank 4; keep the fused form or pad the documents";
  Location loc = op.getLoc();
  EpilogueAttrInterface emit = op.getEmitAttr();
  if (!emit)
    return op.emitOpError() << "expected emit beside select";
  auto heads = cast<RankedTensorType>(op.getOutputs().back().getType());
  HeadShape keys = getHeadShape(cast<RankedTensorType>(op.getKey().getType()), op.getLayout());
  SmallVector<int64_t> scoreShape(heads.getShape());
  scoreShape.back() = ceilDivDim(keys.length, emit.getBlock());

  SmallVector<Type> types(op.getOutputs().getTypes());
  types.back() = RankedTensorType::get(scoreShape, b.getF32Type());
  auto attention = AttentionOp::create(
      b, loc, types, op.getQuery(), op.getKey(), op.getValue(), op.getSink(), op.getValidRange(), op.getQOffset(),
      Value(), Value(), op.getKeys(), op.getScaleAttr(), op.getScoreModAttr(), op.getNormalizerAttr(), emit,
      TopKAttr(), op.getReturnLseAttr(), op.getLayoutAttr(), op.getLayerAttr(), op.getKvSourceAttr(),
      op.getScheduleAttr());
  copyDiscardable(op, attention);
  Value offset = op.getQOffset();
  if (op.getKeys().isTokenAligned())
    offset = buildQueryOffset(b, loc, offset, op.getQuery(), op.getKey(), op.getLayout());
  auto select = SelectTopKOp::create(b, loc, op.getOutputs().back().getType(), attention.getScore(),
                                     op.getValidRange(), offset, op.getSelectAttr(),
                                     BlockOriginAttr::get(b.getContext(), emit.getOrigin()), UnitAttr());
  SmallVector<Value> results(attention.getOutputs());
  results.back() = select.getIndices();
  return results;
}

//===----------------------------------------------------------------------===//
// branched_attention
//===----------------------------------------------------------------------===//

/// `kv_source` speaks of the branches that read another layer's keys.
static IntegerAttr getBranchSource(BranchedAttentionOp op, unsigned index) {
  IntegerAttr source = op.getKvSourceAttr();
  if (!source || llvm::all_equal(op.getBranchKeys()))
    return source;
  auto share = op.getBranchKeys()[index].getDefiningOp<KVShareOp>();
  return share && share.getProducer() == source.getInt() ? source : IntegerAttr();
}

static Parts decompose(OpBuilder &b, BranchedAttentionOp op) {
  Location loc = op.getLoc();
  Type outType = op.getOut().getType();
  auto selections = op.getSelections();
  auto sinks = op.getSinks();
  SmallVector<Value> outs;
  unsigned nextSelection = 0, nextSink = 0;
  for (auto [i, branch] : llvm::enumerate(op.getBranches().getAsRange<BranchAttr>())) {
    Value key = op.getBranchKeys()[i], value = op.getBranchValues()[i];
    Value sink = branch.getSink() ? sinks[nextSink++] : Value();
    auto keys = cast<KeyPatternAttrInterface>(branch.getKeys());
    IntegerAttr source = getBranchSource(op, i);
    if (!branch.getSelection()) {
      auto attention = AttentionOp::create(
          b, loc, TypeRange(outType), op.getQuery(), key, value, sink, op.getValidRange(), op.getQOffset(), Value(),
          Value(), keys, op.getScaleAttr(), op.getScoreModAttr(), NormalizerAttrInterface(),
          EpilogueAttrInterface(), TopKAttr(), UnitAttr(), op.getLayoutAttr(), op.getLayerAttr(), source,
          ScheduleAttr());
      outs.push_back(attention.getOut());
      continue;
    }
    auto attention = SparseAttentionOp::create(
        b, loc, TypeRange(outType), op.getQuery(), key, value, selections[nextSelection++], Value(), sink,
        op.getValidRange(), op.getQOffset(), Value(), Value(), keys, b.getI64IntegerAttr(branch.getBlock()),
        b.getI64IntegerAttr(1),
        branch.getSelection(), BlockOriginAttr::get(b.getContext(), branch.getOrigin()), op.getScaleAttr(),
        op.getScoreModAttr(), NormalizerAttrInterface(), UnitAttr(), op.getLayoutAttr(),
        StrategyAttr::get(b.getContext(), Strategy::Auto), op.getLayerAttr(), source, ScheduleAttr());
    outs.push_back(attention.getOut());
  }
  auto combine = GatedCombineOp::create(b, loc, outType, outs, op.getGates(), op.getGateAttr(),
                                        op.getActivationAttr());
  copyDiscardable(op, combine);
  return SmallVector<Value>{combine.getOut()};
}

//===----------------------------------------------------------------------===//
// route, routed_attention
//===----------------------------------------------------------------------===//

namespace {
struct Routing {
  Value query, summary, offset;
  IntegerAttr block, localBlocks;
  FloatAttr logitScale, alpha, sigma;
  Attribute solver;
  PriorAttr prior;
  UnitAttr returnCount;
  LayoutAttr layout;
};
} // namespace

static LogicalResult verifyStaticHeads(Operation *op, Value summary, Layout layout) {
  if (!ShapedType::isDynamic(getHeadShape(cast<RankedTensorType>(summary.getType()), layout).heads))
    return success();
  return op->emitOpError() << "expected a static number of KV heads, found summary of type " << summary.getType()
                           << ": entmax_route states the number as an attribute; cast the summary to a static shape";
}

static EntmaxRouteOp buildRouting(OpBuilder &b, Location loc, const Routing &routing) {
  HeadShape summary =
      getHeadShape(cast<RankedTensorType>(routing.summary.getType()), routing.layout.getValue());
  auto logits = BlockLogitsOp::create(
      b, loc, routing.query, routing.summary, Value(), Value(), routing.offset, routing.block, IntegerAttr(),
      routing.logitScale, ScoreActivationAttr::get(b.getContext(), ScoreActivation::None),
      VisibilityAttr::get(b.getContext(), Visibility::BeforeOwn),
      LogitBoundAttr::get(b.getContext(), LogitBound::Dot), routing.layout);
  return EntmaxRouteOp::create(b, loc, logits.getLogits(), routing.offset, b.getI64IntegerAttr(summary.heads),
                               routing.block, routing.alpha, routing.solver, routing.localBlocks, routing.prior,
                               routing.sigma, routing.returnCount);
}

static Parts decompose(OpBuilder &b, RouteOp op) {
  if (failed(verifyStaticHeads(op, op.getSummary(), op.getLayout())))
    return failure();
  auto route = buildRouting(b, op.getLoc(), {op.getQuery(), op.getSummary(), op.getQOffset(), op.getBlockAttr(),
                                    op.getLocalBlocksAttr(), op.getScaleAttr(), op.getAlphaAttr(),
                                    op.getSigmaAttr(), op.getSolverAttr(), op.getPriorAttr(),
                                    op.getReturnCountAttr(), op.getLayoutAttr()});
  copyDiscardable(op, route);
  SmallVector<Value> results;
  for (auto [part, result] : llvm::zip_equal(route.getOutputs(), op.getOutputs()))
    results.push_back(castTo(b, op.getLoc(), part, result.getType()));
  return results;
}

static Parts decompose(OpBuilder &b, RoutedAttentionOp op) {
  Location loc = op.getLoc();
  if (failed(verifyStaticHeads(op, op.getSummary(), op.getLayout())))
    return failure();
  // Routing counts from 0 by default, attention from Nk - Nq.
  Value offset = buildQueryOffset(b, loc, op.getQOffset(), op.getQuery(), op.getKey(), op.getLayout());
  auto route = buildRouting(b, loc, {op.getQuery(), op.getSummary(), offset, op.getBlockAttr(),
                                    op.getLocalBlocksAttr(), op.getRoutingScaleAttr(), op.getAlphaAttr(),
                                    op.getSigmaAttr(), op.getSolverAttr(), op.getPriorAttr(), UnitAttr(),
                                    op.getLayoutAttr()});
  auto attention = SparseAttentionOp::create(
      b, loc, op->getResultTypes(), op.getQuery(), op.getKey(), op.getValue(), route.getMask(), route.getBias(),
      op.getSink(), Value(), offset, Value(), Value(),
      cast<KeyPatternAttrInterface>(CausalAttr::get(b.getContext())), op.getBlockAttr(), b.getI64IntegerAttr(1),
      SelectionFormatAttr::get(b.getContext(), SelectionFormat::Bitmask),
      BlockOriginAttr::get(b.getContext(), BlockOrigin::Absolute), op.getScaleAttr(), ScoreModAttrInterface(),
      NormalizerAttrInterface(), op.getReturnLseAttr(), op.getLayoutAttr(),
      StrategyAttr::get(b.getContext(), Strategy::Auto), op.getLayerAttr(), op.getKvSourceAttr(),
      ScheduleAttr());
  copyDiscardable(op, attention);
  return SmallVector<Value>(attention.getOutputs());
}

//===----------------------------------------------------------------------===//
// kv_cache.append with summarize
//===----------------------------------------------------------------------===//

static Parts decompose(OpBuilder &b, KVCacheAppendOp op) {
  SummaryAttr summary = op.getSummarizeAttr();
  auto append = KVCacheAppendOp::create(b, op.getLoc(), op.getUpdated().getType(), Type(), op.getCache(), op.getKey(),
                                        op.getValue(), op.getPosition(), Value(), SummaryAttr(), op.getLayoutAttr());
  copyDiscardable(op, append);
  auto summarize = ChunkSummarizeOp::create(
      b, op.getLoc(), TypeRange(op.getSummary().getType()), op.getKey(), op.getSummaryQuery(), Value(), Value(), Value(),
      Value(), b.getI64IntegerAttr(summary.getBlock()), b.getI64IntegerAttr(summary.getStride()),
      SummaryModeAttr::get(b.getContext(), summary.getMode()),
      summary.getCompleteOnly() ? b.getUnitAttr() : UnitAttr(), FloatAttr(), op.getLayoutAttr());
  return SmallVector<Value>{append.getUpdated(), summarize.getSummaries().front()};
}

//===----------------------------------------------------------------------===//
// Drivers
//===----------------------------------------------------------------------===//

bool sparseattn::isFusedOp(Operation *op) {
  return TypeSwitch<Operation *, bool>(op)
      .Case([](AttentionOp attention) { return bool(attention.getSelectAttr()); })
      .Case([](KVCacheAppendOp append) { return bool(append.getSummarizeAttr()); })
      .Case<BranchedAttentionOp, RouteOp, RoutedAttentionOp>([](auto) { return true; })
      .Default(false);
}

Parts sparseattn::decomposeFusedOp(OpBuilder &b, Operation *op) {
  if (!isFusedOp(op))
    return failure();
  return TypeSwitch<Operation *, Parts>(op)
      .Case<AttentionOp, BranchedAttentionOp, KVCacheAppendOp, RouteOp, RoutedAttentionOp>(
          [&](auto fused) { return decompose(b, fused); })
      .Default([](Operation *) { return failure(); });
}

LogicalResult sparseattn::decomposeFusedOps(Operation *root) {
  SmallVector<Operation *> fused;
  root->walk([&](Operation *op) {
    if (isFusedOp(op))
      fused.push_back(op);
  });
  for (Operation *op : fused) {
    OpBuilder builder(op);
    Parts results = decomposeFusedOp(builder, op);
    if (failed(results))
      return failure();
    op->replaceAllUsesWith(*results);
    op->erase();
  }
  return success();
}

namespace {
struct Decompose : sparseattn::impl::SparseAttnDecomposeBase<Decompose> {
  void runOnOperation() override {
    if (failed(decomposeFusedOps(getOperation())))
      signalPassFailure();
  }
};
} // namespace
