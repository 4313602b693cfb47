//===- GlueOps.cpp - what surrounds attention ------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "VerifyUtils.h"

using namespace mlir;
using namespace sparseattn;

LogicalResult RopeOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                       SmallVectorImpl<Type> &types) {
  types.push_back(op.getInput().getType());
  return success();
}

LogicalResult RopeOp::verify() {
  if (failed(verifyNotPacked(*this, 1, getLayout())) ||
      failed(verifyLayoutRank(*this, 1, "input", getInput(), getLayout())))
    return failure();
  int64_t dim = getTensorType(getInput()).getShape().back();
  int64_t dims = getDims();
  if (dims < 2 || dims % 2 != 0 || ShapedType::isDynamic(dim) || dims > dim)
    return emitConstraint(*this, 2) << "expected an even dims in [2, head dimension], found " << dims
                                    << " for input " << getInput().getType();
  if (failed(verifyAtLeast(*this, 5, "stride", getStride(), 1)))
    return failure();
  double base = getBase().convertToDouble();
  if (!(base > 0) || !getBase().isFinite())
    return emitConstraint(*this, 3) << "expected a finite positive base, found " << base;
  return verifyInferredResults(*this, 4);
}

LogicalResult RmsNormOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                          SmallVectorImpl<Type> &types) {
  types.push_back(op.getInput().getType());
  return success();
}

LogicalResult RmsNormOp::verify() {
  auto input = getTensorType(getInput());
  if (input.getRank() < 1)
    return emitConstraint(*this, 1) << "expected an input of rank at least 1";
  if (getWeight() && (failed(verifyShape(*this, 1, "weight", getWeight(), input.getShape().back())) ||
                      failed(verifySameElementType(*this, 1, {getInput(), getWeight()}))))
    return failure();
  double eps = getEps().convertToDouble();
  if (!(eps >= 0) || !getEps().isFinite())
    return emitConstraint(*this, 2) << "expected a finite eps >= 0, found " << eps;
  return verifyInferredResults(*this, 3);
}

LogicalResult ExternOp::verify() {
  if (getName().empty())
    return emitConstraint(*this, 1) << "expected the name of a framework operation, found an empty string";
  return success();
}
