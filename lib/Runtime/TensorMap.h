//===- TensorMap.h - descriptions of tensors for the copy engine ---------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_TENSORMAP_H
#define SPARSEATTN_LIB_RUNTIME_TENSORMAP_H

#include "Driver.h"
#include "Problem.h"

namespace sparseattn::runtime {

/// What cuTensorMapEncodeTiled is given.
struct TiledMap {
  int dataType;
  uint32_t rank;
  void *address;
  uint64_t dims[kMaxMapDims];
  /// In bytes, of the dimensions after the first.
  uint64_t strides[kMaxMapDims];
  uint32_t box[kMaxMapDims];
};

/// The map of a parameter of kind TensorMap. Checks the constraints that
/// cuTensorMapEncodeTiled documents (and the manifest cannot rule out), so that
/// an error names operand and value. Throws Error.
TiledMap describeMap(const KernelSpec &kernel, const Parameter &parameter, const Problem &problem);

void encodeMap(const Driver &driver, const KernelSpec &kernel, const Parameter &parameter, const Problem &problem,
               CUtensorMap &map);

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_TENSORMAP_H
