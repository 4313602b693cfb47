//===- Result.h - what a call of the C ABI gives back -----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CAPI_RESULT_H
#define SPARSEATTN_LIB_CAPI_RESULT_H

#include "mlir/IR/Diagnostics.h"
#include "sparseattn-c/SparseAttn.h"
#include <string>
#include <vector>

struct SparseAttnResult {
  struct Entry {
    SparseAttnSeverity severity;
    std::string location;
    std::string message;
  };

  bool ok = false;
  std::string text;
  std::string reproducer;
  std::string messages;
  std::vector<Entry> diagnostics;

  void add(SparseAttnSeverity severity, llvm::StringRef location, llvm::StringRef message);
  /// A diagnostic of MLIR with its notes.
  void add(mlir::Diagnostic &diagnostic);
  void addError(const llvm::Twine &message) { add(SPARSEATTN_ERROR, "", message.str()); }
  void addWarning(const llvm::Twine &message) { add(SPARSEATTN_WARNING, "", message.str()); }
  void succeed(std::string produced) {
    ok = true;
    text = std::move(produced);
  }
};

#endif // SPARSEATTN_LIB_CAPI_RESULT_H
