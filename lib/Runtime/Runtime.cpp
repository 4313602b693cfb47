//===- Runtime.cpp - the functions of sparseattn-c/Runtime.h -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn-c/Runtime.h"
#include "Error.h"
#include "Launch.h"

#include <deque>
#include <memory>

using namespace sparseattn::runtime;

struct SparseAttnKernel {
  const KernelSpec *spec;
  PrimaryContexts *primaries;
  ModuleCache modules;
};

struct SparseAttnArtefact {
  Manifest manifest;
  // Modules go before the contexts that hold them.
  PrimaryContexts primaries;
  std::deque<SparseAttnKernel> kernels;
};

// A thread that reports its last error may run out of memory for it; the status still tells.
static thread_local std::string lastError;
static thread_local int lastDriverError = 0;

/// Runs the body of a C function: no exception leaves the library.
template <typename Body>
static SparseAttnStatus guard(Body body) noexcept {
  try {
    try {
      body();
      return SPARSEATTN_OK;
    } catch (const Error &error) {
      lastDriverError = error.driverCode;
      lastError = error.what();
      return error.status;
    }
  } catch (const std::exception &) {
    // std::bad_alloc or std::length_error. This text needs no allocation.
    lastDriverError = 0;
    lastError.assign("no memory");
    return SPARSEATTN_OUT_OF_MEMORY;
  }
}

const char *sparseattnRuntimeVersion(void) { return SPARSEATTN_VERSION; }

const char *sparseattnRuntimeError(void) { return lastError.c_str(); }

int sparseattnRuntimeDriverError(void) { return lastDriverError; }

SparseAttnStatus sparseattnArtefactOpen(const char *folder, SparseAttnArtefact **artefact) {
  if (artefact)
    *artefact = nullptr;
  return guard([&] {
    if (!folder || !artefact)
      refuse("sparseattnArtefactOpen: ", folder ? "artefact" : "folder", " is NULL");
    auto made = std::make_unique<SparseAttnArtefact>();
    made->manifest = readArtefact(folder);
    for (const KernelSpec &spec : made->manifest.kernels) {
      SparseAttnKernel &kernel = made->kernels.emplace_back();
      kernel.spec = &spec;
      kernel.primaries = &made->primaries;
    }
    *artefact = made.release();
  });
}

const char *sparseattnArtefactManifest(const SparseAttnArtefact *artefact) {
  return artefact ? artefact->manifest.text.c_str() : "";
}

size_t sparseattnArtefactKernelCount(const SparseAttnArtefact *artefact) {
  return artefact ? artefact->kernels.size() : 0;
}

SparseAttnKernel *sparseattnArtefactKernel(SparseAttnArtefact *artefact, size_t index) {
  return index < sparseattnArtefactKernelCount(artefact) ? &artefact->kernels[index] : nullptr;
}

SparseAttnStatus sparseattnArtefactFindKernel(SparseAttnArtefact *artefact, const char *name,
                                              SparseAttnKernel **kernel) {
  if (kernel)
    *kernel = nullptr;
  return guard([&] {
    if (!artefact || !name || !kernel)
      refuse("sparseattnArtefactFindKernel: ", !artefact ? "artefact" : !name ? "name" : "kernel", " is NULL");
    std::string names;
    for (SparseAttnKernel &candidate : artefact->kernels) {
      if (candidate.spec->name == name) {
        *kernel = &candidate;
        return;
      }
      names += (names.empty() ? "" : ", ") + candidate.spec->name;
    }
    refuse("no kernel '", name, "'; the artefact has ", names);
  });
}

const char *sparseattnKernelName(const SparseAttnKernel *kernel) { return kernel ? kernel->spec->name.c_str() : ""; }

void sparseattnArtefactFree(SparseAttnArtefact *artefact) {
  // Unloading asks the driver, which was there when something was loaded.
  guard([&] { delete artefact; });
}

SparseAttnStatus sparseattnKernelPrepare(SparseAttnKernel *kernel, int device, SparseAttnImage *image) {
  return guard([&] {
    if (!kernel)
      refuse("sparseattnKernelPrepare: kernel is NULL");
    ScopedContext scope(Driver::get(), *kernel->primaries, device);
    const LoadedKernel &loaded = kernel->modules.get(*kernel->spec, scope, nullptr);
    if (image)
      *image = loaded.image;
  });
}

SparseAttnStatus sparseattnKernelLaunch(SparseAttnKernel *kernel, const SparseAttnTensor *tensors, size_t tensorCount,
                                        const SparseAttnAttribute *attributes, size_t attributeCount, void *stream) {
  return guard([&] {
    if (!kernel)
      refuse("sparseattnKernelLaunch: kernel is NULL");
    launch(*kernel->spec, *kernel->primaries, kernel->modules, tensors, tensorCount, attributes, attributeCount,
           static_cast<CUstream>(stream));
  });
}

SparseAttnStatus sparseattnRuntimeStreamWait(int device, void *stream, void *producer) {
  return guard([&] {
    if (stream == producer)
      return;
    const Driver &driver = Driver::get();
    PrimaryContexts primaries;
    ScopedContext scope(driver, primaries, device);
    CUevent event = nullptr;
    driver.check(driver.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "cuEventCreate");
    CUresult recorded = driver.cuEventRecord(event, static_cast<CUstream>(producer));
    CUresult waited =
        recorded == CUDA_SUCCESS ? driver.cuStreamWaitEvent(static_cast<CUstream>(stream), event, 0) : CUDA_SUCCESS;
    // The driver keeps what the wait needs.
    driver.cuEventDestroy(event);
    driver.check(recorded, "cuEventRecord", "the producer's stream");
    driver.check(waited, "cuStreamWaitEvent");
  });
}
