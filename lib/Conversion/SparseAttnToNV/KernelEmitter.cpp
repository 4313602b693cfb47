//===- KernelEmitter.cpp - control flow, arithmetic, tiles -----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sparseattn;

LogicalResult KernelEmitter::emit() {
  Value group = nv::WarpgroupOp::create(builder, loc, builder.getI32Type());
  firstRow = arith::MulIOp::create(builder, loc, group, constant(hopper::kMmaRows));
  if (failed(emitGrid()))
    return failure();
  for (Operation &op : grid.getBody()->without_terminator())
    if (failed(emitOp(&op)))
      return failure();
  for (Operation &op : grid.getTerminator().getYieldingOps())
    if (failed(emitOp(&op)))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Values and types
//===----------------------------------------------------------------------===//

Value KernelEmitter::constant(int64_t value) {
  return arith::ConstantIntOp::create(builder, loc, builder.getI32Type(), value);
}

/// Arguments of the function come first, then its results.
std::optional<unsigned> KernelEmitter::getOperandNumber(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument)
    return std::nullopt;
  if (isa<func::FuncOp>(argument.getOwner()->getParentOp()))
    return argument.getArgNumber();
  if (argument.getOwner() != grid.getBody() || argument.getArgNumber() < grid.getRank())
    return std::nullopt;
  Value result = grid.getTiedOpResult(grid.getTiedOpOperand(argument));
  for (OpOperand &use : result.getUses())
    if (isa<func::ReturnOp>(use.getOwner()))
      return grid->getParentOfType<func::FuncOp>().getNumArguments() + use.getOperandNumber();
  return std::nullopt;
}

/// Null for tensors that no warpgroup holds: only the rows of a query tile are
/// shared out.
Type KernelEmitter::convert(Type type) {
  if (type.isIndex())
    return builder.getI32Type();
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return type;
  if (!tensor.hasStaticShape() || tensor.getRank() < 1 || tensor.getRank() > 2 ||
      tensor.getDimSize(0) != schedule.getQueryTile())
    return {};
  SmallVector<int64_t> shape(tensor.getShape());
  shape[0] = hopper::kMmaRows;
  Attribute encoding = tensor.getRank() == 2 ? Attribute(nv::AccAttr::get(builder.getContext()))
                                             : Attribute(nv::RowAttr::get(builder.getContext()));
  Type element = convert(tensor.getElementType());
  auto refuse = [&] { return emitError(loc, "a tile of the grid loop cannot be held in registers: "); };
  if (failed(cast<VerifiableTensorEncoding>(encoding).verifyEncoding(shape, element, refuse)))
    return {};
  return RankedTensorType::get(shape, element, encoding);
}

Value KernelEmitter::lookup(Value value) {
  if (Value known = map.lookupOrNull(value))
    return known;
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(outerPoint);
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (!getOperandNumber(value) || isa<ShapedType>(value.getType())) {
      emitError(loc) << "expected tensors to be read by load_tile, tensor.extract or tensor.dim only";
      return {};
    }
    map.map(value, parameters.getScalar(argument.getArgNumber(), convert(value.getType())));
  } else if (failed(emitOp(value.getDefiningOp()))) {
    return {};
  }
  Value found = map.lookupOrNull(value);
  if (!found)
    emitError(value.getLoc()) << "expected a tile or a number, which the grid loop could use on the GPU";
  return found;
}

/// A tile in registers.
Value KernelEmitter::lookupFragment(Operation *op, Value value) {
  Value found = lookup(value);
  if (found && !isa<RankedTensorType>(found.getType())) {
    op->emitOpError("reads elements of a loaded tile, which only matrix products do on the GPU");
    return {};
  }
  return found;
}

