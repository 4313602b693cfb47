//===- ChannelOps.cpp - roles, channels and shared tiles -------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Dialect/Constraints.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

//===----------------------------------------------------------------------===//
// channel
//===----------------------------------------------------------------------===//

void ChannelOp::build(OpBuilder &builder, OperationState &state, ChannelType type, StringRef name) {
  build(builder, state, type, name.empty() ? StringAttr() : builder.getStringAttr(name), IntegerAttr(), IntegerAttr());
}

LogicalResult ChannelOp::verify() {
  if (getOffset().has_value() != getBarriers().has_value())
    return emitConstraint(*this, 1) << "expected offset and barriers, or none of them";
  if (!getOffset())
    return success();
  // Attribute accessors are unsigned; a negative value is a large one.
  int64_t offset = *getOffset(), barriers = *getBarriers();
  ChannelType type = getChannel().getType();
  int64_t end = offset + type.getStages() * type.getTile().getSizeInBytes();
  int64_t barriersEnd = barriers + 2 * type.getStages() * hopper::kBarrierBytes;
  if (offset % hopper::kSwizzleAtomBytes != 0)
    return emitConstraint(*this, 2) << "expected an offset that is a multiple of " << hopper::kSwizzleAtomBytes
                                    << ", found " << offset;
  if (barriers % hopper::kBarrierBytes != 0)
    return emitConstraint(*this, 2) << "expected barriers at a multiple of " << hopper::kBarrierBytes << ", found "
                                    << barriers;
  if (int64_t last = std::max(end, barriersEnd); last > hopper::kSharedMemoryLimit)
    return emitConstraint(*this, 2) << "expected slots and barriers to end at or before byte "
                                    << hopper::kSharedMemoryLimit << ", found " << last;
  return success();
}

int64_t ChannelOp::getNumberBytes() {
  for (Operation *user : getChannel().getUsers())
    if (auto post = dyn_cast<PostOp>(user))
      return llvm::alignTo(post.getNumbers().size() * hopper::kNumberBytes, hopper::kBarrierBytes);
  return 0;
}

//===----------------------------------------------------------------------===//
// specialize
//===----------------------------------------------------------------------===//

void SpecializeOp::build(OpBuilder &builder, OperationState &state, int32_t producerRegisters, int32_t consumers,
                         int32_t consumerRegisters) {
  Properties &properties = state.getOrAddProperties<Properties>();
  properties.producer_registers = builder.getI32IntegerAttr(producerRegisters);
  properties.consumers = builder.getI32IntegerAttr(consumers);
  properties.consumer_registers = builder.getI32IntegerAttr(consumerRegisters);
  state.addRegion()->emplaceBlock();
  state.addRegion()->emplaceBlock().addArgument(builder.getI32Type(), state.location);
  for (auto &region : state.regions)
    ensureTerminator(*region, builder, state.location);
}

int64_t SpecializeOp::getNumThreads() {
  return (static_cast<int64_t>(getConsumers()) + 1) * hopper::kWarpgroupThreads;
}

static LogicalResult verifyRegisters(SpecializeOp op) {
  int64_t producer = static_cast<int32_t>(op.getProducerRegisters());
  int64_t consumer = static_cast<int32_t>(op.getConsumerRegisters());
  for (auto [name, count] : {std::pair<StringRef, int64_t>{"producer", producer}, {"consumer", consumer}})
    if (count < hopper::kMinRoleRegisters || count > hopper::kMaxRoleRegisters ||
        count % hopper::kRegisterGranularity != 0)
      return emitConstraint(op, 3) << "expected a multiple of " << hopper::kRegisterGranularity << " in ["
                                   << hopper::kMinRoleRegisters << ", " << hopper::kMaxRoleRegisters << "] as "
                                   << name << " registers, found " << count;
  int64_t consumers = op.getConsumers();
  int64_t launch = hopper::getLaunchRegisters(op.getNumThreads());
  int64_t pool = (consumers + 1) * launch;
  int64_t used = producer + consumers * consumer;
  if (used > pool)
    return emitConstraint(op, 4) << "expected at most " << pool << " registers, " << consumers + 1
                                 << " warpgroups with " << launch << " at launch, found " << producer << " + "
                                 << consumers << " * " << consumer << " = " << used
                                 << ": the last warpgroup would wait for registers for ever";
  return success();
}

