//===- DistributeFragments.cpp - the pass ----------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "../Kernels.h"
#include "Patterns.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVDISTRIBUTEFRAGMENTS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

bool nv::isFragment(Type type) {
  if (isa<PendingType>(type))
    return true;
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && isa_and_nonnull<AccAttr, OperandAttr, RowAttr, RowPartialAttr>(tensor.getEncoding());
}

SmallVector<Type> nv::getThreadTypes(Type fragment) {
  if (auto pending = dyn_cast<PendingType>(fragment))
    fragment = pending.getTensor();
  auto tensor = cast<RankedTensorType>(fragment);
  Type element = tensor.getElementType();
  if (isa<RowAttr, RowPartialAttr>(tensor.getEncoding()))
    return SmallVector<Type>(fragment::kRowsPerThread, element);
  int64_t count = fragment::getNumValues(tensor.getDimSize(1));
  if (isHalf(element))
    return SmallVector<Type>(count / fragment::kPair, IntegerType::get(tensor.getContext(), 32));
  return SmallVector<Type>(count, element);
}

Value nv::buildThread(ImplicitLocOpBuilder &b) {
  return arith::AndIOp::create(b, NVVM::ThreadIdXOp::create(b, b.getI32Type()),
                               buildI32(b, hopper::kWarpgroupThreads - 1));
}

Value nv::buildThreadRow(ImplicitLocOpBuilder &b, Value thread) {
  // getThreadRow: 16 rows for each warp, one row for each 4 lanes.
  Value warp = arith::ShRUIOp::create(b, thread, buildI32(b, 5));
  Value lane = arith::AndIOp::create(b, thread, buildI32(b, hopper::kWarpThreads - 1));
  return arith::AddIOp::create(b, arith::MulIOp::create(b, warp, buildI32(b, fragment::kWarpRows)),
                               arith::ShRUIOp::create(b, lane, buildI32(b, 2)));
}

Value nv::buildThreadColumn(ImplicitLocOpBuilder &b, Value thread) {
  Value lane = arith::AndIOp::create(b, thread, buildI32(b, fragment::kQuad - 1));
  return arith::MulIOp::create(b, lane, buildI32(b, fragment::kPair));
}

Value nv::buildExchange(ImplicitLocOpBuilder &b, Value value, int64_t distance) {
  return NVVM::ShflOp::create(b, value.getType(), buildI32(b, -1), value, buildI32(b, distance),
                              buildI32(b, hopper::kWarpThreads - 1),
                              NVVM::ShflKindAttr::get(b.getContext(), NVVM::ShflKind::bfly), UnitAttr());
}

static bool usesFragments(Operation *op) {
  return llvm::any_of(op->getOperandTypes(), isFragment) || llvm::any_of(op->getResultTypes(), isFragment);
}

/// Refuses what no pattern below converts, naming the operation and the reason.
static LogicalResult verifyKernel(gpu::GPUFuncOp kernel) {
  if (llvm::any_of(kernel.getArgumentTypes(), isFragment))
    return kernel.emitOpError("has a tile in registers as argument; load it in the kernel");
  return failure(kernel.walk([](Operation *op) {
                         if (!usesFragments(op) || isa_and_nonnull<SparseAttnNVDialect, scf::SCFDialect>(op->getDialect()))
                           return WalkResult::advance();
                         return failed(verifyArithmetic(op)) ? WalkResult::interrupt() : WalkResult::advance();
                       }).wasInterrupted());
}

static LogicalResult distributeKernel(gpu::GPUFuncOp kernel) {
  if (failed(verifyKernel(kernel)))
    return failure();
  TypeConverter converter;
  converter.addConversion([](Type type) { return type; });
  converter.addConversion([](Type type, SmallVectorImpl<Type> &results) -> std::optional<LogicalResult> {
    if (!isFragment(type))
      return std::nullopt;
    llvm::append_range(results, getThreadTypes(type));
    return success();
  });
  ConversionTarget target(*kernel.getContext());
  target.markUnknownOpDynamicallyLegal([](Operation *op) { return !usesFragments(op); });
  RewritePatternSet patterns(kernel.getContext());
  scf::populateSCFStructuralTypeConversionsAndLegality(converter, patterns, target);
  populateArithmeticPatterns(converter, patterns);
  populateProductPatterns(converter, patterns);
  populateRowPatterns(converter, patterns);
  populateStorePatterns(converter, patterns);
  return applyPartialConversion(kernel, target, std::move(patterns));
}

namespace {
struct DistributeFragments : sparseattn::impl::SparseAttnNVDistributeFragmentsBase<DistributeFragments> {
  void runOnOperation() override {
    if (failed(forEachKernel(getOperation(), distributeKernel)))
      signalPassFailure();
  }
};
} // namespace
