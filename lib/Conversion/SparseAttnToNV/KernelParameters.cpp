//===- KernelParameters.cpp ------------------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "KernelParameters.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace sparseattn;

Value KernelParameters::get(StringRef kind, ArrayRef<std::pair<StringRef, int64_t>> numbers, Type type) {
  Builder builder(kernel.getContext());
  SmallVector<NamedAttribute> fields = {builder.getNamedAttr("kind", builder.getStringAttr(kind))};
  for (auto [name, value] : numbers)
    fields.push_back(builder.getNamedAttr(name, builder.getI64IntegerAttr(value)));
  DictionaryAttr entry = builder.getDictionaryAttr(fields);
  for (auto &[known, argument] : entries)
    if (known == entry)
      return argument;
  // Tensor maps come first: they keep their alignment of 64 without padding.
  unsigned index = entries.size();
  if (isa<nv::TensorMapType>(type))
    index = llvm::find_if(entries, [](auto &known) { return !isa<nv::TensorMapType>(known.second.getType()); }) -
            entries.begin();
  (void)kernel.insertArgument(index, type, builder.getDictionaryAttr({}), kernel.getLoc());
  Value argument = kernel.getArgument(index);
  entries.insert(entries.begin() + index, {entry, argument});
  return argument;
}

Value KernelParameters::getTensorMap(unsigned operand, int64_t rows) {
  return get("tensor_map", {{"operand", operand}, {"rows", rows}}, nv::TensorMapType::get(kernel.getContext()));
}

Value KernelParameters::getPointer(unsigned operand) {
  return get("pointer", {{"operand", operand}}, LLVM::LLVMPointerType::get(kernel.getContext(), 1));
}

Value KernelParameters::getSize(unsigned operand, int64_t axis) {
  return get("size", {{"operand", operand}, {"axis", axis}}, IntegerType::get(kernel.getContext(), 32));
}

Value KernelParameters::getStride(unsigned operand, int64_t axis) {
  return get("stride", {{"operand", operand}, {"axis", axis}}, IntegerType::get(kernel.getContext(), 64));
}

Value KernelParameters::getScalar(unsigned operand, Type type) {
  return get("scalar", {{"operand", operand}}, type);
}

Value KernelParameters::getHeadGroup() {
  return get("head_group", {}, IntegerType::get(kernel.getContext(), 32));
}

Value KernelParameters::getNumTiles() { return get("blocks", {}, IntegerType::get(kernel.getContext(), 32)); }

Value KernelParameters::getTileCounter() {
  return get("counter", {}, IntegerType::get(kernel.getContext(), 32));
}

void KernelParameters::attach() {
  SmallVector<Attribute> list;
  for (auto &[entry, argument] : entries)
    list.push_back(entry);
  kernel->setAttr(nv::kParametersAttr, ArrayAttr::get(kernel.getContext(), list));
}
