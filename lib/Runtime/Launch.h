//===- Launch.h - queueing a kernel on a stream --------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_LAUNCH_H
#define SPARSEATTN_LIB_RUNTIME_LAUNCH_H

#include "Module.h"
#include "Problem.h"

namespace sparseattn::runtime {

/// Checks the arguments, loads the kernel when it is not yet, and launches it.
/// Throws Error.
void launch(const KernelSpec &kernel, PrimaryContexts &primaries, ModuleCache &modules,
            const SparseAttnTensor *tensors, size_t tensorCount, const SparseAttnAttribute *attributes,
            size_t attributeCount, CUstream stream);

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_LAUNCH_H
