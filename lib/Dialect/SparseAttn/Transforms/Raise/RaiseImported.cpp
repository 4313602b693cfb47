//===- RaiseImported.cpp - generic StableHLO text to our operations --------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "Raise.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNRAISEIMPORTED
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

//===----------------------------------------------------------------------===//
// Decompositions
//===----------------------------------------------------------------------===//

/// Root names of all symbols that `op` mentions. MLIR's own symbol uses do not
/// see what an unregistered operation keeps in `<{...}>`.
static void collectSymbols(Operation *op, llvm::SetVector<StringAttr> &names) {
  auto collect = [&](Attribute attribute) {
    if (attribute)
      attribute.walk([&](SymbolRefAttr symbol) { names.insert(symbol.getRootReference()); });
  };
  collect(op->getDiscardableAttrDictionary());
  collect(op->getPropertiesAsAttribute());
}

static llvm::SetVector<StringAttr> collectSymbolsBelow(Operation *root) {
  llvm::SetVector<StringAttr> names;
  root->walk([&](Operation *op) { collectSymbols(op, names); });
  return names;
}

/// Erases the private functions of `names` that nothing else mentions, and
/// then those that only they mentioned.
static void eraseUnused(Operation *root, llvm::SetVector<StringAttr> names) {
  while (!names.empty()) {
    StringAttr name = names.pop_back_val();
    Operation *function = nullptr;
    bool used = false;
    root->walk<WalkOrder::PreOrder>([&](Operation *op) {
      auto symbol = dyn_cast<SymbolOpInterface>(op);
      if (symbol && symbol.getNameAttr() == name) {
        // A second one of that name in another module: leave both alone.
        used |= function != nullptr;
        function = op;
        return WalkResult::skip();
      }
      llvm::SetVector<StringAttr> mentioned;
      collectSymbols(op, mentioned);
      used |= mentioned.contains(name);
      return WalkResult::advance();
    });
    if (!function || used || function == root || !isa<FunctionOpInterface>(function) ||
        !cast<SymbolOpInterface>(function).isPrivate())
      continue;
    for (StringAttr callee : collectSymbolsBelow(function))
      if (callee != name)
        names.insert(callee);
    function->erase();
  }
}

//===----------------------------------------------------------------------===//
// The rest of the function
//===----------------------------------------------------------------------===//

static bool mayHaveEffects(Operation *op) {
  auto flag = dyn_cast_or_null<BoolAttr>(raise::getAnyAttr(op, "has_side_effect"));
  return flag && flag.getValue();
}

/// Operations of no registered dialect whose whole meaning is their operands,
/// attributes and results.
static bool isOpaqueGlue(Operation *op) {
  if (op->isRegistered() || op->getNumRegions() != 0 || op->getNumSuccessors() != 0 || op->getNumResults() == 0)
    return false;
  Operation *parent = op->getParentOp();
  if (!parent || !parent->isRegistered() || !op->getParentOfType<FunctionOpInterface>())
    return false;
  llvm::SetVector<StringAttr> symbols;
  collectSymbols(op, symbols);
  return symbols.empty() && !mayHaveEffects(op);
}

static void makeExtern(Operation *op) {
  OpBuilder builder(op);
  auto ext = ExternOp::create(builder, op->getLoc(), op->getResultTypes(),
                              builder.getStringAttr(op->getName().getStringRef()), op->getOperands());
  NamedAttrList attributes(op->getDiscardableAttrDictionary());
  if (auto properties = dyn_cast_or_null<DictionaryAttr>(op->getPropertiesAsAttribute()))
    for (NamedAttribute attribute : properties)
      attributes.set(attribute.getName(), attribute.getValue());
  if (!attributes.empty())
    ext->setDiscardableAttr(kExternAttributesName, attributes.getDictionary(op->getContext()));
  op->replaceAllUsesWith(ext.getOutputs());
  op->erase();
}

void sparseattn::raiseImported(Operation *root, bool externalize) {
  SmallVector<Operation *> candidates;
  root->walk([&](Operation *op) {
    if (raise::isNamed(op, "stablehlo.composite") || raise::isNamed(op, "stablehlo.custom_call"))
      candidates.push_back(op);
  });
  llvm::SetVector<StringAttr> decompositions;
  for (Operation *op : candidates) {
    llvm::SetVector<StringAttr> mentioned;
    collectSymbols(op, mentioned);
    if (raise::raiseComposite(op) || raise::raiseCudnn(op))
      decompositions.insert_range(mentioned);
  }
  eraseUnused(root, std::move(decompositions));
  if (!externalize)
    return;
  SmallVector<Operation *> glue;
  root->walk([&](Operation *op) {
    if (isOpaqueGlue(op))
      glue.push_back(op);
  });
  for (Operation *op : glue)
    makeExtern(op);
}

namespace {
struct RaiseImported : sparseattn::impl::SparseAttnRaiseImportedBase<RaiseImported> {
  using Base::Base;
  void runOnOperation() override { raiseImported(getOperation(), externalize); }
};
} // namespace
