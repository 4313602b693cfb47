//===- TensorMap.cpp - descriptions of tensors for the copy engine -------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "TensorMap.h"
#include "Error.h"

#include <algorithm>

namespace sparseattn::runtime {

static int getDataType(SparseAttnDType dtype) {
  switch (dtype) {
  case SPARSEATTN_F16:
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  case SPARSEATTN_BF16:
    return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  case SPARSEATTN_F32:
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  case SPARSEATTN_F64:
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
  case SPARSEATTN_I1:
  case SPARSEATTN_I8:
    return CU_TENSOR_MAP_DATA_TYPE_UINT8;
  case SPARSEATTN_I16:
    return CU_TENSOR_MAP_DATA_TYPE_UINT16;
  case SPARSEATTN_I32:
    return CU_TENSOR_MAP_DATA_TYPE_INT32;
  case SPARSEATTN_I64:
    return CU_TENSOR_MAP_DATA_TYPE_INT64;
  }
  return CU_TENSOR_MAP_DATA_TYPE_UINT8;
}

/// Memory that is certain to exist, for the map of a tensor that has none.
static char *getAnyAddress(const KernelSpec &kernel, const Problem &problem) {
  for (size_t index = 0; index < kernel.operands.size(); ++index)
    if (kernel.operands[index].isWritten() && !problem.views[index].isEmpty)
      return reinterpret_cast<char *>(reinterpret_cast<uintptr_t>(problem.views[index].data) & ~uintptr_t(15));
  refuse("kernel '", kernel.name, "': every output is empty; nothing can be launched");
}

TiledMap describeMap(const KernelSpec &kernel, const Parameter &parameter, const Problem &problem) {
  const Operand &operand = kernel.operands[parameter.operand];
  const View &view = problem.views[parameter.operand];
  uint64_t bytes = getByteSize(operand.dtype);
  auto place = [&] {
    return concat("kernel '", kernel.name, "': operand '", operand.name, "' (argument ", parameter.operand,
                  "): its tensor map");
  };
  TiledMap map;
  map.dataType = getDataType(operand.dtype);
  map.rank = static_cast<uint32_t>(parameter.dims.size());
  map.address = view.isEmpty ? getAnyAddress(kernel, problem) : view.data;
  for (uint32_t index = 0; index < map.rank; ++index) {
    const MapDim &dim = parameter.dims[index];
    const std::string &axis = operand.axes[dim.axis];
    int64_t size = view.sizes[dim.axis];
    uint64_t stride = view.strides[dim.axis] * bytes;
    if (dim.part != MapDim::Whole && size % dim.split)
      refuse(place(), ": expected a multiple of ", dim.split, " for axis '", axis, "', found ", size);
    if (dim.part == MapDim::Inner)
      size = dim.split;
    if (dim.part == MapDim::Outer) {
      size /= dim.split;
      stride *= dim.split;
    }
    // An empty dimension cannot be described; the kernel does not read it.
    map.dims[index] = std::max<int64_t>(size, 1);
    map.box[index] = dim.box;
    if (size > int64_t(1) << 32)
      refuse(place(), " allows sizes up to 4294967296; axis '", axis, "' has ", size);
    if (index == 0)
      continue;
    // The stride of a dimension of size 1 is never used, but must still be valid.
    if (map.dims[index] == 1)
      stride = (stride + 15) / 16 * 16;
    if (stride % 16 || stride >= uint64_t(1) << 40)
      refuse(place(), " needs strides that are multiples of 16 bytes below 2^40; axis '", axis, "' has ", stride,
             " bytes");
    map.strides[index - 1] = stride;
  }
  if (reinterpret_cast<uintptr_t>(map.address) % 16)
    refuse(place(), " needs an address that is a multiple of 16 bytes, found ", map.address);
  return map;
}

void encodeMap(const Driver &driver, const KernelSpec &kernel, const Parameter &parameter, const Problem &problem,
               CUtensorMap &map) {
  TiledMap tiled = describeMap(kernel, parameter, problem);
  static constexpr uint32_t ones[kMaxMapDims] = {1, 1, 1, 1, 1};
  driver.check(driver.cuTensorMapEncodeTiled(&map, tiled.dataType, tiled.rank, tiled.address, tiled.dims, tiled.strides,
                                             tiled.box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                             static_cast<int>(parameter.swizzle),
                                             static_cast<int>(parameter.l2Promotion),
                                             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
               "cuTensorMapEncodeTiled", "kernel '", kernel.name, "', operand '",
               kernel.operands[parameter.operand].name, "'");
}

} // namespace sparseattn::runtime
