//===- RuntimeLibraries.h - libraries that compiled code calls -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TARGET_CPU_RUNTIMELIBRARIES_H
#define SPARSEATTN_TARGET_CPU_RUNTIMELIBRARIES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace sparseattn {

/// True when `symbol` belongs to the OpenMP runtime.
bool isOpenMPSymbol(llvm::StringRef symbol);

/// Path of LLVM's OpenMP runtime: `asked` when not empty, else the environment
/// variable SPARSEATTN_OPENMP, else the one found when the project was
/// configured, else `libomp.so.5`, which the loader searches.
std::string getOpenMPLibrary(llvm::StringRef asked = {});

/// Addresses of `symbols` in this process, in order. The C library, libm and
/// libgcc_s are loaded as needed, and for OpenMP symbols the library
/// `getOpenMPLibrary(openMP)`, unless the process already holds an LLVM or
/// Intel OpenMP runtime: two of them in one process end it.
/// Loaded libraries stay; their symbols do not become visible to others.
llvm::Expected<std::vector<void *>> resolveSymbols(llvm::ArrayRef<std::string> symbols,
                                                   llvm::StringRef openMP = {});

} // namespace sparseattn

#endif // SPARSEATTN_TARGET_CPU_RUNTIMELIBRARIES_H
