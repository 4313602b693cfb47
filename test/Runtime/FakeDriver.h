//===- FakeDriver.h - a CUDA driver that records instead of running ------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

// A shared library with the driver's functions, for tests without a GPU: set
// SPARSEATTN_LIBCUDA to it. It keeps contexts, modules and kernels, reads the
// parameters of a kernel from the PTX text of its image (which a "cubin" of the
// tests holds too), enforces the documented rules of the functions, and records
// launches.
//
// The environment variable SPARSEATTN_FAKE_DRIVER sets things before the first
// call, for programs that cannot call the functions below: settings and failures
// "NAME=NUMBER" separated by ';', for example "major=8;cuInit=100".

#ifndef SPARSEATTN_TEST_RUNTIME_FAKEDRIVER_H
#define SPARSEATTN_TEST_RUNTIME_FAKEDRIVER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Forgets everything but contexts: settings, failures, records. */
void fakeDriverReset(void);
/* devices, major, minor, multiprocessors, shared_memory, capturing, load_milliseconds. */
void fakeDriverSet(const char *setting, int value);
/* After `skip` more calls, function `call` fails with `error` until the reset, or
 * `times` times when that is positive. "cuModuleLoadDataEx.cubin" and ".ptx" are
 * the calls with such an image. */
void fakeDriverFail(const char *call, int error, int skip, int times);
/* Calls of a function since the reset. */
int fakeDriverCalls(const char *call);
/* Modules that are loaded, and primary contexts that are retained, now. */
int fakeDriverModules(void);
int fakeDriverRetained(void);
/* 1 while this thread is in a function of the driver. */
int fakeDriverIsInside(void);
/* Makes the driver know an address as memory of a device. */
void fakeDriverAddMemory(const void *address, int device);
/* {"launches": [{"symbol", "image": "cubin" | "ptx", "context", "grid", "block", "shared_memory", "stream",
 *                "parameters": [hexadecimal bytes]}],
 *  "maps": [{"id", "type", "address", "dims", "strides", "box", "element_strides", "interleave", "swizzle",
 *            "l2_promotion", "fill"}],
 *  "events": ["record STREAM" | "wait STREAM"]}
 * A map's first 8 bytes are its id. Valid until the next call in this thread. */
const char *fakeDriverLog(void);

#ifdef __cplusplus
}
#endif

#endif /* SPARSEATTN_TEST_RUNTIME_FAKEDRIVER_H */
