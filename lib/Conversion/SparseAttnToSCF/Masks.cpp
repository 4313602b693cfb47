//===- Masks.cpp - bit masks, index lists and their unions -----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "Patterns.h"

using namespace mlir;
using namespace sparseattn;

namespace {

/// Sizes of `shaped` with the last one replaced.
SmallVector<Value> sizesWithLast(LoopBuilder &k, Value shaped, Value last) {
  SmallVector<Value> sizes;
  for (int64_t i = 0, e = cast<ShapedType>(shaped.getType()).getRank(); i + 1 < e; ++i)
    sizes.push_back(k.dim(shaped, i));
  sizes.push_back(last);
  return sizes;
}

Value lastSize(LoopBuilder &k, Value buffer) {
  return k.dim(buffer, cast<MemRefType>(buffer.getType()).getRank() - 1);
}

void fillRow(LoopBuilder &k, Value buffer, ValueRange row, Value value) {
  k.forRange(lastSize(k, buffer), [&](Value column) { k.store(value, buffer, inRow(row, column)); });
}

struct LowerMaskToIndex : OpRewritePattern<MaskToIndexOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MaskToIndexOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    Value mask = k.read(op.getMask()), cap = k.index(op.getCap());
    SmallVector<Value> sizes = sizesWithLast(k, op.getMask(), cap);
    Value indices = allocateResult(k, op.getIndices(), sizes);
    Value count = allocateResult(k, op.getCount(), ValueRange(sizes).drop_back());
    forEachRow(k, indices, [&](ValueRange row) {
      fillRow(k, indices, row, k.i32(-1));
      Value columns = k.mul(lastSize(k, mask), 32);
      Value kept = k.fold(k.index(0), columns, k.index(0), [&](Value column, Value kept) {
        Value take = k.both(k.loadBit(mask, llvm::to_vector(row), column), k.lt(kept, cap));
        k.ifThen(take, [&] { k.store(column, indices, inRow(row, kept)); });
        return k.add(kept, k.toIndex(take));
      });
      k.store(kept, count, row);
    });
    rewriter.replaceOp(op, {k.asTensor(indices), k.asTensor(count)});
    return success();
  }
};

struct LowerIndexToMask : OpRewritePattern<IndexToMaskOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(IndexToMaskOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    Value indices = k.read(op.getIndices());
    Value numBlocks = k.index(op.getNumBlocks()), numWords = k.ceilDiv(numBlocks, k.index(32));
    Value mask = allocateResult(k, op.getMask(), sizesWithLast(k, op.getIndices(), numWords));
    forEachRow(k, mask, [&](ValueRange row) {
      fillRow(k, mask, row, k.i32(0));
      k.forRange(lastSize(k, indices), [&](Value entry) {
        Value block = k.loadIndex(indices, inRow(row, entry));
        k.ifThen(k.both(k.le(k.index(0), block), k.lt(block, numBlocks)),
                 [&] { k.setBit(mask, llvm::to_vector(row), block); });
      });
    });
    rewriter.replaceOp(op, k.asTensor(mask));
    return success();
  }
};

struct LowerUnionTile : OpRewritePattern<UnionTileOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(UnionTileOp op, PatternRewriter &rewriter) const override {
    LoopBuilder k(rewriter, op.getLoc());
    Value indices = k.read(op.getIndices());
    Value numQueries = k.dim(indices, 2), width = k.dim(indices, 3), tile = k.index(op.getTile());
    Value cap = op.getCap() ? k.index(*op.getCap()) : k.mul(tile, width);
    SmallVector<Value> sizes = sizesWithLast(k, op.getIndices(), k.ceilDiv(cap, k.index(32)));
    Value bits = allocateResult(k, op.getBits(), sizes);
    sizes[2] = k.ceilDiv(numQueries, tile);
    sizes[3] = cap;
    Value tileIndices = allocateResult(k, op.getTileIndices(), sizes);

    forEachRow(k, tileIndices, [&](ValueRange row) {
      Value first = k.mul(row[2], tile), last = k.min(k.add(first, tile), numQueries);
      k.forRange(first, last, [&](Value query) { fillRow(k, bits, {row[0], row[1], query}, k.i32(0)); });
      fillRow(k, tileIndices, row, k.i32(-1));
      // Each round finds the next larger block of the tile and who selected it.
      Value none = k.index(std::numeric_limits<int32_t>::max() + int64_t(1));
      auto smallestAbove = [&](Value block) {
        return k.fold(first, last, none, [&](Value query, Value smallest) {
          return k.fold(k.index(0), width, smallest, [&](Value entry, Value smallest) {
            Value candidate = k.loadIndex(indices, {row[0], row[1], query, entry});
            return k.select(k.both(k.lt(block, candidate), k.lt(candidate, smallest)), candidate, smallest);
          });
        });
      };
      k.whileLoop(
          {k.index(0), smallestAbove(k.index(-1))},
          [&](ValueRange state) { return k.both(k.lt(state[0], cap), k.lt(state[1], none)); },
          [&](ValueRange state) {
            Value place = state[0], block = state[1];
            k.store(block, tileIndices, inRow(row, place));
            k.forRange(first, last, [&](Value query) {
              Value selected = k.fold(k.index(0), width, k.flag(false), [&](Value entry, Value selected) {
                return k.either(selected, k.eq(k.loadIndex(indices, {row[0], row[1], query, entry}), block));
              });
              k.ifThen(selected, [&] { k.setBit(bits, {row[0], row[1], query}, place); });
            });
            return SmallVector<Value>{k.add(place, 1), smallestAbove(block)};
          });
    });
    rewriter.replaceOp(op, {k.asTensor(tileIndices), k.asTensor(bits)});
    return success();
  }
};

} // namespace

void sparseattn::populateMaskPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerIndexToMask, LowerMaskToIndex, LowerUnionTile>(patterns.getContext());
}
