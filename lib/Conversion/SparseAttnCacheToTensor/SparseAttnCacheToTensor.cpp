//===- SparseAttnCacheToTensor.cpp - caches as storage tensors -------------===//
//
// Part of the sparseattn project.
//
// Storage is [batch, slots of all heads, dim]: head h has its own slots behind
// those of the heads before it, and token t lives in slot t mod slots(h). A
// cache that keeps every token has `length` slots, so that one rule serves all
// kinds. Operations make new storage and never write to what they are given.
//
//===----------------------------------------------------------------------===//

#include "../SparseAttnToSCF/LoweringUtils.h"
#include "sparseattn/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Func/Transforms/FuncConversions.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/DialectConversion.h"

namespace sparseattn {
#define GEN_PASS_DEF_CONVERTSPARSEATTNCACHETOTENSOR
#include "sparseattn/Conversion/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

namespace {

//===----------------------------------------------------------------------===//
// Storage
//===----------------------------------------------------------------------===//

/// Slots of each head, and the slots before them.
struct SlotTable {
  SmallVector<int64_t> slots, offsets;
  int64_t total = 0;

  explicit SlotTable(KVCacheType cache) {
    for (int64_t head = 0; head < cache.getHeads(); ++head) {
      offsets.push_back(total);
      slots.push_back(cache.getCacheKind().getSlotsAt(head, cache.getLength()));
      total += slots.back();
    }
  }
};

/// Types of the storage of keys and of values.
SmallVector<RankedTensorType, 2> getStorageTypes(KVCacheType cache) {
  int64_t slots = SlotTable(cache).total;
  auto type = [&](int64_t dim) { return RankedTensorType::get({cache.getBatch(), slots, dim}, cache.getDtype()); };
  return {type(cache.getKeyDim()), type(cache.getValueDim())};
}

/// The slot table at run time: head number to slots and first slot.
class HeadSlots {
public:
  HeadSlots(LoopBuilder &k, KVCacheType cache) : k(k), table(cache) {
    if (!llvm::all_equal(table.slots)) {
      slots = constant(table.slots);
      offsets = constant(table.offsets);
    }
  }
  Value count(Value head) { return slots ? k.loadIndex(slots, head) : k.index(table.slots.front()); }
  Value first(Value head) { return slots ? k.loadIndex(offsets, head) : k.mul(head, table.slots.front()); }

private:
  Value constant(ArrayRef<int64_t> values) {
    OpBuilder &b = k.builder();
    return k.read(arith::ConstantOp::create(b, k.location(), b.getIndexTensorAttr(values)));
  }

