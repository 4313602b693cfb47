//===- LoopBuilder.cpp - scalar kernels in a few words ---------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "LoopBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace sparseattn;

static bool isFloat(Value value) { return isa<FloatType>(getElementTypeOrSelf(value)); }

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

Value LoopBuilder::index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
Value LoopBuilder::i32(int64_t value) { return arith::ConstantIntOp::create(b, loc, value, 32); }
Value LoopBuilder::f32(double value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
}
Value LoopBuilder::f64(double value) {
  return arith::ConstantOp::create(b, loc, b.getF64FloatAttr(value));
}
Value LoopBuilder::flag(bool value) { return arith::ConstantIntOp::create(b, loc, value, 1); }
Value LoopBuilder::minusInf() { return f32(-std::numeric_limits<double>::infinity()); }

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

// Reassociation would change results between vector widths; contraction only
// skips a rounding.
static arith::FastMathFlagsAttr getContract(OpBuilder &b) {
  return arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
}

/// The operation that fits the type of the operands.
template <typename FloatOp, typename IntegerOp>
static Value create(OpBuilder &b, Location loc, Value lhs, Value rhs) {
  return isFloat(lhs) ? Value(FloatOp::create(b, loc, lhs, rhs)) : Value(IntegerOp::create(b, loc, lhs, rhs));
}

Value LoopBuilder::add(Value lhs, Value rhs) {
  return create<arith::AddFOp, arith::AddIOp>(b, loc, lhs, rhs);
}
Value LoopBuilder::sub(Value lhs, Value rhs) {
  return create<arith::SubFOp, arith::SubIOp>(b, loc, lhs, rhs);
}
Value LoopBuilder::mul(Value lhs, Value rhs) {
  return create<arith::MulFOp, arith::MulIOp>(b, loc, lhs, rhs);
}
Value LoopBuilder::div(Value lhs, Value rhs) {
  return create<arith::DivFOp, arith::FloorDivSIOp>(b, loc, lhs, rhs);
}
Value LoopBuilder::ceilDiv(Value lhs, Value rhs) { return arith::CeilDivSIOp::create(b, loc, lhs, rhs); }
Value LoopBuilder::rem(Value lhs, Value rhs) { return arith::RemSIOp::create(b, loc, lhs, rhs); }
Value LoopBuilder::min(Value lhs, Value rhs) {
  return create<arith::MinimumFOp, arith::MinSIOp>(b, loc, lhs, rhs);
}
Value LoopBuilder::max(Value lhs, Value rhs) {
  return create<arith::MaximumFOp, arith::MaxSIOp>(b, loc, lhs, rhs);
}
Value LoopBuilder::fma(Value lhs, Value rhs, Value acc) {
  Value product = arith::MulFOp::create(b, loc, lhs, rhs, getContract(b));
  return arith::AddFOp::create(b, loc, product, acc, getContract(b));
}

//===----------------------------------------------------------------------===//
// Comparison and choice
//===----------------------------------------------------------------------===//

Value LoopBuilder::lt(Value lhs, Value rhs) {
  if (isFloat(lhs))
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, lhs, rhs);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, lhs, rhs);
}
Value LoopBuilder::le(Value lhs, Value rhs) {
  if (isFloat(lhs))
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLE, lhs, rhs);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sle, lhs, rhs);
}
Value LoopBuilder::eq(Value lhs, Value rhs) {
  if (isFloat(lhs))
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, lhs, rhs);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, lhs, rhs);
}
Value LoopBuilder::both(Value lhs, Value rhs) { return arith::AndIOp::create(b, loc, lhs, rhs); }
Value LoopBuilder::either(Value lhs, Value rhs) { return arith::OrIOp::create(b, loc, lhs, rhs); }
Value LoopBuilder::negate(Value condition) {
  return arith::XOrIOp::create(b, loc, condition, flag(true));
}
Value LoopBuilder::select(Value condition, Value yes, Value no) {
  return arith::SelectOp::create(b, loc, condition, yes, no);
}

//===----------------------------------------------------------------------===//
// Conversions and bits
//===----------------------------------------------------------------------===//

