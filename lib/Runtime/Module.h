//===- Module.h - a kernel loaded once for each context ------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_MODULE_H
#define SPARSEATTN_LIB_RUNTIME_MODULE_H

#include "Context.h"
#include "Manifest.h"
#include <shared_mutex>

namespace sparseattn::runtime {

struct LoadedKernel {
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  SparseAttnImage image = SPARSEATTN_PTX;
  int multiprocessors = 0;
};

class ModuleCache {
public:
  /// Unloads from the contexts that still exist.
  ~ModuleCache();

  /// The kernel in the context, loaded now if it is not yet: by one thread, while
  /// others that need it wait. A load that fails is tried again at the next call.
  /// With `stream`, a load while that stream is being captured is refused.
  /// Throws Error.
  const LoadedKernel &get(const KernelSpec &kernel, const ScopedContext &scope, const CUstream *stream);

private:
  const LoadedKernel *find(unsigned long long id);

  std::shared_mutex mutex;
  std::mutex loading;
  /// By id of the context. Entries never move.
  std::map<unsigned long long, LoadedKernel> loaded;
};

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_MODULE_H
