//===- SharedLibrary.cpp - compiled code as files --------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Target/CPU/SharedLibrary.h"
#include "sparseattn/Target/CPU/RuntimeLibraries.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include <cstdlib>
#include <dlfcn.h>
#include <link.h>

using namespace llvm;
using namespace sparseattn;

static Error makeError(const Twine &text) { return createStringError(inconvertibleErrorCode(), text); }

Expected<std::string> sparseattn::findLinker(StringRef asked) {
  const char *environment = std::getenv("SPARSEATTN_LLD");
  StringRef named = !asked.empty() ? asked : environment ? StringRef(environment) : StringRef();
  if (!named.empty()) {
    if (sys::fs::can_execute(named))
      return named.str();
    return makeError("the linker '" + named + "' is not an executable file");
  }
  if (sys::fs::can_execute(SPARSEATTN_LLD_PROGRAM))
    return std::string(SPARSEATTN_LLD_PROGRAM);
  for (const char *name : {"ld.lld-22", "ld.lld"})
    if (ErrorOr<std::string> path = sys::findProgramByName(name))
      return *path;
  return makeError("no linker: apt-get install lld-22, or set SPARSEATTN_LLD to the path of ld.lld");
}

Error sparseattn::writeObject(const ObjectCode &code, StringRef path) {
  Error error = writeToOutput(path, [&](raw_ostream &stream) {
    stream << code.object->getBuffer();
    return Error::success();
  });
  if (error)
    return makeError("cannot write '" + path + "': " + toString(std::move(error)));
  return Error::success();
}

/// Full path of a library that the loader knows by `name`: the linker wants files.
static Expected<std::string> findLibrary(const std::string &name) {
  void *handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  link_map *map = nullptr;
  if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
    const char *reason = dlerror();
    return makeError("cannot find " + Twine(name) + ": " + (reason ? reason : "unknown reason"));
  }
  return std::string(map->l_name);
}

Error sparseattn::linkSharedLibrary(const ObjectCode &code, StringRef objectPath, StringRef libraryPath,
                                    StringRef linker, StringRef openMP) {
  Expected<std::string> program = findLinker(linker);
  if (!program)
    return program.takeError();
  std::vector<std::string> arguments = {*program, "-shared", "-z", "defs", "--gc-sections", "-s",
                                        "-soname", sys::path::filename(libraryPath).str(), "-o", libraryPath.str(),
                                        objectPath.str()};
  auto addLibrary = [&](const std::string &name, bool addRunPath) -> Error {
    Expected<std::string> path = findLibrary(name);
    if (!path)
      return path.takeError();
    arguments.push_back(*path);
    if (addRunPath)
      arguments.insert(arguments.end(), {"-rpath", sys::path::parent_path(*path).str()});
    return Error::success();
  };
  bool needsOpenMP = any_of(code.undefinedSymbols, [](StringRef symbol) { return isOpenMPSymbol(symbol); });
  // Conversions of half precision, on machines without them, live in libgcc_s.
  bool needsCompilerRuntime = any_of(code.undefinedSymbols, [](StringRef symbol) {
    return symbol.starts_with("__") && !isOpenMPSymbol(symbol);
  });
  Error error = joinErrors(addLibrary("libc.so.6", false), addLibrary("libm.so.6", false));
  if (needsCompilerRuntime)
    error = joinErrors(std::move(error), addLibrary("libgcc_s.so.1", false));
  if (needsOpenMP)
    error = joinErrors(std::move(error), addLibrary(getOpenMPLibrary(openMP), true));
  if (error)
    return error;

  SmallString<128> log;
  if (std::error_code error = sys::fs::createTemporaryFile("sparseattn-link", "log", log))
    return makeError("cannot make a temporary file: " + error.message());
  FileRemover removeLog(log);
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(log), StringRef(log)};
  std::string reason;
  int status = sys::ExecuteAndWait(*program, SmallVector<StringRef>(arguments.begin(), arguments.end()), std::nullopt,
                                   redirects, /*SecondsToWait=*/0, /*MemoryLimit=*/0, &reason);
  if (status == 0)
    return Error::success();
  sys::fs::remove(libraryPath);
  if (auto text = MemoryBuffer::getFile(log))
    reason += (*text)->getBuffer();
  return makeError("linking '" + libraryPath + "' with " + *program + " failed: " + StringRef(reason).trim());
}
