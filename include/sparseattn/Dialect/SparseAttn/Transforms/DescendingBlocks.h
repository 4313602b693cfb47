//===- DescendingBlocks.h - loops over blocks of keys, the last first -----===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_SPARSEATTN_TRANSFORMS_DESCENDINGBLOCKS_H
#define SPARSEATTN_DIALECT_SPARSEATTN_TRANSFORMS_DESCENDINGBLOCKS_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"

namespace sparseattn {

/// The block of iteration 0, which is `a` when `column`, the first key of an
/// iteration's block of `columns` keys, is `(a - iv) * columns`, as
/// `sparseattn-tile-kv` writes it; null when it is something else.
inline mlir::Value matchDescendingBlocks(mlir::scf::ForOp loop, mlir::Value column, int64_t columns) {
  if (!mlir::matchPattern(loop.getStep(), mlir::m_One()))
    return {};
  mlir::Value block = column;
  if (auto product = block.getDefiningOp<mlir::arith::MulIOp>()) {
    llvm::APInt factor;
    if (!mlir::matchPattern(product.getRhs(), mlir::m_ConstantInt(&factor)) || factor.getSExtValue() != columns)
      return {};
    block = product.getLhs();
  } else if (columns != 1) {
    return {};
  }
  auto difference = block.getDefiningOp<mlir::arith::SubIOp>();
  if (!difference || difference.getRhs() != loop.getInductionVar() ||
      !loop.isDefinedOutsideOfLoop(difference.getLhs()))
    return {};
  return difference.getLhs();
}

/// Whether `block` is the last one that holds keys before `end`, as
/// `sparseattn-tile-kv` writes it: ceil(end / columns) - 1.
inline bool isLastBlockBefore(mlir::Value block, mlir::Value end, int64_t columns) {
  using namespace mlir;
  llvm::APInt round, divisor;
  return matchPattern(block, m_Op<arith::SubIOp>(
                                 m_Op<arith::DivUIOp>(m_Op<arith::AddIOp>(matchers::m_Val(end), m_ConstantInt(&round)),
                                                      m_ConstantInt(&divisor)),
                                 m_One())) &&
         divisor.getSExtValue() == columns && round.getSExtValue() == columns - 1;
}

} // namespace sparseattn

#endif // SPARSEATTN_DIALECT_SPARSEATTN_TRANSFORMS_DESCENDINGBLOCKS_H