Value LoopBuilder::toIndex(Value value) {
  if (value.getType().isIndex())
    return value;
  if (value.getType().isInteger(1))
    return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), value);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), value);
}
Value LoopBuilder::toI32(Value value) {
  if (value.getType().isIndex())
    return arith::IndexCastOp::create(b, loc, b.getI32Type(), value);
  if (value.getType().isInteger(1))
    return arith::ExtUIOp::create(b, loc, b.getI32Type(), value);
  return value;
}
Value LoopBuilder::toF32(Value value) {
  if (value.getType().isIndex())
    value = arith::IndexCastOp::create(b, loc, b.getI64Type(), value);
  return arith::SIToFPOp::create(b, loc, b.getF32Type(), value);
}
Value LoopBuilder::toF64(Value value) {
  value = arith::IndexCastOp::create(b, loc, b.getI64Type(), value);
  return arith::SIToFPOp::create(b, loc, b.getF64Type(), value);
}
Value LoopBuilder::truncate(Value value) { return arith::TruncFOp::create(b, loc, b.getF32Type(), value); }
Value LoopBuilder::loadBit(Value buffer, SmallVector<Value> row, Value column) {
  row.push_back(div(column, index(32)));
  Value word = load(buffer, row);
  Value shifted = arith::ShRUIOp::create(b, loc, word, toI32(rem(column, index(32))));
  return arith::TruncIOp::create(b, loc, b.getI1Type(), shifted);
}
void LoopBuilder::setBit(Value buffer, SmallVector<Value> row, Value column) {
  row.push_back(div(column, index(32)));
  Value bit = shiftLeft(i32(1), toI32(rem(column, index(32))));
  store(bitOr(load(buffer, row), bit), buffer, row);
}
Value LoopBuilder::toOrdered(Value value) {
  // Adding 0 turns -0 into +0. Bits of negative floats order backwards.
  Value bits = arith::BitcastOp::create(b, loc, b.getI32Type(), add(value, f32(0.0)));
  Value flipped = arith::XOrIOp::create(b, loc, bits, i32(0x7fffffff));
  return add(toIndex(select(lt(bits, i32(0)), flipped, bits)), int64_t(1) << 31);
}
Value LoopBuilder::bitOr(Value lhs, Value rhs) { return arith::OrIOp::create(b, loc, lhs, rhs); }
Value LoopBuilder::shiftLeft(Value lhs, Value rhs) { return arith::ShLIOp::create(b, loc, lhs, rhs); }

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

static MemRefType getBufferType(RankedTensorType type) {
  return MemRefType::get(type.getShape(), type.getElementType());
}

Value LoopBuilder::read(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  return bufferization::ToBufferOp::create(b, loc, getBufferType(type), tensor, /*read_only=*/true);
}
Value LoopBuilder::allocate(RankedTensorType type, ValueRange dynamicSizes) {
  return memref::AllocOp::create(b, loc, getBufferType(type), dynamicSizes);
}
Value LoopBuilder::asTensor(Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  return bufferization::ToTensorOp::create(
      b, loc, RankedTensorType::get(type.getShape(), type.getElementType()), buffer,
      /*restrict=*/true, /*writable=*/true);
}
Value LoopBuilder::scratch(ArrayRef<int64_t> shape, Type elementType) {
  // 64 KiB: a handful of them fits the stack of any OpenMP thread (4 MiB).
  constexpr int64_t maxStackElements = 16 * 1024;
  auto type = MemRefType::get(shape, elementType);
  if (type.getNumElements() > maxStackElements)
    return memref::AllocOp::create(b, loc, type);
  return memref::AllocaOp::create(b, loc, type);
}
Value LoopBuilder::scratch(Value size, Type elementType) {
  return memref::AllocOp::create(b, loc, MemRefType::get({ShapedType::kDynamic}, elementType),
                                 ValueRange{size});
}
Value LoopBuilder::dim(Value shaped, int64_t dim) {
  auto type = cast<ShapedType>(shaped.getType());
  if (!type.isDynamicDim(dim))
    return index(type.getDimSize(dim));
  if (isa<MemRefType>(type))
    return memref::DimOp::create(b, loc, shaped, dim);
  return tensor::DimOp::create(b, loc, shaped, dim);
}
Value LoopBuilder::load(Value buffer, ValueRange indices) {
  Value value = memref::LoadOp::create(b, loc, buffer, indices);
  if (isa<FloatType>(value.getType()) && !value.getType().isF32())
    return arith::ExtFOp::create(b, loc, b.getF32Type(), value);
  return value;
}
void LoopBuilder::store(Value value, Value buffer, ValueRange indices) {
  Type elementType = cast<MemRefType>(buffer.getType()).getElementType();
  if (elementType.isInteger(32))
    value = toI32(value);
  else if (value.getType().isF32() && !elementType.isF32())
    value = arith::TruncFOp::create(b, loc, elementType, value);
  memref::StoreOp::create(b, loc, value, buffer, indices);
}
Value LoopBuilder::loadVector(Value buffer, ValueRange indices, int64_t lanes) {
  Type elementType = cast<MemRefType>(buffer.getType()).getElementType();
  Value vector = vector::LoadOp::create(b, loc, VectorType::get(lanes, elementType), buffer, indices);
  if (elementType.isF32())
    return vector;
  return arith::ExtFOp::create(b, loc, VectorType::get(lanes, b.getF32Type()), vector);
}
void LoopBuilder::storeVector(Value vector, Value buffer, ValueRange indices) {
  Type elementType = cast<MemRefType>(buffer.getType()).getElementType();
  auto type = cast<VectorType>(vector.getType());
  if (!elementType.isF32())
    vector = arith::TruncFOp::create(b, loc, VectorType::get(type.getShape(), elementType), vector);
  vector::StoreOp::create(b, loc, vector, buffer, indices);
}
Value LoopBuilder::splat(Value scalar, int64_t lanes) {
  return vector::BroadcastOp::create(b, loc, VectorType::get(lanes, scalar.getType()), scalar);
}
Value LoopBuilder::sumLanes(Value vector) {
  // The order of the lanes is fixed by the tree below, so results do not depend on the target.
  int64_t lanes = cast<VectorType>(vector.getType()).getDimSize(0);
  while (lanes > 1) {
    lanes /= 2;
    Value low = vector::ExtractStridedSliceOp::create(b, loc, vector, {0}, {lanes}, {1});
    Value high = vector::ExtractStridedSliceOp::create(b, loc, vector, {lanes}, {lanes}, {1});
    vector = add(low, high);
  }
  return vector::ExtractOp::create(b, loc, vector, ArrayRef<int64_t>{0});
}

