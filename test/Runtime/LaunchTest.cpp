//===- LaunchTest.cpp - what reaches the driver, byte for byte -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

extern "C" {
int cuCtxCreate_v2(void **context, unsigned flags, int device);
int cuCtxDestroy_v2(void *context);
int cuCtxGetCurrent(void **context);
int cuCtxGetId(void *context, unsigned long long *id);
}

namespace {

class LaunchTest : public RuntimeTest {
protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    manifest = makeAttention(folder);
  }

  Folder folder;
  Json manifest;
};

/// Id of the tensor map that is a parameter's bytes.
uint64_t getMapId(const std::string &hex) {
  EXPECT_EQ(hex.size(), 256u);
  uint64_t id = 0;
  for (int byte = 7; byte >= 0; --byte)
    id = id << 8 | std::stoul(hex.substr(2 * byte, 2), nullptr, 16);
  EXPECT_EQ(hex.substr(16), std::string(240, '0'));
  return id;
}

TEST_F(LaunchTest, GridAndParameters) {
  Opened opened(folder);
  std::vector<Tensor> operands = makeOperands(2, 300, 777, 6, 2);
  ASSERT_EQ(launch(opened.kernel, operands, {}, reinterpret_cast<void *>(0x55)), SPARSEATTN_OK)
      << sparseattnRuntimeError();
  Json log = getLog();
  ASSERT_EQ(log["launches"].size(), 1u);
  const Json &made = log["launches"][0];
  EXPECT_EQ(made["symbol"], "attention_entry");
  EXPECT_EQ(made["grid"], Json({3 * 6 * 2, 1, 1}));
  EXPECT_EQ(made["block"], Json({384, 1, 1}));
  EXPECT_EQ(made["shared_memory"], 164096);
  EXPECT_EQ(made["stream"], 0x55);
  const Json &parameters = made["parameters"];
  ASSERT_EQ(parameters.size(), 15u);
  for (int index = 0; index < 3; ++index)
    EXPECT_EQ(log["maps"][getMapId(parameters[index]) - 1]["address"], operands[index].address);
  EXPECT_EQ(parameters[3], toHex(uint64_t(0x730000000000)));
  EXPECT_EQ(parameters[4], toHex(int64_t(300 * 6 * 128)));
  EXPECT_EQ(parameters[5], toHex(int32_t(6 * 128)));
  EXPECT_EQ(parameters[6], toHex(uint64_t(0x740000000000)));
  EXPECT_EQ(parameters[7], toHex(0.125f));
  EXPECT_EQ(parameters[8], toHex(int32_t(300)));
  EXPECT_EQ(parameters[9], toHex(int64_t(777)));
  EXPECT_EQ(parameters[10], toHex(int32_t(3)));
  // 32 MiB / (777 * 512 bytes) = 84.3 heads, but there are only 12.
  EXPECT_EQ(parameters[11], toHex(int32_t(12)));
  EXPECT_EQ(parameters[12], toHex(int32_t(-7)));
  EXPECT_EQ(parameters[13], toHex(1.5f));
  EXPECT_EQ(parameters[14], toHex(int64_t(36)));
}

TEST_F(LaunchTest, TensorMaps) {
  Opened opened(folder);
  std::vector<Tensor> operands = makeOperands(2, 300, 777, 6, 2);
  // Keys inside a packed [batch, position, 3, head, feature] buffer.
  operands[1].strides = {777 * 3 * 256, 3 * 256, 128, 1};
  ASSERT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK) << sparseattnRuntimeError();
  Json maps = getLog()["maps"];
  ASSERT_EQ(maps.size(), 3u);
  EXPECT_EQ(maps[0], Json({{"id", 1},
                           {"type", 9},
                           {"address", 0x700000000000},
                           {"dims", {64, 300, 2, 6, 2}},
                           {"strides", {1536, 128, 256, 460800}},
                           {"box", {64, 128, 2, 1, 1}},
                           {"element_strides", {1, 1, 1, 1, 1}},
                           {"interleave", 0},
                           {"swizzle", 3},
                           {"l2_promotion", 3},
                           {"fill", 0}}));
  EXPECT_EQ(maps[1]["dims"], Json({64, 777, 2, 2, 2}));
  EXPECT_EQ(maps[1]["strides"], Json({1536, 128, 256, 777 * 1536}));
  EXPECT_EQ(maps[1]["box"], Json({64, 176, 2, 1, 1}));
}

