//===- Files.cpp - reading the files of an artefact ----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Files.h"
#include "Error.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sys/stat.h>

namespace sparseattn::runtime {

std::string readFile(const std::string &path, uint64_t limit) {
  std::unique_ptr<FILE, int (*)(FILE *)> file(fopen(path.c_str(), "rbe"), fclose);
  struct stat status;
  // A folder or a pipe under the file's name would fail later and say less.
  if (!file || fstat(fileno(file.get()), &status) != 0)
    refuseArtefact(path, ": cannot be opened: ", strerror(errno));
  if (!S_ISREG(status.st_mode))
    refuseArtefact(path, ": expected a regular file");
  uint64_t size = static_cast<uint64_t>(status.st_size);
  if (size > limit)
    refuseArtefact(path, ": expected at most ", limit, " bytes, found ", size);
  std::string bytes(size, '\0');
  if (fread(bytes.data(), 1, size, file.get()) != size)
    refuseArtefact(path, ": cannot be read: ", ferror(file.get()) ? strerror(errno) : "it became shorter");
  return bytes;
}

uint64_t hashFnv1a64(const std::string &bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : bytes)
    hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

} // namespace sparseattn::runtime
