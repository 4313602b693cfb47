//===- Driver.cpp - loading the CUDA driver ------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Driver.h"
#include "Error.h"

#include <atomic>
#include <cstdlib>
#include <dlfcn.h>
#include <memory>
#include <mutex>

namespace sparseattn::runtime {

/// A driver that was opened and initialised; never unloaded, since its modules
/// and contexts may outlive every artefact.
static const Driver *open() {
  const char *named = getenv("SPARSEATTN_LIBCUDA");
  const char *path = named && *named ? named : "libcuda.so.1";
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw Error(SPARSEATTN_NO_DRIVER,
                concat("cannot load the CUDA driver: ", dlerror(),
                       "; install NVIDIA's driver, or set SPARSEATTN_LIBCUDA to the path of libcuda.so.1"));
  auto driver = std::make_unique<Driver>();
  const char *missing = nullptr;
#define SPARSEATTN_LOAD(name, symbol, parameters)                                                                      \
  driver->name = reinterpret_cast<CUresult(*) parameters>(dlsym(library, symbol));                                     \
  if (!driver->name && !missing)                                                                                       \
    missing = symbol;
  SPARSEATTN_DRIVER_FUNCTIONS(SPARSEATTN_LOAD)
#undef SPARSEATTN_LOAD
  driver->cuFuncGetParamInfo =
      reinterpret_cast<decltype(driver->cuFuncGetParamInfo)>(dlsym(library, "cuFuncGetParamInfo"));
  if (missing) {
    int version = 0;
    if (driver->cuDriverGetVersion)
      driver->cuDriverGetVersion(&version);
    dlclose(library);
    throw Error(SPARSEATTN_NO_DRIVER, concat("the CUDA driver ", path, " (CUDA ", version / 1000, ".",
                                             version % 1000 / 10, ") has no ", missing,
                                             ": a driver for CUDA 12.0 or later is needed"));
  }
  driver->check(driver->cuInit(0), "cuInit");
  return driver.release();
}

const Driver &Driver::get() {
  static std::atomic<const Driver *> opened{nullptr};
  if (const Driver *driver = opened.load(std::memory_order_acquire))
    return *driver;
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  if (!opened.load())
    opened.store(open(), std::memory_order_release);
  return *opened.load();
}

std::string Driver::describe(CUresult result) const {
  const char *name = nullptr, *text = nullptr;
  if (cuGetErrorName(result, &name) != CUDA_SUCCESS || !name)
    return concat("error ", result);
  if (cuGetErrorString(result, &text) != CUDA_SUCCESS || !text)
    return name;
  return concat(name, " (", text, ")");
}

void Driver::fail(CUresult result, const char *call, const std::string &context) const {
  throw Error(SPARSEATTN_DRIVER_ERROR, concat(context, context.empty() ? "" : ": ", call, ": ", describe(result)),
              result);
}

} // namespace sparseattn::runtime
