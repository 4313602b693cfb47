//===- FakeErrors.cpp - names of the fake driver's errors ----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include <map>
#include <utility>

static const std::map<int, std::pair<const char *, const char *>> &getErrors() {
  static const std::map<int, std::pair<const char *, const char *>> errors = {
      {0, {"CUDA_SUCCESS", "no error"}},
      {1, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}},
      {2, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
      {100, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
      {101, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}},
      {200, {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}},
      {201, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
      {209, {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"}},
      {218, {"CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"}},
      {222, {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."}},
      {400, {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}},
      {500, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}},
      {701, {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"}},
      {709, {"CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"}}};
  return errors;
}

extern "C" int cuGetErrorName(int error, const char **name) {
  auto found = getErrors().find(error);
  *name = found == getErrors().end() ? nullptr : found->second.first;
  return *name ? 0 : 1;
}

extern "C" int cuGetErrorString(int error, const char **text) {
  auto found = getErrors().find(error);
  *text = found == getErrors().end() ? nullptr : found->second.second;
  return *text ? 0 : 1;
}
