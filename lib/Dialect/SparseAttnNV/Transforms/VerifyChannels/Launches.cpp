//===- Launches.cpp - arguments to try a kernel with -----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Launches.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/SetVector.h"
#include <random>

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

/// Operands are this many bits of address apart.
static constexpr unsigned kOperandBits = 48;

/// Numbers of entries that a kernel walks through one by one; the other sizes are
/// lengths, of which it takes blocks.
static SmallVector<bool> findEntryCounts(gpu::GPUFuncOp kernel) {
  SmallVector<bool> isCount(kernel.getNumArguments(), false);
  auto operands = kernel->getAttrOfType<ArrayAttr>("sparseattn_nv.operands");
  auto parameters = kernel->getAttrOfType<ArrayAttr>("sparseattn_nv.parameters");
  if (!operands || !parameters || parameters.size() != isCount.size())
    return isCount;
  for (auto [index, parameter] : llvm::enumerate(parameters.getAsRange<DictionaryAttr>())) {
    auto axis = parameter.getAs<IntegerAttr>("axis");
    if (!axis || parameter.getAs<StringAttr>("kind").getValue() != "size")
      continue;
    auto operand = cast<DictionaryAttr>(operands[parameter.getAs<IntegerAttr>("operand").getInt()]);
    auto name = cast<StringAttr>(operand.getAs<ArrayAttr>("axes")[axis.getInt()]).getValue();
    isCount[index] = name == kListWidthAxis || name == kDocumentOffsetsAxis;
  }
  return isCount;
}

std::vector<Launch> nv::chooseLaunches(gpu::GPUFuncOp kernel, ArrayRef<int64_t> rows, int64_t blocks, int mixtures) {
  llvm::SetVector<int64_t> sizes;
  sizes.insert(1);
  for (int64_t count : rows)
    for (int64_t block = 1; block <= blocks; ++block)
      for (int64_t delta : {-1, 0, 1})
        sizes.insert(block * count + delta);
  std::vector<Launch> launches;
  size_t count = kernel.getNumArguments();
  for (int64_t size : sizes)
    for (int64_t block = 0; block < blocks; ++block)
      launches.push_back({SmallVector<int64_t>(count, size), block});
  std::mt19937 random(0);
  for (int i = 0; i < mixtures; ++i) {
    Launch launch{SmallVector<int64_t>(count), static_cast<int64_t>(random() % blocks)};
    for (int64_t &argument : launch.arguments)
      argument = sizes[random() % sizes.size()];
    launches.push_back(launch);
  }
  for (auto [index, isCount] : llvm::enumerate(findEntryCounts(kernel)))
    for (size_t launch = 0; isCount && launch < launches.size(); ++launch)
      launches[launch].arguments[index] = static_cast<int64_t>(launch) % (blocks + 1);
  return launches;
}

void nv::setArguments(ScalarInterpreter &interpreter, gpu::GPUFuncOp kernel, const Launch &launch) {
  for (auto [argument, number] : llvm::zip(kernel.getBody().getArguments(), launch.arguments))
    if (argument.getType().isIntOrIndex())
      interpreter.set(argument, number);
    else if (isa<LLVM::LLVMPointerType>(argument.getType()))
      interpreter.set(argument, static_cast<int64_t>(argument.getArgNumber() + 1) << kOperandBits);
}

void nv::describeLaunch(InFlightDiagnostic &diag, gpu::GPUFuncOp kernel, const Launch &launch) {
  Diagnostic &note = diag.attachNote(kernel.getLoc()) << "found for block " << launch.block << " with arguments";
  for (auto [argument, number] : llvm::zip(kernel.getBody().getArguments(), launch.arguments))
    if (argument.getType().isIntOrIndex())
      note << " #" << argument.getArgNumber() << " = " << number;
}
