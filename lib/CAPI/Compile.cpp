//===- Compile.cpp - from MLIR to object code, for both kinds of product ----===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Compile.h"
#include "sparseattn/Target/CPU/SharedLibrary.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using namespace sparseattn;

/// Arrays that callers pass as tensors are values: bufferization must not write
/// to them in place, as it does by default.
static void protectTensorArguments(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>()) {
    if (!function.isPublic())
      continue;
    for (auto [index, type] : llvm::enumerate(function.getArgumentTypes()))
      if (isa<TensorType>(type))
        function.setArgAttr(index, bufferization::BufferizationDialect::kWritableAttrName,
                            BoolAttr::get(module.getContext(), false));
  }
}

FailureOr<CompiledModule> sparseattn::compile(Session &session, const char *ir, size_t length, const char *pipeline) {
  CompiledModule compiled;
  compiled.source = session.parse(ir, length);
  if (!compiled.source)
    return failure();
  auto signatures = getSignatures(*compiled.source);
  if (failed(signatures))
    return failure();
  if (signatures->empty())
    return compiled.source->emitError() << "expected at least one public func.func to compile, found none";
  compiled.signatures = std::move(*signatures);

  OwningOpRef<ModuleOp> lowered = compiled.source->clone();
  lowered->getContext()->loadDialect<bufferization::BufferizationDialect>();
  protectTensorArguments(*lowered);
  if (failed(session.run(*lowered, pipeline ? pipeline : "sparseattn-to-cpu")))
    return failure();
  CodegenOptions options;
  options.cpu = session.getOptions().cpu;
  options.features = session.getOptions().features;
  options.optLevel = session.getOptions().optLevel;
  auto dump = [&](StringRef name, StringRef text) { session.dump((name + ".ll").str(), text); };
  if (!session.getOptions().dumpFolder.empty())
    options.dump = dump;
  auto code = compileToObject(*lowered, compiled.signatures, options);
  if (failed(code))
    return failure();
  compiled.code = std::move(*code);
  return std::move(compiled);
}

static std::string toText(llvm::json::Object object) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(std::move(object));
  return text;
}

SparseAttnResult *sparseattnCompileToFiles(const char *ir, size_t length, const char *pipeline,
                                           const SparseAttnOptions *given, const char *objectPath,
                                           const char *libraryPath) {
  auto *result = new SparseAttnResult;
  Session session(*result);
  if (failed(session.setOptions(given)))
    return result;
  if (!objectPath || !*objectPath) {
    result->addError("expected a path for the object file, found none");
    return result;
  }
  session.runWithDiagnostics([&] {
    auto compiled = compile(session, ir, length, pipeline);
    if (failed(compiled))
      return;
    const SessionOptions &options = session.getOptions();
    llvm::Error error = writeObject(compiled->code, objectPath);
    if (!error && libraryPath)
      error = linkSharedLibrary(compiled->code, objectPath, libraryPath, options.linker, options.openMPLibrary);
    if (error) {
      llvm::sys::fs::remove(objectPath);
      result->addError(toString(std::move(error)));
      return;
    }
    llvm::json::Object description = toJSON(compiled->signatures);
    description["triple"] = compiled->code.triple;
    description["cpu"] = compiled->code.cpu;
    description["features"] = compiled->code.features;
    result->succeed(toText(std::move(description)));
  });
  return result;
}
