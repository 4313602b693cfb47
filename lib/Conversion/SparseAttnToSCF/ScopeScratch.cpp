//===- ScopeScratch.cpp - stack space of serial loops ----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Conversion/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace sparseattn {
#define GEN_PASS_DEF_SCOPESCRATCH
#include "sparseattn/Conversion/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;

namespace {

struct ScopeScratch : sparseattn::impl::ScopeScratchBase<ScopeScratch> {
  void runOnOperation() override {
    getOperation()->walk([&](scf::ParallelOp loop) {
      Block *body = loop.getBody();
      if (body->getOps<memref::AllocaOp>().empty())
        return;
      OpBuilder builder = OpBuilder::atBlockBegin(body);
      Value top = LLVM::StackSaveOp::create(builder, loop.getLoc(), LLVM::LLVMPointerType::get(&getContext()));
      builder.setInsertionPoint(body->getTerminator());
      LLVM::StackRestoreOp::create(builder, loop.getLoc(), top);
    });
  }
};

} // namespace
