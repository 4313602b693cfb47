//===- SparseAttnToNV.cpp - the pass ---------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"
#include "sparseattn/Conversion/Passes.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
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

/// Says what the tensors of the kernel are, in the order of its operands:
/// name, role and the meaning of each axis. Sizes with one name are equal.
static void describeOperands(func::FuncOp function, scf::ForallOp grid, gpu::GPUFuncOp kernel) {
  Builder builder(function.getContext());
  unsigned numArguments = function.getNumArguments();
  SmallVector<SmallVector<StringRef>> axes(numArguments + function.getNumResults());
  SmallVector<StringRef> names(axes.size());
  auto describe = [&](Value value, StringRef name, Layout layout, StringRef heads, StringRef length, StringRef dim) {
    LayoutDims dims = getLayoutDims(layout);
    unsigned operand = cast<BlockArgument>(value).getArgNumber();
    names[operand] = name;
    axes[operand].assign(dims.rank(), dim);
    axes[operand][dims.head] = heads;
    axes[operand][dims.seq] = length;
    if (dims.batch >= 0)
      axes[operand][dims.batch] = "B";
  };
  Layout layout = Layout::BHSD;
  grid.walk([&](LoadTileOp load) {
    layout = load.getLayout();
    for (OpOperand &use : load.getTile().getUses()) {
      auto dot = dyn_cast<TileDotOp>(use.getOwner());
      if (!dot)
        continue;
      if (use.getOperandNumber() == 0)
        describe(load.getSource(), "query", layout, "Hq", "Nq", "D");
      else if (dot.getTransposeB())
        describe(load.getSource(), "key", layout, "Hkv", "Nk", "D");
      else
        describe(load.getSource(), "value", layout, "Hkv", "Nk", "Dv");
    }
  });
  LayoutDims dims = getLayoutDims(layout);
  for (auto [index, type] : llvm::enumerate(function.getResultTypes())) {
    unsigned operand = numArguments + index;
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor)
      continue;
    if (tensor.getRank() == dims.rank()) {
      names[operand] = "out";
      axes[operand].assign(dims.rank(), "Dv");
      axes[operand][dims.head] = "Hq";
      axes[operand][dims.seq] = "Nq";
      axes[operand][dims.batch] = "B";
    } else {
      names[operand] = "lse";
      axes[operand] = {"B", "Hq", "Nq"};
    }
  }
  SmallVector<Attribute> operands;
  for (unsigned operand = 0; operand < axes.size(); ++operand) {
    bool isInput = operand < numArguments;
    Type type = isInput ? function.getArgument(operand).getType() : function.getResultTypes()[operand - numArguments];
    if (names[operand].empty()) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      names[operand] = tensor ? "sink" : "q_offset";
      if (tensor)
        axes[operand].assign(tensor.getRank(), "Hq");
    }
    operands.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr("name", builder.getStringAttr(names[operand])),
         builder.getNamedAttr("role", builder.getStringAttr(isInput ? "input" : "output")),
         builder.getNamedAttr("type", TypeAttr::get(type)),
         builder.getNamedAttr("axes", builder.getStrArrayAttr(axes[operand]))}));
  }
  kernel->setAttr("sparseattn_nv.operands", builder.getArrayAttr(operands));
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
  auto target = NVVM::NVVMTargetAttr::get(function.getContext(), /*optLevel=*/3, "nvptx64-nvidia-cuda", hopper::kChip,
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
