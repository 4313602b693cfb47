//===- Context.cpp - which context a call runs in ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Context.h"
#include "Error.h"

namespace sparseattn::runtime {

PrimaryContexts::~PrimaryContexts() {
  // Errors mean that the driver is shutting down or the device was reset: there is nothing left to release.
  for (const auto &entry : retained) {
    CUdevice device;
    if (Driver::get().cuDeviceGet(&device, entry.first) == CUDA_SUCCESS)
      Driver::get().cuDevicePrimaryCtxRelease(device);
  }
}

CUcontext PrimaryContexts::get(const Driver &driver, int ordinal) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = retained.find(ordinal);
  if (found != retained.end())
    return found->second;
  CUdevice device;
  CUcontext context;
  driver.check(driver.cuDeviceGet(&device, ordinal), "cuDeviceGet", "device ", ordinal);
  driver.check(driver.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain",
               "device ", ordinal);
  retained.emplace(ordinal, context);
  return context;
}

ScopedContext::ScopedContext(const Driver &driver, PrimaryContexts &primaries, int ordinal) : driver(driver) {
  driver.check(driver.cuCtxGetCurrent(&context), "cuCtxGetCurrent");
  if (!context && ordinal < 0)
    refuse("no device was named and this thread has no current CUDA context: name a device, or make a context current");
  CUdevice wanted = 0;
  if (context)
    driver.check(driver.cuCtxGetDevice(&device), "cuCtxGetDevice");
  if (ordinal >= 0)
    driver.check(driver.cuDeviceGet(&wanted, ordinal), "cuDeviceGet", "device ", ordinal);
  if (!context || (ordinal >= 0 && device != wanted)) {
    context = primaries.get(driver, ordinal);
    device = wanted;
    driver.check(driver.cuCtxPushCurrent(context), "cuCtxPushCurrent", "device ", ordinal);
    pushed = true;
  }
  CUresult result = driver.cuCtxGetId(context, &id);
  if (result == CUDA_SUCCESS)
    return;
  // The destructor does not run for what was not constructed.
  if (pushed)
    driver.cuCtxPopCurrent(&context);
  driver.fail(result, "cuCtxGetId", "");
}

ScopedContext::~ScopedContext() {
  CUcontext popped;
  if (pushed)
    driver.cuCtxPopCurrent(&popped);
}

} // namespace sparseattn::runtime