TEST_F(LaunchTest, OneSubTileKeepsTheForm) {
  for (int operand = 0; operand < 4; ++operand)
    manifest["kernels"][0]["operands"][operand]["shape"][3] = 64;
  for (int map = 0; map < 3; ++map)
    manifest["kernels"][0]["parameters"][map]["dims"][2]["box"] = 1;
  rewritePtx(folder, manifest);
  Opened opened(folder);
  std::vector<Tensor> operands = makeOperands(1, 128, 256, 2, 1);
  for (int operand = 0; operand < 4; ++operand)
    operands[operand].sizes[3] = 64;
  ASSERT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK) << sparseattnRuntimeError();
  Json maps = getLog()["maps"];
  EXPECT_EQ(maps[0]["dims"], Json({64, 128, 1, 2, 1}));
  EXPECT_EQ(maps[0]["strides"], Json({256, 128, 128, 32768}));
}

TEST_F(LaunchTest, ScaledCopyFixture) {
  Opened opened(std::string(getenv("SPARSEATTN_RUNTIME_FIXTURES")) + "/scaled_copy");
  std::vector<Tensor> operands = {{0x10000, SPARSEATTN_BF16, {2, 3, 100, 128}},
                                  {0x8000000, SPARSEATTN_BF16, {2, 3, 100, 128}, {100 * 3 * 128, 128, 3 * 128, 1}}};
  ASSERT_EQ(launch(opened.kernel, operands, {{"scale", 0, 0, 2.5}, {"head_group", 1, 4, 0}}), SPARSEATTN_OK)
      << sparseattnRuntimeError();
  Json made = getLog()["launches"][0];
  EXPECT_EQ(made["grid"], Json({2 * 3 * 2, 1, 1}));
  EXPECT_EQ(made["parameters"][2], toHex(int64_t(38400)));
  EXPECT_EQ(made["parameters"][3], toHex(int64_t(128)));
  EXPECT_EQ(made["parameters"][4], toHex(int64_t(384)));
  EXPECT_EQ(made["parameters"][7], toHex(int32_t(2)));
  EXPECT_EQ(made["parameters"][8], toHex(2.5f));
  EXPECT_EQ(made["parameters"][9], toHex(int32_t(4)));
}

TEST_F(LaunchTest, LaterLaunchesOnlyEncodeAndLaunch) {
  Opened opened(folder);
  std::vector<Tensor> operands = makeOperands(1, 128, 128, 1, 1);
  ASSERT_EQ(sparseattnKernelPrepare(opened.kernel, 0, nullptr), SPARSEATTN_OK);
  fakeDriverSet("capturing", 1);
  ASSERT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK) << sparseattnRuntimeError();
  ASSERT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK);
  EXPECT_EQ(fakeDriverCalls("cuModuleLoadDataEx"), 1);
  EXPECT_EQ(fakeDriverCalls("cuModuleGetFunction"), 1);
  EXPECT_EQ(fakeDriverCalls("cuDevicePrimaryCtxRetain"), 1);
  EXPECT_EQ(fakeDriverCalls("cuStreamIsCapturing"), 0);
  EXPECT_EQ(fakeDriverCalls("cuTensorMapEncodeTiled"), 6);
  EXPECT_EQ(countLaunches(), 2u);
}

TEST_F(LaunchTest, NothingIsLoadedDuringACapture) {
  Opened opened(folder);
  fakeDriverSet("capturing", 1);
  expectFailure(launch(opened.kernel, makeOperands(1, 128, 128, 1, 1)), SPARSEATTN_INVALID_ARGUMENT,
                "not loaded on this device yet, and nothing can be loaded while a stream is captured");
  EXPECT_EQ(fakeDriverCalls("cuModuleLoadDataEx"), 0);
  EXPECT_EQ(countLaunches(), 0u);
}

TEST_F(LaunchTest, EmptyProblemsNeedNoDriver) {
  Opened opened(folder);
  EXPECT_EQ(launch(opened.kernel, makeOperands(0, 128, 128, 2, 2)), SPARSEATTN_OK);
  EXPECT_EQ(launch(opened.kernel, makeOperands(2, 0, 128, 2, 2)), SPARSEATTN_OK);
  EXPECT_EQ(launch(opened.kernel, makeOperands(2, 128, 128, 0, 0)), SPARSEATTN_OK);
  EXPECT_EQ(launch(opened.kernel, makeOperands(2, 0, 0, 2, 2)), SPARSEATTN_OK);
  EXPECT_EQ(countLaunches(), 0u);
  EXPECT_EQ(fakeDriverCalls("cuCtxGetCurrent"), 0);
  // Types are wrong all the same.
  std::vector<Tensor> operands = makeOperands(0, 128, 128, 2, 2);
  operands[4].dtype = SPARSEATTN_BF16;
  expectFailure(launch(opened.kernel, operands), SPARSEATTN_INVALID_ARGUMENT, "expected f32, found bf16");
}

