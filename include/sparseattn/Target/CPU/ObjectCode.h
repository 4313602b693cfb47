//===- ObjectCode.h - machine code of a lowered module ---------------------===//
//
// Part of the sparseattn project.
//
// One path from the LLVM dialect to machine code serves both products: what
// runs in process (JITEngine.h) and what is written as an object file or shared
// library (SharedLibrary.h) are the same bytes.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TARGET_CPU_OBJECTCODE_H
#define SPARSEATTN_TARGET_CPU_OBJECTCODE_H

#include "sparseattn/Target/CPU/Signature.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>

namespace sparseattn {

/// Every function `f` of the signatures is exported as
/// `void sparseattn_packed_f(void **values)`: one pointer for each argument,
/// then one for each result. A tensor's pointer leads to its descriptor
/// `{void *base, void *data, int64_t offset, int64_t sizes[rank], int64_t
/// strides[rank]}`, a scalar's to its value (`index` is 64 bits, `i1` a byte).
/// Descriptors of results are written by the function. Nothing else is exported.
inline constexpr llvm::StringLiteral kPackedPrefix = "sparseattn_packed_";

struct CodegenOptions {
  /// A CPU name of LLVM's x86 or AArch64 back end; empty: this machine with its features.
  std::string cpu;
  /// Comma-separated `+feature` and `-feature`, applied after those of the CPU.
  std::string features;
  /// 0 to 3.
  unsigned optLevel = 3;
  /// Receives LLVM IR before and after optimisation.
  llvm::function_ref<void(llvm::StringRef name, llvm::StringRef text)> dump;
};

struct ObjectCode {
  std::unique_ptr<llvm::MemoryBuffer> object;
  std::string triple;
  /// CPU and complete features that the code needs.
  std::string cpu;
  std::string features;
  /// Symbols that the C library, libm or the OpenMP runtime must provide.
  std::vector<std::string> undefinedSymbols;
};

/// Emits an error and fails when `module` holds anything but what the code
/// generator is known to handle: operations of the LLVM dialect for integers,
/// floats, fixed-length vectors, memory and control flow, and OpenMP loops.
/// LLVM ends the process on input it cannot select, so this check comes first.
llvm::LogicalResult verifyCodegenSupport(mlir::ModuleOp module);

/// Translates, optimises and assembles `module`, in which the functions of
/// `signatures` have been lowered to the LLVM dialect with expanded memref
/// descriptors. Failures are diagnostics on the module.
mlir::FailureOr<ObjectCode> compileToObject(mlir::ModuleOp module, llvm::ArrayRef<FunctionSignature> signatures,
                                            const CodegenOptions &options);

} // namespace sparseattn

#endif // SPARSEATTN_TARGET_CPU_OBJECTCODE_H
