//===- Session.cpp - one call's context, options and diagnostics ------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Session.h"
#include "Nesting.h"
#include "PassTrace.h"

#include "mlir/IR/AsmState.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "sparseattn/Registration.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/thread.h"

using namespace mlir;
using namespace sparseattn;

static const DialectRegistry &getRegistry() {
  static const DialectRegistry &registry = *[] {
    auto *all = new DialectRegistry;
    registerAllDialects(*all);
    registerAllExtensions(*all);
    registerAllToLLVMIRTranslations(*all);
    registerAllPasses();
    registerDialects(*all);
    registerPasses();
    return all;
  }();
  return registry;
}

LogicalResult Session::setOptions(const SparseAttnOptions *given) {
  SparseAttnOptions copy = {};
  if (given) {
    if (given->size < sizeof(size_t) || given->size > sizeof(copy)) {
      result.addError("expected options.size up to " + Twine(sizeof(copy)) + " (sizeof(SparseAttnOptions)), found " +
                      Twine(given->size));
      return failure();
    }
    memcpy(&copy, given, given->size);
  }
  auto assign = [](std::string &target, const char *source) {
    if (source && *source)
      target = source;
  };
  assign(options.inputName, copy.inputName);
  assign(options.reproducerPath, copy.reproducerPath);
  assign(options.dumpFolder, copy.dumpFolder);
  assign(options.cpu, copy.cpu);
  assign(options.features, copy.features);
  assign(options.openMPLibrary, copy.openMPLibrary);
  assign(options.linker, copy.linker);
  options.verifyEach = !copy.noVerify;
  options.allowUnregistered = copy.allowUnregistered;
  options.emitBytecode = copy.emitBytecode;
  options.printLocations = copy.printLocations;
  if (copy.optLevel < -1 || copy.optLevel > 3) {
    result.addError("expected options.optLevel from -1 to 3, found " + Twine(copy.optLevel));
    return failure();
  }
  options.optLevel = copy.optLevel == 0 ? 3 : std::max(copy.optLevel, 0);
  return success();
}

void Session::runWithDiagnostics(function_ref<void()> body) {
  constexpr unsigned kStackSize = 256u << 20;
  context = std::make_unique<MLIRContext>(getRegistry(), MLIRContext::Threading::DISABLED);
  context->allowUnregisteredDialects(options.allowUnregistered);
  // An error on the module would quote the whole module.
  context->printOpOnDiagnostic(false);
  ScopedDiagnosticHandler handler(context.get(), [&](Diagnostic &diagnostic) { result.add(diagnostic); });
  llvm::thread worker(std::optional<unsigned>(kStackSize), [&] { body(); });
  worker.join();
}

OwningOpRef<ModuleOp> Session::parse(const char *ir, size_t length) {
  if (!ir) {
    result.addError("expected MLIR text or bytecode, found a null pointer");
    return nullptr;
  }
  StringRef input(ir, length);
  std::string tooDeep = findExcessiveNesting(input);
  if (!tooDeep.empty()) {
    result.add(SPARSEATTN_ERROR, options.inputName, tooDeep);
    return nullptr;
  }
  // A copy: the parser wants a terminating NUL, bytecode wants alignment.
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(input, options.inputName), llvm::SMLoc());
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, ParserConfig(context.get()));
  if (!module && result.diagnostics.empty())
    result.addError("expected an MLIR module in '" + options.inputName + "'");
  return module;
}

/// Writes `module` with the pipeline as a resource, which
/// `sparseattn-opt --run-reproducer` understands.
static llvm::Error writeReproducer(ModuleOp module, PassManager &manager, bool verifyEach, StringRef path) {
  std::string pipeline;
  llvm::raw_string_ostream stream(pipeline);
  manager.printAsTextualPipeline(stream);
  AsmState state(module);
  state.attachResourcePrinter("mlir_reproducer", [&](Operation *, AsmResourceBuilder &builder) {
    builder.buildString("pipeline", pipeline);
    builder.buildBool("disable_threading", true);
    builder.buildBool("verify_each", verifyEach);
  });
  return llvm::writeToOutput(path, [&](llvm::raw_ostream &file) {
    module->print(file, state);
    return llvm::Error::success();
  });
}

LogicalResult Session::run(ModuleOp module, StringRef pipeline) {
  pipeline = pipeline.trim();
  if (pipeline.empty())
    return success();
  std::string text = pipeline.starts_with("builtin.module") ? pipeline.str() : ("builtin.module(" + pipeline + ")").str();
  std::string parseErrors;
  llvm::raw_string_ostream errorStream(parseErrors);
  FailureOr<OpPassManager> parsed = parsePassPipeline(text, errorStream);
  if (failed(parsed) || parsed->getOpAnchorName() != ModuleOp::getOperationName()) {
    result.addError("expected a pass pipeline on builtin.module, found '" + pipeline + "'");
    if (!parseErrors.empty())
      result.add(SPARSEATTN_NOTE, "", parseErrors);
    return failure();
  }
  PassManager manager(context.get(), parsed->getOpAnchorName());
  static_cast<OpPassManager &>(manager) = std::move(*parsed);
  manager.enableVerifier(options.verifyEach);

  // Written first and removed on success, so that it is there after a crash too.
  if (!options.reproducerPath.empty()) {
    if (llvm::Error error = writeReproducer(module, manager, options.verifyEach, options.reproducerPath))
      result.addWarning("cannot write the reproducer: " + toString(std::move(error)));
    else
      result.reproducer = options.reproducerPath;
  }
  auto trace = std::make_unique<PassTrace>(
      [&](StringRef name, StringRef ir) { dump((name + ".mlir").str(), ir); }, !options.dumpFolder.empty());
  PassTrace &passes = *trace;
  manager.addInstrumentation(std::move(trace));
  passes.dump("input", module);
  if (failed(manager.run(module))) {
    if (!passes.getFailure().empty())
      result.addError(passes.getFailure());
    else if (result.diagnostics.empty())
      result.addError("the pipeline '" + pipeline + "' failed without giving a reason");
    if (!result.reproducer.empty())
      result.add(SPARSEATTN_NOTE, "", "reproducer written: sparseattn-opt --run-reproducer " + result.reproducer);
    return failure();
  }
  if (!result.reproducer.empty()) {
    llvm::sys::fs::remove(result.reproducer);
    result.reproducer.clear();
  }
  return success();
}

void Session::dump(StringRef name, StringRef text) {
  if (options.dumpFolder.empty())
    return;
  std::error_code code = llvm::sys::fs::create_directories(options.dumpFolder);
  std::string fileName;
  llvm::raw_string_ostream(fileName) << llvm::format("%02u-", dumpCount++) << name;
  llvm::SmallString<128> path(options.dumpFolder);
  llvm::sys::path::append(path, fileName);
  llvm::Error error = code ? llvm::errorCodeToError(code)
                           : llvm::writeToOutput(path, [&](llvm::raw_ostream &file) {
                               file << text;
                               return llvm::Error::success();
                             });
  if (!error)
    return;
  result.addWarning("cannot dump to '" + path + "': " + toString(std::move(error)));
  // One warning is enough.
  options.dumpFolder.clear();
}
