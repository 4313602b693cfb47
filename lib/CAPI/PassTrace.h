//===- PassTrace.h - what each pass leaves, and which one failed ------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CAPI_PASSTRACE_H
#define SPARSEATTN_LIB_CAPI_PASSTRACE_H

#include "mlir/Pass/PassInstrumentation.h"
#include <functional>
#include <string>

namespace sparseattn {

class PassTrace : public mlir::PassInstrumentation {
public:
  using Writer = std::function<void(llvm::StringRef name, llvm::StringRef ir)>;

  PassTrace(Writer write, bool enabled) : write(std::move(write)), enabled(enabled) {}

  void dump(llvm::StringRef name, mlir::Operation *op);
  void runAfterPass(mlir::Pass *pass, mlir::Operation *op) override;
  void runAfterPassFailed(mlir::Pass *pass, mlir::Operation *op) override;

  /// "pass 'x' failed on ..." of the innermost pass that failed, or empty.
  llvm::StringRef getFailure() const { return failure; }

private:
  Writer write;
  bool enabled;
  std::string failure;
};

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CAPI_PASSTRACE_H
