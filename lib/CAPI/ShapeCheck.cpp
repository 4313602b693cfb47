//===- ShapeCheck.cpp - do the sizes of a call fit together? ----------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "ShapeCheck.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"

using namespace mlir;
using namespace sparseattn;

/// Result types of `op` from its operands' types; sizes that become known are kept.
static void refineResults(InferTypeOpInterface op) {
  SmallVector<Type> types;
  if (failed(op.inferReturnTypes(op.getContext(), op.getLoc(), op->getOperands(), op->getRawDictionaryAttrs(),
                                 op->getPropertiesStorage(), op->getRegions(), types)) ||
      types.size() != op->getNumResults())
    return;
  for (auto [result, type] : llvm::zip_equal(op->getResults(), types))
    result.setType(type);
}

/// Verifies the dialect's operations only: those of others stay consistent
/// with the types they were written with, not with the refined ones.
static LogicalResult verifyRefined(func::FuncOp function) {
  WalkResult walk = function.walk([](Operation *op) {
    if (!isa_and_present<SparseAttnDialect>(op->getDialect()))
      return WalkResult::advance();
    if (auto inferred = dyn_cast<InferTypeOpInterface>(op))
      refineResults(inferred);
    return WalkResult(op->getName().verifyInvariants(op));
  });
  return failure(walk.wasInterrupted());
}

llvm::Error ShapeCheck::check(const FunctionSignature &signature, ArrayRef<int64_t> sizes) {
  bool isStatic = llvm::all_of(signature.arguments, [](const ValueSignature &value) {
    return llvm::none_of(value.shape, [](int64_t size) { return ShapedType::isDynamic(size); });
  });
  // Already verified as written.
  if (isStatic)
    return llvm::Error::success();

  std::lock_guard<std::mutex> lock(mutex);
  auto key = std::make_pair(signature.name, std::vector<int64_t>(sizes.begin(), sizes.end()));
  if (passed.count(key))
    return llvm::Error::success();

  auto original = module->lookupSymbol<func::FuncOp>(signature.name);
  OwningOpRef<func::FuncOp> function = original.clone();
  for (BlockArgument argument : function->getArguments())
    if (auto type = dyn_cast<ShapedType>(argument.getType())) {
      argument.setType(type.clone(sizes.take_front(type.getRank())));
      sizes = sizes.drop_front(type.getRank());
    }
  std::string reasons;
  ScopedDiagnosticHandler handler(context.get(), [&](Diagnostic &diagnostic) {
    reasons += (reasons.empty() ? "" : "; ") + diagnostic.str();
  });
  if (failed(verifyRefined(*function)))
    return llvm::createStringError(llvm::inconvertibleErrorCode(), "the sizes of the arguments of '%s' do not fit together: %s",
                                   signature.name.c_str(), reasons.c_str());
  // A caller with ever new lengths must not fill the memory.
  if (passed.size() >= 1024)
    passed.clear();
  passed.insert(std::move(key));
  return llvm::Error::success();
}
