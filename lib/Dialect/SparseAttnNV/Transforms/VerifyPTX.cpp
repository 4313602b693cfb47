//===- VerifyPTX.cpp - PTX without calls -----------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "llvm/ADT/StringExtras.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNNVVERIFYPTX
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;

/// Name in `.extern .func (.param ...) name`, the first in `text`; empty when there is none.
static StringRef findExternalFunction(StringRef text) {
  size_t at = text.find(".extern .func");
  if (at == StringRef::npos)
    return {};
  StringRef declaration = text.substr(at + StringRef(".extern .func").size()).ltrim();
  if (declaration.consume_front("("))
    declaration = declaration.substr(declaration.find(')') + 1).ltrim();
  return declaration.take_until([](char c) { return llvm::isSpace(c) || c == '(' || c == ';'; });
}

namespace {
struct VerifyPTX : sparseattn::impl::SparseAttnNVVerifyPTXBase<VerifyPTX> {
  void runOnOperation() override {
    WalkResult result = getOperation()->walk([](gpu::BinaryOp binary) {
      for (auto object : binary.getObjectsAttr().getAsRange<gpu::ObjectAttr>()) {
        if (object.getFormat() != gpu::CompilationTarget::Assembly)
          continue;
        StringRef name = findExternalFunction(object.getObject().getValue());
        if (name.empty())
          continue;
        binary.emitOpError() << "calls the external function '" << name
                             << "', but no library is linked; an operation of the kernel has no instruction";
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
