//===- Fuzzer.cpp - parser, verifier and every pass against random text ----===//
//
// Part of the sparseattn project.
//
// An input is a letter, which selects what to do, and a module in text form.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Registration.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/ErrorHandling.h"

using namespace mlir;

namespace {

/// What letters 'b', 'c', ... run; 'a' is the round trip.
const char *const pipelines[] = {
    "canonicalize",
    "cse",
#include "Passes.inc"
};

/// Types and attributes of every input stay in their context, so a context
/// does not live for ever.
class ContextPool {
public:
  ContextPool() {
    registerAllDialects(registry);
    registerAllExtensions(registry);
    registerAllPasses();
    sparseattn::registerDialects(registry);
    sparseattn::registerPasses();
  }

  MLIRContext &get() {
    if (!context || ++uses > 500) {
      context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
      context->allowUnregisteredDialects();
      // Errors are what most inputs deserve; only crashes are of interest.
      context->getDiagEngine().registerHandler([](Diagnostic &) { return success(); });
      uses = 0;
    }
    return *context;
  }

private:
  DialectRegistry registry;
  std::unique_ptr<MLIRContext> context;
  unsigned uses = 0;
};

std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream os(text);
  module.print(os);
  return text;
}

/// What was accepted must print as something that is accepted and prints alike,
/// in both forms.
void checkRoundTrip(ModuleOp module) {
  MLIRContext *context = module.getContext();
  std::string text = print(module);
  OwningOpRef<ModuleOp> reparsed = parseSourceString<ModuleOp>(text, context);
  if (!reparsed || print(*reparsed) != text)
    llvm::report_fatal_error("text does not round-trip");
  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  if (failed(writeBytecodeToFile(module, os)))
    llvm::report_fatal_error("module has no bytecode");
  OwningOpRef<ModuleOp> reread = parseSourceString<ModuleOp>(bytes, context);
  if (!reread || print(*reread) != text)
    llvm::report_fatal_error("bytecode does not round-trip");
}

void runPipeline(ModuleOp module, const char *pipeline) {
  PassManager manager(module.getContext(), ModuleOp::getOperationName(), PassManager::Nesting::Implicit);
  if (failed(parsePassPipeline(pipeline, manager)))
    llvm::report_fatal_error("unknown pass in Passes.inc");
  (void)manager.run(module);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static ContextPool pool;
  if (size < 2)
    return 0;
  std::string text(reinterpret_cast<const char *>(data) + 1, size - 1);
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &pool.get());
  if (!module)
    return 0;
  size_t choice = data[0] % (std::size(pipelines) + 1);
  if (choice == 0)
    checkRoundTrip(*module);
  else
    runPipeline(*module, pipelines[choice - 1]);
  return 0;
}
