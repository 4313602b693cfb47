//===- Memory.cpp - global memory ------------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace sparseattn;

/// Axes of the source that the result of a slice still has.
static SmallVector<int64_t> getKeptAxes(tensor::ExtractSliceOp slice) {
  llvm::SmallBitVector dropped = slice.getDroppedDims();
  SmallVector<int64_t> kept;
  for (int64_t axis = 0; axis < slice.getSourceType().getRank(); ++axis)
    if (!dropped[axis])
      kept.push_back(axis);
  return kept;
}

/// A number that an operation takes as operand or as attribute.
Value KernelEmitter::lookup(OpFoldResult number) {
  auto value = dyn_cast<Value>(number);
  return value ? lookup(value) : constant(*getConstantIntValue(number));
}

LogicalResult KernelEmitter::emitDim(tensor::DimOp op) {
  std::optional<int64_t> axis = op.getConstantIndex();
  std::optional<unsigned> operand = getOperandNumber(op.getSource());
  auto slice = op.getSource().getDefiningOp<tensor::ExtractSliceOp>();
  if (!axis || (!operand && !slice))
    return op.emitOpError("must ask for a fixed axis of an argument of the function, or of a part of one");
  Value size = slice ? lookup(slice.getMixedSizes()[getKeptAxes(slice)[*axis]]) : parameters.getSize(*operand, *axis);
  if (!size)
    return failure();
  map.map(op.getResult(), size);
  return success();
}

/// Address of an element; offsets are 64-bit.
Value KernelEmitter::emitAddress(unsigned operand, Type element, ArrayRef<Value> indices) {
  Value offset;
  for (auto [axis, index] : llvm::enumerate(indices)) {
    if (getConstantIntValue(index) == 0)
      continue;
    Value wide = arith::ExtSIOp::create(builder, loc, builder.getI64Type(), index);
    Value step = arith::MulIOp::create(builder, loc, wide, parameters.getStride(operand, axis));
    offset = offset ? arith::AddIOp::create(builder, loc, offset, step).getResult() : step;
  }
  Value base = parameters.getPointer(operand);
  if (!offset)
    return base;
  return LLVM::GEPOp::create(builder, loc, base.getType(), element, base, ArrayRef<LLVM::GEPArg>{offset});
}

/// One number of an argument or of a part of one: a sink, an entry of a list.
LogicalResult KernelEmitter::emitExtract(tensor::ExtractOp op) {
  Value source = op.getTensor();
  SmallVector<Value> indices;
  if (failed(lookupAll(op.getIndices(), indices)))
    return failure();
  if (auto generate = source.getDefiningOp<tensor::GenerateOp>(); generate && indices.size() == 1)
    return emitElement(op, generate, indices[0]);
  if (auto slice = source.getDefiningOp<tensor::ExtractSliceOp>()) {
    if (!slice.hasUnitStride())
      return slice.emitOpError("must have unit strides on the GPU");
    SmallVector<Value> whole;
    for (OpFoldResult offset : slice.getMixedOffsets()) {
      whole.push_back(lookup(offset));
      if (!whole.back())
        return failure();
    }
    for (auto [axis, index] : llvm::zip(getKeptAxes(slice), indices))
      whole[axis] = arith::AddIOp::create(builder, loc, whole[axis], index);
    indices = std::move(whole);
    source = slice.getSource();
  }
  std::optional<unsigned> operand = getOperandNumber(source);
  if (!operand)
    return op.emitOpError("must read an argument of the function, or a part of one");
  if (llvm::any_of(indices, isRows))
    return emitGather(op, *operand, indices);
  Value address = emitAddress(*operand, op.getType(), indices);
  map.map(op.getResult(), LLVM::LoadOp::create(builder, op.getLoc(), op.getType(), address).getResult());
  return success();
}