  LoopBuilder &k;
  SlotTable table;
  Value slots, offsets;
};

/// Writes the last dimension of `to`: `value` gives f32 lanes from a channel on.
void writeChannels(LoopBuilder &k, Value to, function_ref<SmallVector<Value>(Value)> at,
                   function_ref<Value(Value)> value) {
  int64_t lanes = laneCount(to), rank = cast<MemRefType>(to.getType()).getRank();
  k.forRange(k.index(0), k.dim(to, rank - 1), k.index(lanes),
             [&](Value channel) { k.storeVector(value(channel), to, at(channel)); });
}

/// `yes` where `condition` holds, else `no`. Only the one that is taken runs.
Value choose(LoopBuilder &k, Value condition, function_ref<Value()> yes, function_ref<Value()> no) {
  return k.ifElse(condition, [&] { return SmallVector<Value>{yes()}; }, [&] { return SmallVector<Value>{no()}; })[0];
}

Value buildCreate(LoopBuilder &k, RankedTensorType type) {
  Value storage = k.allocate(type, {});
  forEachRow(k, storage, [&](ValueRange row) {
    Value zero = k.splat(k.f32(0.0), laneCount(storage));
    writeChannels(k, storage, [&](Value channel) { return inRow(row, channel); }, [&](Value) { return zero; });
  });
  return k.asTensor(storage);
}

/// The storage with `tokens` from `position` on: every slot takes the newest
/// token that belongs there, if there is a new one.
Value buildAppend(LoopBuilder &k, KVCacheType cache, Value storage, Value tokens, Layout layout, Value position) {
  HeadView added = readHeads(k, tokens, layout);
  Value old = k.read(storage), updated = k.allocate(cast<RankedTensorType>(storage.getType()), {});
  Value last = k.sub(seqLength(k, added), 1);
  int64_t lanes = laneCount(updated);
  HeadSlots slots(k, cache);
  k.parallel({k.index(cache.getBatch()), k.index(cache.getHeads())}, [&](ValueRange at) {
    Value batch = at[0], head = at[1], count = slots.count(head), first = slots.first(head);
    k.forRange(count, [&](Value slot) {
      Value distance = k.sub(k.add(position, last), slot);
      Value behind = k.sub(distance, k.mul(k.div(distance, count), count));
      Value token = k.sub(last, behind), row = k.add(first, slot);
      auto rowAt = [&](Value channel) { return SmallVector<Value>{batch, row, channel}; };
      writeChannels(k, updated, rowAt, [&](Value channel) {
        return choose(
            k, k.le(k.index(0), token),
            [&] { return k.loadVector(added.buffer, added.at(batch, head, token, channel), lanes); },
            [&] { return k.loadVector(old, rowAt(channel), lanes); });
      });
    });
  });
  return k.asTensor(updated);
}

/// Rows by token; tokens that are not kept, or not below `length`, are 0.
Value buildRead(LoopBuilder &k, KVCacheType cache, Value storage, Value result, Layout layout, Value length) {
  LayoutDims dims = getLayoutDims(layout);
  int64_t dim = cast<RankedTensorType>(storage.getType()).getShape().back();
  SmallVector<Value> sizes(4, length);
  sizes[dims.batch] = k.index(cache.getBatch());
  sizes[dims.head] = k.index(cache.getHeads());
  sizes[dims.dim] = k.index(dim);
  HeadView out = {allocateResult(k, result, sizes), dims};
  Value from = k.read(storage);
  int64_t lanes = laneCount(out.buffer);
  HeadSlots slots(k, cache);
  k.parallel({k.index(cache.getBatch()), k.index(cache.getHeads()), seqLength(k, out)}, [&](ValueRange at) {
    Value batch = at[0], head = at[1], token = at[2], count = slots.count(head);
    Value row = k.add(slots.first(head), k.rem(token, count));
    auto outAt = [&](Value channel) { return out.at(batch, head, token, channel); };
    auto rowAt = [&](Value channel) { return SmallVector<Value>{batch, row, channel}; };
    Value kept = k.both(k.le(k.sub(length, count), token), k.lt(token, length));
    writeChannels(k, out.buffer, outAt, [&](Value channel) {
      return choose(
          k, kept, [&] { return k.loadVector(from, rowAt(channel), lanes); },
          [&] { return k.splat(k.f32(0.0), lanes); });
    });
  });
  return k.asTensor(out.buffer);
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

struct ConvertCreate : OpConversionPattern<KVCacheCreateOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(KVCacheCreateOp op, OneToNOpAdaptor,
                                ConversionPatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    SmallVector<Value> storage;
    for (RankedTensorType type : getStorageTypes(op.getCache().getType()))
      storage.push_back(buildCreate(k, type));
    rewriter.replaceOpWithMultiple(op, {ValueRange(storage)});
    return success();
  }
};

struct ConvertAppend : OpConversionPattern<KVCacheAppendOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(KVCacheAppendOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    if (op.getSummarizeAttr())
      return op.emitOpError("appends and summarizes in one: run sparseattn-decompose first");
    LoopBuilder k(rewriter, op.getLoc());
    KVCacheType cache = op.getCache().getType();
    ValueRange storage = adaptor.getCache();
    SmallVector<Value> updated = {
        buildAppend(k, cache, storage[0], op.getKey(), op.getLayout(), op.getPosition()),
        buildAppend(k, cache, storage[1], op.getValue(), op.getLayout(), op.getPosition())};
    rewriter.replaceOpWithMultiple(op, {ValueRange(updated)});
    return success();
  }
};

struct ConvertRead : OpConversionPattern<KVCacheReadOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(KVCacheReadOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    KVCacheType cache = op.getCache().getType();
    ValueRange storage = adaptor.getCache();
    Value key = buildRead(k, cache, storage[0], op.getKey(), op.getLayout(), op.getLength());
    Value value = buildRead(k, cache, storage[1], op.getValue(), op.getLayout(), op.getLength());
    rewriter.replaceOp(op, {key, value});
    return success();
  }
};