LogicalResult SpecializeOp::verify() {
  auto function = dyn_cast<FunctionOpInterface>((*this)->getParentOp());
  if (!function)
    return emitConstraint(*this, 1) << "expected it directly inside a function, found it inside '"
                                    << (*this)->getParentOp()->getName() << "'";
  for (Block &block : function.getFunctionBody())
    for (auto other : block.getOps<SpecializeOp>())
      if (other != *this && other->getBlock() == (*this)->getBlock() && other->isBeforeInBlock(*this))
        return emitConstraint(*this, 1) << "expected at most one in a function";
  if (int64_t consumers = static_cast<int32_t>(getConsumers()); consumers < 1 || consumers > hopper::kMaxConsumers)
    return emitConstraint(*this, 2) << "expected consumers in [1, " << hopper::kMaxConsumers << "], found "
                                    << consumers;
  if (failed(verifyRegisters(*this)))
    return failure();
  TypeRange arguments = getConsumerBody().getArgumentTypes();
  if (getProducerBody().getNumArguments() != 0 || arguments.size() != 1 || !arguments[0].isInteger(32))
    return emitConstraint(*this, 5) << "expected no argument of the producer region and one of type i32, the number "
                                       "of the warpgroup, of the consumer region";
  return success();
}

LogicalResult SpecializeOp::verifyRegions() {
  auto isFragment = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.getEncoding();
  };
  WalkResult producer = getProducerBody().walk([&](Operation *op) {
    bool forbidden = isConsumerOp(op) || isa<DotOp, WaitOp>(op) || llvm::any_of(op->getResultTypes(), isFragment) ||
                     llvm::any_of(op->getOperandTypes(), isFragment);
    if (!forbidden)
      return WalkResult::advance();
    InFlightDiagnostic diag = emitConstraint(*this, 6)
                              << "expected scalars, control flow and fill in the producer region, found '"
                              << op->getName() << "'; move it to the consumer region";
    diag.attachNote(op->getLoc()) << "here";
    return WalkResult::interrupt();
  });
  if (producer.wasInterrupted())
    return failure();
  WalkResult consumer = getConsumerBody().walk([&](Operation *op) {
    if (!isProducerOp(op))
      return WalkResult::advance();
    InFlightDiagnostic diag = emitConstraint(*this, 7)
                              << "expected no " << op->getName().stripDialect()
                              << " in the consumer region: every warpgroup would do it; move it to the producer region";
    diag.attachNote(op->getLoc()) << "here";
    return WalkResult::interrupt();
  });
  return failure(consumer.wasInterrupted());
}

//===----------------------------------------------------------------------===//
// Items and tiles
//===----------------------------------------------------------------------===//

static LogicalResult verifyCoordinates(Operation *op, int64_t count) {
  constexpr int64_t least = 3;
  if (count < least || count > hopper::kMaxTensorMapRank)
    return emitConstraint(op, 1) << "expected " << least << " to " << hopper::kMaxTensorMapRank
                                 << " coordinates (feature, position, feature block, ...), found " << count;
  return success();
}

LogicalResult PostOp::verify() {
  size_t count = getNumbers().size();
  if (count == 0)
    return emitConstraint(*this, 1) << "expected a number to send";
  for (Operation *user : getChannel().getUsers()) {
    auto take = dyn_cast<TakeOp>(user);
    auto post = dyn_cast<PostOp>(user);
    if (size_t other = take ? take.getNumbers().size() : post ? post.getNumbers().size() : count; other != count) {
      InFlightDiagnostic diag = emitConstraint(*this, 1)
                                << "expected as many numbers as elsewhere on this channel, found " << count;
      diag.attachNote(user->getLoc()) << "here there are " << other;
      return diag;
    }
  }
  return success();
}

LogicalResult FillOp::verify() { return verifyCoordinates(*this, getCoordinates().size()); }

LogicalResult LoadOp::verify() { return verifyCoordinates(*this, getCoordinates().size()); }

LogicalResult AwaitOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor op,
                                        SmallVectorImpl<Type> &types) {
  auto channel = dyn_cast<ChannelType>(op.getChannel().getType());
  if (!channel)
    return emitOptionalError(loc, "'sparseattn_nv.await' op expected a channel, found ", op.getChannel().getType());
  types.push_back(channel.getTile());
  return success();
}

LogicalResult SubtileOp::verify() {
  TileType tile = getTile().getType(), result = getResult().getType();
  if (tile.getColumns() != result.getColumns() || tile.getElementType() != result.getElementType() ||
      tile.getPitch() != result.getPitch())
    return emitConstraint(*this, 1) << "expected a result with " << tile.getColumns() << " columns of "
                                    << tile.getElementType() << " and pitch " << tile.getPitch() << ", found "
                                    << result;
  if (result.getRows() > tile.getRows())
    return emitConstraint(*this, 2) << "expected at most " << tile.getRows() << " rows, found " << result.getRows();
  return success();
}