/// The coordinates of a tensor map are (feature in a block of 64, position,
/// block of features, head, batch); there are no blocks where the features are no
/// multiple of 64, and no batch of packed documents (layout thd).
LogicalResult KernelEmitter::emitLoad(LoadTileOp op) {
  std::optional<unsigned> operand = getOperandNumber(op.getSource());
  if (!operand || *operand >= grid->getParentOfType<func::FuncOp>().getNumArguments())
    return op.emitOpError("must load from an argument of the function");
  auto type = cast<RankedTensorType>(op.getTile().getType());
  int64_t columns = type.getDimSize(1);
  if (columns % hopper::kColumnGranularity != 0 || columns > hopper::kMmaMaxColumns)
    return op.emitOpError("has a head dimension of ")
           << columns << "; kernels for this target take multiples of " << hopper::kColumnGranularity << " up to "
           << hopper::kMmaMaxColumns << " (32, 64, 96, 128, ...): pad queries, keys and values with zeros to the next one";
  auto tile = nv::TileType::getChecked([&] { return op.emitOpError("cannot be held in shared memory: "); },
                                       builder.getContext(), type.getDimSize(0), type.getDimSize(1),
                                       type.getElementType(), type.getDimSize(0));
  SmallVector<Value> at;
  if (!tile || failed(lookupAll({op.getPosition(), op.getHead(), op.getBatch()}, at)))
    return failure();
  Value zero = constant(0);
  Value source = parameters.getTensorMap(*operand, type.getDimSize(0));
  SmallVector<Value> coordinates = {zero, at[0]};
  if (columns % hopper::kSwizzleColumns == 0)
    coordinates.push_back(zero);
  coordinates.push_back(at[1]);
  if (op.getLayout() != Layout::THD)
    coordinates.push_back(at[2]);
  map.map(op.getTile(), nv::LoadOp::create(builder, op.getLoc(), tile, source, coordinates).getResult());
  return success();
}

/// Writes the rows that exist. The axis of rows is the first that the slice
/// keeps; a matrix keeps the axis of features beside it.
LogicalResult KernelEmitter::emitStore(tensor::ParallelInsertSliceOp op) {
  std::optional<unsigned> operand = getOperandNumber(op.getDest());
  if (!operand)
    return op.emitOpError("must fill a result of the function");
  Value source = op.getSource();
  OpFoldResult rows = builder.getIndexAttr(schedule.getQueryTile());
  if (auto slice = source.getDefiningOp<tensor::ExtractSliceOp>()) {
    source = slice.getSource();
    rows = slice.getMixedSizes()[0];
    if (!llvm::all_of(slice.getMixedOffsets(), [](OpFoldResult offset) { return isConstantIntValue(offset, 0); }))
      return slice.emitOpError("must keep the first rows of the tile");
  }
  Value tile = lookupFragment(op, source);
  if (!tile)
    return failure();
  llvm::SmallBitVector dropped = op.getDroppedDims();
  int64_t rowAxis = dropped.find_first_unset();
  SmallVector<Value> indices;
  for (OpFoldResult offset : op.getMixedOffsets()) {
    indices.push_back(lookup(offset));
    if (!indices.back())
      return failure();
  }
  indices[rowAxis] = arith::AddIOp::create(builder, loc, indices[rowAxis], firstRow);
  Value existing = lookup(rows);
  if (!existing)
    return failure();
  Value valid = arith::SubIOp::create(builder, loc, existing, firstRow);
  auto type = cast<RankedTensorType>(tile.getType());
  Value address = emitAddress(*operand, type.getElementType(), indices);
  Value stride = parameters.getStride(*operand, rowAxis);
  if (type.getRank() == 2)
    nv::StoreTileOp::create(builder, op.getLoc(), tile, address, stride, valid, /*staging=*/nullptr,
                            /*staging_columns=*/nullptr);
  else
    nv::StoreRowsOp::create(builder, op.getLoc(), tile, address, stride, valid);
  return success();
}
