//===- Compile.h - from MLIR to object code, for both kinds of product ------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CAPI_COMPILE_H
#define SPARSEATTN_LIB_CAPI_COMPILE_H

#include "Session.h"
#include "sparseattn/Target/CPU/ObjectCode.h"

namespace sparseattn {

struct CompiledModule {
  /// The input module, before lowering.
  mlir::OwningOpRef<mlir::ModuleOp> source;
  std::vector<FunctionSignature> signatures;
  ObjectCode code;
};

/// Parses, lowers and compiles; `pipeline` NULL is `sparseattn-to-cpu`. Fails
/// after errors were reported to the session.
mlir::FailureOr<CompiledModule> compile(Session &session, const char *ir, size_t length, const char *pipeline);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CAPI_COMPILE_H
