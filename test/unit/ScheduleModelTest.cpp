//===- ScheduleModelTest.cpp - budgets and the table of schedules ----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"
#include "sparseattn/Analysis/ScheduleModel.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace sparseattn;

namespace {

class ScheduleModelTest : public testing::Test {
protected:
  ScheduleModelTest() { context.loadDialect<SparseAttnDialect>(); }

  ScheduleAttr make(int64_t consumers, int64_t keyTile, int64_t consumerRegisters) {
    return ScheduleAttr::get(&context, 64 * consumers, keyTile, consumers, 2, consumers == 3 ? 32 : 24,
                             consumerRegisters, TileOrder::Natural, /*ping_pong=*/false, /*guard_masks=*/false);
  }
  static ScheduleProblem square(int64_t dim, MaskKind mask = MaskKind::Full) { return {dim, dim, 2, mask}; }

  bool fits(ScheduleAttr schedule, const ScheduleProblem &problem) {
    return llvm::all_of(getResourceUses(schedule, problem), [](const ResourceUse &use) { return use.fits(); });
  }
  KeyPatternAttrInterface pattern(StringRef text) {
    return cast<KeyPatternAttrInterface>(parseAttribute(text, &context));
  }

  MLIRContext context;
};

// What ptxas 13.0 said of these kernels: bytes of shared memory, and whether it spilled.
TEST_F(ScheduleModelTest, AgreesWithWhatWasAssembled) {
  struct Measured {
    int64_t dim, consumers, registers, keyTile, bytes;
    bool clean;
  };
  for (const Measured &m : {Measured{128, 2, 240, 128, 164096, true}, {128, 2, 240, 176, 213248, true},
                            {128, 2, 240, 192, 229632, true}, {128, 2, 240, 208, 246016, false},
                            {128, 2, 216, 192, 229632, false}, {128, 3, 160, 80, 131328, true},
                            {128, 3, 160, 96, 147712, false}, {128, 3, 160, 128, 180480, false},
                            {64, 2, 240, 128, 82176, true}, {64, 2, 240, 176, 106752, true},
                            {64, 3, 160, 96, 73984, true}, {64, 3, 160, 128, 90368, true},
                            {64, 3, 160, 160, 106752, false}, {256, 2, 240, 64, 196864, true},
                            {256, 2, 240, 80, 229632, true}}) {
    ScheduleAttr schedule = make(m.consumers, m.keyTile, m.registers);
    EXPECT_EQ(getResourceUses(schedule, square(m.dim))[0].needed, m.bytes) << m.dim << " " << m.keyTile;
    EXPECT_EQ(fits(schedule, square(m.dim)), m.clean) << m.dim << " " << m.consumers << " " << m.keyTile;
  }
}

// ptxas 13.0: with a first and a last key of each row from memory, head dimension 64 spills 4 bytes at 128 keys, and
// head dimension 128 up to 16 at 80.
TEST_F(ScheduleModelTest, RangesOfKeysTakeRegisters) {
  ScheduleProblem problem = square(64);
  EXPECT_TRUE(fits(make(3, 128, 160), problem));
  problem.hasRanges = true;
  EXPECT_EQ(getResourceUses(make(3, 128, 160), problem)[1].needed, 166);
  EXPECT_FALSE(fits(make(3, 128, 160), problem));
  EXPECT_TRUE(fits(make(3, 112, 160), problem));
  problem = square(128);
  problem.hasRanges = true;
  EXPECT_FALSE(fits(make(3, 80, 160), problem));
  EXPECT_TRUE(fits(make(3, 64, 160), problem));
}

// ptxas 13.0: head dimension 256 with masks in the loop over all keys spills 64 to 140 bytes where sequences are packed,
// and nothing elsewhere.
TEST_F(ScheduleModelTest, MasksInTheLoopOfPackedSequencesTakeRegisters) {
  ScheduleProblem problem = square(256, MaskKind::Causal);
  for (bool guarded : {false, true})
    for (bool packed : {false, true}) {
      problem.isPacked = packed;
      auto schedule = ScheduleAttr::get(&context, 128, 64, 2, 2, 40, 232, TileOrder::Natural, /*ping_pong=*/false, guarded);
      EXPECT_EQ(fits(schedule, problem), !(guarded && packed)) << guarded << packed;
    }
}

TEST_F(ScheduleModelTest, RegistersAreThoseThatTheThreadsStartWith) {
  // 384 threads start with 168 registers each, 512 with 128: both pairs use them all.
  EXPECT_EQ(getResourceUses(make(2, 128, 240), square(128))[2].available, 168 * 384);
  EXPECT_EQ(getResourceUses(make(3, 80, 160), square(128))[2].available, 128 * 512);
  EXPECT_FALSE(fits(make(3, 80, 168), square(128)));
}

TEST_F(ScheduleModelTest, EveryRowOfTheTableFits) {
  SmallVector<ScheduleRow> rows = getHopperSchedules(&context);
  EXPECT_GE(rows.size(), 30u);
  for (const ScheduleRow &row : rows) {
    ScheduleProblem problem{row.headDim, row.valueDim, 2, *row.mask};
    if (row.mask == MaskKind::Blocks) {
      problem.block = 128;
      problem.queryBlock = 128;
    }
    EXPECT_EQ(findShapeMismatch(row.schedule, problem), std::nullopt) << row.headDim;
    EXPECT_TRUE(fits(row.schedule, problem)) << row.headDim << " " << stringifyMaskKind(*row.mask).str();
  }
}

TEST_F(ScheduleModelTest, TableCoversEveryHeadDimensionAndMask) {
  SmallVector<ScheduleRow> rows = getHopperSchedules(&context);
  for (auto [dim, valueDim] : {std::pair(64, 64), {96, 96}, {128, 128}, {192, 128}, {192, 192}, {256, 256}})
    for (MaskKind mask : {MaskKind::Full, MaskKind::Causal, MaskKind::Window, MaskKind::Mixed, MaskKind::Blocks}) {
      ScheduleProblem problem{dim, valueDim, 2, mask};
      EXPECT_TRUE(llvm::any_of(rows, [&](const ScheduleRow &row) { return row.agrees(problem); }))
          << dim << " " << stringifyMaskKind(mask).str();
    }
}

TEST_F(ScheduleModelTest, LongSequencesHaveRowsOfTheirOwn) {
  SmallVector<ScheduleRow> rows = getHopperSchedules(&context);
  auto find = [&](MaskKind mask, int64_t keys, int64_t dim = 128) {
    ScheduleProblem problem = square(dim, mask);
    problem.keys = keys;
    return llvm::find_if(rows, [&](const ScheduleRow &row) { return row.agrees(problem); });
  };
  const int64_t least = 32768;
  EXPECT_EQ(find(MaskKind::Mixed, least)->leastKeys, least);
  EXPECT_EQ(find(MaskKind::Mixed, 1 << 20)->schedule, find(MaskKind::Mixed, least)->schedule);
  EXPECT_EQ(find(MaskKind::Mixed, least)->schedule.getConsumers(), 3);
  EXPECT_EQ(find(MaskKind::Mixed, least)->schedule.getKeyTile(), 80);
  EXPECT_TRUE(find(MaskKind::Mixed, least)->schedule.getPingPong());
  EXPECT_EQ(find(MaskKind::Mixed, least)->schedule.getOrder(), find(MaskKind::Mixed, 1)->schedule.getOrder());
  EXPECT_EQ(find(MaskKind::Mixed, least - 1)->leastKeys, 0);
  EXPECT_EQ(find(MaskKind::Mixed, least - 1)->schedule.getConsumers(), 2);
  EXPECT_EQ(find(MaskKind::Mixed, ShapedType::kDynamic)->schedule, find(MaskKind::Mixed, 1)->schedule);
  // One schedule serves all lengths.
  for (MaskKind mask : {MaskKind::Full, MaskKind::Causal, MaskKind::Window, MaskKind::Blocks})
    EXPECT_EQ(find(mask, 1 << 20)->schedule, find(mask, 1)->schedule);
  for (int64_t dim : {64, 96, 192, 256})
    EXPECT_EQ(find(MaskKind::Full, 1 << 20, dim)->leastKeys, 0) << dim;
}

// sparseattn.torch asks at powers of two only.
TEST_F(ScheduleModelTest, LengthClassesBeginAtPowersOfTwo) {
  for (const ScheduleRow &row : getHopperSchedules(&context)) {
    if (row.leastKeys != 0) {
      EXPECT_TRUE(llvm::isPowerOf2_64(row.leastKeys)) << row.leastKeys;
    }
  }
}

TEST_F(ScheduleModelTest, PatternsHaveKinds) {
  EXPECT_EQ(classifyPattern(pattern("#sparseattn.full"), 4), MaskKind::Full);
  EXPECT_EQ(classifyPattern(pattern("#sparseattn.causal"), 4), MaskKind::Causal);
  EXPECT_EQ(classifyPattern(pattern("#sparseattn.window<8>"), ShapedType::kDynamic), MaskKind::Window);
  EXPECT_EQ(classifyPattern(pattern("#sparseattn.prefix_lm<8>"), 4), MaskKind::Full);
  EXPECT_EQ(classifyPattern(pattern("#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<8>]>"), 2),
            MaskKind::Mixed);
}

TEST_F(ScheduleModelTest, TablesHaveLineNumbersInTheirErrors) {
  unsigned line = 0;
  auto parse = [&](StringRef text) {
    ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) { return success(); });
    return parseScheduleTable(text, &context, [&](unsigned number) {
      line = number;
      return mlir::emitError(UnknownLoc::get(&context));
    });
  };
  auto rows = parse("// comment\n\n 128 * causal #sparseattn.schedule<query_tile = 64, key_tile = 16>\n");
  ASSERT_TRUE(succeeded(rows));
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->front().headDim, 128);
  EXPECT_EQ(rows->front().valueDim, -1);
  EXPECT_EQ(rows->front().mask, MaskKind::Causal);
  EXPECT_EQ(rows->front().leastKeys, 0);
  auto classes = parse("* * *>=4096 #sparseattn.schedule<query_tile = 64, key_tile = 16>\n"
                       "* * full>=1 #sparseattn.schedule<query_tile = 64, key_tile = 16>");
  ASSERT_TRUE(succeeded(classes));
  EXPECT_EQ((*classes)[0].mask, std::nullopt);
  EXPECT_EQ((*classes)[0].leastKeys, 4096);
  EXPECT_EQ((*classes)[1].mask, MaskKind::Full);
  for (StringRef mask : {"full>=", "full>=0", "full>=-1", "full>=8k", "full>8192", "full>=8192>=1", ">=8192", "full=8192",
                         "full >=8192"})
    EXPECT_TRUE(failed(parse(("* * " + mask + " #sparseattn.schedule<query_tile = 64, key_tile = 16>").str()))) << mask.str();
  EXPECT_TRUE(failed(parse("\n0 128 * #sparseattn.schedule<query_tile = 64, key_tile = 16>")));
  EXPECT_EQ(line, 2u);
  EXPECT_TRUE(failed(parse("128 128 *")));
  EXPECT_EQ(line, 1u);
  EXPECT_TRUE(failed(parse("128 128 * #sparseattn.causal")));
  EXPECT_TRUE(failed(parse("128 128 * #sparseattn.schedule<query_tile = 0, key_tile = 16>")));
}

} // namespace
