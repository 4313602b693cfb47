//===- FakeMemory.cpp - memory of the fake driver's devices --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

// Host memory behind the functions that programs without a framework allocate and
// copy with. The runtime itself uses none of them.

#include "FakeDriver.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201 };

extern "C" {
int cuCtxGetCurrent(void **context);
int cuCtxGetDevice(int *device);
int cuDeviceGet(int *device, int ordinal);

int cuDeviceGetCount(int *count) {
  int device;
  for (*count = 0; cuDeviceGet(&device, *count) == SUCCESS;)
    ++*count;
  return SUCCESS;
}

int cuMemAlloc_v2(uintptr_t *address, size_t bytes) {
  void *context = nullptr;
  cuCtxGetCurrent(&context);
  if (!context)
    return INVALID_CONTEXT;
  if (bytes == 0)
    return INVALID_VALUE;
  constexpr size_t kAlignment = 256, kDeviceBytes = size_t(1) << 36;
  void *memory = bytes > kDeviceBytes ? nullptr : aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (!memory)
    return OUT_OF_MEMORY;
  int device = 0;
  cuCtxGetDevice(&device);
  fakeDriverAddMemory(memory, device);
  *address = reinterpret_cast<uintptr_t>(memory);
  return SUCCESS;
}

int cuMemFree_v2(uintptr_t address) {
  free(reinterpret_cast<void *>(address));
  return SUCCESS;
}

int cuMemsetD8_v2(uintptr_t address, unsigned char value, size_t bytes) {
  memset(reinterpret_cast<void *>(address), value, bytes);
  return SUCCESS;
}

int cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t bytes) {
  memcpy(reinterpret_cast<void *>(to), from, bytes);
  return SUCCESS;
}

int cuMemcpyDtoH_v2(void *to, uintptr_t from, size_t bytes) {
  memcpy(to, reinterpret_cast<const void *>(from), bytes);
  return SUCCESS;
}
} // extern "C"
