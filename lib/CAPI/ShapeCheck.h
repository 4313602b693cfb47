//===- ShapeCheck.h - do the sizes of a call fit together? ------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CAPI_SHAPECHECK_H
#define SPARSEATTN_LIB_CAPI_SHAPECHECK_H

#include "sparseattn/Target/CPU/Signature.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"
#include <mutex>
#include <set>

namespace sparseattn {

/// Compiled code trusts that dynamic sizes obey the constraints of the
/// operations, such as that keys and values have one length. The verifiers know
/// these constraints; so the sizes of a call are put into the types of the
/// function as it was before lowering, and its operations are verified again.
class ShapeCheck {
public:
  /// Keeps the module, and the context that it lives in.
  ShapeCheck(std::unique_ptr<mlir::MLIRContext> context, mlir::OwningOpRef<mlir::ModuleOp> module)
      : context(std::move(context)), module(std::move(module)) {}

  /// `sizes` holds the sizes of all tensor arguments, one after the other; they
  /// fit the static sizes of the signature. Thread-safe; sizes that passed once
  /// are not looked at again.
  llvm::Error check(const FunctionSignature &signature, llvm::ArrayRef<int64_t> sizes);

private:
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::mutex mutex;
  std::set<std::pair<std::string, std::vector<int64_t>>> passed;
};

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CAPI_SHAPECHECK_H