Value LoopBuilder::maxLanes(Value vector) {
  return vector::ReductionOp::create(b, loc, vector::CombiningKind::MAXIMUMF, vector);
}
Value LoopBuilder::laneIndices(int64_t lanes) {
  return vector::StepOp::create(b, loc, VectorType::get(lanes, b.getIndexType()));
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

void LoopBuilder::forRange(Value begin, Value end, Value step, function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(b, loc, begin, end, step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(loop.getBody()->getTerminator());
  body(loop.getInductionVar());
}
SmallVector<Value> LoopBuilder::fold(Value begin, Value end, Value step, ValueRange init,
                                     function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(
      b, loc, begin, end, step, init, [&](OpBuilder &, Location, Value iv, ValueRange carried) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToEnd(iv.getParentBlock());
        SmallVector<Value> next = body(iv, carried);
        scf::YieldOp::create(b, loc, next);
      });
  return llvm::to_vector_of<Value>(loop.getResults());
}
Value LoopBuilder::fold(Value begin, Value end, Value init, function_ref<Value(Value, Value)> body) {
  return fold(begin, end, index(1), ValueRange{init}, [&](Value iv, ValueRange carried) {
    return SmallVector<Value>{body(iv, carried[0])};
  })[0];
}
void LoopBuilder::parallel(ValueRange ends, function_ref<void(ValueRange)> body) {
  SmallVector<Value> zeros(ends.size(), index(0)), ones(ends.size(), index(1));
  auto loop = scf::ParallelOp::create(b, loc, zeros, ends, ones);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(loop.getBody()->getTerminator());
  body(loop.getInductionVars());
}
void LoopBuilder::ifThen(Value condition, function_ref<void()> body) {
  auto branch = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(branch.thenYield());
  body();
}
SmallVector<Value> LoopBuilder::ifElse(Value condition, function_ref<SmallVector<Value>()> yes,
                                       function_ref<SmallVector<Value>()> no) {
  auto build = [&](function_ref<SmallVector<Value>()> body) {
    return [&, body](OpBuilder &inner, Location) {
      OpBuilder::InsertionGuard guard(b);
      b.restoreInsertionPoint(inner.saveInsertionPoint());
      scf::YieldOp::create(b, loc, body());
    };
  };
  auto branch = scf::IfOp::create(b, loc, condition, build(yes), build(no));
  return llvm::to_vector_of<Value>(branch.getResults());
}
SmallVector<Value> LoopBuilder::whileLoop(ValueRange init, function_ref<Value(ValueRange)> condition,
                                          function_ref<SmallVector<Value>(ValueRange)> body) {
  auto loop = scf::WhileOp::create(
      b, loc, TypeRange(init), init,
      [&](OpBuilder &inner, Location, ValueRange carried) {
        OpBuilder::InsertionGuard guard(b);
        b.restoreInsertionPoint(inner.saveInsertionPoint());
        Value holds = condition(carried);
        scf::ConditionOp::create(b, loc, holds, carried);
      },
      [&](OpBuilder &inner, Location, ValueRange carried) {
        OpBuilder::InsertionGuard guard(b);
        b.restoreInsertionPoint(inner.saveInsertionPoint());
        scf::YieldOp::create(b, loc, body(carried));
      });
  return llvm::to_vector_of<Value>(loop.getResults());
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

Value LoopBuilder::exp(Value value) { return math::ExpOp::create(b, loc, value); }
Value LoopBuilder::log(Value value) { return math::LogOp::create(b, loc, value); }
Value LoopBuilder::sqrt(Value value) { return math::SqrtOp::create(b, loc, value); }
Value LoopBuilder::sigmoid(Value value) {
  Value one = f32(1.0);
  return div(one, add(one, exp(sub(f32(0.0), value))));
}
Value LoopBuilder::pow(Value base, Value exponent) { return math::PowFOp::create(b, loc, base, exponent); }
Value LoopBuilder::sin(Value value) { return math::SinOp::create(b, loc, value); }
Value LoopBuilder::cos(Value value) { return math::CosOp::create(b, loc, value); }
