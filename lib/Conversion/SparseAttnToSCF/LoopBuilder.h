//===- LoopBuilder.h - scalar kernels in a few words -----------------------===//
//
// Part of the sparseattn project.
//
// The CPU lowering writes every operator as loops over buffers. This builder
// keeps those kernels as short as their formulas: arithmetic works on index,
// i32 and f32 values (or vectors of f32) alike, loads widen to f32, stores
// round to the element type of the buffer.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_LOOPBUILDER_H
#define SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_LOOPBUILDER_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace sparseattn {

class LoopBuilder {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;

  LoopBuilder(mlir::OpBuilder &builder, mlir::Location loc) : b(builder), loc(loc) {}

  mlir::OpBuilder &builder() { return b; }
  mlir::Location location() const { return loc; }

  //===--- Constants ------------------------------------------------------===//
  Value index(int64_t value);
  Value i32(int64_t value);
  Value f32(double value);
  Value f64(double value);
  Value flag(bool value);
  /// -inf, the score of what is invisible.
  Value minusInf();

  //===--- Arithmetic -----------------------------------------------------===//
  Value add(Value lhs, Value rhs);
  Value sub(Value lhs, Value rhs);
  Value mul(Value lhs, Value rhs);
  /// Floats: quotient; integers: rounded towards minus infinity.
  Value div(Value lhs, Value rhs);
  Value ceilDiv(Value lhs, Value rhs);
  Value rem(Value lhs, Value rhs);
  Value min(Value lhs, Value rhs);
  Value max(Value lhs, Value rhs);
  Value add(Value lhs, int64_t rhs) { return add(lhs, index(rhs)); }
  Value sub(Value lhs, int64_t rhs) { return sub(lhs, index(rhs)); }
  Value mul(Value lhs, int64_t rhs) { return mul(lhs, index(rhs)); }
  Value div(Value lhs, int64_t rhs) { return div(lhs, index(rhs)); }
  Value rem(Value lhs, int64_t rhs) { return rem(lhs, index(rhs)); }
  /// lhs * rhs + acc, fused where the target can.
  Value fma(Value lhs, Value rhs, Value acc);

  //===--- Comparison and choice --------------------------------------------===//
  /// Ordered comparisons: false when an operand is NaN.
  Value lt(Value lhs, Value rhs);
  Value le(Value lhs, Value rhs);
  Value gt(Value lhs, Value rhs) { return lt(rhs, lhs); }
  Value ge(Value lhs, Value rhs) { return le(rhs, lhs); }
  Value eq(Value lhs, Value rhs);
  Value both(Value lhs, Value rhs);
  Value either(Value lhs, Value rhs);
  Value negate(Value condition);
  Value select(Value condition, Value yes, Value no);

  //===--- Conversions and bits ---------------------------------------------===//
  /// i32 or i1 to index; i32 is signed.
  Value toIndex(Value value);
  /// index or i1 to i32.
  Value toI32(Value value);
  /// index or i32 to f32.
  Value toF32(Value value);
  /// index to f64, for the few quantities that f32 cannot hold.
  Value toF64(Value value);
  /// f64 to f32.
  Value truncate(Value value);
  /// Whether bit `column mod 32` of word `column div 32` in the last dimension is set.
  Value loadBit(Value buffer, llvm::SmallVector<Value> row, Value column);
  /// Sets that bit.
  void setBit(Value buffer, llvm::SmallVector<Value> row, Value column);
  /// An index in [0, 2^32) that orders as the f32 does; both zeros are equal.
  Value toOrdered(Value value);
  Value bitOr(Value lhs, Value rhs);
  Value shiftLeft(Value lhs, Value rhs);

  //===--- Buffers ------------------------------------------------------------===//
  /// A tensor as a read-only buffer.
  Value read(Value tensor);
  /// A new buffer for a result; `like` gives the sizes of dynamic dimensions.
  Value allocate(mlir::RankedTensorType type, ValueRange dynamicSizes);
  /// The result that a buffer holds.
  Value asTensor(Value buffer);
  /// Temporary storage of this iteration.
  Value scratch(llvm::ArrayRef<int64_t> shape, mlir::Type elementType);
  Value scratch(Value size, mlir::Type elementType);
  /// Size of dimension `dim` of a tensor or buffer.
  Value dim(Value shaped, int64_t dim);
  Value load(Value buffer, ValueRange indices);
  Value loadIndex(Value buffer, ValueRange indices) { return toIndex(load(buffer, indices)); }
  void store(Value value, Value buffer, ValueRange indices);
  /// `lanes` consecutive elements of the last dimension as f32.
  Value loadVector(Value buffer, ValueRange indices, int64_t lanes);
  void storeVector(Value vector, Value buffer, ValueRange indices);
  Value splat(Value scalar, int64_t lanes);
  /// Sum of the lanes.
  Value sumLanes(Value vector);
  /// Largest lane.
  Value maxLanes(Value vector);
  /// 0, 1, 2, ... as `index` lanes.
  Value laneIndices(int64_t lanes);

  //===--- Control --------------------------------------------------------------===//
  void forRange(Value begin, Value end, Value step, llvm::function_ref<void(Value)> body);
  void forRange(Value begin, Value end, llvm::function_ref<void(Value)> body) {
    forRange(begin, end, index(1), body);
  }
  void forRange(Value end, llvm::function_ref<void(Value)> body) { forRange(index(0), end, body); }
  /// Loop-carried values; the body returns the next ones.
  llvm::SmallVector<Value> fold(Value begin, Value end, Value step, ValueRange init,
                                llvm::function_ref<llvm::SmallVector<Value>(Value, ValueRange)> body);
  Value fold(Value begin, Value end, Value init, llvm::function_ref<Value(Value, Value)> body);
  /// Independent iterations over [0, ends): they may run on several threads.
  void parallel(ValueRange ends, llvm::function_ref<void(ValueRange)> body);
  void ifThen(Value condition, llvm::function_ref<void()> body);
  llvm::SmallVector<Value> ifElse(Value condition, llvm::function_ref<llvm::SmallVector<Value>()> yes,
                                  llvm::function_ref<llvm::SmallVector<Value>()> no);
  /// Repeats `body` while `condition` holds for the carried values.
  llvm::SmallVector<Value> whileLoop(ValueRange init, llvm::function_ref<Value(ValueRange)> condition,
                                     llvm::function_ref<llvm::SmallVector<Value>(ValueRange)> body);

  //===--- Functions ------------------------------------------------------------===//
  Value exp(Value value);
  Value log(Value value);
  Value sqrt(Value value);
  Value sigmoid(Value value);
  Value pow(Value base, Value exponent);
  Value sin(Value value);
  Value cos(Value value);

private:
  mlir::OpBuilder &b;
  mlir::Location loc;
};

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_LOOPBUILDER_H
