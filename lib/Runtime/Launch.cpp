//===- Launch.cpp - queueing a kernel on a stream ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Launch.h"
#include "Error.h"
#include "TensorMap.h"

#include <algorithm>
#include <cstring>

namespace sparseattn::runtime {

/// The device of all tensors, or -1 when none of them has memory.
static int findDevice(const KernelSpec &kernel, const SparseAttnTensor *tensors, size_t count) {
  int common = -1;
  size_t decider = 0;
  for (size_t index = 0; index < count; ++index) {
    int device = tensors[index].device;
    if (device < 0) {
      if (!tensors[index].data)
        continue;
      const Driver &driver = Driver::get();
      driver.check(driver.cuPointerGetAttribute(&device, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                                                reinterpret_cast<CUdeviceptr>(tensors[index].data)),
                   "cuPointerGetAttribute", "kernel '", kernel.name, "': operand '", kernel.operands[index].name,
                   "' (argument ", index, "): ", tensors[index].data, " is no memory of a CUDA device");
    }
    if (common >= 0 && device != common)
      refuse("kernel '", kernel.name, "': operand '", kernel.operands[index].name, "' (argument ", index,
             ") is on device ", device, ", but operand '", kernel.operands[decider].name, "' on device ", common,
             "; move them to one device");
    if (common < 0)
      decider = index;
    common = device;
  }
  return common;
}

static void writeInteger(const KernelSpec &kernel, const Parameter &parameter, int64_t value, char *out) {
  if (parameter.type == ScalarType::I64) {
    memcpy(out, &value, sizeof(value));
    return;
  }
  int32_t narrow = static_cast<int32_t>(value);
  if (narrow != value)
    refuse("kernel '", kernel.name, "': parameter ", &parameter - kernel.parameters.data(), ": ", value,
           " does not fit the kernel's i32 (",
           parameter.term.value >= 0 ? "'" + kernel.valueNames[parameter.term.value] + "'"
           : parameter.axis >= 0     ? "a stride of operand '" + kernel.operands[parameter.operand].name + "'"
                                     : "the number of blocks",
           ")");
  memcpy(out, &narrow, sizeof(narrow));
}

static void writeFloat(double value, char *out) {
  float narrow = static_cast<float>(value);
  memcpy(out, &narrow, sizeof(narrow));
}

/// Everything but tensor maps and counters, which need the driver.
static void writeParameter(const KernelSpec &kernel, const Parameter &parameter, const Problem &problem, char *out) {
  switch (parameter.kind) {
  case ParameterKind::TensorMap:
  case ParameterKind::Counter:
    return;
  case ParameterKind::Pointer:
    memcpy(out, &problem.views[parameter.operand].data, sizeof(char *));
    return;
  case ParameterKind::Stride:
    writeInteger(kernel, parameter, problem.views[parameter.operand].strides[parameter.axis], out);
    return;
  case ParameterKind::Blocks:
    writeInteger(kernel, parameter, problem.blocks, out);
    return;
  case ParameterKind::Attribute:
    if (parameter.type == ScalarType::F32)
      return writeFloat(problem.numbers[parameter.attribute], out);
    return writeInteger(kernel, parameter, evaluate(parameter.term, problem), out);
  case ParameterKind::Constant:
    if (parameter.type == ScalarType::F32)
      return writeFloat(parameter.number, out);
    return writeInteger(kernel, parameter, parameter.term.constant, out);
  case ParameterKind::Size:
    return writeInteger(kernel, parameter, evaluate(parameter.term, problem), out);
  }
}

/// A counter that no launch uses which may run at the same time. Launches take those of the first half in turn;
/// a graph may run whenever it likes, so each launch in one keeps a counter of the second half.
static int64_t takeCounter(const KernelSpec &kernel, const Driver &driver, const LoadedKernel &loaded, int64_t count,
                           CUstream stream) {
  int status = CU_STREAM_CAPTURE_STATUS_NONE;
  driver.check(driver.cuStreamIsCapturing(stream, &status), "cuStreamIsCapturing");
  uint64_t half = count / 2;
  if (status == CU_STREAM_CAPTURE_STATUS_NONE)
    return static_cast<int64_t>(loaded.counts->queued++ % half);
  uint64_t number = loaded.counts->captured++;
  if (number >= half)
    refuse("kernel '", kernel.name, "': ", half, " launches were captured into graphs already, which is all that one "
           "loaded kernel can serve; open the artefact again for more");
  return static_cast<int64_t>(half + number);
}

/// Blocks of the launch, which may be fewer than there is work for.
static unsigned getGridSize(const KernelSpec &kernel, const Problem &problem, int multiprocessors) {
  int64_t blocks = problem.blocks;
  if (kernel.blocksPerMultiprocessor)
    blocks = std::min(blocks, int64_t(kernel.blocksPerMultiprocessor) * multiprocessors);
  if (blocks > INT32_MAX)
    refuse("kernel '", kernel.name, "': ", blocks, " blocks are more than a grid can have (2147483647); split the "
                                                   "problem, for example by batch");
  return static_cast<unsigned>(blocks);
}

void launch(const KernelSpec &kernel, PrimaryContexts &primaries, ModuleCache &modules,
            const SparseAttnTensor *tensors, size_t tensorCount, const SparseAttnAttribute *attributes,
            size_t attributeCount, CUstream stream) {
  Problem problem;
  bindProblem(kernel, tensors, tensorCount, attributes, attributeCount, problem);
  if (problem.isEmpty || problem.blocks == 0)
    return;
  // The driver copies this block when the launch is queued, or into the graph that is captured.
  alignas(64) char block[kMaxParameterBytes];
  void *pointers[kMaxParameters];
  for (size_t index = 0; index < kernel.parameters.size(); ++index) {
    const Parameter &parameter = kernel.parameters[index];
    pointers[index] = block + parameter.offset;
    writeParameter(kernel, parameter, problem, block + parameter.offset);
    if (parameter.kind == ParameterKind::TensorMap)
      describeMap(kernel, parameter, problem);
  }
  // Every check that needs no driver is done: its first error is then about the machine.
  int ordinal = findDevice(kernel, tensors, tensorCount);
  const Driver &driver = Driver::get();
  ScopedContext scope(driver, primaries, ordinal);
  const LoadedKernel &loaded = modules.get(kernel, scope, &stream);
  unsigned blocks = getGridSize(kernel, problem, loaded.multiprocessors);
  for (const Parameter &parameter : kernel.parameters) {
    char *out = block + parameter.offset;
    if (parameter.kind == ParameterKind::TensorMap)
      encodeMap(driver, kernel, parameter, problem, *reinterpret_cast<CUtensorMap *>(out));
    if (parameter.kind == ParameterKind::Counter)
      writeInteger(kernel, parameter, takeCounter(kernel, driver, loaded, parameter.term.constant, stream), out);
  }
  driver.check(driver.cuLaunchKernel(loaded.function, blocks, 1, 1, kernel.blockThreads, 1, 1, kernel.sharedMemory,
                                     stream, pointers, nullptr),
               "cuLaunchKernel", "kernel '", kernel.name, "', ", blocks, " blocks of ", kernel.blockThreads,
               " threads, ", kernel.sharedMemory, " bytes of shared memory");
}

} // namespace sparseattn::runtime
