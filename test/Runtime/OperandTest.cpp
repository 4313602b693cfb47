//===- OperandTest.cpp - tensors that do not fit -------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <functional>

namespace {

class OperandTest : public RuntimeTest {
protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    manifest = makeAttention(folder);
  }

  /// Nothing reaches the driver.
  void expectRefused(const std::vector<Tensor> &operands, const std::string &words) {
    Opened opened(folder);
    expectFailure(launch(opened.kernel, operands), SPARSEATTN_INVALID_ARGUMENT, words);
    EXPECT_EQ(countLaunches(), 0u);
    EXPECT_EQ(fakeDriverCalls("cuModuleLoadDataEx"), 0);
  }

  void expectAccepted(const std::vector<Tensor> &operands) {
    Opened opened(folder);
    EXPECT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK) << sparseattnRuntimeError();
    EXPECT_EQ(countLaunches(), 1u);
  }

  Folder folder;
  Json manifest;
};

TEST_F(OperandTest, Refusals) {
  const int64_t huge = INT64_MAX;
  struct Case {
    std::function<void(std::vector<Tensor> &)> change;
    const char *words;
  };
  const Case cases[] = {
      {[](auto &t) { t.pop_back(); }, "expected 5 tensors, found 4"},
      {[](auto &t) { t.push_back(t[0]); }, "expected 5 tensors, found 6"},
      {[](auto &t) { t[0].dtype = SPARSEATTN_F16; }, "operand 'q' (argument 0): expected bf16, found f16"},
      {[](auto &t) { t[4].dtype = 0; }, "operand 'lse' (argument 4): expected f32, found an unknown dtype"},
      {[](auto &t) { t[4].dtype = 12345; }, "expected f32, found an unknown dtype"},
      {[](auto &t) { t[4].dtype = -1; }, "expected f32, found an unknown dtype"},
      {[](auto &t) { t[1].sizes.pop_back(); },
       "operand 'k' (argument 1): expected 4 dimensions (batch, position, head, feature), found 3"},
      {[](auto &t) { t[0].sizes[3] = 80; }, "expected 128 for axis 'feature', found 80 in [2, 256, 4, 80]"},
      {[](auto &t) { t[1].sizes[0] = 3; },
       "operand 'k' (argument 1): axis 'batch' has 3 in [3, 512, 2, 128]; expected 2 (B), as in operand 'q'"},
      {[](auto &t) { t[2].sizes[1] = 511; }, "expected 512 (Nk), as in operand 'k'"},
      {[](auto &t) { t[2].sizes[2] = 4; }, "expected 2 (Hkv), as in operand 'k'"},
      {[](auto &t) { t[4].sizes[2] = 255; }, "expected 256 (Nq), as in operand 'q'"},
      {[](auto &t) { t[1].sizes[2] = t[2].sizes[2] = 3; }, "Hq = 4 is not a multiple of Hkv = 3 (for 'group')"},
      {[](auto &t) { t[0].sizes[1] = -1; }, "the size -1 of axis 'position' is not a size"},
      {[=](auto &t) { t[1].sizes[1] = t[2].sizes[1] = huge; }, "of axis 'position' is not a size"},
      {[](auto &t) { t[1].sizes[1] = t[2].sizes[1] = int64_t(1) << 55; }, "reach beyond any memory"},
      {[](auto &t) { t[1].sizes[1] = t[2].sizes[1] = int64_t(1) << 33; },
       "its tensor map allows sizes up to 4294967296; axis 'position' has 8589934592"},
      {[](auto &t) { t[0].address = 0; }, "operand 'q' (argument 0): the address is NULL"},
      {[](auto &t) { t[0].address += 8; },
       "expected an address that is a multiple of 16 bytes, found 0x700000000008"},
      {[](auto &t) { t[4].address += 2; }, "operand 'lse' (argument 4): expected an address that is a multiple of 4"},
      {[](auto &t) { t[0].strides = {131072, 1, 128, 256}; }, "expected a stride of 1 elements for axis 'feature'"},
      {[](auto &t) { t[0].strides = {131072, 516, 129, 1}; },
       "expected a stride that is a multiple of 16 bytes for axis 'position', found 516 elements of 2 bytes"},
      {[](auto &t) { t[0].strides = {131072, -512, 128, 1}; }, "the stride -512 of axis 'position' is negative"},
      {[=](auto &t) { t[0].strides = {huge, 512, 128, 1}; }, "reach beyond any memory"},
      {[](auto &t) { t[0].strides = {int64_t(1) << 39, 512, 128, 1}; },
       "needs strides that are multiples of 16 bytes below 2^40; axis 'batch' has 1099511627776 bytes"},
      {[](auto &t) { t[3].strides = {131072, 512, 0, 1}; },
       "operand 'o' (argument 3): it is written to, but the stride 0 of axis 'head' makes different elements share"},
      {[](auto &t) { t[3].strides = {128, 256, 128, 1}; }, "makes different elements share memory"},
      {[](auto &t) { t[4].strides = {2048, 512, 2}; }, "expected a stride of 1 elements for axis 'position', found 2"},
      {[](auto &t) { t[4].strides = {2048, 512, 1}; }, "expected a stride of 256 elements for axis 'head', found 512"},
      {[](auto &t) { t[2].device = 1; },
       "operand 'v' (argument 2) is on device 1, but operand 'q' on device 0; move them to one device"},
  };
  for (const Case &entry : cases) {
    SCOPED_TRACE(entry.words);
    std::vector<Tensor> operands = makeOperands(2, 256, 512, 4, 2);
    entry.change(operands);
    expectRefused(operands, entry.words);
  }
}

