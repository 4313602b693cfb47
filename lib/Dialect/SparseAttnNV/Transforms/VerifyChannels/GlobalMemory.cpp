//===- GlobalMemory.cpp - numbers that a kernel loads ----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "GlobalMemory.h"

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

std::optional<int64_t> nv::getElementAddress(LLVM::GEPOp op, const ScalarInterpreter &interpreter) {
  std::optional<int64_t> base = interpreter.get(op.getBase());
  Type element = op.getElemType();
  if (!base || !element.isIntOrFloat() || op.getIndices().size() != 1)
    return std::nullopt;
  int64_t bytes = (element.getIntOrFloatBitWidth() + 7) / 8;
  auto index = op.getIndices()[0];
  if (auto value = dyn_cast<Value>(index)) {
    std::optional<int64_t> number = interpreter.get(value);
    return number ? std::optional(*base + *number * bytes) : std::nullopt;
  }
  return *base + cast<IntegerAttr>(index).getInt() * bytes;
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (the
/// finaliser of SplitMix64).
static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

int64_t GlobalMemory::read(int64_t address) const {
  uint64_t bits = mix(static_cast<uint64_t>(address));
  bool isBlock = bits & 1;
  bits >>= 1;
  return isBlock ? static_cast<int64_t>(bits % (blocks + 2)) - 1 : static_cast<int64_t>(bits % (blocks * rows + 1));
}

bool GlobalMemory::run(Operation *op, ScalarInterpreter &interpreter) const {
  std::optional<int64_t> result;
  if (auto gep = dyn_cast<LLVM::GEPOp>(op)) {
    result = getElementAddress(gep, interpreter);
  } else if (auto load = dyn_cast<LLVM::LoadOp>(op); load && load.getType().isInteger()) {
    if (std::optional<int64_t> address = interpreter.get(load.getAddr()))
      result = read(*address);
  } else {
    return false;
  }
  interpreter.set(op->getResult(0), result);
  return true;
}
