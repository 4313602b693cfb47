//===- Transforms.h - what the passes do, callable on its own --------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_SPARSEATTN_TRANSFORMS_TRANSFORMS_H
#define SPARSEATTN_DIALECT_SPARSEATTN_TRANSFORMS_TRANSFORMS_H

#include "mlir/IR/BuiltinOps.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"

namespace sparseattn {

/// Position of query 0 as an `index`: `offset` when it is there, otherwise
/// `Nk - Nq` of `query` and `key` (specification 1.1). Ranks must fit `layout`.
mlir::Value buildQueryOffset(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value offset,
                             mlir::Value query, mlir::Value key, Layout layout);

/// True for the operations that `decomposeFusedOp` rewrites: `attention` with
/// `select`, `branched_attention`, `route`, `routed_attention`,
/// `kv_cache.append` with `summarize`.
bool isFusedOp(mlir::Operation *op);

/// Builds the parts of a fused operation at the builder's insertion point and
/// returns one value for each of its results, of the same type; `op` itself
/// stays. Fails with an error on `op` when no parts express it, and without
/// one when `op` is not fused. Nothing is built on failure.
mlir::FailureOr<llvm::SmallVector<mlir::Value>> decomposeFusedOp(mlir::OpBuilder &builder, mlir::Operation *op);

/// Decomposes every fused operation in or below `root`.
llvm::LogicalResult decomposeFusedOps(mlir::Operation *root);

/// Names of the groups of `fuseOps`, in the order in which they are tried.
llvm::ArrayRef<llvm::StringRef> getFusionGroups();

/// Fuses the given groups (all when empty) in or below `root`, and emits missed
/// remarks; see `sparseattn-fuse`. `routedAlways` fuses routing and attention
/// also when there are more than 8 queries.
void fuseOps(mlir::Operation *root, llvm::ArrayRef<std::string> groups = {}, bool routedAlways = false);

/// Discardable attribute of a consumer of indices: `array<i64>`, for each
/// selection operand the layer that selected.
inline constexpr llvm::StringLiteral kIndexSourceAttrName = "sparseattn.index_source";

/// Discardable attribute with the KV plan: a dictionary on functions, an array
/// of its entries on attention operations.
inline constexpr llvm::StringLiteral kKVPlanAttrName = "sparseattn.kv_plan";

/// Attribute of a grid of tiles (`scf.forall`): its `#sparseattn.schedule`.
inline constexpr llvm::StringLiteral kScheduleAttrName = "sparseattn.schedule";

/// Attribute of an argument of a function whose grid loop reads it number by
/// number: a dictionary with its `name` (selection, valid_range, cu_seqlens_q or
/// cu_seqlens_k) and, of a selection, the `query_block`.
inline constexpr llvm::StringLiteral kOperandAttrName = "sparseattn.operand";

/// Turns `op` (`attention` or `sparse_attention`) into a grid of query tiles;
/// see `sparseattn-tile-to-grid`. `fallback` is its schedule when it has none.
/// Fails with a missed remark and changes nothing when it has no such form.
llvm::LogicalResult tileToGrid(mlir::Operation *op, ScheduleAttr fallback);

/// Turns `op` into a loop over key blocks; see `sparseattn-tile-kv`.
void tileKV(StreamingAttentionOp op);

/// Takes `full` of `mask` into account; see `sparseattn-split-masked-blocks`.
void splitMaskedBlocks(TileMaskOp mask);

/// Makes the K/V and index edges between the layers below `root` explicit; see
/// `sparseattn-resolve-kv-sharing`. On failure errors were emitted and the
/// function at fault is unchanged.
llvm::LogicalResult resolveKVSharing(mlir::Operation *root);

/// Discardable attribute of an extracted function: the number of its layer.
inline constexpr llvm::StringLiteral kLayerAttrName = "sparseattn.layer";

/// Gives each attention layer of `module` a function of its own, called where
/// the layer was; see `sparseattn-extract-layers`. Returns these functions,
/// also those of an earlier call.
mlir::FailureOr<llvm::SmallVector<mlir::Operation *>> extractLayers(mlir::ModuleOp module);

/// Discardable attribute of a `sparseattn.extern` that was an operation of an
/// unregistered dialect: the dictionary of its attributes and properties.
inline constexpr llvm::StringLiteral kExternAttributesName = "attributes";

/// Turns the attention of generic StableHLO text below `root` into our
/// operations, and with `externalize` what else is opaque into
/// `sparseattn.extern`; see `sparseattn-raise-imported`. Remarks say what was
/// not raised and why.
void raiseImported(mlir::Operation *root, bool externalize = true);

} // namespace sparseattn

#endif // SPARSEATTN_DIALECT_SPARSEATTN_TRANSFORMS_TRANSFORMS_H
