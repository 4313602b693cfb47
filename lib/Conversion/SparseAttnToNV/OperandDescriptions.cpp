//===- OperandDescriptions.cpp - what the tensors of a kernel are ----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "OperandDescriptions.h"
#include "sparseattn/Dialect/SparseAttn/IR/LayoutUtils.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Transforms.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace sparseattn;

namespace {

/// Name, axes and further entries of one operand.
struct OperandDescription {
  StringRef name;
  SmallVector<StringRef> axes;
  SmallVector<NamedAttribute> more;
};

} // namespace

static SmallVector<StringRef> getAxes(Layout layout, StringRef heads, StringRef length, StringRef dim) {
  LayoutDims dims = getLayoutDims(layout);
  SmallVector<StringRef> axes(dims.rank(), dim);
  axes[dims.head] = heads;
  axes[dims.seq] = length;
  if (dims.batch >= 0)
    axes[dims.batch] = "B";
  return axes;
}

/// Tensors that matrix products read are queries, keys or values. Returns their layout.
static Layout describeTiles(scf::ForallOp grid, MutableArrayRef<OperandDescription> operands) {
  Layout layout = Layout::BHSD;
  grid.walk([&](LoadTileOp load) {
    layout = load.getLayout();
    auto describe = [&](StringRef name, StringRef heads, StringRef length, StringRef dim) {
      OperandDescription &operand = operands[cast<BlockArgument>(load.getSource()).getArgNumber()];
      operand.name = name;
      operand.axes = getAxes(layout, heads, length, dim);
    };
    for (OpOperand &use : load.getTile().getUses()) {
      auto dot = dyn_cast<TileDotOp>(use.getOwner());
      if (!dot)
        continue;
      if (use.getOperandNumber() == 0)
        describe("query", "Hq", "Nq", "D");
      else if (dot.getTransposeB())
        describe("key", "Hkv", "Nk", "D");
      else
        describe("value", "Hkv", "Nk", "Dv");
    }
  });
  return layout;
}

/// Arguments that decide which keys are seen say themselves what they are.
static void describeNamed(DictionaryAttr entries, OperandDescription &operand) {
  operand.name = entries.getAs<StringAttr>("name").getValue();
  operand.axes = llvm::StringSwitch<SmallVector<StringRef>>(operand.name)
                     .Case("selection", {"B", "Hs", "Tq", "K"})
                     .Case("valid_range", {"B", "Nq", "bounds"})
                     .Default({"S1"});
  for (NamedAttribute entry : entries)
    if (entry.getName() != "name")
      operand.more.push_back(entry);
}

void sparseattn::describeOperands(func::FuncOp function, scf::ForallOp grid, gpu::GPUFuncOp kernel) {
  Builder builder(function.getContext());
  unsigned numArguments = function.getNumArguments();
  SmallVector<OperandDescription> operands(numArguments + function.getNumResults());
  Layout layout = describeTiles(grid, operands);
  int64_t rank = getLayoutDims(layout).rank();
  SmallVector<Attribute> list;
  for (auto [index, operand] : llvm::enumerate(operands)) {
    bool isInput = index < numArguments;
    Type type = isInput ? function.getArgument(index).getType() : function.getResultTypes()[index - numArguments];
    auto tensor = dyn_cast<RankedTensorType>(type);
    DictionaryAttr named;
    if (isInput)
      named = function.getArgAttrOfType<DictionaryAttr>(index, kOperandAttrName);
    if (named) {
      describeNamed(named, operand);
    } else if (!isInput && tensor) {
      bool isOut = tensor.getRank() == rank;
      operand.name = isOut ? "out" : "lse";
      operand.axes = isOut ? getAxes(layout, "Hq", "Nq", "Dv") : SmallVector<StringRef>{"B", "Hq", "Nq"};
      if (!isOut && getLayoutDims(layout).batch < 0)
        operand.axes.erase(operand.axes.begin());
    } else if (operand.name.empty()) {
      operand.name = tensor ? "sink" : "q_offset";
      if (tensor)
        operand.axes.assign(tensor.getRank(), "Hq");
    }
    operand.more.append({builder.getNamedAttr("name", builder.getStringAttr(operand.name)),
                         builder.getNamedAttr("role", builder.getStringAttr(isInput ? "input" : "output")),
                         builder.getNamedAttr("type", TypeAttr::get(type)),
                         builder.getNamedAttr("axes", builder.getStrArrayAttr(operand.axes))});
    list.push_back(builder.getDictionaryAttr(operand.more));
  }
  kernel->setAttr(nv::kOperandsAttr, builder.getArrayAttr(list));
}
