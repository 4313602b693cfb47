//===- PingPong.cpp - consumers take turns to start products ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVPINGPONG
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

/// Products without an accumulator, with which the work on a block of keys begins.
static SmallVector<DotOp> findFirstProducts(SpecializeOp roles) {
  SmallVector<DotOp> firsts;
  roles.getConsumerBody().walk([&](DotOp dot) {
    // Not those that are computed again because weights came out too large.
    auto branch = dyn_cast<scf::IfOp>(dot->getParentOp());
    bool isAgain = branch && branch.getCondition().getDefiningOp<AnyAboveOp>();
    if (!dot.getAcc() && !isAgain)
      firsts.push_back(dot);
  });
  return firsts;
}

/// Items of the channels that these products read, which a consumer takes only to give them back.
static SmallVector<AwaitOp> findSkipped(SpecializeOp roles, ArrayRef<DotOp> firsts) {
  SmallVector<AwaitOp> skipped;
  roles.getConsumerBody().walk([&](AwaitOp await) {
    bool isRead = llvm::any_of(firsts, [&](DotOp dot) {
      auto item = dot.getB().getDefiningOp<AwaitOp>();
      return item && item.getChannel() == await.getChannel();
    });
    if (isRead && await.use_empty())
      skipped.push_back(await);
  });
  return skipped;
}

static void addTurns(SpecializeOp roles, ArrayRef<DotOp> firsts) {
  ImplicitLocOpBuilder b(roles.getLoc(), roles);
  b.setInsertionPointToStart(roles.getConsumerBlock());
  auto constant = [&](int64_t value) -> Value { return arith::ConstantIntOp::create(b, b.getI32Type(), value); };
  Value own = roles.getWarpgroup(), last = constant(roles.getConsumers() - 1), zero = constant(0);
  Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, own, last);
  Value next = arith::SelectOp::create(b, isLast, zero, arith::AddIOp::create(b, own, constant(1)));
  // The last consumer begins by passing the turn to the first.
  auto begin = scf::IfOp::create(b, isLast, /*withElseRegion=*/false);
  b.setInsertionPointToStart(begin.thenBlock());
  PassTurnOp::create(b, zero);
  for (DotOp first : firsts) {
    b.setLoc(first.getLoc());
    b.setInsertionPoint(first);
    TakeTurnOp::create(b, own);
    // What else the consumer starts before it waits belongs to its turn.
    b.setInsertionPoint(*first.getResult().user_begin());
    PassTurnOp::create(b, next);
  }
  // The others wait for this turn too.
  for (AwaitOp await : findSkipped(roles, firsts)) {
    b.setLoc(await.getLoc());
    b.setInsertionPointAfter(await);
    TakeTurnOp::create(b, own);
    PassTurnOp::create(b, next);
  }
}

static LogicalResult pingPong(gpu::GPUFuncOp kernel) {
  auto schedule = kernel->getAttrOfType<ScheduleAttr>(kScheduleAttrName);
  if (!schedule || !schedule.getPingPong())
    return success();
  for (auto roles : kernel.getBody().getOps<SpecializeOp>())
    if (SmallVector<DotOp> firsts = findFirstProducts(roles); roles.getConsumers() > 1 && !firsts.empty())
      addTurns(roles, firsts);
  return success();
}

namespace {
struct SparseAttnNVPingPong : sparseattn::impl::SparseAttnNVPingPongBase<SparseAttnNVPingPong> {
  void runOnOperation() override {
    if (failed(forEachKernel(getOperation(), pingPong)))
      signalPassFailure();
  }
};
} // namespace
