//===- SparseAttnToNV.cpp - the pass ---------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"
#include "OperandDescriptions.h"
#include "sparseattn/Conversion/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"

namespace sparseattn {
#define GEN_PASS_DEF_CONVERTSPARSEATTNTONV
#include "sparseattn/Conversion/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

/// The one grid loop of a kernel function, or a diagnosis.
static scf::ForallOp findGrid(func::FuncOp function) {
  SmallVector<scf::ForallOp> grids;
  if (!function.getBody().hasOneBlock()) {
    function.emitOpError("must have structured control flow, one block");
    return {};
  }
  for (Operation &op : function.getBody().front())
    if (auto grid = dyn_cast<scf::ForallOp>(op))
      grids.push_back(grid);
  if (grids.size() == 1)
    return grids.front();
  function.emitOpError("expected one grid loop (scf.forall), which becomes the kernel; found ")
      << grids.size() << ": compile attention layers alone (sparseattn-extract-layers, then sparseattn-graph-to-tiles)";
  return {};
}

/// What the warpgroups of this target can hold.
static LogicalResult checkSchedule(scf::ForallOp grid, ScheduleAttr schedule) {
  int64_t rows = hopper::kMmaRows * schedule.getConsumers();
  if (schedule.getQueryTile() != rows)
    return grid.emitOpError("has a schedule with query_tile = ")
           << schedule.getQueryTile() << "; expected 64 rows for each of its " << schedule.getConsumers()
           << " consumers, " << rows;
  if (schedule.getKeyTile() % hopper::kMmaDepth != 0 || schedule.getKeyTile() > hopper::kMmaMaxColumns)
    return grid.emitOpError("has a schedule with key_tile = ")
           << schedule.getKeyTile() << "; expected a multiple of " << hopper::kMmaDepth << " up to "
           << hopper::kMmaMaxColumns;
  return success();
}

static LogicalResult convertFunction(func::FuncOp function) {
  scf::ForallOp grid = findGrid(function);
  if (!grid)
    return failure();
  auto schedule = grid->getAttrOfType<ScheduleAttr>(kScheduleAttrName);
  if (!schedule)
    return grid.emitOpError("has no schedule: run sparseattn-select-schedule before sparseattn-tile-to-grid");
  if (failed(checkSchedule(grid, schedule)))
    return failure();

  OpBuilder builder(function);
  Location loc = function.getLoc();
  auto target = NVVM::NVVMTargetAttr::get(function.getContext(), /*optLevel=*/1, "nvptx64-nvidia-cuda", hopper::kChip,
                                          hopper::kFeatures);
  auto module = gpu::GPUModuleOp::create(builder, loc, function.getName(), ArrayRef<Attribute>{target});
  builder.setInsertionPointToStart(module.getBody());
  auto kernel = gpu::GPUFuncOp::create(builder, loc, function.getName(), builder.getFunctionType({}, {}));
  kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  kernel->setAttr(kScheduleAttrName, schedule);
  builder.setInsertionPointToStart(&kernel.getBody().front());
  gpu::ReturnOp::create(builder, loc);
  builder.setInsertionPointToStart(&kernel.getBody().front());

  KernelParameters parameters(kernel);
  if (failed(KernelEmitter(builder, grid, schedule, parameters).emit()))
    return failure();
  parameters.attach();
  describeOperands(function, grid, kernel);
  function.erase();
  return success();
}

namespace {
struct ConvertSparseAttnToNV : sparseattn::impl::ConvertSparseAttnToNVBase<ConvertSparseAttnToNV> {
  void runOnOperation() override {
    for (func::FuncOp function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (!function.isExternal() && failed(convertFunction(function)))
        return signalPassFailure();
  }
};
} // namespace
