//===- Signature.h - what a compiled function takes and gives --------------===//
//
// Part of the sparseattn project.
//
// A signature is read from a function *before* it is lowered, while shapes and
// element types are still visible, and travels beside the compiled code: as
// JSON to other languages, and to the checks of every call.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TARGET_CPU_SIGNATURE_H
#define SPARSEATTN_TARGET_CPU_SIGNATURE_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/JSON.h"
#include <string>
#include <vector>

namespace sparseattn {

/// Element types that may cross a call, with the size of one element in memory.
struct ElementKind {
  llvm::StringRef name;
  unsigned bytes = 0;
};

/// One argument or result: a scalar, or a tensor or memref, both row-major and
/// dense in memory and passed as a descriptor. Compiled code never writes to a
/// tensor argument; to a memref argument it may.
struct ValueSignature {
  enum class Kind { Scalar, Tensor, Buffer };

  bool hasDescriptor() const { return kind != Kind::Scalar; }

  std::string name;
  Kind kind = Kind::Scalar;
  ElementKind element;
  /// Empty for scalars; `ShapedType::kDynamic` for sizes known at the call.
  std::vector<int64_t> shape;
  /// The value's other `sparseattn.*` attributes, without the prefix.
  llvm::json::Object attributes;
};

struct FunctionSignature {
  std::string name;
  std::vector<ValueSignature> arguments;
  std::vector<ValueSignature> results;
  /// The function's `sparseattn.*` attributes, without the prefix.
  llvm::json::Object attributes;
};

/// Signatures of the public functions of `module`, in order.
///
/// Emits an error and fails for a public function that cannot be called from
/// outside: a value that is neither a scalar nor a ranked tensor or
/// memref of a supported element type, a memref with a layout or memory space,
/// or a name that is no symbol of an object file.
/// Names of values come from the argument and result attribute
/// `sparseattn.name`; without it they are `arg0`, `arg1`, ... and `result0`, ...
mlir::FailureOr<std::vector<FunctionSignature>> getSignatures(mlir::ModuleOp module);

/// Schema: `{"functions": [{"name", "attributes", "arguments", "results"}]}`;
/// a value is `{"name", "kind": "scalar"|"tensor"|"buffer", "dtype", "shape",
/// "attributes"}`, where a dynamic size is `null` and scalars have no shape.
llvm::json::Object toJSON(llvm::ArrayRef<FunctionSignature> signatures);

/// `tensor<1x?x64xf32>`, `memref<4xi32>` or `index`.
std::string toString(const ValueSignature &value);

} // namespace sparseattn

#endif // SPARSEATTN_TARGET_CPU_SIGNATURE_H
