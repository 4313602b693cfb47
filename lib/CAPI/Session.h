//===- Session.h - one call's context, options and diagnostics --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CAPI_SESSION_H
#define SPARSEATTN_LIB_CAPI_SESSION_H

#include "Result.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace sparseattn {

/// The members of SparseAttnOptions, copied and with defaults filled in.
struct SessionOptions {
  std::string inputName = "input";
  bool verifyEach = true;
  bool allowUnregistered = false;
  bool emitBytecode = false;
  bool printLocations = false;
  std::string reproducerPath;
  std::string dumpFolder;
  std::string cpu;
  std::string features;
  unsigned optLevel = 3;
  std::string openMPLibrary;
  std::string linker;
};

/// Everything that one call of the C ABI works with. Each has its own MLIR
/// context without threads, so calls on several threads do not meet.
class Session {
public:
  explicit Session(SparseAttnResult &result) : result(result) {}

  /// Copies and checks the options; reports and fails on a size that this
  /// library does not know.
  llvm::LogicalResult setOptions(const SparseAttnOptions *given);
  const SessionOptions &getOptions() const { return options; }

  /// Parses and verifies text or bytecode; null after an error was reported.
  mlir::OwningOpRef<mlir::ModuleOp> parse(const char *ir, size_t length);

  /// Runs a pipeline on `module`. An empty one does nothing.
  llvm::LogicalResult run(mlir::ModuleOp module, llvm::StringRef pipeline);

  /// Writes `<number>-<name>` to the dump folder, if there is one.
  void dump(llvm::StringRef name, llvm::StringRef text);

  /// Runs `body` on a thread with a deep stack, with diagnostics going to the
  /// result: parser, passes and code generator recurse over the structure of
  /// their input, and the caller's stack may be a small one.
  void runWithDiagnostics(llvm::function_ref<void()> body);

  /// The context, for what outlives the session.
  std::unique_ptr<mlir::MLIRContext> takeContext() { return std::move(context); }

private:
  SparseAttnResult &result;
  SessionOptions options;
  std::unique_ptr<mlir::MLIRContext> context;
  unsigned dumpCount = 0;
};

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CAPI_SESSION_H
