//===- CompileGpu.cpp - from MLIR to an artefact for a GPU ------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Session.h"
#include "sparseattn-c/SparseAttn.h"
#include "sparseattn/Target/GPU/GpuArtefact.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace sparseattn;

/// Writes all files or none.
static llvm::Error writeFiles(StringRef folder, ArrayRef<ArtefactFile> files) {
  if (!llvm::sys::fs::is_directory(folder))
    return llvm::createStringError("the folder '" + folder + "' does not exist: make it first");
  std::vector<std::string> written;
  for (const ArtefactFile &file : files) {
    SmallString<256> path(folder);
    llvm::sys::path::append(path, file.name);
    llvm::Error error = llvm::writeToOutput(path, [&](llvm::raw_ostream &stream) {
      stream << file.contents;
      return llvm::Error::success();
    });
    if (error) {
      for (const std::string &earlier : written)
        llvm::sys::fs::remove(earlier);
      return llvm::createStringError("cannot write '" + path + "': " + toString(std::move(error)));
    }
    written.push_back(path.str().str());
  }
  return llvm::Error::success();
}

SparseAttnResult *sparseattnCompileForGpu(const char *ir, size_t length, const char *pipeline,
                                          const SparseAttnOptions *given, const char *ptxas, const char *folder) {
  auto *result = new SparseAttnResult;
  Session session(*result);
  if (failed(session.setOptions(given)))
    return result;
  if (!folder || !*folder) {
    result->addError("expected a folder for the artefact, found none");
    return result;
  }
  session.runWithDiagnostics([&] {
    OwningOpRef<ModuleOp> module = session.parse(ir, length);
    if (!module || failed(session.run(*module, pipeline ? pipeline : "sparseattn-to-nvvm")))
      return;
    GpuArtefactOptions options;
    options.ptxas = ptxas ? ptxas : "";
    FailureOr<std::vector<ArtefactFile>> files = makeGpuArtefact(*module, options);
    if (failed(files))
      return;
    if (llvm::Error error = writeFiles(folder, *files)) {
      result->addError(toString(std::move(error)));
      return;
    }
    result->succeed(files->back().contents);
  });
  return result;
}
