/*===- Runtime.h - launching compiled kernels on a GPU ------------------------===*\
|*
|* Part of the sparseattn project.
|*
|* libSparseAttnRuntime.so loads what the compiler wrote for a GPU (a folder with
|* manifest.json, PTX and cubin; lib/Runtime/README.md) and launches its kernels.
|* It holds no compiler and needs no CUDA toolkit: the driver, libcuda.so.1, is
|* loaded at the first call that needs it. The environment variable
|* SPARSEATTN_LIBCUDA names another file to load instead.
|*
|* Rules for every function
|* - Functions that can fail return a status. After a failure
|*   sparseattnRuntimeError() is the reason: what was expected, what was found,
|*   what to do. NULL where an object is expected and files with any content are
|*   failures, never a crash. Nothing is launched by a call that fails.
|* - One artefact and its kernels may be used from several threads at once.
|* - The context that was current before a call is current after it.
|* - Strings passed in are copied; strings handed out live as long as the object
|*   they come from. All text is UTF-8.
|*
\*===----------------------------------------------------------------------===*/

#ifndef SPARSEATTN_C_RUNTIME_H
#define SPARSEATTN_C_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifndef SPARSEATTN_EXPORT
#define SPARSEATTN_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The project's version. */
SPARSEATTN_EXPORT const char *sparseattnRuntimeVersion(void);

/*===----------------------------------------------------------------------===*\
|* Status
\*===----------------------------------------------------------------------===*/

typedef enum SparseAttnStatus {
  SPARSEATTN_OK = 0,
  /* The caller passed something that does not fit: NULL, an unknown name, a
   * tensor or attribute that the kernel does not accept. */
  SPARSEATTN_INVALID_ARGUMENT = 1,
  /* The artefact is missing, damaged, or of another version. */
  SPARSEATTN_INVALID_ARTEFACT = 2,
  /* The kernel was compiled for another kind of device. */
  SPARSEATTN_UNSUPPORTED_DEVICE = 3,
  /* The driver is missing or too old. */
  SPARSEATTN_NO_DRIVER = 4,
  /* A call of the driver failed; sparseattnRuntimeDriverError() is its code. */
  SPARSEATTN_DRIVER_ERROR = 5,
  /* No host memory. */
  SPARSEATTN_OUT_OF_MEMORY = 6
} SparseAttnStatus;

/* Why the latest call that failed in this thread did; "" before the first. Valid
 * until the next failure in this thread. */
SPARSEATTN_EXPORT const char *sparseattnRuntimeError(void);
/* The driver's code (CUresult) behind it, else 0. */
SPARSEATTN_EXPORT int sparseattnRuntimeDriverError(void);

/*===----------------------------------------------------------------------===*\
|* Artefacts and kernels
\*===----------------------------------------------------------------------===*/

typedef struct SparseAttnArtefact SparseAttnArtefact;
/* Part of an artefact; lives as long as it does. */
typedef struct SparseAttnKernel SparseAttnKernel;

/* Reads the artefact in `folder` and checks its manifest and the size and
 * checksum of every file. Needs no GPU. On failure `*artefact` is NULL. */
SPARSEATTN_EXPORT SparseAttnStatus sparseattnArtefactOpen(const char *folder, SparseAttnArtefact **artefact);
/* The text of manifest.json, which has been checked. NULL artefact: "". */
SPARSEATTN_EXPORT const char *sparseattnArtefactManifest(const SparseAttnArtefact *artefact);
SPARSEATTN_EXPORT size_t sparseattnArtefactKernelCount(const SparseAttnArtefact *artefact);
/* In the manifest's order. NULL when there is none at `index`. */
SPARSEATTN_EXPORT SparseAttnKernel *sparseattnArtefactKernel(SparseAttnArtefact *artefact, size_t index);
/* On failure, which names the kernels there are, `*kernel` is NULL. */
SPARSEATTN_EXPORT SparseAttnStatus sparseattnArtefactFindKernel(SparseAttnArtefact *artefact, const char *name,
                                                                SparseAttnKernel **kernel);
SPARSEATTN_EXPORT const char *sparseattnKernelName(const SparseAttnKernel *kernel);
/* Unloads its modules from the contexts that still exist. No call may be using
 * the artefact, and no launch may still run. NULL is allowed. */
SPARSEATTN_EXPORT void sparseattnArtefactFree(SparseAttnArtefact *artefact);

/*===----------------------------------------------------------------------===*\
|* Launching
\*===----------------------------------------------------------------------===*/

typedef enum SparseAttnDType {
  SPARSEATTN_F16 = 1,
  SPARSEATTN_BF16 = 2,
  SPARSEATTN_F32 = 3,
  SPARSEATTN_F64 = 4,
  /* One byte, 0 or 1. */
  SPARSEATTN_I1 = 5,
  SPARSEATTN_I8 = 6,
  SPARSEATTN_I16 = 7,
  SPARSEATTN_I32 = 8,
  SPARSEATTN_I64 = 9
} SparseAttnDType;

/* A tensor in device memory. */
typedef struct SparseAttnTensor {
  /* Address of the element at index 0, ..., 0. */
  void *data;
  /* A SparseAttnDType. */
  int32_t dtype;
  int32_t rank;
  /* Ordinal of the device, or -1 to ask the driver. */
  int32_t device;
  const int64_t *sizes;
  /* In elements; NULL: dense and row-major. */
  const int64_t *strides;
} SparseAttnTensor;

/* The value of an attribute: `integer` when `isInteger`, else `number`. */
typedef struct SparseAttnAttribute {
  const char *name;
  int isInteger;
  int64_t integer;
  double number;
} SparseAttnAttribute;

typedef enum SparseAttnImage {
  SPARSEATTN_CUBIN = 1,
  /* Assembled by the driver: there is no cubin, or the driver refused it. */
  SPARSEATTN_PTX = 2
} SparseAttnImage;

/* Loads the kernel on a device, so that the first launch there does not: call it
 * before a launch is captured into a graph. It uses the current context when that
 * is one of `device`, else the primary context of `device`; -1 is the device of
 * the current context. Loading again does nothing. `image` may be NULL and
 * receives what was loaded. */
SPARSEATTN_EXPORT SparseAttnStatus sparseattnKernelPrepare(SparseAttnKernel *kernel, int device,
                                                           SparseAttnImage *image);

/* Checks the arguments and launches the kernel on `stream` (a CUstream of the
 * tensors' device; NULL is the default stream). `tensors` are the operands in the
 * manifest's order. Attributes that have a default may be left out.
 *
 * Returns when the launch is queued. A launch on a device where the kernel is
 * loaded allocates nothing and waits for nothing, and may be captured into a
 * graph: sizes, strides, addresses and tensor maps travel as kernel parameters. A
 * problem that is empty in the way the manifest declares succeeds without a
 * launch. Operands must not overlap in memory, except inputs with each other. */
SPARSEATTN_EXPORT SparseAttnStatus sparseattnKernelLaunch(SparseAttnKernel *kernel, const SparseAttnTensor *tensors,
                                                          size_t tensorCount, const SparseAttnAttribute *attributes,
                                                          size_t attributeCount, void *stream);

/* Makes later work of `stream` wait for the work that is in `producer` now; both
 * are streams of `device`. */
SPARSEATTN_EXPORT SparseAttnStatus sparseattnRuntimeStreamWait(int device, void *stream, void *producer);

#ifdef __cplusplus
}
#endif

#endif /* SPARSEATTN_C_RUNTIME_H */
