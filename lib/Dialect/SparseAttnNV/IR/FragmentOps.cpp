//===- FragmentOps.cpp - tiles in registers --------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Analysis/FragmentLayout.h"
#include "sparseattn/Dialect/Constraints.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

static bool isHalf(Type type) { return type.isBF16() || type.isF16(); }

static RankedTensorType getFragment(ArrayRef<int64_t> shape, Type element, Attribute encoding) {
  return RankedTensorType::get(shape, element, encoding);
}

/// A type only when its encoding accepts it: type inference must not abort.
static LogicalResult inferFragment(std::optional<Location> loc, ArrayRef<int64_t> shape, Type element,
                                   Attribute encoding, SmallVectorImpl<Type> &types) {
  auto emitError = [&] { return mlir::emitError(loc.value_or(UnknownLoc::get(element.getContext()))); };
  Type type = RankedTensorType::getChecked(emitError, shape, element, encoding);
  if (!type)
    return failure();
  types.push_back(type);
  return success();
}

/// The type of an operand of an operation whose result types are inferred before its operands are verified.
static RankedTensorType getChecked(std::optional<Location> loc, StringRef name, Value operand, bool isPartial = false) {
  auto type = dyn_cast<RankedTensorType>(operand.getType());
  Attribute encoding = type ? type.getEncoding() : Attribute();
  if (isPartial ? isa_and_nonnull<RowPartialAttr>(encoding) : isa_and_nonnull<AccAttr>(encoding))
    return type;
  (void)emitOptionalError(loc, "'sparseattn_nv.", name, "' op expected a tensor with encoding #sparseattn_nv.",
                          isPartial ? "row_partial" : "acc", ", found ", operand.getType());
  return {};
}

static LogicalResult verifyF32(Operation *op, unsigned number, StringRef name, Type type) {
  if (getElementTypeOrSelf(type).isF32())
    return success();
  return emitConstraint(op, number) << "expected elements of " << name << " to be f32, found "
                                    << getElementTypeOrSelf(type);
}

//===----------------------------------------------------------------------===//
// dot, wait
//===----------------------------------------------------------------------===//

int64_t DotOp::getN() { return getTransposeB() ? getB().getType().getRows() : getB().getType().getColumns(); }
int64_t DotOp::getK() { return getTransposeB() ? getB().getType().getColumns() : getB().getType().getRows(); }

LogicalResult DotOp::inferReturnTypes(MLIRContext *context, std::optional<Location> loc, Adaptor op,
                                      SmallVectorImpl<Type> &types) {
  auto b = dyn_cast<TileType>(op.getB().getType());
  if (!b)
    return emitOptionalError(loc, "'sparseattn_nv.dot' op expected a tile as right operand, found ",
                             op.getB().getType());
  int64_t n = op.getTransposeB() ? b.getRows() : b.getColumns();
  if (n > hopper::kMmaMaxColumns)
    return emitOptionalError(loc, "'sparseattn_nv.dot' op (C3) expected at most ", hopper::kMmaMaxColumns,
                             " columns of the result, found ", n);
  SmallVector<Type> tensor;
  if (failed(inferFragment(loc, {hopper::kMmaRows, n}, Float32Type::get(context), AccAttr::get(context), tensor)))
    return failure();
  types.push_back(PendingType::get(cast<RankedTensorType>(tensor.front())));
  return success();
}

LogicalResult DotOp::verify() {
  Type a = getA().getType();
  auto tile = dyn_cast<TileType>(a);
  Type element = tile ? tile.getElementType() : getElementTypeOrSelf(a);
  int64_t rows = tile ? tile.getRows() : cast<RankedTensorType>(a).getDimSize(0);
  int64_t inner = tile ? tile.getColumns() : cast<RankedTensorType>(a).getDimSize(1);
  if (rows != hopper::kMmaRows)
    return emitConstraint(*this, 1) << "expected a left operand of " << hopper::kMmaRows
                                    << " rows, found " << rows << "; take the warpgroup's own rows with subtile";
  if (element != getB().getType().getElementType())
    return emitConstraint(*this, 1) << "expected one element type, found " << element << " and "
                                    << getB().getType().getElementType();
  if (inner != getK())
    return emitConstraint(*this, 2) << "expected one inner size, found " << inner << " of the left and " << getK()
                                    << " of the right operand" << (getTransposeB() ? "" : "; is transpose_b missing?");
  if (inner % hopper::kMmaDepth != 0)
    return emitConstraint(*this, 2) << "expected an inner size that is a multiple of " << hopper::kMmaDepth
                                    << ", found " << inner;
  if (getAcc() && getAcc().getType() != getResult().getType().getTensor())
    return emitConstraint(*this, 4) << "expected an accumulator of type " << getResult().getType().getTensor()
                                    << ", found " << getAcc().getType();
  if (!getResult().hasOneUse())
    return emitConstraint(*this, 5) << "expected exactly one use of the result, a sparseattn_nv.wait, found "
                                    << llvm::range_size(getResult().getUses());
  Operation *user = *getResult().user_begin();
  if (!isa<WaitOp>(user) || user->getBlock() != (*this)->getBlock()) {
    InFlightDiagnostic diag = emitConstraint(*this, 5)
                              << "expected a sparseattn_nv.wait in the same block as the only user of the result, "
                                 "found '" << user->getName() << "'";
    diag.attachNote(user->getLoc()) << "user";
    return diag;
  }
  return success();
}

