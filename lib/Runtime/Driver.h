//===- Driver.h - the part of the CUDA driver that is used ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

// Written from the CUDA Driver API reference (docs.nvidia.com/cuda/cuda-driver-api),
// so that no toolkit is needed. Types and names are the reference's; each function's
// group stands beside it. Where cuda.h turns a name into NAME_v2, NAME_v2 is loaded:
// the plain symbol is an older interface.

#ifndef SPARSEATTN_LIB_RUNTIME_DRIVER_H
#define SPARSEATTN_LIB_RUNTIME_DRIVER_H

#include "Error.h"
#include <cstddef>
#include <cstdint>
#include <string>

namespace sparseattn::runtime {

using CUresult = int;
using CUdevice = int;
using CUcontext = struct CUctx_st *;
using CUmodule = struct CUmod_st *;
using CUfunction = struct CUfunc_st *;
using CUstream = struct CUstream_st *;
using CUevent = struct CUevent_st *;
using CUdeviceptr = unsigned long long;

struct alignas(64) CUtensorMap {
  uint64_t opaque[16];
};

// CUresult
constexpr CUresult CUDA_SUCCESS = 0;
constexpr CUresult CUDA_ERROR_INVALID_VALUE = 1;
constexpr CUresult CUDA_ERROR_INVALID_IMAGE = 200;
constexpr CUresult CUDA_ERROR_NO_BINARY_FOR_GPU = 209;
constexpr CUresult CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222;
// CUdevice_attribute
constexpr int CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
constexpr int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75;
constexpr int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76;
constexpr int CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97;
// CUjit_option
constexpr int CU_JIT_ERROR_LOG_BUFFER = 5;
constexpr int CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6;
// CUfunction_attribute, CUpointer_attribute, CUstreamCaptureStatus, CUevent_flags
constexpr int CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
constexpr int CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9;
constexpr int CU_STREAM_CAPTURE_STATUS_NONE = 0;
constexpr unsigned CU_EVENT_DISABLE_TIMING = 2;
// CUtensorMapDataType
constexpr int CU_TENSOR_MAP_DATA_TYPE_UINT8 = 0;
constexpr int CU_TENSOR_MAP_DATA_TYPE_UINT16 = 1;
constexpr int CU_TENSOR_MAP_DATA_TYPE_INT32 = 3;
constexpr int CU_TENSOR_MAP_DATA_TYPE_INT64 = 5;
constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6;
constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT32 = 7;
constexpr int CU_TENSOR_MAP_DATA_TYPE_FLOAT64 = 8;
constexpr int CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9;
// CUtensorMapInterleave, CUtensorMapFloatOOBfill: out of bounds reads zero.
constexpr int CU_TENSOR_MAP_INTERLEAVE_NONE = 0;
constexpr int CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0;

/// X(member, exported symbol, parameters)
// clang-format off
#define SPARSEATTN_DRIVER_FUNCTIONS(X)                                                                                 \
  /* Initialization; version management */                                                                             \
  X(cuInit, "cuInit", (unsigned flags))                                                                                \
  X(cuDriverGetVersion, "cuDriverGetVersion", (int *version))                                                          \
  /* Device management; primary context management */                                                                  \
  X(cuDeviceGet, "cuDeviceGet", (CUdevice *device, int ordinal))                                                       \
  X(cuDeviceGetName, "cuDeviceGetName", (char *name, int length, CUdevice device))                                     \
  X(cuDeviceGetAttribute, "cuDeviceGetAttribute", (int *value, int attribute, CUdevice device))                        \
  X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (CUcontext *context, CUdevice device))                       \
  X(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (CUdevice device))                                      \
  /* Context management */                                                                                             \
  X(cuCtxGetCurrent, "cuCtxGetCurrent", (CUcontext *context))                                                          \
  X(cuCtxGetDevice, "cuCtxGetDevice", (CUdevice *device))                                                              \
  X(cuCtxGetId, "cuCtxGetId", (CUcontext context, unsigned long long *id))                                             \
  X(cuCtxPushCurrent, "cuCtxPushCurrent_v2", (CUcontext context))                                                      \
  X(cuCtxPopCurrent, "cuCtxPopCurrent_v2", (CUcontext *context))                                                       \
  /* Module management */                                                                                              \
  X(cuModuleLoadDataEx, "cuModuleLoadDataEx",                                                                          \
    (CUmodule *module, const void *image, unsigned count, int *options, void **values))                                \
  X(cuModuleUnload, "cuModuleUnload", (CUmodule module))                                                               \
  X(cuModuleGetFunction, "cuModuleGetFunction", (CUfunction *function, CUmodule module, const char *name))             \
  /* Execution control */                                                                                              \
  X(cuFuncSetAttribute, "cuFuncSetAttribute", (CUfunction function, int attribute, int value))                         \
  X(cuLaunchKernel, "cuLaunchKernel",                                                                                  \
    (CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,            \
     unsigned blockZ, unsigned sharedMemory, CUstream stream, void **parameters, void **extra))                        \
  /* Tensor map object management */                                                                                   \
  X(cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled",                                                                  \
    (CUtensorMap *map, int dataType, uint32_t rank, void *address, const uint64_t *dims, const uint64_t *strides,      \
     const uint32_t *box, const uint32_t *elementStrides, int interleave, int swizzle, int l2Promotion, int oobFill))  \
  /* Unified addressing; stream management; event management */                                                        \
  X(cuPointerGetAttribute, "cuPointerGetAttribute", (void *data, int attribute, CUdeviceptr pointer))                  \
  X(cuStreamIsCapturing, "cuStreamIsCapturing", (CUstream stream, int *status))                                        \
  X(cuStreamWaitEvent, "cuStreamWaitEvent", (CUstream stream, CUevent event, unsigned flags))                          \
  X(cuEventCreate, "cuEventCreate", (CUevent *event, unsigned flags))                                                  \
  X(cuEventRecord, "cuEventRecord", (CUevent event, CUstream stream))                                                  \
  X(cuEventDestroy, "cuEventDestroy_v2", (CUevent event))                                                              \
  /* Error handling */                                                                                                 \
  X(cuGetErrorName, "cuGetErrorName", (CUresult error, const char **name))                                             \
  X(cuGetErrorString, "cuGetErrorString", (CUresult error, const char **text))
// clang-format on

struct Driver {
#define SPARSEATTN_MEMBER(name, symbol, parameters) CUresult(*name) parameters = nullptr;
  SPARSEATTN_DRIVER_FUNCTIONS(SPARSEATTN_MEMBER)
#undef SPARSEATTN_MEMBER
  /// Execution control, since CUDA 12.4: null in older drivers.
  CUresult (*cuFuncGetParamInfo)(CUfunction function, size_t index, size_t *offset, size_t *size) = nullptr;

  /// The process's driver, loaded and initialised at the first call that
  /// succeeds. Throws Error.
  static const Driver &get();

  /// Throws unless `result` is success. The message: CONTEXT, CALL, the error's name and text.
  template <typename... Context>
  void check(CUresult result, const char *call, const Context &...context) const {
    if (result != CUDA_SUCCESS)
      fail(result, call, concat(context...));
  }
  [[noreturn]] void fail(CUresult result, const char *call, const std::string &context) const;
  /// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)".
  std::string describe(CUresult result) const;
};

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_DRIVER_H
