//===- DriverErrorTest.cpp - every call of the driver that can fail ------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

namespace {

class DriverErrorTest : public RuntimeTest {
protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    manifest = makeAttention(folder);
    Json &kernel = manifest["kernels"][0];
    kernel["cubin"] = folder.addImage("attention.cubin", makeCubin(kernel));
    folder.writeManifest(manifest);
  }

  SparseAttnStatus launchOnce() { return launch(Opened(folder).kernel, makeOperands(1, 128, 128, 2, 1)); }

  Folder folder;
  Json manifest;
};

TEST_F(DriverErrorTest, EveryCall) {
  int modules = fakeDriverModules(), retained = fakeDriverRetained();
  for (const char *call : {"cuCtxGetCurrent", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent",
                           "cuCtxGetId", "cuDeviceGetAttribute", "cuStreamIsCapturing", "cuModuleLoadDataEx",
                           "cuModuleGetFunction", "cuFuncSetAttribute", "cuFuncGetParamInfo", "cuTensorMapEncodeTiled",
                           "cuLaunchKernel"}) {
    SCOPED_TRACE(call);
    fakeDriverReset();
    fakeDriverFail(call, 2, 0, 1);
    Opened opened(folder);
    std::vector<Tensor> operands = makeOperands(1, 128, 128, 2, 1);
    expectFailure(launch(opened.kernel, operands), SPARSEATTN_DRIVER_ERROR,
                  std::string(call) + ": CUDA_ERROR_OUT_OF_MEMORY (out of memory)");
    EXPECT_EQ(sparseattnRuntimeDriverError(), 2);
    EXPECT_EQ(countLaunches(), 0u);
    // The failure has left nothing behind: the same call works now.
    EXPECT_EQ(launch(opened.kernel, operands), SPARSEATTN_OK) << sparseattnRuntimeError();
    EXPECT_EQ(countLaunches(), 1u);
    sparseattnArtefactFree(opened.artefact);
    opened.artefact = nullptr;
    EXPECT_EQ(fakeDriverModules(), modules);
    EXPECT_EQ(fakeDriverRetained(), retained);
    EXPECT_EQ(fakeDriverCalls("cuCtxPushCurrent") - (call == std::string("cuCtxPushCurrent")),
              fakeDriverCalls("cuCtxPopCurrent"));
  }
}

TEST_F(DriverErrorTest, UnknownErrorCode) {
  fakeDriverFail("cuLaunchKernel", 9999, 0, 1);
  expectFailure(launchOnce(), SPARSEATTN_DRIVER_ERROR,
                "kernel 'attention', 2 blocks of 384 threads, 164096 bytes of shared memory: cuLaunchKernel: "
                "error 9999");
  EXPECT_EQ(sparseattnRuntimeDriverError(), 9999);
}

TEST_F(DriverErrorTest, OtherErrorsHaveNoDriverCode) {
  fakeDriverFail("cuLaunchKernel", 701, 0, 1);
  launchOnce();
  EXPECT_EQ(sparseattnRuntimeDriverError(), 701);
  SparseAttnArtefact *artefact;
  sparseattnArtefactOpen("/nonexistent", &artefact);
  EXPECT_EQ(sparseattnRuntimeDriverError(), 0);
}

TEST_F(DriverErrorTest, CubinIsPreferred) {
  SparseAttnImage image = SPARSEATTN_PTX;
  Opened opened(folder);
  ASSERT_EQ(sparseattnKernelPrepare(opened.kernel, 0, &image), SPARSEATTN_OK) << sparseattnRuntimeError();
  EXPECT_EQ(image, SPARSEATTN_CUBIN);
  EXPECT_EQ(fakeDriverCalls("cuModuleLoadDataEx.ptx"), 0);
}

TEST_F(DriverErrorTest, RefusedCubinFallsBackToPtx) {
  for (int error : {200, 209}) {
    fakeDriverReset();
    fakeDriverFail("cuModuleLoadDataEx.cubin", error, 0, 0);
    SparseAttnImage image = SPARSEATTN_CUBIN;
    Opened opened(folder);
    ASSERT_EQ(sparseattnKernelPrepare(opened.kernel, 0, &image), SPARSEATTN_OK) << sparseattnRuntimeError();
    EXPECT_EQ(image, SPARSEATTN_PTX);
    EXPECT_EQ(launch(opened.kernel, makeOperands(1, 1, 1, 1, 1)), SPARSEATTN_OK);
    EXPECT_EQ(getLog()["launches"][0]["image"], "ptx");
  }
}

TEST_F(DriverErrorTest, OtherErrorsDoNotFallBack) {
  fakeDriverFail("cuModuleLoadDataEx.cubin", 2, 0, 0);
  expectFailure(launchOnce(), SPARSEATTN_DRIVER_ERROR,
                "loading attention.cubin: cuModuleLoadDataEx: CUDA_ERROR_OUT_OF_MEMORY");
  EXPECT_EQ(fakeDriverCalls("cuModuleLoadDataEx.ptx"), 0);
}

