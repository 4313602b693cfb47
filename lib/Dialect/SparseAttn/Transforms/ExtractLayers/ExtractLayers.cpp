//===- ExtractLayers.cpp - one function for each attention layer -----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "LayerDescription.h"
#include "LayerGroups.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"

namespace sparseattn {
#define GEN_PASS_DEF_SPARSEATTNEXTRACTLAYERS
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h.inc"
} // namespace sparseattn

using namespace mlir;
using namespace sparseattn;

/// Positions and lengths that are constants belong to the layer.
static bool isScalarConstant(Value value) {
  return value.getType().isIntOrIndex() && matchPattern(value, m_Constant());
}

namespace {
/// One group on its way to a function.
class Outliner {
public:
  Outliner(LayerGroup &group, const KVSharing &sharing, StringRef functionName)
      : group(group), sharing(sharing), functionName(functionName) {
    llvm::SmallPtrSet<Operation *, 16> inside(group.ops.begin(), group.ops.end());
    for (Operation *op : group.ops) {
      for (OpOperand &operand : op->getOpOperands()) {
        if (inside.contains(operand.get().getDefiningOp()))
          continue;
        if (isScalarConstant(operand.get()))
          constants.insert(operand.get().getDefiningOp());
        else
          inputs[operand.get()].push_back(&operand);
      }
      for (OpResult result : op->getResults())
        if (llvm::any_of(result.getUsers(), [&](Operation *user) {
              // A user in a region of another operation counts as that operation.
              return !inside.contains(op->getBlock()->findAncestorOpInBlock(*user));
            }))
          outputs.push_back(result);
    }
    // A layer whose results nobody uses is still a layer.
    if (outputs.empty())
      for (Operation *op : group.ops)
        if (isa<AttentionOpInterface>(op))
          llvm::append_range(outputs, op->getResults());
  }

  /// The function that computes the group.
  func::FuncOp makeFunction(OpBuilder &builder) {
    Location loc = group.ops.front()->getLoc();
    SmallVector<Type> inputTypes, outputTypes;
    for (auto &[value, uses] : inputs)
      inputTypes.push_back(value.getType());
    for (OpResult result : outputs)
      outputTypes.push_back(result.getType());
    auto function =
        func::FuncOp::create(builder, loc, functionName, builder.getFunctionType(inputTypes, outputTypes));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(function.addEntryBlock());
    IRMapping mapping;
    for (auto [input, argument] : llvm::zip_equal(inputs, function.getArguments()))
      mapping.map(input.first, argument);
    for (Operation *constant : constants)
      builder.clone(*constant, mapping);
    for (Operation *op : group.ops) {
      Operation *clone = builder.clone(*op, mapping);
      // The plan is about the model; the function stands alone.
      clone->removeDiscardableAttr(kKVPlanAttrName);
    }
    auto results = llvm::map_to_vector(outputs, [&](OpResult result) { return mapping.lookup<Value>(result); });
    func::ReturnOp::create(builder, loc, results);
    describe(function);
    return function;
  }

  /// Puts a call of `function` in the place of the group. The group is convex,
  /// so what its operations need can be moved before, and what uses them after.
  void replaceByCall(OpBuilder &builder, func::FuncOp function) {
    Operation *last = group.ops.back();
    moveUsersBehind(last);
    builder.setInsertionPoint(last);
    auto arguments = llvm::map_to_vector(inputs, [](auto &input) { return input.first; });
    auto call = func::CallOp::create(builder, last->getLoc(), function, arguments);
    for (auto [output, result] : llvm::zip_equal(outputs, call.getResults()))
      Value(output).replaceAllUsesWith(result);
    for (Operation *op : llvm::reverse(group.ops))
      op->erase();
  }

private:
  /// Moves the operations between the group's first and last that depend on the
  /// group behind its last.
  void moveUsersBehind(Operation *last) {
    llvm::SmallPtrSet<Operation *, 16> inside(group.ops.begin(), group.ops.end());
    llvm::SmallPtrSet<Operation *, 16> dependent(group.ops.begin(), group.ops.end());
    SmallVector<Operation *> toMove;
    for (Operation *op = group.ops.front(); op != last; op = op->getNextNode()) {
      if (inside.contains(op))
        continue;
      bool depends = false;
      op->walk([&](Operation *nested) {
        depends |= llvm::any_of(nested->getOperands(),
                                [&](Value operand) { return dependent.contains(operand.getDefiningOp()); });
      });
      if (!depends)
        continue;
      dependent.insert(op);
      toMove.push_back(op);
    }
    for (Operation *op : llvm::reverse(toMove))
      op->moveAfter(last);
  }

