//===- VerifyUtils.h - numbered constraints --------------------------------===//
//
// Part of the sparseattn project.
//
// Verifiers cite the constraint numbers of the op descriptions. The checks that
// several ops share take the number from the caller.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTN_IR_VERIFYUTILS_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTN_IR_VERIFYUTILS_H

#include "sparseattn/Dialect/Constraints.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/APFloat.h"
#include <limits>

namespace sparseattn {

/// Largest head dimension the project compiles for.
inline constexpr int64_t kMaxHeadDim = 1024;

/// Largest number of KV heads of a cache: its planning visits every head.
inline constexpr int64_t kMaxHeads = 65536;

/// Largest cache, 1 PiB: the sum over the layers of a model must not overflow.
inline constexpr int64_t kMaxCacheBytes = int64_t{1} << 50;

/// Largest integer attribute: indices are i32, and sums of a few sizes must not overflow.
inline constexpr int64_t kMaxSize = std::numeric_limits<int32_t>::max();

inline mlir::RankedTensorType getTensorType(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType());
}

/// True when two sizes are equal or one of them is dynamic.
inline bool dimsAgree(int64_t a, int64_t b) {
  return mlir::ShapedType::isDynamic(a) || mlir::ShapedType::isDynamic(b) || a == b;
}

/// `a`, unless it is dynamic and `b` is not.
inline int64_t mergeDims(int64_t a, int64_t b) {
  return mlir::ShapedType::isDynamic(a) ? b : a;
}

/// An integer attribute as a size; dynamic when the verifier is going to refuse it.
inline int64_t sizeOrDynamic(int64_t value) {
  return value < 0 || value > kMaxSize ? mlir::ShapedType::kDynamic : value;
}

/// A size as it is written in tensor types, `?` when dynamic.
std::string formatSize(int64_t size);

/// Sizes in brackets.
std::string formatShape(llvm::ArrayRef<int64_t> shape);

/// Checks that `value` (called `name`) has a shape compatible with `expected`.
llvm::LogicalResult verifyShape(mlir::Operation *op, unsigned number, llvm::StringRef name,
                                mlir::Value value, llvm::ArrayRef<int64_t> expected);

/// Checks that `value` has the rank of `layout`.
llvm::LogicalResult verifyLayoutRank(mlir::Operation *op, unsigned number, llvm::StringRef name,
                                     mlir::Value value, Layout layout);

/// Checks that layout is not `thd`.
llvm::LogicalResult verifyNotPacked(mlir::Operation *op, unsigned number, Layout layout);

/// Checks that all values have the element type of the first.
llvm::LogicalResult verifySameElementType(mlir::Operation *op, unsigned number, mlir::ValueRange values);

/// Checks that `queryHeads` is a multiple of `kvHeads`.
llvm::LogicalResult verifyHeadGroups(mlir::Operation *op, unsigned number, int64_t queryHeads, int64_t kvHeads);

/// Checks a selection of key blocks: `[B,Hs,Nq,K]` indices, or `[B,Hs,Nq,words]`
/// bit masks over `numBlocks` blocks, with Hs 1, Hkv or Hq; without B for `thd`.
llvm::LogicalResult verifySelection(mlir::Operation *op, unsigned number, mlir::Value selection, Layout layout,
                                    HeadShape query, int64_t kvHeads, SelectionFormat format, int64_t numBlocks);

/// Checks that a head dimension lies in [1, kMaxHeadDim].
llvm::LogicalResult verifyHeadDim(mlir::Operation *op, unsigned number, llvm::StringRef name, int64_t dim);

/// Checks that `value` is finite.
llvm::LogicalResult verifyFinite(mlir::Operation *op, unsigned number, llvm::StringRef name,
                                 const std::optional<llvm::APFloat> &value);

/// Checks that an integer attribute lies in [least, kMaxSize].
llvm::LogicalResult verifyAtLeast(mlir::Operation *op, unsigned number, llvm::StringRef name,
                                  int64_t value, int64_t least);

/// Checks results against the op's own type inference.
llvm::LogicalResult verifyInferredResults(mlir::Operation *op, unsigned number);

/// Checks `layer` and `kv_source`.
llvm::LogicalResult verifyLayer(mlir::Operation *op, unsigned number, std::optional<int64_t> layer,
                                std::optional<int64_t> kvSource);

/// Checks that a key pattern fits the op.
llvm::LogicalResult verifyPattern(mlir::Operation *op, unsigned number, KeyPatternAttrInterface pattern,
                                  int64_t kvHeads);

/// Numbers of the constraints on alpha, solver and sigma.
struct EntmaxConstraints {
  unsigned alpha, solver, sigma;
};

/// Checks the attributes of an entmax routing.
llvm::LogicalResult verifyEntmax(mlir::Operation *op, EntmaxConstraints numbers, const llvm::APFloat &alpha,
                                 mlir::Attribute solver, const llvm::APFloat &sigma);

/// `scale` or 1/sqrt(dim).
double scaleOrDefault(const std::optional<llvm::APFloat> &scale, int64_t dim);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTN_IR_VERIFYUTILS_H
