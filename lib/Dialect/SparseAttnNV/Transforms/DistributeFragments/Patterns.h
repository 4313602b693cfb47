//===- Patterns.h - tensors of a warpgroup to values of a thread -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_DISTRIBUTEFRAGMENTS_PATTERNS_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_DISTRIBUTEFRAGMENTS_PATTERNS_H

#include "sparseattn/Analysis/FragmentLayout.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/DialectConversion.h"

namespace sparseattn::nv {

/// A tensor with an encoding of this dialect, or a pending one.
bool isFragment(mlir::Type type);

/// Types of the values that one thread holds of a fragment.
llvm::SmallVector<mlir::Type> getThreadTypes(mlir::Type fragment);

inline bool isHalf(mlir::Type type) { return type.isBF16() || type.isF16(); }

inline mlir::Value buildI32(mlir::ImplicitLocOpBuilder &b, int64_t value) {
  return mlir::arith::ConstantIntOp::create(b, b.getI32Type(), value);
}

/// Number of the thread in its warpgroup.
mlir::Value buildThread(mlir::ImplicitLocOpBuilder &b);
/// First row and first column that a thread holds.
mlir::Value buildThreadRow(mlir::ImplicitLocOpBuilder &b, mlir::Value thread);
mlir::Value buildThreadColumn(mlir::ImplicitLocOpBuilder &b, mlir::Value thread);

/// The value of lane xor `distance`; f32 or i32.
mlir::Value buildExchange(mlir::ImplicitLocOpBuilder &b, mlir::Value value, int64_t distance);

/// Pattern of one operation, operands as values of a thread.
template <typename OpTy>
struct FragmentPattern : mlir::OpConversionPattern<OpTy> {
  using mlir::OpConversionPattern<OpTy>::OpConversionPattern;
  using Adaptor = typename mlir::OpConversionPattern<OpTy>::OneToNOpAdaptor;
  llvm::LogicalResult matchAndRewrite(OpTy op, Adaptor adaptor,
                                      mlir::ConversionPatternRewriter &rewriter) const final {
    mlir::ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    llvm::SmallVector<llvm::SmallVector<mlir::Value>> results = build(op, adaptor, b);
    rewriter.replaceOpWithMultiple(op, std::move(results));
    return mlir::success();
  }
  /// The values of each result.
  virtual llvm::SmallVector<llvm::SmallVector<mlir::Value>> build(OpTy op, Adaptor adaptor,
                                                                  mlir::ImplicitLocOpBuilder &b) const = 0;
};

/// arith, math and tensor.splat, element by element.
void populateArithmeticPatterns(const mlir::TypeConverter &converter, mlir::RewritePatternSet &patterns);
/// dot, wait, to_operand.
void populateProductPatterns(const mlir::TypeConverter &converter, mlir::RewritePatternSet &patterns);
/// any_above, broadcast, combine, mask, reduce, rescale, rows, scale.
void populateRowPatterns(const mlir::TypeConverter &converter, mlir::RewritePatternSet &patterns);
/// store_tile, store_rows.
void populateStorePatterns(const mlir::TypeConverter &converter, mlir::RewritePatternSet &patterns);

/// Refuses arithmetic that has no form for one thread, with the reason.
llvm::LogicalResult verifyArithmetic(mlir::Operation *op);

} // namespace sparseattn::nv

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_DISTRIBUTEFRAGMENTS_PATTERNS_H
