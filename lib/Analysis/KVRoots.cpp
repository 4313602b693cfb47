//===- KVRoots.cpp - looking through data movement -------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"
#include "sparseattn/Analysis/KVSharing.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace sparseattn;

/// `aten.to.dtype` -> `aten.to`: overloads move data alike.
static StringRef dropOverload(StringRef name) {
  size_t first = name.find('.');
  size_t second = first == StringRef::npos ? first : name.find('.', first + 1);
  return name.substr(0, second);
}

static bool isDataMovementName(StringRef name) {
  static const llvm::StringSet<> names = {
      "aten.to",           "aten._to_copy",     "aten.contiguous", "aten.alias",       "aten.clone",
      "aten.detach",       "aten.view",         "aten.reshape",    "aten._unsafe_view", "aten.transpose",
      "aten.permute",      "aten.squeeze",      "aten.unsqueeze",  "aten.flatten",     "aten.unflatten",
      "aten.t",            "aten.lift_fresh_copy", "aten.swapaxes", "aten.movedim",    "prims.view_of",
      "stablehlo.transpose", "stablehlo.reshape", "stablehlo.convert", "stablehlo.optimization_barrier",
      "mhlo.transpose",    "mhlo.reshape",      "mhlo.convert",    "onnx.Identity",    "onnx.Cast",
      "onnx.Transpose",    "onnx.Reshape",      "onnx.Squeeze",    "onnx.Unsqueeze"};
  return names.contains(dropOverload(name));
}

/// The tensor that `op`, found by its framework name, only moves; null otherwise.
static Value getMovedTensor(Operation *op, StringRef name, OperandRange inputs) {
  if (!isDataMovementName(name) || inputs.empty() || op->getNumResults() != 1)
    return {};
  auto from = dyn_cast<ShapedType>(inputs.front().getType());
  auto to = dyn_cast<ShapedType>(op->getResult(0).getType());
  if (!from || !to || from.getElementType() != to.getElementType())
    return {};
  // `expand` under another name would change what a head is.
  if (from.hasStaticShape() && to.hasStaticShape() && from.getNumElements() != to.getNumElements())
    return {};
  return inputs.front();
}

static Value lookThroughOnce(Value value) {
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return {};
  Operation *op = result.getOwner();
  if (auto share = dyn_cast<KVShareOp>(op))
    return op->getOperand(result.getResultNumber());
  if (isa<tensor::CastOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op))
    return op->getOperand(0);
  if (auto ext = dyn_cast<ExternOp>(op))
    return getMovedTensor(op, ext.getName(), ext.getInputs());
  if (!op->isRegistered())
    return getMovedTensor(op, op->getName().getStringRef(), op->getOperands());
  return {};
}

Value sparseattn::findCacheBase(Value cache) {
  llvm::SmallPtrSet<Operation *, 8> visited; // Graph regions may be cyclic.
  while (Operation *op = cache.getDefiningOp()) {
    if (!visited.insert(op).second)
      break;
    if (auto append = dyn_cast<KVCacheAppendOp>(op))
      cache = append.getCache();
    else if (auto view = dyn_cast<KVCacheViewOp>(op))
      cache = view.getCache();
    else
      break;
  }
  return cache;
}

KVRoot sparseattn::findKVRoot(Value value) {
  llvm::SmallPtrSet<Operation *, 8> visited;
  while (Operation *op = value.getDefiningOp()) {
    if (!visited.insert(op).second)
      break;
    if (auto read = dyn_cast<KVCacheReadOp>(op))
      return {findCacheBase(read.getCache()), value == read.getKey() ? KVRoot::Part::Key : KVRoot::Part::Value};
    Value next = lookThroughOnce(value);
    if (!next)
      break;
    value = next;
  }
  return {value, KVRoot::Part::Tensor};
}

SmallVector<Operation *> sparseattn::findAttentionScopes(Operation *root) {
  llvm::SetVector<Operation *> scopes;
  root->walk<WalkOrder::PreOrder>([&](AttentionOpInterface op) {
    Operation *scope = op->getParentWithTrait<OpTrait::IsIsolatedFromAbove>();
    scopes.insert(scope ? scope : root);
  });
  return scopes.takeVector();
}
