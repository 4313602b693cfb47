//===- PTXAsmTest.cpp - assembly strings and register layouts --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Analysis/FragmentLayout.h"
#include "sparseattn/Target/PTXAsm.h"
#include "llvm/ADT/StringRef.h"
#include "gtest/gtest.h"
#include <set>

using namespace sparseattn;
using llvm::StringRef;

namespace {

constexpr ptx::TileView kMajor{128, false}, mnMajor{176, true};

TEST(Descriptor, KMajorStepsStayInTheSwizzledRowThenJumpToTheNextBlock) {
  // Bytes / 16: four steps of 32 bytes, then the next 64 columns, 128 rows of 128 bytes away.
  EXPECT_EQ(ptx::getDescriptorStep(kMajor, 0), 0u);
  EXPECT_EQ(ptx::getDescriptorStep(kMajor, 1), 2u);
  EXPECT_EQ(ptx::getDescriptorStep(kMajor, 3), 6u);
  EXPECT_EQ(ptx::getDescriptorStep(kMajor, 4), 1024u);
  EXPECT_EQ(ptx::getDescriptorStep(kMajor, 7), 1030u);
}

TEST(Descriptor, MNMajorStepsAreSixteenRows) {
  EXPECT_EQ(ptx::getDescriptorStep(mnMajor, 1), 128u);
  EXPECT_EQ(ptx::getDescriptorStep(mnMajor, 10), 1280u);
}

TEST(Descriptor, Words) {
  // Stride offset 1024 bytes in bits 32-45, swizzle 128 bytes in bits 62-63.
  EXPECT_EQ(ptx::getDescriptorHigh(), 0x40000040u);
  EXPECT_EQ(ptx::getDescriptorLow(kMajor), 0x00010000u);
  // Leading offset: 176 rows of 128 bytes.
  EXPECT_EQ(ptx::getDescriptorLow(mnMajor), 1408u << 16);
  // The last address of shared memory and the last step leave the leading offset alone.
  EXPECT_LT(hopper::kSharedMemoryLimit / 16, 1 << 14);
}

TEST(MatrixProduct, SharedOperands) {
  ptx::InlineAsm code = ptx::getMatrixProduct({8, 32, ptx::Half::BF16, true, kMajor, {8, false}, false});
  EXPECT_EQ(code.constraints, "=f,=f,=f,=f,r,r");
  EXPECT_TRUE(code.hasSideEffects);
  EXPECT_EQ(code.text,
            "{\n.reg .pred first, next;\n.reg .b32 a_low, b_low, high;\n.reg .b64 a, b;\n"
            "setp.ne.b32 first, 0, 0;\nsetp.ne.b32 next, 1, 0;\nmov.b32 high, 1073741888;\n"
            "wgmma.fence.sync.aligned;\n"
            "mov.b64 a, {$4, high};\nmov.b64 b, {$5, high};\n"
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0, $1, $2, $3}, a, b, first, 1, 1, 0, 0;\n"
            "add.u32 a_low, $4, 2;\nmov.b64 a, {a_low, high};\nadd.u32 b_low, $5, 2;\nmov.b64 b, {b_low, high};\n"
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0, $1, $2, $3}, a, b, next, 1, 1, 0, 0;\n"
            "wgmma.commit_group.sync.aligned;\n}");
}

TEST(MatrixProduct, LeftOperandInRegisters) {
  ptx::InlineAsm code = ptx::getMatrixProduct({8, 32, ptx::Half::F16, false, kMajor, {32, true}, true});
  EXPECT_EQ(code.constraints, "=f,=f,=f,=f,0,1,2,3,r,r,r,r,r,r,r,r,r");
  StringRef text = code.text;
  EXPECT_TRUE(text.contains("setp.ne.b32 first, 1, 0;"));
  EXPECT_TRUE(text.contains("m64n8k16.f32.f16.f16 {$0, $1, $2, $3}, {$8, $9, $10, $11}, b, first, 1, 1, 1;"));
  EXPECT_TRUE(text.contains("add.u32 b_low, $16, 128;"));
  EXPECT_TRUE(text.contains("{$12, $13, $14, $15}, b, next, 1, 1, 1;"));
}

TEST(WaitGroup, TiesEveryValue) {
  ptx::InlineAsm code = ptx::getWaitGroup(1, 2);
  EXPECT_EQ(code.text, "wgmma.wait_group.sync.aligned 1;");
  EXPECT_EQ(code.constraints, "=f,=f,0,1");
  EXPECT_TRUE(code.hasSideEffects);
}

TEST(Approximations, ArePure) {
  EXPECT_EQ(ptx::getExp2().text, "ex2.approx.ftz.f32 $0, $1;");
  EXPECT_EQ(ptx::getLog2().text, "lg2.approx.ftz.f32 $0, $1;");
  EXPECT_EQ(ptx::getTanh().text, "tanh.approx.f32 $0, $1;");
  for (const ptx::InlineAsm &code : {ptx::getExp2(), ptx::getLog2(), ptx::getTanh()}) {
    EXPECT_EQ(code.constraints, "=f,f");
    EXPECT_FALSE(code.hasSideEffects);
  }
}

TEST(FragmentLayout, EveryElementHasOneOwner) {
  constexpr int64_t columns = 176;
  std::set<std::pair<int64_t, int64_t>> seen;
  for (int64_t thread = 0; thread < hopper::kWarpgroupThreads; ++thread)
    for (int64_t i = 0; i < fragment::getNumValues(columns); ++i)
      EXPECT_TRUE(seen.insert({fragment::getRow(thread, i), fragment::getColumn(thread, i)}).second);
  EXPECT_EQ(seen.size(), static_cast<size_t>(hopper::kMmaRows * columns));
  EXPECT_EQ(*seen.rbegin(), std::make_pair(hopper::kMmaRows - 1, columns - 1));
}

TEST(FragmentLayout, RowsOfAThreadAreSharedByItsQuad) {
  for (int64_t thread = 0; thread < hopper::kWarpgroupThreads; ++thread)
    for (int64_t i = 0; i < 8; ++i)
      EXPECT_EQ(fragment::getRow(thread, i), fragment::getRow(thread ^ 3, i));
}

TEST(FragmentLayout, StagingColumnsShareOutAWarp) {
  EXPECT_EQ(fragment::getMaxStagingColumns(32), 32);
  EXPECT_EQ(fragment::getMaxStagingColumns(96), 32);
  EXPECT_EQ(fragment::getMaxStagingColumns(192), 64);
  EXPECT_EQ(fragment::getMaxStagingColumns(256), 256);
  EXPECT_EQ(fragment::getMaxStagingColumns(512), 256);
}

TEST(FragmentLayout, StagedRowsLieInDifferentBanks) {
  constexpr int64_t banks = 32, bytes = 4;
  for (int64_t columns = fragment::kMinStagingColumns; columns <= 256; columns *= 2) {
    std::set<int64_t> seen;
    for (int64_t row = 0; row < 8; ++row)
      for (int64_t byte = 0; byte < fragment::kStagingUnit; byte += bytes)
        EXPECT_TRUE(seen.insert((row * fragment::getStagingPitch(columns) + byte) / bytes % banks).second);
  }
}

TEST(Hopper, LaunchRegisters) {
  EXPECT_EQ(hopper::getLaunchRegisters(256), 256);
  EXPECT_EQ(hopper::getLaunchRegisters(384), 168);
  EXPECT_EQ(hopper::getLaunchRegisters(512), 128);
}

} // namespace