  void describe(func::FuncOp function) {
    Builder builder(function.getContext());
    function->setAttr(kLayerAttrName, builder.getI64IntegerAttr(group.layer));
    function->setAttr("sparseattn.kind", builder.getStringAttr(describeKind(group)));
    function->setAttr("sparseattn.operations", describeOperations(group, sharing));
    llvm::StringMap<unsigned> taken;
    auto unique = [&](std::string name) {
      unsigned count = taken[name]++;
      return builder.getStringAttr(count ? name + "_" + std::to_string(count) : name);
    };
    unsigned index = 0;
    for (auto &[value, uses] : inputs) {
      SmallVector<std::string> roles;
      for (OpOperand *use : uses)
        if (isa<AttentionOpInterface>(use->getOwner()) || llvm::none_of(uses, [](OpOperand *other) {
              return isa<AttentionOpInterface>(other->getOwner());
            }))
          if (std::string role = describeOperand(*use); !llvm::is_contained(roles, role))
            roles.push_back(role);
      function.setArgAttr(index, "sparseattn.name", unique(llvm::join(roles, "_")));
      for (OpOperand *use : uses)
        if (std::optional<Layout> layout = getLayoutOf(*use))
          function.setArgAttr(index, "sparseattn.layout", builder.getStringAttr(stringifyLayout(*layout)));
      ++index;
    }
    taken.clear();
    for (auto [position, output] : llvm::enumerate(outputs)) {
      function.setResultAttr(position, "sparseattn.name", unique(describeResult(output)));
      if (std::optional<Layout> layout = getLayoutOf(output))
        function.setResultAttr(position, "sparseattn.layout", builder.getStringAttr(stringifyLayout(*layout)));
    }
  }

  LayerGroup &group;
  const KVSharing &sharing;
  StringRef functionName;
  llvm::MapVector<Value, SmallVector<OpOperand *>> inputs;
  llvm::SetVector<Operation *> constants;
  SmallVector<OpResult> outputs;
};

struct ExtractLayers : sparseattn::impl::SparseAttnExtractLayersBase<ExtractLayers> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<SmallVector<Operation *>> functions = extractLayers(getOperation());
    if (failed(functions))
      return signalPassFailure();
    if (!kernelsOnly)
      return;
    llvm::SmallPtrSet<Operation *, 16> kernels(functions->begin(), functions->end());
    for (Operation &op : llvm::make_early_inc_range(*getOperation().getBody()))
      if (!kernels.contains(&op))
        op.erase();
  }
};
} // namespace

FailureOr<SmallVector<Operation *>> sparseattn::extractLayers(ModuleOp module) {
  SmallVector<Operation *> extracted;
  SmallVector<func::FuncOp> scopes;
  for (Operation *scope : findAttentionScopes(module)) {
    auto function = dyn_cast<func::FuncOp>(scope);
    if (function && function->hasAttr(kLayerAttrName))
      // By an earlier run.
      extracted.push_back(function);
    else if (function && function->getParentOp() == module)
      scopes.push_back(function);
    else
      scope->emitRemark() << "attention layers are extracted from functions of the module only; this stays as it is";
  }
  SymbolTable symbols(module);
  for (func::FuncOp scope : scopes) {
    FailureOr<KVSharing> sharing = KVSharing::compute(scope);
    if (failed(sharing))
      return failure();
    for (Block &block : scope.getBody()) {
      SmallVector<LayerGroup> groups = findLayerGroups(block, *sharing);
      for (LayerGroup &group : groups) {
        std::string name = (scopes.size() > 1 ? scope.getName() + "_" : Twine()).str() + "layer_" +
                           std::to_string(group.layer);
        Outliner outliner(group, *sharing, name);
        OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
        func::FuncOp function = outliner.makeFunction(builder);
        // A second group of the layer gets a number.
        symbols.insert(function);
        extracted.push_back(function);
        outliner.replaceByCall(builder, function);
      }
    }
    scope.walk([&](AttentionOpInterface left) {
      left->emitRemark() << "stays in '" << scope.getName()
                         << "': attention inside a region of another operation is not extracted";
    });
  }
  return extracted;
}
