//===- IndexMath.h - arithmetic on coordinates -----------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_TILE_INDEXMATH_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_TILE_INDEXMATH_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"

namespace sparseattn {

/// Builds, and folds at once, arithmetic on `index` values or tensors of them.
class IndexMath {
public:
  using Value = mlir::Value;

  IndexMath(mlir::OpBuilder &builder, mlir::Location loc) : b(builder), loc(loc) {}

  Value constant(int64_t value) { return mlir::arith::ConstantIndexOp::create(b, loc, value); }
  Value add(Value lhs, Value rhs) { return b.createOrFold<mlir::arith::AddIOp>(loc, lhs, rhs); }
  Value sub(Value lhs, Value rhs) { return b.createOrFold<mlir::arith::SubIOp>(loc, lhs, rhs); }
  Value mul(Value lhs, Value rhs) { return b.createOrFold<mlir::arith::MulIOp>(loc, lhs, rhs); }
  Value min(Value lhs, Value rhs) { return b.createOrFold<mlir::arith::MinSIOp>(loc, lhs, rhs); }
  Value max(Value lhs, Value rhs) { return b.createOrFold<mlir::arith::MaxSIOp>(loc, lhs, rhs); }
  Value add(Value lhs, int64_t rhs) { return add(lhs, constant(rhs)); }
  Value sub(Value lhs, int64_t rhs) { return sub(lhs, constant(rhs)); }
  Value mul(Value lhs, int64_t rhs) { return mul(lhs, constant(rhs)); }
  Value clamp(Value value, Value least, Value most) { return max(min(value, most), least); }
  /// Quotients of values that are not negative; a power of two is then a shift.
  Value floorDiv(Value lhs, int64_t rhs) { return floorDiv(lhs, constant(rhs)); }
  Value floorDiv(Value lhs, Value rhs) { return b.createOrFold<mlir::arith::DivUIOp>(loc, lhs, rhs); }
  Value ceilDiv(Value lhs, int64_t rhs) { return floorDiv(add(lhs, rhs - 1), rhs); }
  Value rem(Value lhs, int64_t rhs) { return b.createOrFold<mlir::arith::RemUIOp>(loc, lhs, constant(rhs)); }
  Value compare(mlir::arith::CmpIPredicate predicate, Value lhs, Value rhs) {
    return b.createOrFold<mlir::arith::CmpIOp>(loc, predicate, lhs, rhs);
  }
  Value select(Value condition, Value yes, Value no) {
    return b.createOrFold<mlir::arith::SelectOp>(loc, condition, yes, no);
  }
  Value both(Value lhs, Value rhs) { return b.createOrFold<mlir::arith::AndIOp>(loc, lhs, rhs); }

  /// Size of a dimension, a constant where it is static.
  Value dim(Value tensor, int64_t dim) {
    int64_t size = llvm::cast<mlir::RankedTensorType>(tensor.getType()).getDimSize(dim);
    if (!mlir::ShapedType::isDynamic(size))
      return constant(size);
    return b.createOrFold<mlir::tensor::DimOp>(loc, tensor, dim);
  }
  /// An i32 element as `index`; it is signed.
  Value extract(Value tensor, mlir::ValueRange at) {
    Value element = mlir::tensor::ExtractOp::create(b, loc, tensor, at);
    return mlir::arith::IndexCastOp::create(b, loc, b.getIndexType(), element);
  }
  Value splat(Value scalar, mlir::RankedTensorType type) {
    return b.createOrFold<mlir::tensor::SplatOp>(loc, scalar, type);
  }

private:
  mlir::OpBuilder &b;
  mlir::Location loc;
};

} // namespace sparseattn

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_TILE_INDEXMATH_H
