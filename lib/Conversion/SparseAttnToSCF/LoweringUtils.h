//===- LoweringUtils.h - what the lowerings share --------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_LOWERINGUTILS_H
#define SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_LOWERINGUTILS_H

#include "LoopBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"

#include <numeric>

namespace sparseattn {

/// A head tensor read through its layout: element (batch, head, position,
/// channel), whatever the order of the dimensions.
struct HeadView {
  mlir::Value buffer;
  LayoutDims dims;

  llvm::SmallVector<mlir::Value> at(mlir::Value batch, mlir::Value head, mlir::Value position,
                                    mlir::Value channel) const {
    llvm::SmallVector<mlir::Value> indices(dims.rank());
    if (dims.batch >= 0)
      indices[dims.batch] = batch;
    indices[dims.head] = head;
    indices[dims.seq] = position;
    indices[dims.dim] = channel;
    return indices;
  }
  /// The same without the channel: a head-wise gate or an lse in this layout.
  llvm::SmallVector<mlir::Value> row(mlir::Value batch, mlir::Value head, mlir::Value position) const {
    auto indices = at(batch, head, position, {});
    indices.pop_back();
    return indices;
  }
  int64_t staticSize(int dim) const {
    return llvm::cast<mlir::MemRefType>(buffer.getType()).getDimSize(dim);
  }
};

inline HeadView readHeads(LoopBuilder &k, mlir::Value tensor, Layout layout) {
  return {k.read(tensor), getLayoutDims(layout)};
}
inline mlir::Value batchSize(LoopBuilder &k, const HeadView &view) {
  return view.dims.batch < 0 ? k.index(1) : k.dim(view.buffer, view.dims.batch);
}
inline mlir::Value headCount(LoopBuilder &k, const HeadView &view) { return k.dim(view.buffer, view.dims.head); }
inline mlir::Value seqLength(LoopBuilder &k, const HeadView &view) { return k.dim(view.buffer, view.dims.seq); }
inline mlir::Value headDim(LoopBuilder &k, const HeadView &view) { return k.dim(view.buffer, view.dims.dim); }

/// A buffer for `result` whose dynamic sizes are those of `sizes` (one value
/// for each dimension; only the dynamic ones are used).
inline mlir::Value allocateResult(LoopBuilder &k, mlir::Value result, mlir::ValueRange sizes) {
  auto type = llvm::cast<mlir::RankedTensorType>(result.getType());
  llvm::SmallVector<mlir::Value> dynamic;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (type.isDynamicDim(i))
      dynamic.push_back(sizes[i]);
  return k.allocate(type, dynamic);
}

/// A buffer for `result` with the sizes of `like`.
inline mlir::Value allocateLike(LoopBuilder &k, mlir::Value result, mlir::Value like) {
  llvm::SmallVector<mlir::Value> sizes;
  for (int64_t i = 0, e = llvm::cast<mlir::ShapedType>(result.getType()).getRank(); i < e; ++i)
    sizes.push_back(k.dim(like, i));
  return allocateResult(k, result, sizes);
}

/// Runs `body` for the indices of every row (all dimensions but the last) of
/// `buffer`, in parallel.
inline void forEachRow(LoopBuilder &k, mlir::Value buffer, llvm::function_ref<void(mlir::ValueRange)> body) {
  int64_t rank = llvm::cast<mlir::MemRefType>(buffer.getType()).getRank();
  llvm::SmallVector<mlir::Value> ends;
  for (int64_t i = 0; i + 1 < rank; ++i)
    ends.push_back(k.dim(buffer, i));
  if (ends.empty())
    return body({});
  k.parallel(ends, body);
}

/// Indices of an element: those of its row and its place in the row.
inline llvm::SmallVector<mlir::Value> inRow(mlir::ValueRange row, mlir::Value column) {
  llvm::SmallVector<mlir::Value> at = llvm::to_vector(row);
  at.push_back(column);
  return at;
}

/// Runs `body` for every element of `buffer`, in parallel over its rows.
inline void forEachElement(LoopBuilder &k, mlir::Value buffer,
                           llvm::function_ref<void(mlir::ValueRange)> body) {
  int64_t rank = llvm::cast<mlir::MemRefType>(buffer.getType()).getRank();
  if (rank == 0)
    return body({});
  forEachRow(k, buffer, [&](mlir::ValueRange row) {
    k.forRange(k.dim(buffer, rank - 1), [&](mlir::Value last) { body(inRow(row, last)); });
  });
}

/// Most f32 lanes, up to 16, that divide the last dimension; 1 if it is dynamic.
inline int64_t laneCount(mlir::Value shaped) {
  int64_t size = llvm::cast<mlir::ShapedType>(shaped.getType()).getShape().back();
  return mlir::ShapedType::isDynamic(size) ? 1 : std::gcd(size, int64_t(16));
}

/// Sum over [0, size) of `term`, which gives `lanes` terms from an index on.
inline mlir::Value sumOver(LoopBuilder &k, mlir::Value size, int64_t lanes,
                           llvm::function_ref<mlir::Value(mlir::Value)> term) {
  auto sums = k.fold(k.index(0), size, k.index(lanes), k.splat(k.f32(0.0), lanes),
                     [&](mlir::Value first, mlir::ValueRange sum) {
                       return llvm::SmallVector<mlir::Value>{k.add(sum[0], term(first))};
                     });
  return k.sumLanes(sums[0]);
}

/// Query heads of each KV head; 1 where there are no KV heads.
inline mlir::Value groupSize(LoopBuilder &k, mlir::Value queryHeads, mlir::Value kvHeads) {
  return k.max(k.div(queryHeads, k.max(kvHeads, k.index(1))), k.index(1));
}

/// Position of query 0: the operand, or `fallback`.
inline mlir::Value queryOffset(mlir::Value operand, mlir::Value fallback) {
  return operand ? operand : fallback;
}

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_LOWERINGUTILS_H
