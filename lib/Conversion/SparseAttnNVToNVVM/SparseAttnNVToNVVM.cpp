//===- SparseAttnNVToNVVM.cpp - products and approximations ----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Conversion/Passes.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Target/PTXAsm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/DialectConversion.h"

namespace sparseattn {
#define GEN_PASS_DEF_CONVERTSPARSEATTNNVTONVVM
#include "sparseattn/Conversion/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

/// Inline assembly with results of `types`.
static SmallVector<Value> buildAsm(ImplicitLocOpBuilder &b, const ptx::InlineAsm &code, TypeRange types,
                                   ValueRange operands) {
  Type result;
  if (types.size() == 1)
    result = types.front();
  else if (!types.empty())
    result = LLVM::LLVMStructType::getLiteral(b.getContext(), llvm::to_vector(types));
  auto op = LLVM::InlineAsmOp::create(b, result, operands, code.text, code.constraints, code.hasSideEffects,
                                      /*is_align_stack=*/false, LLVM::TailCallKind::None,
                                      LLVM::AsmDialectAttr::get(b.getContext(), LLVM::AsmDialect::AD_ATT),
                                      /*operand_attrs=*/ArrayAttr());
  if (types.size() == 1)
    return {op.getRes()};
  SmallVector<Value> values;
  for (size_t i = 0; i < types.size(); ++i)
    values.push_back(LLVM::ExtractValueOp::create(b, op.getRes(), i));
  return values;
}

namespace {

struct ConvertTileAt : OpConversionPattern<TileAtOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(TileAtOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, adaptor.getAddress());
    return success();
  }
};

struct ConvertSubtile : OpConversionPattern<SubtileOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(SubtileOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value unitsPerRow =
        arith::ConstantIntOp::create(b, b.getI32Type(), hopper::kSwizzleBytes / hopper::kDescriptorUnit);
    Value offset = arith::MulIOp::create(b, adaptor.getRow(), unitsPerRow);
    rewriter.replaceOp(op, arith::AddIOp::create(b, adaptor.getTile(), offset));
    return success();
  }
};

struct ConvertMmaChain : OpConversionPattern<MmaChainOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(MmaChainOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    TileType tileB = op.getB().getType();
    ptx::MatrixProduct product;
    product.n = op.getTransposeB() ? tileB.getRows() : tileB.getColumns();
    product.k = op.getTransposeB() ? tileB.getColumns() : tileB.getRows();
    product.element = tileB.getElementType().isBF16() ? ptx::Half::BF16 : ptx::Half::F16;
    product.aIsShared = static_cast<bool>(op.getTileA());
    product.a = {op.getTileA() ? op.getTileA().getType().getPitch() : 0, /*rowsAlongK=*/false};
    product.b = {tileB.getPitch(), /*rowsAlongK=*/!op.getTransposeB()};
    product.accumulate = !op.getAcc().empty();

    auto getLowWord = [&](Value address, ptx::TileView view) -> Value {
      return arith::AddIOp::create(
          b, address, arith::ConstantIntOp::create(b, b.getI32Type(), ptx::getDescriptorLow(view)));
    };
    SmallVector<Value> operands(adaptor.getAcc());
    if (product.aIsShared)
      operands.push_back(getLowWord(adaptor.getTileA(), product.a));
    llvm::append_range(operands, adaptor.getOperandsA());
    operands.push_back(getLowWord(adaptor.getB(), product.b));
    rewriter.replaceOp(op, buildAsm(b, ptx::getMatrixProduct(product), op.getResultTypes(), operands));
    return success();
  }
};

struct ConvertMmaWait : OpConversionPattern<MmaWaitOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(MmaWaitOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    ptx::InlineAsm code = ptx::getWaitGroup(op.getOutstanding(), op.getNumResults());
    rewriter.replaceOp(op, buildAsm(b, code, op.getResultTypes(), adaptor.getPending()));
    return success();
  }
};

template <typename OpTy, ptx::InlineAsm (*getAsm)()>
struct ConvertApproximation : OpConversionPattern<OpTy> {
  using OpConversionPattern<OpTy>::OpConversionPattern;
  LogicalResult matchAndRewrite(OpTy op, typename OpTy::Adaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return rewriter.notifyMatchFailure(op, "not f32");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    rewriter.replaceOp(op, buildAsm(b, getAsm(), op->getResultTypes(), adaptor.getOperands()));
    return success();
  }
};

/// x / y = x * rcp.approx(y); 1 / y is the reciprocal alone.
struct ConvertDivF : OpConversionPattern<arith::DivFOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(arith::DivFOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return rewriter.notifyMatchFailure(op, "not f32");
    Value reciprocal = NVVM::RcpApproxFtzF32Op::create(rewriter, op.getLoc(), op.getType(), adaptor.getRhs());
    auto constant = op.getLhs().getDefiningOp<arith::ConstantOp>();
    auto value = constant ? dyn_cast<FloatAttr>(constant.getValue()) : FloatAttr();
    if (value && value.getValue().isExactlyValue(1.0))
      rewriter.replaceOp(op, reciprocal);
    else
      rewriter.replaceOpWithNewOp<arith::MulFOp>(op, adaptor.getLhs(), reciprocal);
    return success();
  }
};

struct ConvertSparseAttnNVToNVVM : sparseattn::impl::ConvertSparseAttnNVToNVVMBase<ConvertSparseAttnNVToNVVM> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    TypeConverter converter;
    converter.addConversion([](Type type) { return type; });
    converter.addConversion([](TileType type) { return IntegerType::get(type.getContext(), 32); });
    ConversionTarget target(*context);
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    target.addIllegalOp<MmaChainOp, MmaWaitOp, SubtileOp, TileAtOp>();
    target.addDynamicallyLegalOp<arith::DivFOp, math::Exp2Op, math::Log2Op, math::TanhOp>(
        [](Operation *op) { return !op->getResult(0).getType().isF32(); });
    target.addIllegalOp<arith::CeilDivSIOp, arith::CeilDivUIOp, arith::FloorDivSIOp>();
    RewritePatternSet patterns(context);
    scf::populateSCFStructuralTypeConversionsAndLegality(converter, patterns, target);
    arith::populateCeilFloorDivExpandOpsPatterns(patterns);
    patterns.add<ConvertApproximation<math::Exp2Op, ptx::getExp2>, ConvertApproximation<math::Log2Op, ptx::getLog2>,
                 ConvertApproximation<math::TanhOp, ptx::getTanh>, ConvertDivF, ConvertMmaChain, ConvertMmaWait,
                 ConvertSubtile, ConvertTileAt>(converter, context);
    FrozenRewritePatternSet frozen(std::move(patterns));
    getOperation()->walk([&](gpu::GPUFuncOp kernel) {
      if (kernel.isKernel() && failed(applyPartialConversion(kernel, target, frozen)))
        signalPassFailure();
    });
  }
};

} // namespace
