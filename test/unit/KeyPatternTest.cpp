//===- KeyPatternTest.cpp - the operand-free facts of key patterns --------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/MLIRContext.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace sparseattn;

namespace {

class KeyPatternTest : public testing::Test {
protected:
  KeyPatternTest() { context.loadDialect<SparseAttnDialect>(); }

  KeyPatternAttrInterface parse(llvm::StringRef text) {
    Attribute attr = parseAttribute(text, &context);
    EXPECT_TRUE(isa_and_nonnull<KeyPatternAttrInterface>(attr)) << text.str();
    return dyn_cast_or_null<KeyPatternAttrInterface>(attr);
  }

  MLIRContext context;
};

TEST_F(KeyPatternTest, VisibleKeysAreBoundedByWindowsOnly) {
  EXPECT_EQ(parse("#sparseattn.full").getMaxVisibleKeys(0), std::nullopt);
  EXPECT_EQ(parse("#sparseattn.causal").getMaxVisibleKeys(0), std::nullopt);
  EXPECT_EQ(parse("#sparseattn.window<128>").getMaxVisibleKeys(0), 128);
  EXPECT_EQ(parse("#sparseattn.complete_blocks<block = 32, stride = 16>").getMaxVisibleKeys(0), std::nullopt);
}

TEST_F(KeyPatternTest, OnlyFullSeesTheFuture) {
  EXPECT_FALSE(parse("#sparseattn.full").isCausal(0));
  EXPECT_TRUE(parse("#sparseattn.causal").isCausal(0));
  EXPECT_TRUE(parse("#sparseattn.window<1>").isCausal(0));
  EXPECT_TRUE(parse("#sparseattn.complete_blocks<block = 32, stride = 16>").isCausal(0));
}

TEST_F(KeyPatternTest, PrefixSeesTheFutureWhenItHasOne) {
  EXPECT_EQ(parse("#sparseattn.prefix_lm<128>").getMaxVisibleKeys(0), std::nullopt);
  EXPECT_FALSE(parse("#sparseattn.prefix_lm<128>").isCausal(0));
  EXPECT_TRUE(parse("#sparseattn.prefix_lm<1>").isCausal(0));
}

TEST_F(KeyPatternTest, SummariesAreNotAlignedToTokens) {
  EXPECT_TRUE(parse("#sparseattn.causal").isTokenAligned());
  EXPECT_FALSE(parse("#sparseattn.complete_blocks<block = 32, stride = 16>").isTokenAligned());
}

TEST_F(KeyPatternTest, HeadTableAnswersForEachHead) {
  KeyPatternAttrInterface table = parse("#sparseattn.head_table<[#sparseattn.full, #sparseattn.window<1024>]>");
  ASSERT_TRUE(table);
  EXPECT_EQ(table.getMaxVisibleKeys(0), std::nullopt);
  EXPECT_EQ(table.getMaxVisibleKeys(1), 1024);
  EXPECT_FALSE(table.isCausal(0));
  EXPECT_TRUE(table.isCausal(1));
}

} // namespace
