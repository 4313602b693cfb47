//===- JITEngine.h - compiled code in this process -------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TARGET_CPU_JITENGINE_H
#define SPARSEATTN_TARGET_CPU_JITENGINE_H

#include "sparseattn/Target/CPU/ObjectCode.h"
#include "llvm/Support/Error.h"

namespace llvm {
class StringRef;
namespace orc {
class LLJIT;
} // namespace orc
} // namespace llvm

namespace sparseattn {

/// Object code linked into this process. Functions may be called from several
/// threads at once.
class JITEngine {
public:
  /// Links `code`; `openMP` as in `getOpenMPLibrary`.
  static llvm::Expected<std::unique_ptr<JITEngine>> create(ObjectCode code,
                                                           std::vector<FunctionSignature> signatures,
                                                           llvm::StringRef openMP = {});
  ~JITEngine();

  llvm::ArrayRef<FunctionSignature> getSignatures() const { return signatures; }
  /// Null for an unknown name.
  const FunctionSignature *findSignature(llvm::StringRef name) const;

  using SizeCheck = llvm::function_ref<llvm::Error(const FunctionSignature &, llvm::ArrayRef<int64_t>)>;

  /// Calls function `name` with one pointer for each argument, then one for
  /// each result, as described at `kPackedPrefix`.
  ///
  /// Checked before the call: number of pointers, none null, sizes against the
  /// signature, dense row-major strides (a dimension of size 0 or 1 may have
  /// any), a data pointer where there are elements; then `checkSizes` is asked
  /// about the sizes of all tensor arguments, one after the other.
  ///
  /// After it, `owned[i]` (may be null) says whether the caller has to free the
  /// base pointer of result `i`: false for scalars, for constants of the
  /// module, and for a base that belongs to an argument or an earlier result.
  llvm::Error invoke(llvm::StringRef name, llvm::MutableArrayRef<void *> values, unsigned char *owned,
                     SizeCheck checkSizes = {}) const;

private:
  JITEngine();

  std::vector<FunctionSignature> signatures;
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<void (*)(void **)> entries;
};

} // namespace sparseattn

#endif // SPARSEATTN_TARGET_CPU_JITENGINE_H
