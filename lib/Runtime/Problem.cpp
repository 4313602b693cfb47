//===- Problem.cpp - the operands of a launch against the manifest -------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Problem.h"
#include "Error.h"

#include <algorithm>

namespace sparseattn::runtime {

// Addresses have at most 57 bits; this leaves room for products with an element's size.
static constexpr int64_t kLargestSize = int64_t(1) << 56;

/// "kernel 'k': operand 'q' (argument 0)".
static std::string place(const KernelSpec &kernel, size_t index) {
  return concat("kernel '", kernel.name, "': operand '", kernel.operands[index].name, "' (argument ", index, ")");
}

static std::string listSizes(const int64_t *sizes, int32_t rank) {
  std::string text = "[";
  for (int32_t axis = 0; axis < rank; ++axis)
    text += concat(axis ? ", " : "", sizes[axis]);
  return text + "]";
}

static void checkType(const KernelSpec &kernel, size_t index, const SparseAttnTensor &tensor) {
  const Operand &operand = kernel.operands[index];
  if (tensor.dtype != operand.dtype)
    refuse(place(kernel, index), ": expected ", getName(operand.dtype), ", found ", getName(tensor.dtype));
  if (tensor.rank == static_cast<int32_t>(operand.axes.size())) {
    if (!tensor.sizes)
      refuse(place(kernel, index), ": sizes is NULL");
    return;
  }
  std::string axes;
  for (const std::string &axis : operand.axes)
    axes += (axes.empty() ? "" : ", ") + axis;
  refuse(place(kernel, index), ": expected ", operand.axes.size(), " dimensions (", axes, "), found ", tensor.rank);
}

/// Takes sizes over, or compares them with those that have a meaning already.
/// `owners` has the operand that decided each value, -1 before.
static void bindSizes(const KernelSpec &kernel, size_t index, const SparseAttnTensor &tensor, int *owners,
                      Problem &problem) {
  const Operand &operand = kernel.operands[index];
  View &view = problem.views[index];
  view.data = static_cast<char *>(tensor.data);
  view.isEmpty = false;
  for (size_t axis = 0; axis < operand.axes.size(); ++axis) {
    int64_t size = tensor.sizes[axis];
    const Term &expected = operand.shape[axis];
    if (size < 0 || size > kLargestSize)
      refuse(place(kernel, index), ": the size ", size, " of axis '", operand.axes[axis], "' is not a size");
    view.sizes[axis] = size;
    view.isEmpty |= size == 0;
    if (expected.value < 0 && size != expected.constant)
      refuse(place(kernel, index), ": expected ", expected.constant, " for axis '", operand.axes[axis], "', found ",
             size, " in ", listSizes(tensor.sizes, tensor.rank));
    if (expected.value < 0)
      continue;
    int &owner = owners[expected.value];
    if (owner < 0) {
      owner = static_cast<int>(index);
      problem.values[expected.value] = size;
    } else if (size != problem.values[expected.value]) {
      refuse(place(kernel, index), ": axis '", operand.axes[axis], "' has ", size, " in ",
             listSizes(tensor.sizes, tensor.rank), "; expected ", problem.values[expected.value], " (",
             kernel.valueNames[expected.value], "), as in operand '", kernel.operands[owner].name, "'");
    }
  }
}

/// True when the problem is empty. Throws for a 0 that the kernel does not handle.
static bool checkZeroSizes(const KernelSpec &kernel, const Problem &problem) {
  const std::string *refused = nullptr;
  for (size_t value = 0; value < kernel.zero.size(); ++value) {
    if (problem.values[value] != 0)
      continue;
    if (kernel.zero[value] == Zero::Skip)
      return true;
    if (kernel.zero[value] == Zero::Refuse)
      refused = &kernel.valueNames[value];
  }
  if (refused)
    refuse("kernel '", kernel.name, "': ", *refused, " is 0; this kernel needs at least 1");
  return false;
}

static void normaliseStrides(const KernelSpec &kernel, size_t index, const SparseAttnTensor &tensor, View &view) {
  int64_t packed = 1, extent = 0;
  int64_t bytes = getByteSize(tensor.dtype);
  for (int32_t axis = tensor.rank - 1; axis >= 0; --axis) {
    bool isGiven = tensor.strides && view.sizes[axis] > 1;
    int64_t stride = isGiven ? tensor.strides[axis] : packed;
    if (stride < 0)
      refuse(place(kernel, index), ": the stride ", stride, " of axis '", kernel.operands[index].axes[axis],
             "' is negative; make a copy that is not reversed");
    view.strides[axis] = stride;
    int64_t last = 0;
    bool overflow = __builtin_mul_overflow(stride, std::max<int64_t>(view.sizes[axis], 1), &packed) ||
                    __builtin_mul_overflow(packed, bytes, &last) || __builtin_add_overflow(extent, last, &extent);
    if (overflow || extent > kLargestSize)
      refuse(place(kernel, index), ": sizes ", listSizes(tensor.sizes, tensor.rank), " and strides ",
             tensor.strides ? listSizes(tensor.strides, tensor.rank) : "of a dense tensor",
             " reach beyond any memory");
  }
}

static void checkContiguous(const KernelSpec &kernel, size_t index, const View &view) {
  const Operand &operand = kernel.operands[index];
  int64_t expected = 1;
  for (size_t position = operand.contiguous.size(); position-- > 0;) {
    int axis = operand.contiguous[position];
    // The stride of an axis of size 1 means nothing.
    if (view.sizes[axis] > 1 && view.strides[axis] != expected)
      refuse(place(kernel, index), ": expected a stride of ", expected, " elements for axis '", operand.axes[axis],
             "', found ", view.strides[axis], "; make a contiguous copy");
    expected *= std::max<int64_t>(view.sizes[axis], 1);
  }
}

static void checkAlignment(const KernelSpec &kernel, size_t index, const View &view) {
  const Operand &operand = kernel.operands[index];
  int64_t bytes = getByteSize(operand.dtype);
  if (!view.data)
    refuse(place(kernel, index), ": the address is NULL");
  if (reinterpret_cast<uintptr_t>(view.data) % operand.alignment)
    refuse(place(kernel, index), ": expected an address that is a multiple of ", operand.alignment, " bytes, found ",
           static_cast<void *>(view.data));
  for (size_t axis = 0; axis < operand.axes.size(); ++axis) {
    bool isPacked = std::find(operand.contiguous.begin(), operand.contiguous.end(), static_cast<int>(axis)) !=
                    operand.contiguous.end();
    if (!isPacked && view.sizes[axis] > 1 && view.strides[axis] * bytes % operand.alignment)
      refuse(place(kernel, index), ": expected a stride that is a multiple of ", operand.alignment,
             " bytes for axis '", operand.axes[axis], "', found ", view.strides[axis], " elements of ", bytes,
             " bytes; make a contiguous copy");
  }
}

/// Different indices of what is written must be different addresses: from the
/// smallest stride up, each axis must step over everything inside it.
static void checkDistinct(const KernelSpec &kernel, size_t index, const View &view) {
  const Operand &operand = kernel.operands[index];
  int order[kMaxRank];
  size_t count = 0;
  for (size_t axis = 0; axis < operand.axes.size(); ++axis)
    if (view.sizes[axis] > 1)
      order[count++] = static_cast<int>(axis);
  std::sort(order, order + count, [&](int a, int b) { return view.strides[a] < view.strides[b]; });
  int64_t reach = 0;
  for (size_t position = 0; position < count; ++position) {
    int axis = order[position];
    if (view.strides[axis] <= reach)
      refuse(place(kernel, index), ": it is written to, but the stride ", view.strides[axis], " of axis '",
             operand.axes[axis], "' makes different elements share memory; pass a tensor that is not expanded");
    reach += (view.sizes[axis] - 1) * view.strides[axis];
  }
}

void bindProblem(const KernelSpec &kernel, const SparseAttnTensor *tensors, size_t tensorCount,
                 const SparseAttnAttribute *attributes, size_t attributeCount, Problem &problem) {
  if (tensorCount != kernel.operands.size() || (tensorCount && !tensors))
    refuse("kernel '", kernel.name, "': expected ", kernel.operands.size(), " tensors, found ",
           tensors ? tensorCount : 0);
  int owners[kMaxValues];
  std::fill_n(owners, kMaxValues, -1);
  for (size_t index = 0; index < tensorCount; ++index) {
    checkType(kernel, index, tensors[index]);
    bindSizes(kernel, index, tensors[index], owners, problem);
  }
  problem.isEmpty = checkZeroSizes(kernel, problem);
  if (problem.isEmpty)
    return;
  for (size_t index = 0; index < tensorCount; ++index) {
    View &view = problem.views[index];
    normaliseStrides(kernel, index, tensors[index], view);
    // Nothing is read from or written to an empty tensor, wherever it is.
    if (view.isEmpty)
      continue;
    checkContiguous(kernel, index, view);
    checkAlignment(kernel, index, view);
    if (kernel.operands[index].isWritten())
      checkDistinct(kernel, index, view);
  }
  bindValues(kernel, attributes, attributeCount, problem);
}

} // namespace sparseattn::runtime
