//===- PostQuotients.cpp - divide tile numbers once for all consumers ------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVPOSTQUOTIENTS
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

namespace {

/// How the number of a tile gets to the consumers.
struct TileNumber {
  SpecializeOp roles;
  /// One that comes with a tile, and one that ends the loop.
  PostOp post, last;
  TakeOp take;
  /// The loop whose condition takes the number, and the number in its body.
  scf::WhileOp loop;
  Value tile;
};

} // namespace

static std::optional<TileNumber> findTileNumber(SpecializeOp roles) {
  TileNumber found{roles, {}, {}, {}, {}, {}};
  SmallVector<TakeOp> takes;
  roles.getConsumerBody().walk([&](TakeOp take) { takes.push_back(take); });
  if (takes.size() != 1 || takes.front().getNumbers().size() != 1)
    return std::nullopt;
  found.take = takes.front();
  found.loop = dyn_cast<scf::WhileOp>(found.take->getParentOp());
  if (!found.loop || found.take->getBlock() != found.loop.getBeforeBody())
    return std::nullopt;
  for (auto [passed, argument] : llvm::zip(found.loop.getConditionOp().getArgs(), found.loop.getAfterArguments()))
    if (passed == found.take.getNumbers().front())
      found.tile = argument;
  bool isKnown = found.tile != nullptr;
  roles.getProducerBody().walk([&](PostOp post) {
    if (post.getChannel() != found.take.getChannel())
      return;
    PostOp &place = post.getAlone() ? found.last : found.post;
    isKnown &= !place && post.getNumbers().size() == 1;
    place = post;
  });
  return isKnown && found.post && found.last ? std::optional(found) : std::nullopt;
}

/// Integer arithmetic that gives the same result wherever it is done.
static bool isScalar(Operation *op) {
  return isMemoryEffectFree(op) && op->getNumRegions() == 0 &&
         llvm::all_of(op->getResultTypes(), [](Type type) { return type.isIntOrIndex(); });
}

/// Collects what a value is computed from inside the roles, operands first. Fails when it depends on anything but the
/// number of the tile, as the role or an earlier tile.
static LogicalResult collectSlice(Value value, const TileNumber &number, llvm::SetVector<Operation *> &slice) {
  Operation *op = value.getDefiningOp(), *roles = number.roles;
  if (value == number.tile || !roles->isAncestor(value.getParentBlock()->getParentOp()))
    return success();
  if (!op || !isScalar(op))
    return failure();
  if (!slice.contains(op))
    for (Value operand : op->getOperands())
      if (failed(collectSlice(operand, number, slice)))
        return failure();
  slice.insert(op);
  return success();
}

/// A division whose divisor is known at run time only: some 100 cycles.
static bool isSlowDivision(Operation &op) {
  return isa<arith::DivUIOp, arith::RemUIOp, arith::DivSIOp, arith::RemSIOp>(op) &&
         op.getResult(0).getType().isInteger(32) && !matchPattern(op.getOperand(1), m_Constant());
}

/// Whether a result serves anything but further `divisions`.
static bool isUsedOtherwise(Operation *division, const llvm::SetVector<Operation *> &divisions) {
  llvm::SetVector<Operation *> users(division->user_begin(), division->user_end());
  for (size_t i = 0; i < users.size(); ++i) {
    if (divisions.contains(users[i]))
      continue;
    if (users[i]->getBlock() != division->getBlock() || !isScalar(users[i]))
      return true;
    users.insert(users[i]->user_begin(), users[i]->user_end());
  }
  return false;
}

/// Posts `values` of the consumers, computed by the producer, with each tile.
static void postNumbers(TileNumber &number, ArrayRef<Value> values, const llvm::SetVector<Operation *> &slice,
                        OpBuilder &builder) {
  builder.setInsertionPoint(number.post);
  IRMapping map;
  map.map(number.tile, number.post.getNumbers().front());
  for (Operation *op : slice)
    builder.clone(*op, map);
  for (Value value : values)
    number.post.getNumbersMutable().append(map.lookup(value));
  // The last item has as many, which nobody reads.
  Value none = number.last.getNumbers().front();
  number.last.getNumbersMutable().append(SmallVector<Value>(values.size(), none));
}

/// Takes them where the number of the tile is taken, and hands them to the body of the loop.
static void takeNumbers(TileNumber &number, ArrayRef<Value> values, OpBuilder &builder) {
  Location loc = number.take.getLoc();
  builder.setInsertionPoint(number.take);
  SmallVector<Type> types(1 + values.size(), builder.getI32Type());
  auto take = TakeOp::create(builder, loc, types, number.take.getChannel(), number.take.getPosition());
  number.take.getNumbers().front().replaceAllUsesWith(take.getNumbers().front());
  number.take.erase();
  ValueRange taken = take.getNumbers().drop_front();
  number.loop.getConditionOp().getArgsMutable().append(taken);

  builder.setInsertionPoint(number.loop);
  SmallVector<Type> results(number.loop.getResultTypes());
  llvm::append_range(results, taken.getTypes());
  auto loop = scf::WhileOp::create(builder, number.loop.getLoc(), results, number.loop.getInits());
  loop.getBefore().takeBody(number.loop.getBefore());
  loop.getAfter().takeBody(number.loop.getAfter());
  for (Value value : values)
    value.replaceAllUsesWith(loop.getAfterBody()->addArgument(value.getType(), loc));
  number.loop.replaceAllUsesWith(loop.getResults().drop_back(values.size()));
  number.loop.erase();
}

static LogicalResult postQuotients(gpu::GPUFuncOp kernel) {
  for (auto roles : kernel.getBody().getOps<SpecializeOp>()) {
    std::optional<TileNumber> number = findTileNumber(roles);
    if (!number)
      return success();
    llvm::SetVector<Operation *> divisions, slice;
    for (Operation &op : *number->loop.getAfterBody())
      if (llvm::SetVector<Operation *> own;
          isSlowDivision(op) && succeeded(collectSlice(op.getResult(0), *number, own)) &&
          llvm::any_of(own, [&](Operation *each) { return llvm::is_contained(each->getOperands(), number->tile); }))
        divisions.insert(&op);
    SmallVector<Value> values;
    for (Operation *division : divisions)
      if (isUsedOtherwise(division, divisions)) {
        values.push_back(division->getResult(0));
        (void)collectSlice(values.back(), *number, slice);
      }
    if (values.empty())
      return success();
    OpBuilder builder(kernel.getContext());
    postNumbers(*number, values, slice, builder);
    takeNumbers(*number, values, builder);
    return success();
  }
  return success();
}

namespace {
struct PostQuotients : sparseattn::impl::SparseAttnNVPostQuotientsBase<PostQuotients> {
  void runOnOperation() override {
    if (failed(forEachKernel(getOperation(), postQuotients)))
      signalPassFailure();
  }
};
} // namespace
