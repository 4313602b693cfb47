//===- AllocationTest.cpp - a launch leaves the heap alone ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <atomic>
#include <cstdlib>
#include <new>

static std::atomic<size_t> allocations{0};

// Replaces the operator of every library in the process.
void *operator new(size_t size) {
  if (!fakeDriverIsInside())
    ++allocations;
  if (void *memory = malloc(size))
    return memory;
  throw std::bad_alloc();
}
void operator delete(void *memory) noexcept { free(memory); }
void operator delete(void *memory, size_t) noexcept { free(memory); }

namespace {

class AllocationTest : public RuntimeTest {};

TEST_F(AllocationTest, LaunchesAllocateNothing) {
  Folder folder;
  makeAttention(folder);
  Opened opened(folder);
  std::vector<SparseAttnTensor> tensors;
  std::vector<Tensor> operands = makeOperands(2, 300, 777, 6, 2);
  for (const Tensor &tensor : operands)
    tensors.push_back(tensor.get());
  SparseAttnAttribute scale = {"scale_log2", 0, 0, 0.25};
  size_t before = allocations;
  EXPECT_EQ(sparseattnKernelPrepare(opened.kernel, 0, nullptr), SPARSEATTN_OK) << sparseattnRuntimeError();
  EXPECT_GT(allocations, before) << "nothing is counted";
  before = allocations;
  for (int round = 0; round < 3; ++round)
    sparseattnKernelLaunch(opened.kernel, tensors.data(), tensors.size(), &scale, 1, nullptr);
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(countLaunches(), 3u);
}

} // namespace
