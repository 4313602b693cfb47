//===- LayerGroups.h - the operations that make up each attention layer ----===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_EXTRACTLAYERS_LAYERGROUPS_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_EXTRACTLAYERS_LAYERGROUPS_H

#include "sparseattn/Analysis/KVSharing.h"

namespace sparseattn {

/// Operations of one block that become one function.
struct LayerGroup {
  int64_t layer;
  /// In program order. May be moved together to the place of any of them that
  /// follows all operands and precedes all uses.
  llvm::SmallVector<mlir::Operation *> ops;
};

/// Divides the attention-like operations of a block, and the dialect's
/// operations around them, into layers:
///  - attention-like operations by their layer number in `sharing`;
///  - what combines or selects from the results of attention (gates, merges,
///    scores, indices, inverse rotary) goes with that attention;
///  - what prepares its operands (summaries, logits, routing, rotary, norms)
///    goes with the first layer that needs it.
/// Frameworks' operations (`extern`), caches and `kv_share` stay outside. Where
/// data flows from a layer through such an operation back into the same layer,
/// each attention-like operation is a group of its own.
/// Groups come in program order of their first attention.
llvm::SmallVector<LayerGroup> findLayerGroups(mlir::Block &block, const KVSharing &sharing);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_EXTRACTLAYERS_LAYERGROUPS_H
