//===- Files.h - reading the files of an artefact ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_FILES_H
#define SPARSEATTN_LIB_RUNTIME_FILES_H

#include <cstdint>
#include <string>

namespace sparseattn::runtime {

/// The bytes of a regular file of at most `limit` bytes. Throws Error.
std::string readFile(const std::string &path, uint64_t limit);

/// FNV-1a, 64 bits (draft-eastlake-fnv, section 2).
uint64_t hashFnv1a64(const std::string &bytes);

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_FILES_H