TEST_F(OperandTest, NullPointers) {
  Opened opened(folder);
  expectFailure(sparseattnKernelLaunch(opened.kernel, nullptr, 5, nullptr, 0, nullptr), SPARSEATTN_INVALID_ARGUMENT,
                "expected 5 tensors, found 0");
  std::vector<SparseAttnTensor> raw;
  std::vector<Tensor> operands = makeOperands(1, 1, 1, 1, 1);
  for (const Tensor &tensor : operands)
    raw.push_back(tensor.get());
  raw[1].sizes = nullptr;
  expectFailure(sparseattnKernelLaunch(opened.kernel, raw.data(), 5, nullptr, 0, nullptr), SPARSEATTN_INVALID_ARGUMENT,
                "operand 'k' (argument 1): sizes is NULL");
  raw[1].sizes = operands[1].sizes.data();
  expectFailure(sparseattnKernelLaunch(opened.kernel, raw.data(), 5, nullptr, 1, nullptr), SPARSEATTN_INVALID_ARGUMENT,
                "attributes is NULL");
}

TEST_F(OperandTest, TransposedAndSlicedInputs) {
  std::vector<Tensor> operands = makeOperands(2, 256, 512, 4, 2);
  // Memory order [batch, head, position, feature], every second head of a larger tensor.
  operands[0].strides = {8 * 256 * 128, 128, 2 * 256 * 128, 1};
  operands[3].strides = {4 * 256 * 128, 128, 256 * 128, 1};
  expectAccepted(operands);
}

TEST_F(OperandTest, ExpandedInput) {
  std::vector<Tensor> operands = makeOperands(2, 256, 512, 4, 2);
  operands[1].strides = {0, 256, 128, 1};
  expectAccepted(operands);
}

TEST_F(OperandTest, StridesOfAxesOfSizeOneMeanNothing) {
  std::vector<Tensor> operands = makeOperands(1, 256, 512, 1, 1);
  for (size_t index = 0; index < 4; ++index)
    operands[index].strides = {-1, 128, 7, 1};
  operands[4].strides = {12345, INT64_MIN, 1};
  expectAccepted(operands);
  Json log = getLog();
  EXPECT_EQ(log["maps"][0]["strides"], Json({256, 128, 256, 65536}));
  EXPECT_EQ(log["launches"][0]["parameters"][4], toHex(int64_t(32768)));
}

} // namespace
