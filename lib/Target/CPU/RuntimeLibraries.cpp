//===- RuntimeLibraries.cpp - libraries that compiled code calls -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Target/CPU/RuntimeLibraries.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Path.h"
#include <cstdlib>
#include <dlfcn.h>
#include <link.h>

using namespace llvm;

bool sparseattn::isOpenMPSymbol(StringRef symbol) {
  return symbol.starts_with("__kmpc_") || symbol.starts_with("omp_");
}

std::string sparseattn::getOpenMPLibrary(StringRef asked) {
  if (!asked.empty())
    return asked.str();
  const char *environment = std::getenv("SPARSEATTN_OPENMP");
  if (environment && *environment)
    return environment;
  return SPARSEATTN_OPENMP_LIBRARY;
}

/// Path of the OpenMP runtime that this process already holds, or empty.
static std::string findLoadedOpenMP() {
  std::string path;
  dl_iterate_phdr(
      [](dl_phdr_info *info, size_t, void *found) {
        StringRef name = info->dlpi_name ? sys::path::filename(info->dlpi_name) : "";
        if (!name.starts_with("libomp.so") && !name.starts_with("libomp5.so") && !name.starts_with("libiomp5.so") &&
            !(name.starts_with("libomp-") && name.contains(".so")))
          return 0;
        *static_cast<std::string *>(found) = info->dlpi_name;
        return 1;
      },
      &path);
  return path;
}

static Expected<void *> openLibrary(const std::string &path) {
  if (void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))
    return handle;
  const char *reason = dlerror();
  return createStringError(inconvertibleErrorCode(), "cannot load %s: %s", path.c_str(),
                           reason ? reason : "unknown reason");
}

static Expected<void *> openOpenMP(StringRef asked) {
  std::string loaded = findLoadedOpenMP();
  if (!loaded.empty())
    if (void *handle = dlopen(loaded.c_str(), RTLD_NOW | RTLD_NOLOAD))
      return handle;
  Expected<void *> handle = openLibrary(sparseattn::getOpenMPLibrary(asked));
  if (handle)
    return handle;
  return createStringError(inconvertibleErrorCode(),
                           "the code needs LLVM's OpenMP runtime, but %s; apt-get install libomp5-22, or set "
                           "SPARSEATTN_OPENMP to the path of libomp.so.5",
                           toString(handle.takeError()).c_str());
}

Expected<std::vector<void *>> sparseattn::resolveSymbols(ArrayRef<std::string> symbols, StringRef openMP) {
  SmallVector<void *> libraries;
  if (llvm::any_of(symbols, [](const std::string &symbol) { return isOpenMPSymbol(symbol); })) {
    Expected<void *> handle = openOpenMP(openMP);
    if (!handle)
      return handle.takeError();
    libraries.push_back(*handle);
  }
  // libgcc_s holds conversions of half precision for machines without them.
  for (const char *name : {"libm.so.6", "libc.so.6", "libgcc_s.so.1"})
    if (void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL))
      libraries.push_back(handle);

  std::vector<void *> addresses;
  std::string missing;
  for (const std::string &symbol : symbols) {
    // The default scope comes first: tools that replace malloc and free rely on it.
    void *address = isOpenMPSymbol(symbol) ? nullptr : dlsym(RTLD_DEFAULT, symbol.c_str());
    for (void *library : libraries)
      if (!address)
        address = dlsym(library, symbol.c_str());
    if (!address)
      missing += (missing.empty() ? "" : ", ") + symbol;
    addresses.push_back(address);
  }
  if (!missing.empty())
    return createStringError(inconvertibleErrorCode(),
                             "the code calls functions that neither the C library, libm nor the OpenMP runtime "
                             "provide: %s",
                             missing.c_str());
  return addresses;
}