LogicalResult WaitOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor op,
                                       SmallVectorImpl<Type> &types) {
  for (Value operand : op.getPending()) {
    auto pending = dyn_cast<PendingType>(operand.getType());
    if (!pending)
      return emitOptionalError(loc, "'sparseattn_nv.wait' op expected pending accumulators, found ",
                               operand.getType());
    types.push_back(pending.getTensor());
  }
  return success();
}

LogicalResult WaitOp::verify() {
  if (getPending().empty())
    return emitConstraint(*this, 1) << "expected at least one accumulator";
  if (int64_t outstanding = static_cast<int32_t>(getOutstanding());
      outstanding < 0 || outstanding > hopper::kMaxOutstandingGroups)
    return emitConstraint(*this, 3) << "expected outstanding in [0, " << hopper::kMaxOutstandingGroups << "], found "
                                    << outstanding;
  for (Value pending : getPending()) {
    Operation *dot = pending.getDefiningOp<DotOp>();
    if (!dot || dot->getBlock() != (*this)->getBlock())
      return emitConstraint(*this, 2) << "expected results of sparseattn_nv.dot in the same block";
    int64_t later = 0;
    for (Operation *op = dot->getNextNode(); op && op != *this; op = op->getNextNode())
      later += isa<DotOp>(op);
    if (later < static_cast<int64_t>(getOutstanding())) {
      InFlightDiagnostic diag = emitConstraint(*this, 2)
                                << "with " << getOutstanding() << " groups outstanding, expected at least as many "
                                << "products between the dot and its wait, found " << later
                                << ": the accumulator may still be in flight";
      diag.attachNote(dot->getLoc()) << "dot";
      return diag;
    }
  }
  return success();
}

LogicalResult ToOperandOp::inferReturnTypes(MLIRContext *context, std::optional<Location> loc, Adaptor op,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType source = getChecked(loc, "to_operand", op.getSource());
  if (!source)
    return failure();
  if (!isHalf(source.getElementType()) || source.getDimSize(1) % hopper::kMmaDepth != 0)
    return emitOptionalError(loc, "'sparseattn_nv.to_operand' op (C1) expected bf16 or f16 and a multiple of ",
                             hopper::kMmaDepth, " columns, found ", source);
  return inferFragment(loc, source.getShape(), source.getElementType(), OperandAttr::get(context), types);
}

LogicalResult ToOperandOp::verify() { return success(); }

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

LogicalResult ReduceOp::inferReturnTypes(MLIRContext *context, std::optional<Location> loc, Adaptor op,
                                         SmallVectorImpl<Type> &types) {
  RankedTensorType source = getChecked(loc, "reduce", op.getSource());
  if (!source)
    return failure();
  if (!source.getElementType().isF32())
    return emitOptionalError(loc, "'sparseattn_nv.reduce' op (C1) expected elements f32, found ",
                             source.getElementType());
  Attribute encoding = op.getPartial() ? Attribute(RowPartialAttr::get(context)) : RowAttr::get(context);
  return inferFragment(loc, source.getShape().take_front(), source.getElementType(), encoding, types);
}

LogicalResult ReduceOp::verify() {
  if (getPartial() && getKind() != ReduceKind::Add)
    return emitConstraint(*this, 2) << "expected kind add for a partial reduction, found "
                                    << stringifyReduceKind(getKind());
  return success();
}

LogicalResult CombineOp::inferReturnTypes(MLIRContext *context, std::optional<Location> loc, Adaptor op,
                                          SmallVectorImpl<Type> &types) {
  RankedTensorType source = getChecked(loc, "combine", op.getSource(), /*isPartial=*/true);
  if (!source)
    return failure();
  return inferFragment(loc, source.getShape(), source.getElementType(), RowAttr::get(context), types);
}

