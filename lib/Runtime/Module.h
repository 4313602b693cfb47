//===- Module.h - a kernel loaded once for each context ------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_MODULE_H
#define SPARSEATTN_LIB_RUNTIME_MODULE_H

#include "Context.h"
#include "Manifest.h"
#include <atomic>
#include <memory>
#include <shared_mutex>

namespace sparseattn::runtime {

/// How many launches there were: each gets a counter of its own in the kernel's
/// memory (parameter kind `counter`).
struct LaunchCounts {
  std::atomic<uint64_t> queued = 0;
  std::atomic<uint64_t> captured = 0;
};

struct LoadedKernel {
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  SparseAttnImage image = SPARSEATTN_PTX;
  int multiprocessors = 0;
  std::shared_ptr<LaunchCounts> counts = std::make_shared<LaunchCounts>();
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
