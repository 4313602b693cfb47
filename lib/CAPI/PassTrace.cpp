//===- PassTrace.cpp - what each pass leaves, and which one failed ----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "PassTrace.h"

#include "mlir/IR/SymbolTable.h"
#include "mlir/Pass/Pass.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace sparseattn;

static StringRef getPassName(Pass *pass) {
  return pass->getArgument().empty() ? pass->getName() : pass->getArgument();
}

/// `pass`, or `pass-symbol` for a pass on a nested operation.
static std::string getFileName(Pass *pass, Operation *op) {
  std::string name = getPassName(pass).str();
  auto symbol = op->getAttrOfType<StringAttr>(SymbolTable::getSymbolAttrName());
  if (op->getParentOp() && symbol)
    name += "-" + symbol.getValue().take_front(64).str();
  for (char &c : name)
    if (!llvm::isAlnum(c) && c != '-' && c != '_' && c != '.')
      c = '_';
  return name;
}

/// Pass managers appear as passes too; they do nothing themselves.
static bool isAdaptor(Pass *pass) { return pass->getName().contains("OpToOpPassAdaptor"); }

void PassTrace::dump(StringRef name, Operation *op) {
  if (!enabled)
    return;
  std::string text;
  llvm::raw_string_ostream stream(text);
  op->print(stream, OpPrintingFlags().useLocalScope());
  stream << "\n";
  write(name, text);
}

void PassTrace::runAfterPass(Pass *pass, Operation *op) {
  if (enabled && !isAdaptor(pass))
    dump(getFileName(pass, op), op);
}

void PassTrace::runAfterPassFailed(Pass *pass, Operation *op) {
  if (!failure.empty() || isAdaptor(pass))
    return;
  failure = ("pass '" + getPassName(pass) + "' failed on '" + op->getName().getStringRef() + "'").str();
  if (auto symbol = op->getAttrOfType<StringAttr>(SymbolTable::getSymbolAttrName()))
    failure += (" @" + symbol.getValue()).str();
}