TEST_F(DriverErrorTest, BothImagesRefused) {
  Json &kernel = manifest["kernels"][0];
  kernel["ptx"] = folder.addImage("attention.ptx", "no PTX at all");
  folder.writeManifest(manifest);
  fakeDriverFail("cuModuleLoadDataEx.cubin", 209, 0, 0);
  expectFailure(launchOnce(), SPARSEATTN_DRIVER_ERROR,
                "kernel 'attention': loading attention.cubin: cuModuleLoadDataEx: CUDA_ERROR_NO_BINARY_FOR_GPU (no "
                "kernel image is available for execution on the device); then kernel 'attention': assembling "
                "attention.ptx: cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX (a PTX JIT compilation failed); the "
                "driver's log: ptxas fatal : no entry point");
  EXPECT_EQ(sparseattnRuntimeDriverError(), 218);
}

TEST_F(DriverErrorTest, DriverTooOldForThePtx) {
  fakeDriverFail("cuModuleLoadDataEx.cubin", 209, 0, 0);
  fakeDriverFail("cuModuleLoadDataEx.ptx", 222, 0, 0);
  expectFailure(launchOnce(), SPARSEATTN_DRIVER_ERROR, "install a newer driver");
}

TEST_F(DriverErrorTest, MissingSymbol) {
  manifest["kernels"][0]["symbol"] = "other";
  folder.writeManifest(manifest);
  expectFailure(launchOnce(), SPARSEATTN_DRIVER_ERROR,
                "symbol 'other': cuModuleGetFunction: CUDA_ERROR_NOT_FOUND (named symbol not found)");
}

TEST_F(DriverErrorTest, OtherComputeCapability) {
  for (auto [major, minor] : {std::pair(8, 0), std::pair(10, 0), std::pair(9, 1)}) {
    fakeDriverReset();
    fakeDriverSet("major", major);
    fakeDriverSet("minor", minor);
    expectFailure(launchOnce(), SPARSEATTN_UNSUPPORTED_DEVICE,
                  "kernel 'attention' is compiled for sm_90a, which runs on compute capability 9.0 only; device 0 "
                  "(Fake GPU) has " + std::to_string(major) + "." + std::to_string(minor));
    EXPECT_EQ(fakeDriverCalls("cuModuleLoadDataEx.cubin"), 0);
  }
}

TEST_F(DriverErrorTest, TooLittleSharedMemory) {
  fakeDriverSet("shared_memory", 101376);
  expectFailure(launchOnce(), SPARSEATTN_UNSUPPORTED_DEVICE,
                "needs 164096 bytes of shared memory a block; device 0 (Fake GPU) has 101376");
}

TEST_F(DriverErrorTest, NoSuchDevice) {
  Opened opened(folder);
  std::vector<Tensor> operands = makeOperands(1, 1, 1, 1, 1);
  for (Tensor &tensor : operands)
    tensor.device = 3;
  expectFailure(launch(opened.kernel, operands), SPARSEATTN_DRIVER_ERROR,
                "device 3: cuDeviceGet: CUDA_ERROR_INVALID_DEVICE (invalid device ordinal)");
  expectFailure(sparseattnKernelPrepare(opened.kernel, -1, nullptr), SPARSEATTN_INVALID_ARGUMENT,
                "no device was named and this thread has no current CUDA context");
}

TEST_F(DriverErrorTest, ParametersOfTheCodeAreCompared) {
  Json other = manifest["kernels"][0];
  other["parameters"].erase(14);
  manifest["kernels"][0]["cubin"] = folder.addImage("attention.cubin", makeCubin(other));
  folder.writeManifest(manifest);
  expectFailure(launchOnce(), SPARSEATTN_INVALID_ARTEFACT, "has 15 parameters by the manifest, but 14 in the code");
  other["parameters"].push_back({{"kind", "blocks"}, {"type", "i32"}});
  manifest["kernels"][0]["cubin"] = folder.addImage("attention.cubin", makeCubin(other));
  folder.writeManifest(manifest);
  expectFailure(launchOnce(), SPARSEATTN_INVALID_ARTEFACT,
                "parameter 14 has 8 bytes by the manifest, but 4 in the code");
  other["parameters"].push_back({{"kind", "blocks"}, {"type", "i32"}});
  other["parameters"][14]["type"] = "i64";
  manifest["kernels"][0]["cubin"] = folder.addImage("attention.cubin", makeCubin(other));
  folder.writeManifest(manifest);
  expectFailure(launchOnce(), SPARSEATTN_INVALID_ARTEFACT, "has 15 parameters by the manifest, but more in the code");
}

} // namespace