TEST_F(LaunchTest, NoKeys) {
  {
    Opened opened(folder);
    expectFailure(launch(opened.kernel, makeOperands(1, 128, 0, 2, 2)), SPARSEATTN_INVALID_ARGUMENT,
                  "Nk is 0; this kernel needs at least 1");
  }
  manifest["kernels"][0]["zero_sizes"]["Nk"] = "launch";
  folder.writeManifest(manifest);
  Opened opened(folder);
  std::vector<Tensor> operands = makeOperands(1, 128, 0, 2, 2);
  operands[1].address = 0;
  ASSERT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK) << sparseattnRuntimeError();
  Json log = getLog();
  EXPECT_EQ(log["maps"][1]["dims"], Json({64, 1, 2, 2, 1}));
  EXPECT_EQ(log["maps"][1]["address"], operands[3].address);
  EXPECT_EQ(log["launches"][0]["parameters"][9], toHex(int64_t(0)));
}

TEST_F(LaunchTest, GridLimits) {
  manifest["kernels"][0]["parameters"][5]["type"] = "i64";
  rewritePtx(folder, manifest);
  Opened opened(folder);
  // 2^31 - 1 blocks fit: 2^31 - 1 heads of one tile, in memory that is not there.
  std::vector<Tensor> operands = makeOperands(1, 1, 1, 2147483647, 1);
  ASSERT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK) << sparseattnRuntimeError();
  EXPECT_EQ(getLog()["launches"][0]["grid"][0], 2147483647);
  expectFailure(launch(opened.kernel, makeOperands(2, 1, 1, 1073741824, 1)), SPARSEATTN_INVALID_ARGUMENT,
                "2147483648 blocks are more than a grid can have");
  EXPECT_EQ(countLaunches(), 1u);
}

TEST_F(LaunchTest, PersistentGrid) {
  manifest["kernels"][0]["grid"]["blocks_per_multiprocessor"] = 2;
  folder.writeManifest(manifest);
  Opened opened(folder);
  ASSERT_EQ(launch(opened.kernel, makeOperands(4, 4096, 4096, 16, 16)), SPARSEATTN_OK) << sparseattnRuntimeError();
  ASSERT_EQ(launch(opened.kernel, makeOperands(1, 4096, 4096, 2, 2)), SPARSEATTN_OK);
  Json launches = getLog()["launches"];
  EXPECT_EQ(launches[0]["grid"][0], 264);
  EXPECT_EQ(launches[0]["parameters"][14], toHex(int64_t(4 * 32 * 16)));
  EXPECT_EQ(launches[1]["grid"][0], 64);
}

/// Counters of launches that may run at once are different.
class CounterTest : public LaunchTest {
protected:
  void setCount(int64_t count, const char *type = "i32") {
    parameters().push_back({{"kind", "counter"}, {"type", type}, {"count", count}});
    rewritePtx(folder, manifest);
  }
  Json &parameters() { return manifest["kernels"][0]["parameters"]; }
  static SparseAttnStatus launchOnce(const Opened &opened) {
    return launch(opened.kernel, makeOperands(1, 128, 128, 1, 1));
  }
  /// What every launch so far got.
  static std::vector<std::string> getCounters() {
    std::vector<std::string> found;
    Json log = getLog();
    for (const Json &made : log["launches"])
      found.push_back(made["parameters"].back());
    return found;
  }
};

TEST_F(CounterTest, LaunchesTakeTheFirstHalfInTurn) {
  setCount(8);
  Opened opened(folder);
  std::vector<std::string> expected;
  for (int32_t number : {0, 1, 2, 3, 0, 1, 2, 3, 0}) {
    ASSERT_EQ(launchOnce(opened), SPARSEATTN_OK) << sparseattnRuntimeError();
    expected.push_back(toHex(number));
  }
  EXPECT_EQ(getCounters(), expected);
}

