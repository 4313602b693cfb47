//===- Context.h - which context a call runs in --------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_CONTEXT_H
#define SPARSEATTN_LIB_RUNTIME_CONTEXT_H

#include "Driver.h"
#include <map>
#include <mutex>

namespace sparseattn::runtime {

/// Primary contexts that are kept alive; each is retained once, and released by
/// the destructor.
class PrimaryContexts {
public:
  ~PrimaryContexts();
  CUcontext get(const Driver &driver, int ordinal);

private:
  std::mutex mutex;
  std::map<int, CUcontext> retained;
};

/// Makes a context of a device current while it lives: the current one when that
/// is of the device, else the device's primary context. -1 is the device of the
/// current context. Throws Error.
class ScopedContext {
public:
  ScopedContext(const Driver &driver, PrimaryContexts &primaries, int ordinal);
  ~ScopedContext();
  ScopedContext(const ScopedContext &) = delete;
  ScopedContext &operator=(const ScopedContext &) = delete;

  const Driver &driver;
  CUcontext context = nullptr;
  CUdevice device = 0;
  /// Unlike its address, never used again by a later context.
  unsigned long long id = 0;

private:
  bool pushed = false;
};

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_CONTEXT_H
