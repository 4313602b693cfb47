//===- Module.cpp - a kernel loaded once for each context ----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Module.h"
#include "Error.h"

namespace sparseattn::runtime {

static int getAttribute(const ScopedContext &scope, int attribute) {
  int value = 0;
  scope.driver.check(scope.driver.cuDeviceGetAttribute(&value, attribute, scope.device), "cuDeviceGetAttribute");
  return value;
}

/// Refuses a device that the kernel was not compiled for, before the driver
/// answers with a message about images.
static void checkDevice(const KernelSpec &kernel, const ScopedContext &scope) {
  int major = getAttribute(scope, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  int minor = getAttribute(scope, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  char name[256] = "an unknown device";
  scope.driver.cuDeviceGetName(name, sizeof(name), scope.device);
  if (major != kernel.major || minor != kernel.minor)
    throw Error(SPARSEATTN_UNSUPPORTED_DEVICE,
                concat("kernel '", kernel.name, "' is compiled for ", kernel.chip,
                       ", which runs on compute capability ", kernel.major, ".", kernel.minor, " only; device ",
                       scope.device, " (", name, ") has ", major, ".", minor));
  int sharedMemory = getAttribute(scope, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  if (kernel.sharedMemory > static_cast<unsigned>(sharedMemory))
    throw Error(SPARSEATTN_UNSUPPORTED_DEVICE,
                concat("kernel '", kernel.name, "' needs ", kernel.sharedMemory,
                       " bytes of shared memory a block; device ", scope.device, " (", name, ") has ", sharedMemory));
}

/// The driver cannot use this cubin here, but may be able to assemble the PTX.
static bool isRefusedImage(CUresult result) {
  return result == CUDA_ERROR_NO_BINARY_FOR_GPU || result == CUDA_ERROR_INVALID_IMAGE;
}

static void loadImage(const KernelSpec &kernel, const ScopedContext &scope, LoadedKernel &loaded) {
  const Driver &driver = scope.driver;
  std::string refusal;
  if (kernel.cubin.contents) {
    CUresult result = driver.cuModuleLoadDataEx(&loaded.module, kernel.cubin.contents->data(), 0, nullptr, nullptr);
    loaded.image = SPARSEATTN_CUBIN;
    if (result == CUDA_SUCCESS)
      return;
    std::string context = concat("kernel '", kernel.name, "': loading ", kernel.cubin.file);
    if (!isRefusedImage(result))
      driver.fail(result, "cuModuleLoadDataEx", context);
    refusal = concat(context, ": cuModuleLoadDataEx: ", driver.describe(result), "; then ");
  }
  char log[8192] = "";
  int options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log) - 1)};
  loaded.module = nullptr;
  loaded.image = SPARSEATTN_PTX;
  CUresult result = driver.cuModuleLoadDataEx(&loaded.module, kernel.ptx.contents->c_str(), 2, options, values);
  if (result == CUDA_SUCCESS)
    return;
  log[sizeof(log) - 1] = '\0';
  std::string message = concat(refusal, "kernel '", kernel.name, "': assembling ", kernel.ptx.file,
                               ": cuModuleLoadDataEx: ", driver.describe(result));
  if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
    message += "; install a newer driver, or compile the kernel with ptxas so that the artefact has a cubin";
  if (*log)
    message += concat("; the driver's log: ", log);
  throw Error(SPARSEATTN_DRIVER_ERROR, message, result);
}

/// Compares the parameters of the manifest with the loaded kernel's. A kernel that
/// reads other bytes than the manifest says would read beyond the launch's block.
/// Offsets are the driver's own affair: ptxas aligns a parameter's address in the
/// constant bank, of which the block is not the beginning.
static void checkParameters(const KernelSpec &kernel, const Driver &driver, CUfunction function) {
  if (!driver.cuFuncGetParamInfo)
    return;
  size_t count = kernel.parameters.size();
  for (size_t index = 0; index <= count; ++index) {
    size_t offset = 0, bytes = 0;
    CUresult result = driver.cuFuncGetParamInfo(function, index, &offset, &bytes);
    // This is the driver's answer to an index that is too large.
    bool exists = result != CUDA_ERROR_INVALID_VALUE;
    if (exists)
      driver.check(result, "cuFuncGetParamInfo", "kernel '", kernel.name, "'");
    if (exists != (index < count))
      refuseArtefact("kernel '", kernel.name, "' has ", count, " parameters by the manifest, but ",
                     exists ? "more" : concat(index), " in the code");
    if (!exists)
      return;
    const Parameter &parameter = kernel.parameters[index];
    if (parameter.bytes != bytes)
      refuseArtefact("kernel '", kernel.name, "': parameter ", index, " has ", parameter.bytes,
                     " bytes by the manifest, but ", bytes, " in the code");
  }
}

static LoadedKernel load(const KernelSpec &kernel, const ScopedContext &scope) {
  checkDevice(kernel, scope);
  const Driver &driver = scope.driver;
  LoadedKernel loaded;
  loaded.context = scope.context;
  loaded.multiprocessors = getAttribute(scope, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  loadImage(kernel, scope, loaded);
  try {
    std::string context = concat("kernel '", kernel.name, "'");
    driver.check(driver.cuModuleGetFunction(&loaded.function, loaded.module, kernel.symbol.c_str()),
                 "cuModuleGetFunction", concat(context, ", symbol '", kernel.symbol, "'"));
    driver.check(driver.cuFuncSetAttribute(loaded.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                           static_cast<int>(kernel.sharedMemory)),
                 "cuFuncSetAttribute", concat(context, ", ", kernel.sharedMemory, " bytes of shared memory"));
    checkParameters(kernel, driver, loaded.function);
  } catch (...) {
    driver.cuModuleUnload(loaded.module);
    throw;
  }
  return loaded;
}

const LoadedKernel *ModuleCache::find(unsigned long long id) {
  std::shared_lock<std::shared_mutex> lock(mutex);
  auto found = loaded.find(id);
  return found == loaded.end() ? nullptr : &found->second;
}

const LoadedKernel &ModuleCache::get(const KernelSpec &kernel, const ScopedContext &scope, const CUstream *stream) {
  if (const LoadedKernel *found = find(scope.id))
    return *found;
  std::lock_guard<std::mutex> lock(loading);
  if (const LoadedKernel *found = find(scope.id))
    return *found;
  if (stream) {
    int status = CU_STREAM_CAPTURE_STATUS_NONE;
    scope.driver.check(scope.driver.cuStreamIsCapturing(*stream, &status), "cuStreamIsCapturing");
    if (status != CU_STREAM_CAPTURE_STATUS_NONE)
      refuse("kernel '", kernel.name,
             "' is not loaded on this device yet, and nothing can be loaded while a stream is captured into a graph: "
             "prepare the kernel, or launch it once, before the capture");
  }
  LoadedKernel made = load(kernel, scope);
  std::unique_lock<std::shared_mutex> writing(mutex);
  return loaded.emplace(scope.id, made).first->second;
}

ModuleCache::~ModuleCache() {
  for (const auto &[id, kernel] : loaded) {
    const Driver &driver = Driver::get();
    unsigned long long now = 0;
    CUcontext popped;
    // A context that was destroyed took its modules along; its address may be another context's by now.
    if (driver.cuCtxGetId(kernel.context, &now) != CUDA_SUCCESS || now != id ||
        driver.cuCtxPushCurrent(kernel.context) != CUDA_SUCCESS)
      continue;
    driver.cuModuleUnload(kernel.module);
    driver.cuCtxPopCurrent(&popped);
  }
}

} // namespace sparseattn::runtime