TEST_F(CounterTest, CapturedLaunchesKeepOneOfTheSecondHalf) {
  setCount(6, "i64");
  Opened opened(folder);
  ASSERT_EQ(launchOnce(opened), SPARSEATTN_OK) << sparseattnRuntimeError();
  fakeDriverSet("capturing", 1);
  ASSERT_EQ(launchOnce(opened), SPARSEATTN_OK) << sparseattnRuntimeError();
  ASSERT_EQ(launchOnce(opened), SPARSEATTN_OK);
  // Those outside graphs go on where they were.
  fakeDriverSet("capturing", 0);
  ASSERT_EQ(launchOnce(opened), SPARSEATTN_OK);
  fakeDriverSet("capturing", 1);
  ASSERT_EQ(launchOnce(opened), SPARSEATTN_OK);
  std::vector<std::string> expected;
  for (int64_t number : {0, 3, 4, 1, 5})
    expected.push_back(toHex(number));
  EXPECT_EQ(getCounters(), expected);

  // No counter is left that no graph has.
  for (int again = 0; again < 2; ++again)
    expectFailure(launchOnce(opened), SPARSEATTN_INVALID_ARGUMENT,
                  "kernel 'attention': 3 launches were captured into graphs already, which is all that one loaded kernel "
                  "can serve; open the artefact again for more");
  EXPECT_EQ(countLaunches(), 5u);
  fakeDriverSet("capturing", 0);
  EXPECT_EQ(launchOnce(opened), SPARSEATTN_OK) << sparseattnRuntimeError();
  Opened another(folder);
  ASSERT_EQ(sparseattnKernelPrepare(another.kernel, 0, nullptr), SPARSEATTN_OK);
  fakeDriverSet("capturing", 1);
  ASSERT_EQ(launchOnce(another), SPARSEATTN_OK) << sparseattnRuntimeError();
  EXPECT_EQ(getCounters().back(), toHex(int64_t(3)));
}

TEST_F(CounterTest, TheLeastCountServesOneOfEach) {
  setCount(2);
  Opened opened(folder);
  ASSERT_EQ(launchOnce(opened), SPARSEATTN_OK) << sparseattnRuntimeError();
  ASSERT_EQ(launchOnce(opened), SPARSEATTN_OK);
  fakeDriverSet("capturing", 1);
  ASSERT_EQ(launchOnce(opened), SPARSEATTN_OK);
  EXPECT_EQ(getCounters(), std::vector<std::string>({toHex(int32_t(0)), toHex(int32_t(0)), toHex(int32_t(1))}));
}

TEST_F(CounterTest, TheStreamIsAskedAndItsErrorsAreTold) {
  setCount(4);
  Opened opened(folder);
  ASSERT_EQ(sparseattnKernelPrepare(opened.kernel, 0, nullptr), SPARSEATTN_OK);
  fakeDriverFail("cuStreamIsCapturing", 400, 0, 1);
  expectFailure(launchOnce(opened), SPARSEATTN_DRIVER_ERROR, "cuStreamIsCapturing: CUDA_ERROR_INVALID_HANDLE");
  EXPECT_EQ(countLaunches(), 0u);
}

TEST_F(LaunchTest, ValuesThatDoNotFitI32) {
  Opened opened(folder);
  std::vector<Tensor> operands = makeOperands(1, 2, 1, 2, 2);
  operands[3].strides = {int64_t(1) << 40, int64_t(1) << 31, 128, 1};
  expectFailure(launch(opened.kernel, operands), SPARSEATTN_INVALID_ARGUMENT,
                "parameter 5: 2147483648 does not fit the kernel's i32 (a stride of operand 'o')");
  // More than 2^32 positions would not fit the map: this is found first.
  expectFailure(launch(opened.kernel, makeOperands(1, int64_t(1) << 31, 1, 1, 1)), SPARSEATTN_INVALID_ARGUMENT,
                "parameter 8: 2147483648 does not fit the kernel's i32 ('Nq')");
  EXPECT_EQ(countLaunches(), 0u);
}

