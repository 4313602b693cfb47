//===- PackedEntry.h - the exported functions of compiled code -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_TARGET_CPU_PACKEDENTRY_H
#define SPARSEATTN_LIB_TARGET_CPU_PACKEDENTRY_H

#include "sparseattn/Target/CPU/Signature.h"

namespace llvm {
class Module;
} // namespace llvm

namespace sparseattn {

/// Adds `sparseattn_packed_<name>` for every signature and makes every other
/// definition internal, under a name that cannot meet one of the C library.
/// Fails when a function is missing or its type does not follow from its
/// signature, which `source` is blamed for.
llvm::LogicalResult addPackedEntries(mlir::ModuleOp source, llvm::Module &module,
                                     llvm::ArrayRef<FunctionSignature> signatures);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_TARGET_CPU_PACKEDENTRY_H
