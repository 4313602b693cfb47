//===- Attention.cpp - the attention family through the skeleton -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "AttentionSkeleton.h"
#include "Patterns.h"

using namespace mlir;
using namespace sparseattn;

namespace {

/// Sizes [B, heads, Nq, last], without B for `thd`.
SmallVector<Value> rowSizes(LoopBuilder &k, const HeadView &query, Value heads, Value last) {
  SmallVector<Value> sizes;
  if (query.dims.batch >= 0)
    sizes.push_back(batchSize(k, query));
  sizes.append({heads, seqLength(k, query)});
  if (last)
    sizes.push_back(last);
  return sizes;
}

/// Query, output, lse and plug-ins, which all ops of the family have.
template <typename OpTy>
AttentionSpec startSpec(LoopBuilder &k, OpTy op, Value firstValue) {
  AttentionSpec spec;
  Layout layout = op.getLayout();
  spec.query = readHeads(k, op.getQuery(), layout);
  SmallVector<Value> outSizes(spec.query.dims.rank());
  for (int i = 0; i < spec.query.dims.rank(); ++i)
    outSizes[i] = k.dim(i == spec.query.dims.dim ? firstValue : op.getQuery(), i);
  spec.out = {allocateResult(k, op.getOut(), outSizes), spec.query.dims};
  if (Value lse = op.getLse())
    spec.lse = allocateResult(k, lse, rowSizes(k, spec.query, headCount(k, spec.query), {}));
  spec.scale = op.getScaleOrDefault();
  spec.scoreMod = op.getScoreModAttr();
  spec.normalizer = op.getNormalizerOrDefault();
  if (op.getSink())
    spec.sink = k.read(op.getSink());
  return spec;
}

/// Masks and positions of the ops on one token source.
template <typename OpTy>
void addPositions(LoopBuilder &k, OpTy op, AttentionSpec &spec) {
  if (op.getValidRange())
    spec.validRange = k.read(op.getValidRange());
  if (op.getCuSeqlensQ()) {
    spec.cuSeqlensQ = k.read(op.getCuSeqlensQ());
    spec.cuSeqlensK = k.read(op.getCuSeqlensK());
    return;
  }
  const KeySource &source = spec.sources.front();
  Value aligned = source.pattern.isTokenAligned()
                      ? k.sub(seqLength(k, source.keys), seqLength(k, spec.query))
                      : k.index(0);
  spec.queryOffset = queryOffset(op.getQOffset(), aligned);
}

/// Replaces `op` by the buffers that are not null.
void replaceWithBuffers(LoopBuilder &k, PatternRewriter &rewriter, Operation *op, ArrayRef<Value> buffers) {
  SmallVector<Value> results;
  for (Value buffer : buffers)
    if (buffer)
      results.push_back(k.asTensor(buffer));
  rewriter.replaceOp(op, results);
}

struct LowerAttention : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(AttentionOp op, PatternRewriter &rewriter) const override {
    if (op.getSelectAttr())
      return rewriter.notifyMatchFailure(op, "fused selection: decompose first");
    EpilogueAttrInterface emit = op.getEmitAttr();
    Layout layout = op.getLayout();
    LayoutDims dims = getLayoutDims(layout);
    auto isStatic = [&](Value v) { return !cast<RankedTensorType>(v.getType()).isDynamicDim(dims.head); };
    if (emit && emit.getGroup() != GroupReduce::None && !(isStatic(op.getQuery()) && isStatic(op.getKey())))
      return op.emitOpError("needs static numbers of heads to reduce block scores over a group");

    LoopBuilder k(rewriter, op.getLoc());
    AttentionSpec spec = startSpec(k, op, op.getValue());
    KeySource source;
    source.keys = readHeads(k, op.getKey(), layout);
    source.values = readHeads(k, op.getValue(), layout);
    source.pattern = op.getKeys();
    spec.sources.push_back(source);
    addPositions(k, op, spec);
    if (Value score = op.getScore()) {
      spec.epilogue = emit;
      Value columns = k.ceilDiv(seqLength(k, source.keys), k.index(emit.getBlock()));
      Value heads = emit.getGroup() == GroupReduce::None ? headCount(k, spec.query) : headCount(k, source.keys);
      spec.score = allocateResult(k, score, rowSizes(k, spec.query, heads, columns));
    }
    buildAttention(k, spec);
    replaceWithBuffers(k, rewriter, op, {spec.out.buffer, spec.lse, spec.score});
    return success();
  }
};

struct LowerSparseAttention : OpRewritePattern<SparseAttentionOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SparseAttentionOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    AttentionSpec spec = startSpec(k, op, op.getValue());
    KeySource source;
    source.keys = readHeads(k, op.getKey(), op.getLayout());
    source.values = readHeads(k, op.getValue(), op.getLayout());
    source.pattern = op.getKeys();
    source.selection = k.read(op.getSelection());
    source.format = op.getFormat();
    source.block = op.getBlock();
    source.queryBlock = op.getQueryBlock();
    source.origin = op.getOrigin();
    if (op.getBias())
      source.bias = k.read(op.getBias());
    spec.sources.push_back(source);
    addPositions(k, op, spec);
    buildAttention(k, spec);
    replaceWithBuffers(k, rewriter, op, {spec.out.buffer, spec.lse});
    return success();
  }
};

struct LowerConcatKVAttention : OpRewritePattern<ConcatKVAttentionOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ConcatKVAttentionOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    AttentionSpec spec = startSpec(k, op, op.getSourceValues().front());
    auto selections = op.getSelections().begin();
    for (auto [key, value, pattern, selected] :
         llvm::zip(op.getSourceKeys(), op.getSourceValues(), op.getSourcePatterns(), op.getSelected())) {
      KeySource source;
      source.keys = readHeads(k, key, op.getLayout());
      source.values = readHeads(k, value, op.getLayout());
      source.pattern = pattern;
      if (selected)
        source.selection = k.read(*selections++);
      spec.sources.push_back(source);
    }
    spec.queryOffset = op.getQOffset();
    if (!spec.queryOffset) {
      const KeySource *tokens = llvm::find_if(spec.sources, [](const KeySource &s) {
        return s.pattern.isTokenAligned();
      });
      spec.queryOffset = k.sub(seqLength(k, tokens->keys), seqLength(k, spec.query));
    }
    buildAttention(k, spec);
    replaceWithBuffers(k, rewriter, op, {spec.out.buffer, spec.lse});
    return success();
  }
};

} // namespace

void sparseattn::populateAttentionPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerAttention, LowerConcatKVAttention, LowerSparseAttention>(patterns.getContext());
}
