//===- CheckTiles.cpp - sparseattn-check-tiles -----------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNCHECKTILES
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

namespace {
struct CheckTiles : sparseattn::impl::SparseAttnCheckTilesBase<CheckTiles> {
  void runOnOperation() override {
    getOperation()->walk([&](Operation *op) {
      if (isa<StreamingAttentionOp>(op))
        op->emitOpError("is left at level L1: run sparseattn-tile-kv");
      else if (isa<AttentionOpInterface>(op))
        op->emitOpError("is left at level L1: sparseattn-tile-to-grid says why in a remark "
                        "(--remarks-filter-missed=sparseattn-tile-to-grid)");
      else
        return;
      signalPassFailure();
    });
  }
};
} // namespace
