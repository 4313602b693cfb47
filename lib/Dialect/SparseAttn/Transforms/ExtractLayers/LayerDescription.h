//===- LayerDescription.h - names and facts of an attention layer ----------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_EXTRACTLAYERS_LAYERDESCRIPTION_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_EXTRACTLAYERS_LAYERDESCRIPTION_H

#include "LayerGroups.h"

namespace sparseattn {

/// What an operand is to its operation: `query`, `key`, `sink`, `gate`, ...,
/// numbered where there are several, or `<operation>_<position>`.
std::string describeOperand(mlir::OpOperand &operand);

/// `out`, `lse`, `score`, `indices`, `count`, or `<operation>` for the others.
std::string describeResult(mlir::OpResult result);

/// Order of the dimensions of an attention-like operation's operand or result;
/// nothing for tensors that have no layout (sinks, scores, indices, ...).
std::optional<Layout> getLayoutOf(mlir::OpOperand &operand);
std::optional<Layout> getLayoutOf(mlir::OpResult result);

/// `full`, `causal`, `window`, `head_table`, `sparse`, `branched`, `routed` or
/// `concat_kv`; joined by `+` when the layer has several attentions.
std::string describeKind(const LayerGroup &group);

/// One dictionary for each attention-like operation: `operation`, `keys` (the
/// pattern of each source, as text), `window` (keys that a query sees, when
/// bounded), `scale`, `layout`, `kv_source`, `index_source`.
mlir::ArrayAttr describeOperations(const LayerGroup &group, const KVSharing &sharing);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTN_TRANSFORMS_EXTRACTLAYERS_LAYERDESCRIPTION_H
