//===- SharedMemory.cpp - the dynamic shared memory of kernels -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "sparseattn/Target/HopperTarget.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace sparseattn;

static constexpr llvm::StringLiteral kSymbol = "dsmem";

Value nv::buildSharedMemory(ImplicitLocOpBuilder &b, gpu::GPUModuleOp module) {
  auto global = module.lookupSymbol<LLVM::GlobalOp>(kSymbol);
  if (!global) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto type = LLVM::LLVMArrayType::get(b.getI8Type(), 0);
    global = LLVM::GlobalOp::create(b, type, /*isConstant=*/false, LLVM::Linkage::External, kSymbol, Attribute(),
                                    /*alignment=*/hopper::kSwizzleAtomBytes, /*addrSpace=*/3);
  }
  return LLVM::AddressOfOp::create(b, global);
}