LogicalResult KernelEmitter::lookupAll(ValueRange values, SmallVectorImpl<Value> &found) {
  for (Value value : values) {
    found.push_back(lookup(value));
    if (!found.back())
      return failure();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Control flow and arithmetic
//===----------------------------------------------------------------------===//

LogicalResult KernelEmitter::emitOp(Operation *op) {
  return TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](arith::ConstantOp constant) { return emitConstant(constant); })
      .Case([&](scf::ForOp loop) { return emitFor(loop); })
      .Case([&](scf::IfOp branch) { return emitIf(branch); })
      .Case([&](tensor::DimOp dim) { return emitDim(dim); })
      .Case([&](tensor::ExtractOp extract) { return emitExtract(extract); })
      .Case([&](tensor::GenerateOp generate) { return emitGenerate(generate); })
      .Case([&](tensor::SplatOp splat) { return emitSplat(splat); })
      .Case([&](tensor::ParallelInsertSliceOp store) { return emitStore(store); })
      // Read through the operation that uses it.
      .Case([&](tensor::ExtractSliceOp) { return success(); })
      .Case([&](LoadTileOp load) { return emitLoad(load); })
      .Case([&](TileBroadcastOp broadcast) { return emitBroadcast(broadcast); })
      .Case([&](TileDotOp dot) { return emitDot(dot); })
      .Case([&](TileMaskOp mask) { return emitMask(mask); })
      .Case([&](TileReduceOp reduce) { return emitReduce(reduce); })
      .Case([&](TileRowsOp rows) { return emitRows(rows); })
      .Default([&](Operation *other) { return emitArithmetic(other); });
}

/// Constants of tiles are splats.
LogicalResult KernelEmitter::emitConstant(arith::ConstantOp op) {
  Type type = convert(op.getType());
  if (!type)
    return op.emitOpError("is no tile of ") << schedule.getQueryTile() << " query rows, so no warpgroup holds it";
  TypedAttr value = op.getValue();
  if (auto dense = dyn_cast<DenseElementsAttr>(value)) {
    if (!dense.isSplat())
      return op.emitOpError("differs from element to element; on the GPU constant tiles are splats");
    auto shaped = cast<RankedTensorType>(type);
    Attribute element = dense.getSplatValue<Attribute>();
    if (auto integer = dyn_cast<IntegerAttr>(element))
      element = builder.getIntegerAttr(shaped.getElementType(), integer.getInt());
    value = DenseElementsAttr::get(shaped, element);
  } else if (op.getType().isIndex()) {
    value = builder.getI32IntegerAttr(cast<IntegerAttr>(value).getInt());
  }
  map.map(op.getResult(), arith::ConstantOp::create(builder, op.getLoc(), value).getResult());
  return success();
}

/// Element-wise operations stay what they are, on the converted types.
LogicalResult KernelEmitter::emitArithmetic(Operation *op) {
  if (!isa<arith::ArithDialect, math::MathDialect>(op->getDialect()))
    return op->emitOpError("has no form for a warpgroup: expected tile operations and arithmetic (level L1)");
  SmallVector<Value> operands;
  if (failed(lookupAll(op->getOperands(), operands)))
    return failure();
  if (llvm::any_of(operands, isRows) && !isa<ShapedType>(op->getResult(0).getType()))
    return emitRowArithmetic(op, operands);
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(op) && operands[0].getType() == convert(op->getResult(0).getType())) {
    map.map(op->getResult(0), operands[0]);
    return success();
  }
  SmallVector<Type> types;
  for (Type type : op->getResultTypes()) {
    types.push_back(convert(type));
    if (!types.back())
      return op->emitOpError("makes ") << type << ", which is no tile of " << schedule.getQueryTile()
                                       << " query rows, so no warpgroup holds it";
  }
  OperationState state(op->getLoc(), op->getName().getIdentifier(), operands, types, op->getAttrs());
  map.map(op->getResults(), builder.create(state)->getResults());
  return success();
}

LogicalResult KernelEmitter::emitFor(scf::ForOp op) {
  SmallVector<Value> bounds, init;
  if (failed(lookupAll({op.getLowerBound(), op.getUpperBound(), op.getStep()}, bounds)) ||
      failed(lookupAll(op.getInitArgs(), init)))
    return failure();
  auto loop = scf::ForOp::create(builder, op.getLoc(), bounds[0], bounds[1], bounds[2], init);
  map.map(op.getInductionVar(), loop.getInductionVar());
  map.map(op.getRegionIterArgs(), loop.getRegionIterArgs());
  map.map(op.getResults(), loop.getResults());
  return emitBody(*op.getBody(), *loop.getBody());
}

/// The condition is a number, so that all threads of the warpgroup take one way.
LogicalResult KernelEmitter::emitIf(scf::IfOp op) {
  Value condition = lookup(op.getCondition());
  if (!condition)
    return failure();
  SmallVector<Type> types;
  for (Type type : op.getResultTypes()) {
    types.push_back(convert(type));
    if (!types.back())
      return op.emitOpError("makes ") << type << ", which is no tile of " << schedule.getQueryTile()
                                      << " query rows, so no warpgroup holds it";
  }
  bool hasElse = !op.getElseRegion().empty();
  auto branch = scf::IfOp::create(builder, op.getLoc(), types, condition, hasElse);
  map.map(op.getResults(), branch.getResults());
  if (failed(emitBody(*op.thenBlock(), *branch.thenBlock())))
    return failure();
  return hasElse ? emitBody(*op.elseBlock(), *branch.elseBlock()) : success();
}