/// A view is the cache itself: nothing ever writes to it.
struct ConvertView : OpConversionPattern<KVCacheViewOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(KVCacheViewOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithMultiple(op, {adaptor.getCache()});
    return success();
  }
};

/// What `scf.if` without side effects becomes when it is simplified.
struct ConvertSelect : OpConversionPattern<arith::SelectOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::SelectOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    SmallVector<Value> parts;
    for (auto [yes, no] : llvm::zip(adaptor.getTrueValue(), adaptor.getFalseValue()))
      parts.push_back(arith::SelectOp::create(rewriter, op.getLoc(), op.getCondition(), yes, no));
    rewriter.replaceOpWithMultiple(op, {ValueRange(parts)});
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

/// The first cache type of `op` whose elements a CPU cannot compute with.
KVCacheType findUnsupported(Operation *op) {
  auto isUnsupported = [](Type type) {
    auto cache = dyn_cast<KVCacheType>(type);
    return cache && !cache.getDtype().isF32() && !cache.getDtype().isF16() && !cache.getDtype().isBF16();
  };
  SmallVector<Type> types(op->getResultTypes());
  for (Region &region : op->getRegions())
    for (Block &block : region)
      llvm::append_range(types, block.getArgumentTypes());
  if (auto function = dyn_cast<FunctionOpInterface>(op))
    llvm::append_range(types, function.getArgumentTypes());
  auto *found = llvm::find_if(types, isUnsupported);
  return found == types.end() ? KVCacheType() : cast<KVCacheType>(*found);
}

struct ConvertSparseAttnCacheToTensor
    : sparseattn::impl::ConvertSparseAttnCacheToTensorBase<ConvertSparseAttnCacheToTensor> {
  void runOnOperation() override {
    WalkResult checked = getOperation()->walk([](Operation *op) {
      KVCacheType cache = findUnsupported(op);
      if (!cache)
        return WalkResult::advance();
      op->emitOpError("cannot be executed on the CPU: expected a cache with dtype f32, f16 or bf16, found ")
          << cache.getDtype() << "; give the cache one of those for the CPU";
      return WalkResult::interrupt();
    });
    if (checked.wasInterrupted())
      return signalPassFailure();

    TypeConverter converter;
    converter.addConversion([](Type type) { return type; });
    converter.addConversion([](KVCacheType cache, SmallVectorImpl<Type> &types) -> std::optional<LogicalResult> {
      llvm::append_range(types, getStorageTypes(cache));
      return success();
    });

    MLIRContext *context = &getContext();
    RewritePatternSet patterns(context);
    ConversionTarget target(*context);
    patterns.add<ConvertAppend, ConvertCreate, ConvertRead, ConvertSelect, ConvertView>(converter, context);
    populateFunctionOpInterfaceTypeConversionPattern<func::FuncOp>(patterns, converter);
    populateCallOpTypeConversionPattern(patterns, converter);
    populateReturnOpTypeConversionPattern(patterns, converter);
    target.addDynamicallyLegalOp<func::FuncOp>([&](func::FuncOp function) {
      return converter.isSignatureLegal(function.getFunctionType()) && converter.isLegal(&function.getBody());
    });
    target.markUnknownOpDynamicallyLegal([&](Operation *op) { return converter.isLegal(op); });
    scf::populateSCFStructuralTypeConversionsAndLegality(converter, patterns, target);
    if (failed(applyPartialConversion(getOperation(), target, std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
