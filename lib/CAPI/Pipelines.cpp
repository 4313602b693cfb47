//===- Pipelines.cpp - text in, text out ------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Session.h"

#include "mlir/Bytecode/BytecodeWriter.h"

using namespace mlir;
using namespace sparseattn;

static std::string write(ModuleOp module, const SessionOptions &options) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (options.emitBytecode) {
    // Fails for a version that cannot be written only; the current one can.
    (void)writeBytecodeToFile(module, stream);
    return text;
  }
  OpPrintingFlags flags;
  if (options.printLocations)
    flags.enableDebugInfo();
  module->print(stream, flags);
  stream << "\n";
  return text;
}

SparseAttnResult *sparseattnRunPipeline(const char *ir, size_t length, const char *pipeline,
                                        const SparseAttnOptions *given) {
  auto *result = new SparseAttnResult;
  Session session(*result);
  if (failed(session.setOptions(given)))
    return result;
  session.runWithDiagnostics([&] {
    OwningOpRef<ModuleOp> module = session.parse(ir, length);
    if (module && succeeded(session.run(*module, pipeline ? pipeline : "")))
      result->succeed(write(*module, session.getOptions()));
  });
  return result;
}
