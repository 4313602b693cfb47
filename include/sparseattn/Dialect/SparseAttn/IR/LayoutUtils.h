//===- LayoutUtils.h - reading head tensors in any layout ------------------===//
//
// Part of the sparseattn project.
//
// A layout only says which dimension of a tensor is batch, head, sequence and
// channel; nothing is ever copied because of it.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_SPARSEATTN_IR_LAYOUTUTILS_H
#define SPARSEATTN_DIALECT_SPARSEATTN_IR_LAYOUTUTILS_H

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"

namespace sparseattn {

/// Position of each role among the dimensions; `batch` is -1 for `thd`.
struct LayoutDims {
  int batch;
  int head;
  int seq;
  int dim;
  int rank() const { return dim + 1; }
};

LayoutDims getLayoutDims(Layout layout);

/// Sizes of a head tensor by role; batch is 1 for `thd`.
struct HeadShape {
  int64_t batch;
  int64_t heads;
  int64_t length;
  int64_t dim;
};

/// Sizes of `type` read in `layout`; the rank must be that of the layout.
HeadShape getHeadShape(mlir::RankedTensorType type, Layout layout);

/// Dimensions of a tensor of `layout` with the given sizes.
llvm::SmallVector<int64_t> makeHeadShape(Layout layout, HeadShape shape);

/// ceil(a/b), dynamic when `a` is.
int64_t ceilDivDim(int64_t a, int64_t b);

/// Number of summaries of `length` keys (chunk_summarize's `M`).
int64_t getNumBlocks(int64_t length, int64_t block, int64_t stride, bool completeOnly);

} // namespace sparseattn

#endif // SPARSEATTN_DIALECT_SPARSEATTN_IR_LAYOUTUTILS_H
