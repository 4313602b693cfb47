//===- Nesting.h - a bound on recursion of the parser -----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CAPI_NESTING_H
#define SPARSEATTN_LIB_CAPI_NESTING_H

#include "llvm/ADT/StringRef.h"
#include <string>

namespace sparseattn {

/// MLIR's parser calls itself once for each level of brackets and each unary
/// minus, without a limit. Returns what is wrong with text that nests deeper
/// than any module a person or tool writes, or "". Bytecode is not looked at.
std::string findExcessiveNesting(llvm::StringRef text);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CAPI_NESTING_H
