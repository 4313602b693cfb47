//===- RunningMaximum.cpp - the maximum of each row that a loop carries ----===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "RunningMaximum.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"

#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace sparseattn;
using namespace sparseattn::nv;

bool nv::isGuarded(Value value, Value maximum) {
  auto select = value.getDefiningOp<arith::SelectOp>();
  return value == maximum || (select && llvm::is_contained({select.getTrueValue(), select.getFalseValue()}, maximum));
}

std::optional<RunningMaximum> nv::matchRunningMaximum(scf::ForOp loop, unsigned index) {
  Value old = loop.getRegionIterArg(index);
  RunningMaximum found;
  found.maximum = loop.getYieldedValues()[index].getDefiningOp<arith::MaxNumFOp>();
  auto type = dyn_cast<RankedTensorType>(old.getType());
  if (!found.maximum || found.maximum->getBlock() != loop.getBody() || !type ||
      !isa_and_nonnull<RowAttr>(type.getEncoding()) || !llvm::is_contained(found.maximum->getOperands(), old))
    return std::nullopt;
  for (Operation *user : old.getUsers()) {
    if (user == found.maximum)
      continue;
    auto difference = dyn_cast<arith::SubFOp>(user);
    if (!difference || difference.getLhs() != old || !isGuarded(difference.getRhs(), found.maximum) ||
        !difference->hasOneUse() || found.factor)
      return std::nullopt;
    Operation *next = *difference->getUsers().begin();
    if (auto product = dyn_cast<arith::MulFOp>(next)) {
      APFloat scale(0.0f);
      if (!matchPattern(product.getRhs(), m_ConstantFloat(&scale)) || !product->hasOneUse())
        return std::nullopt;
      found.scale = scale.convertToDouble();
      next = *product->getUsers().begin();
    }
    found.factor = dyn_cast<math::Exp2Op>(next);
    if (!found.factor)
      return std::nullopt;
  }
  return found.factor && found.scale > 0 ? std::optional(found) : std::nullopt;
}
