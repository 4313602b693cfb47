//===- TraitsTest.cpp - one TypeID per trait across shared libraries -------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"
#include "gtest/gtest.h"

using namespace mlir;

namespace {

// The operations are libMLIR.so's, the questions are asked by our objects: both
// must mean the same trait, or passes silently see no isolation and no constants.
TEST(TraitsTest, TraitsOfUpstreamOperationsAreSeen) {
  MLIRContext context;
  context.loadDialect<arith::ArithDialect, func::FuncDialect>();
  OpBuilder builder(&context);
  Location loc = builder.getUnknownLoc();
  OwningOpRef<func::FuncOp> function = func::FuncOp::create(builder, loc, "f", builder.getFunctionType({}, {}));
  EXPECT_TRUE((*function)->hasTrait<OpTrait::IsIsolatedFromAbove>());

  builder.setInsertionPointToStart(function->addEntryBlock());
  Value seven = arith::ConstantIndexOp::create(builder, loc, 7);
  APInt number;
  EXPECT_TRUE(matchPattern(seven, m_ConstantInt(&number)));
  EXPECT_EQ(number.getSExtValue(), 7);
  EXPECT_TRUE(func::ReturnOp::create(builder, loc)->hasTrait<OpTrait::IsTerminator>());
}

} // namespace