/// Emits what a region of control flow holds into its counterpart, which has a
/// terminator already where there is nothing to hand on.
LogicalResult KernelEmitter::emitBody(Block &from, Block &to) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(&to);
  for (Operation &inner : from.without_terminator())
    if (failed(emitOp(&inner)))
      return failure();
  SmallVector<Value> yielded;
  if (failed(lookupAll(from.getTerminator()->getOperands(), yielded)))
    return failure();
  if (!yielded.empty())
    scf::YieldOp::create(builder, from.getTerminator()->getLoc(), yielded);
  return success();
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

LogicalResult KernelEmitter::emitSplat(tensor::SplatOp op) {
  Type type = convert(op.getType());
  if (!type)
    return op.emitOpError("is no tile of ") << schedule.getQueryTile() << " query rows, so no warpgroup holds it";
  Value scalar = lookup(op.getInput());
  if (!scalar)
    return failure();
  map.map(op.getResult(), tensor::SplatOp::create(builder, op.getLoc(), type, scalar).getResult());
  return success();
}

LogicalResult KernelEmitter::emitMask(TileMaskOp op) {
  Value tile = lookupFragment(op, op.getTile()), column = lookup(op.getColumn()), end = lookup(op.getEnd());
  Value begin = op.getBegin() ? lookup(op.getBegin()) : Value();
  if (!tile || !column || !end || (op.getBegin() && !begin))
    return failure();
  map.map(op.getResult(), nv::MaskOp::create(builder, op.getLoc(), tile.getType(), tile, column, begin, end).getResult());
  return success();
}

LogicalResult KernelEmitter::emitReduce(TileReduceOp op) {
  Value tile = lookupFragment(op, op.getTile());
  if (!tile)
    return failure();
  auto kind = op.getReduction() == TileReduction::Max ? nv::ReduceKind::Max : nv::ReduceKind::Add;
  map.map(op.getRows(), nv::ReduceOp::create(builder, op.getLoc(), kind, tile, /*partial=*/false).getResult());
  return success();
}

LogicalResult KernelEmitter::emitBroadcast(TileBroadcastOp op) {
  Value rows = lookup(op.getRows());
  Type type = convert(op.getTile().getType());
  if (!rows || !type)
    return failure();
  map.map(op.getTile(), nv::BroadcastOp::create(builder, op.getLoc(), type, rows).getResult());
  return success();
}

/// A query tile stays in shared memory, where each warpgroup reads its rows;
/// weights are in registers already.
LogicalResult KernelEmitter::emitDot(TileDotOp op) {
  Value lhs = lookup(op.getLhs()), rhs = lookup(op.getRhs());
  Value acc = op.getAcc() ? lookupFragment(op, op.getAcc()) : Value();
  auto type = dyn_cast_or_null<RankedTensorType>(convert(op.getResult().getType()));
  if (!lhs || !rhs || (op.getAcc() && !acc) || !type)
    return failure();
  if (op.getLhs().getType().getElementTypeBitWidth() != 16)
    return op.emitOpError("multiplies elements of type ")
           << op.getLhs().getType().getElementType() << "; tensor cores take bf16 and f16 here";
  if (!isa<nv::TileType>(rhs.getType()))
    return op.emitOpError("must read its right operand from a loaded tile (load_tile)");
  if (auto tile = dyn_cast<nv::TileType>(lhs.getType()))
    lhs = nv::SubtileOp::create(builder, op.getLoc(),
                                nv::TileType::get(builder.getContext(), hopper::kMmaRows, tile.getColumns(),
                                                  tile.getElementType(), tile.getPitch()),
                                lhs, firstRow);
  else
    lhs = nv::ToOperandOp::create(builder, op.getLoc(), lhs);
  Value pending = nv::DotOp::create(builder, op.getLoc(), nv::PendingType::get(type), lhs, rhs, acc, op.getTransposeB());
  map.map(op.getResult(), nv::WaitOp::create(builder, op.getLoc(), TypeRange{type}, ValueRange{pending},
                                             /*outstanding=*/0).getResult(0));
  return success();
}
