//===- GpuArtefact.cpp -----------------------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Target/GPU/GpuArtefact.h"
#include "sparseattn/Pipelines/Pipelines.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include <map>

using namespace mlir;
using namespace sparseattn;
namespace json = llvm::json;

/// Assembles PTX. What makes a kernel many times slower is an error: matrix
/// products that ptxas serialises, and spills.
static FailureOr<std::string> assemble(gpu::BinaryOp binary, StringRef ptx, StringRef ptxas) {
  SmallString<128> source, cubin, log;
  std::error_code error;
  for (auto [path, suffix] : {std::pair(&source, "ptx"), std::pair(&cubin, "cubin"), std::pair(&log, "log")})
    if (!error)
      error = llvm::sys::fs::createTemporaryFile("sparseattn", suffix, *path);
  llvm::FileRemover removeSource(source), removeCubin(cubin), removeLog(log);
  if (!error) {
    llvm::raw_fd_ostream stream(source, error);
    stream << ptx;
  }
  if (error)
    return binary.emitOpError("cannot be assembled: no temporary file: ") << error.message();
  StringRef arguments[] = {ptxas, "-arch=sm_90a", "-O3", "-v", "--warn-on-spills", source, "-o", cubin};
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(log), StringRef(log)};
  std::string message;
  int code = llvm::sys::ExecuteAndWait(ptxas, arguments, /*Env=*/std::nullopt, redirects, /*SecondsToWait=*/300,
                                       /*MemoryLimit=*/0, &message);
  auto report = llvm::MemoryBuffer::getFile(log);
  StringRef text = report ? (*report)->getBuffer() : StringRef();
  if (code != 0)
    return binary.emitOpError("cannot be assembled by ") << ptxas << ": " << (message.empty() ? text.trim() : message);
  SmallVector<StringRef> lines;
  text.split(lines, '\n');
  for (StringRef line : lines)
    if (line.contains("C75") || line.contains("Registers are spilled"))
      return binary.emitOpError("would be slow, says ptxas: ")
             << line.trim() << "; choose a schedule with smaller tiles (sparseattn-select-schedule)";
  auto image = llvm::MemoryBuffer::getFile(cubin);
  if (!image)
    return binary.emitOpError("was assembled, but cannot be read: ") << image.getError().message();
  return (*image)->getBuffer().str();
}

FailureOr<std::vector<ArtefactFile>> sparseattn::makeGpuArtefact(ModuleOp module, const GpuArtefactOptions &options) {
  // The manifest's entries, before the functions become text.
  std::map<std::string, json::Object> entries;
  for (auto kernels : module.getOps<gpu::GPUModuleOp>())
    for (auto function : kernels.getOps<LLVM::LLVMFuncOp>()) {
      if (function.isExternal())
        continue;
      FailureOr<json::Object> entry = describeKernel(function);
      if (failed(entry))
        return failure();
      entries.emplace(kernels.getName().str(), std::move(*entry));
    }
  if (entries.empty())
    return module.emitError("expected at least one GPU kernel (level L3), found none");

  PassManager manager(module.getContext());
  buildNVVMToPTX(manager, HopperPipelineOptions());
  if (failed(manager.run(module)))
    return failure();

  std::vector<ArtefactFile> files;
  json::Array list;
  for (auto binary : module.getOps<gpu::BinaryOp>()) {
    auto object = cast<gpu::ObjectAttr>(binary.getObjects()[0]);
    std::string name = binary.getName().str();
    // A trailing zero is part of the object, not of the text.
    std::string ptx = object.getObject().getValue().rtrim('\0').str();
    json::Object &entry = entries.at(name);
    auto add = [&](StringRef kind, std::string contents) {
      files.push_back({name + "." + kind.str(), std::move(contents)});
      entry[kind] = describeFile(files.back());
    };
    if (!options.ptxas.empty()) {
      FailureOr<std::string> cubin = assemble(binary, ptx, options.ptxas);
      if (failed(cubin))
        return failure();
      add("cubin", std::move(*cubin));
    }
    add("ptx", std::move(ptx));
    list.push_back(std::move(entry));
  }
  std::string manifest;
  llvm::raw_string_ostream(manifest) << llvm::formatv(
      "{0:2}\n", json::Value(json::Object{{"schema", "sparseattn-gpu-manifest"},
                                          {"version", 1},
                                          {"compiler", "MLIR " LLVM_VERSION_STRING},
                                          {"kernels", std::move(list)}}));
  files.push_back({"manifest.json", std::move(manifest)});
  return files;
}
