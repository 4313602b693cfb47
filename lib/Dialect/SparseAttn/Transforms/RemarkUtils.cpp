//===- RemarkUtils.cpp - what a pass could not do, and why -----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "RemarkUtils.h"

#include "mlir/IR/Remarks.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace sparseattn;

/// Names a remark after the innermost symbol around `op`.
static remark::RemarkOpts describe(Operation *op, StringRef category, StringRef name) {
  StringRef function;
  for (Operation *parent = op->getParentOp(); parent && function.empty(); parent = parent->getParentOp())
    if (auto symbol = parent->getAttrOfType<StringAttr>(SymbolTable::getSymbolAttrName()))
      function = symbol.getValue();
  return remark::RemarkOpts::name(name).category(category).function(function);
}

void sparseattn::emitMissed(Operation *op, StringRef category, StringRef name, const Twine &reason,
                            const Twine &suggestion) {
  if (auto remark = remark::missed(op->getLoc(), describe(op, category, name)))
    remark << remark::detail::Remark::Arg("Reason", reason.str())
           << remark::detail::Remark::Arg("Suggestion", suggestion.str());
}

void sparseattn::emitPassed(Operation *op, StringRef category, StringRef name, const Twine &reason) {
  if (auto remark = remark::passed(op->getLoc(), describe(op, category, name)))
    remark << remark::detail::Remark::Arg("Reason", reason.str());
}
