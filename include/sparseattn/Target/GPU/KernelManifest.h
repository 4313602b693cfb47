//===- KernelManifest.h - what a launcher has to know of a kernel ----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TARGET_GPU_KERNELMANIFEST_H
#define SPARSEATTN_TARGET_GPU_KERNELMANIFEST_H

#include "mlir/IR/Operation.h"
#include "llvm/Support/JSON.h"

namespace sparseattn {

/// One file of an artefact.
struct ArtefactFile {
  std::string name;
  std::string contents;
};

/// `{"file", "bytes", "fnv1a64"}` (lib/Runtime/README.md).
llvm::json::Object describeFile(const ArtefactFile &file);

/// The manifest's entry of `kernel`, a function with the attributes
/// `sparseattn_nv.operands` and `sparseattn_nv.parameters` that
/// convert-sparseattn-to-nv wrote, `sparseattn.schedule`, and
/// `sparseattn_nv.shared_bytes`. Files are added by the caller. Diagnoses what
/// is missing.
llvm::FailureOr<llvm::json::Object> describeKernel(mlir::Operation *kernel);

} // namespace sparseattn

#endif // SPARSEATTN_TARGET_GPU_KERNELMANIFEST_H
