//===- SharedLibrary.h - compiled code as files ----------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TARGET_CPU_SHAREDLIBRARY_H
#define SPARSEATTN_TARGET_CPU_SHAREDLIBRARY_H

#include "sparseattn/Target/CPU/ObjectCode.h"
#include "llvm/Support/Error.h"

namespace sparseattn {

/// Path of the linker: `asked` when not empty, else the environment variable
/// SPARSEATTN_LLD, else the ld.lld found when the project was configured, else
/// `ld.lld-22` or `ld.lld` on PATH. An error says what to install.
llvm::Expected<std::string> findLinker(llvm::StringRef asked = {});

/// Writes the object file; nothing is left behind on failure.
llvm::Error writeObject(const ObjectCode &code, llvm::StringRef path);

/// Links the object file at `objectPath` to the shared library `libraryPath`,
/// which depends on the C library, libm, and, if the code needs it, on
/// libomp.so.5 in the folder of `getOpenMPLibrary(openMP)`. Every symbol must
/// be resolved. Nothing is left behind on failure.
llvm::Error linkSharedLibrary(const ObjectCode &code, llvm::StringRef objectPath, llvm::StringRef libraryPath,
                              llvm::StringRef linker = {}, llvm::StringRef openMP = {});

} // namespace sparseattn

#endif // SPARSEATTN_TARGET_CPU_SHAREDLIBRARY_H
