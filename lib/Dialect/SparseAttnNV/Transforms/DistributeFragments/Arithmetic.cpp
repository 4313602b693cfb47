//===- Arithmetic.cpp - element-wise work, value by value ------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

//===----------------------------------------------------------------------===//
// What is refused
//===----------------------------------------------------------------------===//

static bool isPartial(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && isa_and_nonnull<RowPartialAttr>(tensor.getEncoding());
}

static LogicalResult verifyPartial(Operation *op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto splat = dyn_cast<SplatElementsAttr>(constant.getValue());
    if (splat && splat.getSplatValue<APFloat>().isZero())
      return success();
    return op->emitOpError("is a sum of 4 lanes, which can only be the constant 0");
  }
  if (isa<arith::AddFOp, arith::SubFOp, arith::NegFOp>(op))
    return success();
  if (auto select = dyn_cast<arith::SelectOp>(op); select && select.getCondition().getType().isInteger(1))
    return success();
  return op->emitOpError("is not linear, but its operands are sums of 4 lanes (#sparseattn_nv.row_partial); "
                         "combine them first");
}

LogicalResult nv::verifyArithmetic(Operation *op) {
  if (llvm::any_of(op->getResultTypes(), isPartial) || llvm::any_of(op->getOperandTypes(), isPartial))
    return verifyPartial(op);
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    if (!isa<SplatElementsAttr>(constant.getValue()))
      return op->emitOpError("is not a splat: a thread does not know which elements are its own");
    return success();
  }
  if (isa<tensor::SplatOp>(op))
    return success();
  if (!OpTrait::hasElementwiseMappableTraits(op))
    return op->emitOpError("has no form for the values of one thread; element-wise operations of arith and math "
                           "and those of sparseattn_nv have");
  auto isHalfFragment = [](Type type) { return isFragment(type) && isHalf(getElementTypeOrSelf(type)); };
  bool half = llvm::any_of(op->getOperandTypes(), isHalfFragment) || llvm::any_of(op->getResultTypes(), isHalfFragment);
  bool conversion = isa<arith::TruncFOp, arith::ExtFOp>(op) &&
                    (getElementTypeOrSelf(op->getOperand(0)).isF32() || getElementTypeOrSelf(op->getResult(0)).isF32());
  if (half && !conversion)
    return op->emitOpError("computes with 16-bit elements; extend them to f32 first");
  return success();
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

namespace {

using Results = SmallVector<SmallVector<Value>>;

/// One splat constant for all values.
struct DistributeConstant : FragmentPattern<arith::ConstantOp> {
  using FragmentPattern::FragmentPattern;
  Results build(arith::ConstantOp op, Adaptor, ImplicitLocOpBuilder &b) const override {
    SmallVector<Type> types = getThreadTypes(op.getType());
    auto splat = cast<SplatElementsAttr>(op.getValue());
    if (isHalf(splat.getElementType())) {
      uint64_t bits = splat.getSplatValue<APFloat>().bitcastToAPInt().getZExtValue();
      return {SmallVector<Value>(types.size(), buildI32(b, static_cast<int32_t>(bits << 16 | bits)))};
    }
    auto value = cast<TypedAttr>(splat.getSplatValue<Attribute>());
    return {SmallVector<Value>(types.size(), arith::ConstantOp::create(b, value))};
  }
};

struct DistributeSplat : FragmentPattern<tensor::SplatOp> {
  using FragmentPattern::FragmentPattern;
  Results build(tensor::SplatOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    SmallVector<Type> types = getThreadTypes(op.getType());
    Value value = adaptor.getInput().front();
    if (isHalf(value.getType())) {
      auto pair = VectorType::get(2, value.getType());
      Value vector = LLVM::PoisonOp::create(b, pair);
      for (int64_t i : {0, 1})
        vector = LLVM::InsertElementOp::create(b, vector, value, buildI32(b, i));
      value = LLVM::BitcastOp::create(b, b.getI32Type(), vector);
    }
    return {SmallVector<Value>(types.size(), value)};
  }
};

/// Pairs of neighbouring columns share a register: `cvt.rn.bf16x2.f32`, `cvt.rn.f16x2.f32`.
struct DistributeTruncF : FragmentPattern<arith::TruncFOp> {
  using FragmentPattern::FragmentPattern;
  Results build(arith::TruncFOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    Type element = getElementTypeOrSelf(op.getType());
    auto pair = VectorType::get(2, element);
    auto nearest = NVVM::FPRoundingMode::RN;
    SmallVector<Value> values;
    ValueRange in = adaptor.getIn();
    for (size_t i = 0; i < in.size(); i += 2) {
      Value low = in[i], high = in[i + 1], vector;
      if (element.isBF16())
        vector = NVVM::ConvertF32x2ToBF16x2Op::create(b, pair, high, low, Value(), nearest);
      else
        vector = NVVM::ConvertF32x2ToF16x2Op::create(b, pair, high, low, Value(), nearest);
      values.push_back(LLVM::BitcastOp::create(b, b.getI32Type(), vector));
    }
    return {values};
  }
};

struct DistributeExtF : FragmentPattern<arith::ExtFOp> {
  using FragmentPattern::FragmentPattern;
  Results build(arith::ExtFOp op, Adaptor adaptor, ImplicitLocOpBuilder &b) const override {
    auto pair = VectorType::get(2, getElementTypeOrSelf(op.getIn()));
    SmallVector<Value> values;
    for (Value packed : adaptor.getIn()) {
      Value vector = LLVM::BitcastOp::create(b, pair, packed);
      for (int64_t i : {0, 1}) {
        Value half = LLVM::ExtractElementOp::create(b, vector, buildI32(b, i));
        values.push_back(arith::ExtFOp::create(b, b.getF32Type(), half));
      }
    }
    return {values};
  }
};

/// Any other element-wise operation: the same one on each value. A scalar operand (the condition of a select)
/// serves all.
struct DistributeElementwise : ConversionPattern {
  DistributeElementwise(const TypeConverter &converter, MLIRContext *context)
      : ConversionPattern(converter, MatchAnyOpTypeTag(), /*benefit=*/1, context) {}
  LogicalResult matchAndRewrite(Operation *op, ArrayRef<ValueRange> operands,
                                ConversionPatternRewriter &rewriter) const override {
    if (!OpTrait::hasElementwiseMappableTraits(op) || op->getNumResults() != 1)
      return failure();
    SmallVector<Value> values;
    for (auto [i, type] : llvm::enumerate(getThreadTypes(op->getResult(0).getType()))) {
      SmallVector<Value> inputs;
      for (ValueRange operand : operands)
        inputs.push_back(operand.size() == 1 ? operand.front() : operand[i]);
      OperationState state(op->getLoc(), op->getName(), inputs, type, op->getAttrs());
      values.push_back(rewriter.create(state)->getResult(0));
    }
    rewriter.replaceOpWithMultiple(op, {values});
    return success();
  }
};

} // namespace

void nv::populateArithmeticPatterns(const TypeConverter &converter, RewritePatternSet &patterns) {
  MLIRContext *context = patterns.getContext();
  patterns.add<DistributeElementwise>(converter, context);
  patterns.add<DistributeConstant, DistributeExtF, DistributeSplat, DistributeTruncF>(converter, context,
                                                                                      /*benefit=*/2);
}
