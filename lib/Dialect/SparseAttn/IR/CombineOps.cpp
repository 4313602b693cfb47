//===- CombineOps.cpp - what happens to attention outputs ------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "VerifyUtils.h"

#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sparseattn;

//===----------------------------------------------------------------------===//
// gated_combine
//===----------------------------------------------------------------------===//

LogicalResult GatedCombineOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor op,
                                               SmallVectorImpl<Type> &types) {
  types.push_back(op.getInputs().empty() ? RankedTensorType::get({}, Float32Type::get(context))
                                         : op.getInputs().front().getType());
  return success();
}

LogicalResult GatedCombineOp::verify() {
  if (getInputs().empty() || getInputs().size() != getGates().size())
    return emitConstraint(*this, 1) << "expected one gate per input and at least one input, found "
                                    << getInputs().size() << " inputs and " << getGates().size() << " gates";
  ArrayRef<int64_t> shape = getTensorType(getInputs().front()).getShape();
  for (Value input : getInputs())
    if (failed(verifyShape(*this, 2, "input", input, shape)))
      return failure();
  if (failed(verifySameElementType(*this, 2, getInputs())))
    return failure();
  if (getGate() == GateShape::Headwise) {
    if (shape.empty())
      return emitConstraint(*this, 3) << "head-wise gates need inputs of rank at least 1";
    shape = shape.drop_back();
  }
  for (Value gate : getGates())
    if (failed(verifyShape(*this, 3, "gate", gate, shape)) ||
        failed(verifySameElementType(*this, 3, {getInputs().front(), gate})))
      return failure();
  return verifyInferredResults(*this, 4);
}

//===----------------------------------------------------------------------===//
// lse_merge
//===----------------------------------------------------------------------===//

LogicalResult LseMergeOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor op,
                                           SmallVectorImpl<Type> &types) {
  Type fallback = RankedTensorType::get({}, Float32Type::get(context));
  types.push_back(op.getOuts().empty() ? fallback : op.getOuts().front().getType());
  types.push_back(op.getLses().empty() ? fallback : op.getLses().front().getType());
  return success();
}

/// Number of operations behind `merge` that add a sink, the merge itself included.
/// A merge can reach itself in a graph region, hence `visited`.
static int64_t countSinks(LseMergeOp merge) {
  int64_t sinks = 0;
  llvm::SmallPtrSet<Operation *, 8> visited = {merge};
  SmallVector<Operation *> worklist = {merge};
  while (!worklist.empty())
    llvm::TypeSwitch<Operation *>(worklist.pop_back_val())
        .Case<AttentionOp, SparseAttentionOp, ConcatKVAttentionOp, RoutedAttentionOp>(
            [&](auto attention) { sinks += attention.getSink() ? 1 : 0; })
        .Case([&](LseMergeOp op) {
          sinks += op.getSink() ? 1 : 0;
          for (Value out : op.getOuts())
            if (Operation *partial = out.getDefiningOp(); partial && visited.insert(partial).second)
              worklist.push_back(partial);
        });
  return sinks;
}

LogicalResult LseMergeOp::verify() {
  if (getOuts().empty() || getOuts().size() != getLses().size())
    return emitConstraint(*this, 1) << "expected one lse per output and at least one output, found "
                                    << getOuts().size() << " outputs and " << getLses().size() << " lses";
  for (Value out : getOuts()) {
    if (failed(verifyLayoutRank(*this, 2, "output", out, getLayout())) ||
        failed(verifyShape(*this, 2, "output", out, getTensorType(getOuts().front()).getShape())))
      return failure();
  }
  if (failed(verifySameElementType(*this, 2, getOuts())))
    return failure();
  HeadShape shape = getHeadShape(getTensorType(getOuts().front()), getLayout());
  SmallVector<int64_t> rows = {shape.heads, shape.length};
  if (getLayout() != Layout::THD)
    rows.insert(rows.begin(), shape.batch);
  for (Value lse : getLses())
    if (failed(verifyShape(*this, 3, "lse", lse, rows)))
      return failure();
  if (getSink() && failed(verifyShape(*this, 4, "sink", getSink(), shape.heads)))
    return failure();
  int64_t sinks = countSinks(*this);
  if (sinks > 1)
    return emitConstraint(*this, 5) << "expected the sink to be added once, found it in " << sinks
                                    << " places (partials and merge together); keep the one of the merge";
  return verifyInferredResults(*this, 6);
}

namespace {
/// One partial without a sink is the whole.
struct FoldSinglePartial : OpRewritePattern<LseMergeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LseMergeOp op, PatternRewriter &rewriter) const override {
    if (op.getOuts().size() != 1 || op.getSink() || op.getOuts()[0].getType() != op.getOut().getType() ||
        op.getLses()[0].getType() != op.getLse().getType())
      return failure();
    rewriter.replaceOp(op, {op.getOuts()[0], op.getLses()[0]});
    return success();
  }
};
} // namespace

void LseMergeOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<FoldSinglePartial>(context);
}

//===----------------------------------------------------------------------===//
// hard_concrete_gate
//===----------------------------------------------------------------------===//

LogicalResult HardConcreteGateOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor op,
                                                   SmallVectorImpl<Type> &types) {
  types.assign(2, op.getLogAlpha().getType());
  return success();
}

LogicalResult HardConcreteGateOp::verify() {
  if (failed(verifyShape(*this, 1, "noise", getNoise(), getTensorType(getLogAlpha()).getShape())))
    return failure();
  double beta = getBeta().convertToDouble(), gamma = getGamma().convertToDouble();
  double zeta = getZeta().convertToDouble();
  if (!(beta > 0 && gamma < 0 && zeta > 1))
    return emitConstraint(*this, 2) << "expected beta > 0, gamma < 0 and zeta > 1, found " << beta << ", "
                                    << gamma << " and " << zeta;
  return verifyInferredResults(*this, 3);
}
