//===- SparseAttnToSCF.cpp - the pass --------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Patterns.h"
#include "sparseattn/Conversion/Passes.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace sparseattn {
#define GEN_PASS_DEF_CONVERTSPARSEATTNTOSCF
#include "sparseattn/Conversion/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

namespace {

struct ConvertSparseAttnToSCF
    : sparseattn::impl::ConvertSparseAttnToSCFBase<ConvertSparseAttnToSCF> {
  void runOnOperation() override {
    // Loops need an order of execution; operands there may even be their own results.
    WalkResult unordered = getOperation()->walk([&](Operation *op) {
      if (op == getOperation() || !isa_and_nonnull<SparseAttnDialect>(op->getDialect()) ||
          mayHaveSSADominance(*op->getParentRegion()))
        return WalkResult::advance();
      op->emitOpError("stands in a graph region, which has no order of execution: put it into a function");
      return WalkResult::interrupt();
    });
    if (unordered.wasInterrupted())
      return signalPassFailure();

    RewritePatternSet patterns(&getContext());
    populateAttentionPatterns(patterns);
    populateSummaryPatterns(patterns);
    populateSelectionPatterns(patterns);
    populateEntmaxPatterns(patterns);
    populateMaskPatterns(patterns);
    populateCombinePatterns(patterns);
    populateGluePatterns(patterns);
    walkAndApplyPatterns(getOperation(), std::move(patterns));

    WalkResult leftover = getOperation()->walk([&](Operation *op) {
      if (!isa_and_nonnull<SparseAttnDialect>(op->getDialect()))
        return WalkResult::advance();
      InFlightDiagnostic diag = op->emitOpError("cannot be executed on the CPU");
      if (isa<ExternOp>(op))
        diag << ": the framework runs it; compile the attention layers alone (sparseattn-extract-layers)";
      else if (isa<AttentionOpInterface>(op) || op->getName().getStringRef().ends_with("route"))
        diag << ": run sparseattn-decompose first";
      else
        diag << ": run sparseattn-decompose and convert-sparseattn-cache-to-tensor first";
      return WalkResult::interrupt();
    });
    if (leftover.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
