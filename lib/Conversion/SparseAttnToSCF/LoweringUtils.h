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

/// Runs `body` for every element of `buffer`, in parallel over all dimensions but the last.
inline void forEachElement(LoopBuilder &k, mlir::Value buffer,
                           llvm::function_ref<void(mlir::ValueRange)> body) {
  int64_t rank = llvm::cast<mlir::MemRefType>(buffer.getType()).getRank();
  if (rank == 0)
    return body({});
  llvm::SmallVector<mlir::Value> ends;
  for (int64_t i = 0; i + 1 < rank; ++i)
    ends.push_back(k.dim(buffer, i));
  auto inner = [&](mlir::ValueRange outer) {
    k.forRange(k.dim(buffer, rank - 1), [&](mlir::Value last) {
      llvm::SmallVector<mlir::Value> at = llvm::to_vector(outer);
      at.push_back(last);
      body(at);
    });
  };
  if (ends.empty())
    return inner({});
  k.parallel(ends, inner);
}

/// Position of query 0: the operand, or `fallback`.
inline mlir::Value queryOffset(mlir::Value operand, mlir::Value fallback) {
  return operand ? operand : fallback;
}

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_LOWERINGUTILS_H
