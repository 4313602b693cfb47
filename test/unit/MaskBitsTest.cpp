//===- MaskBitsTest.cpp - masks of a thread against their definition ------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

// The arithmetic that sparseattn-nv-distribute-fragments makes of a mask is evaluated by constant folding, for numbers
// of columns and bounds on both sides of every edge, and compared with "begin <= column < end".

#include "sparseattn/Analysis/FragmentLayout.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FormatVariadic.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace sparseattn;

namespace {

class MaskBitsTest : public testing::TestWithParam<int> {
protected:
  MaskBitsTest() {
    context.loadDialect<arith::ArithDialect, func::FuncDialect, gpu::GPUDialect, LLVM::LLVMDialect, NVVM::NVVMDialect,
                        nv::SparseAttnNVDialect, scf::SCFDialect, tensor::TensorDialect>();
    constexpr const char *text = R"(
      gpu.module @kernels {{
        gpu.func @mask(%column: i32, %begin: i32, %end: i32, %x: f32, %out: !llvm.ptr<1>, %stride: i64) kernel {{
          %s = tensor.splat %x : tensor<64x{0}xf32, #sparseattn_nv.acc>
          %b = tensor.splat %begin : tensor<64xi32, #sparseattn_nv.row>
          %e = tensor.splat %end : tensor<64xi32, #sparseattn_nv.row>
          %m = sparseattn_nv.mask %s at(%column) begin(%b : tensor<64xi32, #sparseattn_nv.row>)
                 end(%e : tensor<64xi32, #sparseattn_nv.row>) : tensor<64x{0}xf32, #sparseattn_nv.acc>
          %r = sparseattn_nv.reduce max %m : tensor<64x{0}xf32, #sparseattn_nv.acc>
          sparseattn_nv.store_rows %r, %out stride(%stride) rows(%end)
            : tensor<64xf32, #sparseattn_nv.row>, !llvm.ptr<1>
          gpu.return
        }
      })";
    module = parseSourceString<ModuleOp>(llvm::formatv(text, GetParam()).str(), &context);
    PassManager manager(&context);
    manager.addPass(createSparseAttnNVDistributeFragments());
    EXPECT_TRUE(succeeded(manager.run(*module)));
    module->walk([&](gpu::GPUFuncOp func) { kernel = func; });
  }

  /// Which values of a thread the mask leaves, in their order.
  std::vector<bool> evaluate(int64_t thread, int32_t column, int32_t begin, int32_t end) {
    llvm::DenseMap<Value, Attribute> known;
    Builder builder(&context);
    const int32_t arguments[] = {column, begin, end};
    for (auto [index, number] : llvm::enumerate(arguments))
      known[kernel.getArgument(index)] = builder.getI32IntegerAttr(number);
    std::vector<bool> visible;
    for (Operation &op : kernel.getBody().front()) {
      if (isa<NVVM::ThreadIdXOp>(op))
        known[op.getResult(0)] = builder.getI32IntegerAttr(thread);
      if (auto select = dyn_cast<arith::SelectOp>(op); select && select.getType().isF32()) {
        auto condition = dyn_cast_or_null<BoolAttr>(known.lookup(select.getCondition()));
        EXPECT_TRUE(condition) << "the condition is not arithmetic on the arguments";
        visible.push_back(condition && condition.getValue());
      }
      if (!isa<arith::ArithDialect>(op.getDialect()) || op.getNumResults() != 1)
        continue;
      SmallVector<Attribute> operands;
      for (Value operand : op.getOperands())
        operands.push_back(known.lookup(operand));
      SmallVector<OpFoldResult> results;
      if (failed(op.fold(operands, results)) || results.size() != 1)
        continue;
      auto attribute = dyn_cast<Attribute>(results[0]);
      known[op.getResult(0)] = attribute ? attribute : known.lookup(cast<Value>(results[0]));
    }
    return visible;
  }

  void check(int64_t thread, int32_t column, int32_t begin, int32_t end) {
    std::vector<bool> found = evaluate(thread, column, begin, end), expected;
    for (int64_t i = 0; i < fragment::getNumValues(GetParam()); ++i) {
      int64_t position = column + fragment::getColumn(thread, i);
      expected.push_back(begin <= position && position < end);
    }
    ASSERT_EQ(found, expected) << "thread " << thread << ", columns from " << column << ", keys " << begin << " to "
                               << end;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  gpu::GPUFuncOp kernel;
};

TEST_P(MaskBitsTest, EveryBoundInAndAroundTheTile) {
  constexpr int32_t column = 1000;
  // Lanes of a quad differ in their columns; other threads differ in rows only.
  for (int64_t thread : {0, 1, 2, 3, 127}) {
    for (int32_t bound = column - 9; bound <= column + GetParam() + 9; ++bound) {
      check(thread, column, /*begin=*/0, bound);
      check(thread, column, bound, /*end=*/1 << 20);
    }
  }
}

TEST_P(MaskBitsTest, BothBounds) {
  for (int32_t begin = -3; begin <= GetParam() + 3; begin += 5)
    for (int32_t end = -2; end <= GetParam() + 3; end += 7)
      check(/*thread=*/begin & 3, /*column=*/0, begin, end);
}

TEST_P(MaskBitsTest, FarAway) {
  for (int32_t bound : {-(1 << 30), -70000, 70000, 1 << 30}) {
    check(1, 128, 0, bound);
    check(2, 128, bound, 1 << 30);
    check(3, 128, -bound, bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Columns, MaskBitsTest, testing::Values(16, 64, 96, 128, 176, 256));

} // namespace
