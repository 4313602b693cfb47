//===- ConcurrencyTest.cpp - many threads, one artefact ------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <atomic>
#include <thread>

namespace {

class ConcurrencyTest : public RuntimeTest {
protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    makeAttention(folder);
  }

  Folder folder;
};

/// Runs `body(thread)` in 16 threads that start together.
template <typename Body>
void inThreads(Body body) {
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 16; ++thread)
    threads.emplace_back([&, thread] {
      for (++ready; ready < 16;)
        std::this_thread::yield();
      body(thread);
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST_F(ConcurrencyTest, FirstLaunchesLoadOnce) {
  Opened opened(folder);
  fakeDriverSet("load_milliseconds", 50);
  std::atomic<int> failures{0};
  inThreads([&](int thread) {
    for (int round = 0; round < 10; ++round)
      failures += launch(opened.kernel, makeOperands(1, 128 * (thread + 1), 256, 2, 1)) != SPARSEATTN_OK;
  });
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(fakeDriverCalls("cuModuleLoadDataEx"), 1);
  EXPECT_EQ(fakeDriverCalls("cuDevicePrimaryCtxRetain"), 1);
  // Each launch has the parameters of its own thread.
  std::map<int, int> grids;
  Json log = getLog();
  for (const Json &made : log["launches"]) {
    ++grids[made["grid"][0]];
    EXPECT_EQ(made["parameters"][8], toHex(int32_t(made["grid"][0].get<int>() / 2 * 128)));
  }
  EXPECT_EQ(grids.size(), 16u);
  for (auto [grid, count] : grids)
    EXPECT_EQ(count, 10) << grid;
}

TEST_F(ConcurrencyTest, NoTwoLaunchesShareACounter) {
  Json manifest = makeAttention(folder);
  manifest["kernels"][0]["parameters"].push_back({{"kind", "counter"}, {"type", "i32"}, {"count", 1024}});
  rewritePtx(folder, manifest);
  Opened opened(folder);
  std::atomic<int> failures{0};
  inThreads([&](int) {
    for (int round = 0; round < 10; ++round)
      failures += launch(opened.kernel, makeOperands(1, 128, 256, 2, 1)) != SPARSEATTN_OK;
  });
  EXPECT_EQ(failures, 0);
  std::map<std::string, int> counters;
  Json log = getLog();
  for (const Json &made : log["launches"])
    ++counters[made["parameters"].back()];
  EXPECT_EQ(counters.size(), 160u);
}

TEST_F(ConcurrencyTest, AFailedLoadIsTriedAgainByTheNextThread) {
  Opened opened(folder);
  fakeDriverSet("load_milliseconds", 5);
  fakeDriverFail("cuModuleGetFunction", 2, 0, 3);
  int before = fakeDriverModules();
  std::atomic<int> failures{0};
  inThreads([&](int) { failures += sparseattnKernelPrepare(opened.kernel, 0, nullptr) != SPARSEATTN_OK; });
  EXPECT_EQ(failures, 3);
  EXPECT_EQ(fakeDriverCalls("cuModuleLoadDataEx"), 4);
  EXPECT_EQ(fakeDriverModules(), before + 1);
}

TEST_F(ConcurrencyTest, ErrorsBelongToTheirThread) {
  Opened opened(folder);
  std::atomic<int> wrong{0};
  inThreads([&](int thread) {
    for (int round = 0; round < 50; ++round) {
      std::vector<Tensor> operands = makeOperands(1, 1, 1, 1, 1);
      operands[0].sizes[3] = 1000 + thread;
      wrong += launch(opened.kernel, operands) != SPARSEATTN_INVALID_ARGUMENT;
      std::string words = "found " + std::to_string(1000 + thread);
      wrong += std::string(sparseattnRuntimeError()).find(words) == std::string::npos;
    }
  });
  EXPECT_EQ(wrong, 0);
}

} // namespace