TEST_F(LaunchTest, CurrentContextIsUsedAndKept) {
  Opened opened(folder);
  void *context = nullptr, *after = nullptr;
  unsigned long long id = 0;
  cuCtxCreate_v2(&context, 0, 0);
  cuCtxGetId(context, &id);
  ASSERT_EQ(launch(opened.kernel, makeOperands(1, 1, 1, 1, 1)), SPARSEATTN_OK) << sparseattnRuntimeError();
  EXPECT_EQ(getLog()["launches"][0]["context"], id);
  EXPECT_EQ(fakeDriverCalls("cuDevicePrimaryCtxRetain"), 0);
  cuCtxGetCurrent(&after);
  EXPECT_EQ(after, context);
  // A context of another device is not touched.
  fakeDriverSet("devices", 2);
  std::vector<Tensor> operands = makeOperands(1, 1, 1, 1, 1);
  for (Tensor &tensor : operands)
    tensor.device = 1;
  ASSERT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK) << sparseattnRuntimeError();
  EXPECT_NE(getLog()["launches"][1]["context"], id);
  EXPECT_EQ(fakeDriverCalls("cuDevicePrimaryCtxRetain"), 1);
  cuCtxGetCurrent(&after);
  EXPECT_EQ(after, context);
  cuCtxDestroy_v2(context);
}

TEST_F(LaunchTest, EveryContextHasItsModule) {
  int before = fakeDriverModules();
  {
    Opened opened(folder);
    void *first = nullptr, *second = nullptr;
    cuCtxCreate_v2(&first, 0, 0);
    ASSERT_EQ(launch(opened.kernel, makeOperands(1, 1, 1, 1, 1)), SPARSEATTN_OK);
    cuCtxDestroy_v2(first);
    cuCtxCreate_v2(&second, 0, 0);
    ASSERT_EQ(launch(opened.kernel, makeOperands(1, 1, 1, 1, 1)), SPARSEATTN_OK) << sparseattnRuntimeError();
    EXPECT_EQ(fakeDriverCalls("cuModuleLoadDataEx"), 2);
    EXPECT_EQ(fakeDriverModules(), before + 1);
    // Freeing skips the context that is gone.
    sparseattnArtefactFree(opened.artefact);
    opened.artefact = nullptr;
    EXPECT_EQ(fakeDriverModules(), before);
    EXPECT_EQ(fakeDriverCalls("cuModuleUnload"), 1);
    cuCtxDestroy_v2(second);
  }
}

TEST_F(LaunchTest, FreeingReleasesEverything) {
  int modules = fakeDriverModules(), retained = fakeDriverRetained();
  {
    Opened opened(folder);
    ASSERT_EQ(launch(opened.kernel, makeOperands(1, 1, 1, 1, 1)), SPARSEATTN_OK);
    EXPECT_EQ(fakeDriverModules(), modules + 1);
    EXPECT_EQ(fakeDriverRetained(), retained + 1);
  }
  EXPECT_EQ(fakeDriverModules(), modules);
  EXPECT_EQ(fakeDriverRetained(), retained);
}

TEST_F(LaunchTest, UnknownDevicesAreAsked) {
  Opened opened(folder);
  std::vector<Tensor> operands = makeOperands(1, 1, 1, 1, 1);
  for (Tensor &tensor : operands) {
    tensor.device = -1;
    fakeDriverAddMemory(reinterpret_cast<void *>(tensor.address), 0);
  }
  ASSERT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK) << sparseattnRuntimeError();
  operands[2].address = 0x7a0000000000;
  expectFailure(launch(opened.kernel, operands), SPARSEATTN_DRIVER_ERROR,
                "operand 'v' (argument 2): 0x7a0000000000 is no memory of a CUDA device: cuPointerGetAttribute: "
                "CUDA_ERROR_INVALID_VALUE (invalid argument)");
}

TEST_F(LaunchTest, StreamsWait) {
  ASSERT_EQ(sparseattnRuntimeStreamWait(0, reinterpret_cast<void *>(7), reinterpret_cast<void *>(8)), SPARSEATTN_OK);
  ASSERT_EQ(sparseattnRuntimeStreamWait(0, reinterpret_cast<void *>(7), reinterpret_cast<void *>(7)), SPARSEATTN_OK);
  EXPECT_EQ(getLog()["events"], Json({"record 8", "wait 7"}));
  EXPECT_EQ(fakeDriverCalls("cuEventDestroy"), 1);
  fakeDriverFail("cuEventRecord", 400, 0, 1);
  expectFailure(sparseattnRuntimeStreamWait(0, nullptr, reinterpret_cast<void *>(8)), SPARSEATTN_DRIVER_ERROR,
                "cuEventRecord: CUDA_ERROR_INVALID_HANDLE");
  EXPECT_EQ(fakeDriverCalls("cuEventDestroy"), 2);
}

} // namespace