LogicalResult ScaleOp::verify() { return verifyF32(*this, 1, "the factor", getFactor().getType()); }

LogicalResult RescaleOp::verify() {
  if (failed(verifyF32(*this, 1, "the source", getSource().getType())))
    return failure();
  return verifyF32(*this, 1, "the factor", getFactor().getType());
}

LogicalResult BroadcastOp::verify() {
  Type source = getElementTypeOrSelf(getSource()), result = getElementTypeOrSelf(getResult());
  if (source != result)
    return emitConstraint(*this, 1) << "expected one element type, found " << source << " and " << result;
  return success();
}

void RowsOp::build(OpBuilder &builder, OperationState &state) {
  state.addTypes(getFragment({hopper::kMmaRows}, builder.getI32Type(), RowAttr::get(builder.getContext())));
}

LogicalResult RowsOp::verify() {
  if (!getElementTypeOrSelf(getResult()).isInteger(32))
    return emitConstraint(*this, 1) << "expected elements i32, found " << getElementTypeOrSelf(getResult());
  return success();
}

LogicalResult MaskOp::verify() {
  if (failed(verifyF32(*this, 1, "the tile", getSource().getType())))
    return failure();
  for (Value bound : {getBegin(), getEnd()})
    if (bound && !getElementTypeOrSelf(bound).isInteger(32))
      return emitConstraint(*this, 1) << "expected bounds of i32, found " << getElementTypeOrSelf(bound);
  if (!getBegin() && !getEnd())
    return emitConstraint(*this, 2) << "expected begin, end or both";
  return success();
}

//===----------------------------------------------------------------------===//
// Results, registers of one thread
//===----------------------------------------------------------------------===//

LogicalResult StoreTileOp::verify() {
  auto type = cast<RankedTensorType>(getSource().getType());
  constexpr int64_t granularity = 32;
  if (!isHalf(type.getElementType()) || type.getDimSize(1) % granularity != 0)
    return emitConstraint(*this, 1) << "expected bf16 or f16 and a multiple of " << granularity << " columns, found "
                                    << type;
  std::optional<uint32_t> staged = getStagingColumns();
  if (getStaging().has_value() != staged.has_value())
    return emitConstraint(*this, 2) << "expected both staging and columns, or neither";
  int64_t most = fragment::getMaxStagingColumns(type.getDimSize(1));
  if (staged && (!llvm::isPowerOf2_64(*staged) || *staged < fragment::kMinStagingColumns || *staged > most))
    return emitConstraint(*this, 2) << "expected a power of two from " << fragment::kMinStagingColumns << " to " << most
                                    << " columns in shared memory, found " << *staged;
  if (staged && *getStaging() % fragment::kStagingUnit != 0)
    return emitConstraint(*this, 2) << "expected staging at a multiple of " << fragment::kStagingUnit << " bytes, found "
                                    << *getStaging();
  return success();
}

LogicalResult GatherRowsOp::verify() {
  RankedTensorType type = getResult().getType();
  if (!type.getElementType().isInteger(32))
    return emitConstraint(*this, 1) << "expected elements of type i32, found " << type.getElementType();
  return success();
}

LogicalResult StoreRowsOp::verify() { return verifyF32(*this, 1, "the rows", getSource().getType()); }

LogicalResult MmaChainOp::verify() {
  TileType b = getB().getType();
  int64_t n = getTransposeB() ? b.getRows() : b.getColumns();
  int64_t k = getTransposeB() ? b.getColumns() : b.getRows();
  int64_t registers = getOperandsA().size();
  if (static_cast<bool>(getTileA()) == (registers != 0) || (registers != 0 && registers != k / 4))
    return emitConstraint(*this, 1) << "expected either a left tile or " << k / 4 << " registers, found "
                                    << (getTileA() ? "a tile and " : "") << registers << " registers";
  if (n > hopper::kMmaMaxColumns || k % hopper::kMmaDepth != 0)
    return emitConstraint(*this, 3) << "expected at most " << hopper::kMmaMaxColumns << " columns and an inner size "
                                    << "that is a multiple of " << hopper::kMmaDepth << ", found " << n << " and " << k;
  int64_t results = getResults().size(), acc = getAcc().size();
  if (results != n / 2 || (acc != 0 && acc != results))
    return emitConstraint(*this, 2) << "expected " << n / 2 << " results and no or as many accumulator values, found "
                                    << results << " and " << acc;
  return success();
}
