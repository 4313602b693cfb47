//===- KVSharing.h - which layer reads whose keys and values ---------------===//
//
// Part of the sparseattn project.
//
// In any SSA graph a KV-sharing edge is one K/V value with several attention
// users, up to operations that only move or rename data (specification 2.1,
// 6.7). This analysis finds the edges, numbers the layers when nobody did, and
// checks the rules that broken models have violated.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_ANALYSIS_KVSHARING_H
#define SPARSEATTN_ANALYSIS_KVSHARING_H

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "llvm/ADT/DenseMap.h"
#include <map>
#include <optional>

namespace sparseattn {

/// Where keys or values come from: a tensor, or one half of a cache. All
/// versions of a cache (before and after an append) are one origin.
struct KVRoot {
  enum class Part { Tensor, Key, Value };
  mlir::Value value;
  Part part = Part::Tensor;
  bool operator==(const KVRoot &other) const { return value == other.value && part == other.part; }
  bool operator!=(const KVRoot &other) const { return !(*this == other); }
};

/// One key source of an attention-like operation.
struct KVUse {
  AttentionOpInterface op;
  /// Position among the operation's key sources.
  unsigned source;
  mlir::OpOperand *key;
  mlir::OpOperand *value;
  KeyPatternAttrInterface pattern;
  KVRoot keyRoot;
  KVRoot valueRoot;
  /// Layer of the operation.
  int64_t layer;
  /// Layer that owns these keys and values; equal to `layer` for an owner.
  int64_t producer;
  bool isConsumer() const { return producer != layer; }
};

/// One selection operand of an attention-like operation.
struct IndexUse {
  AttentionOpInterface op;
  mlir::OpOperand *selection;
  /// Key source that the selection restricts.
  unsigned source;
  int64_t layer;
  /// Layer that chose the blocks; equal to `layer` for an own choice.
  int64_t producer;
  bool isConsumer() const { return producer != layer; }
};

/// The value that `value` is a copy or another view of. Looks through
/// `sparseattn.kv_share`, reads and views of caches, `tensor.cast`,
/// `expand_shape`, `collapse_shape`, and `sparseattn.extern` or unregistered
/// operations with one result of the operand's element type and number of
/// elements whose name says that they only move data (`aten.to`, `_to_copy`,
/// `contiguous`, `alias`, `clone`, `detach`, `view`, `reshape`, `transpose`,
/// `permute`, ..., and their stablehlo and ONNX kin).
KVRoot findKVRoot(mlir::Value value);

/// The first version of a cache, before every append and view.
mlir::Value findCacheBase(mlir::Value cache);

/// Distinct isolated regions (functions) at or below `root` that hold
/// attention-like operations, in program order.
llvm::SmallVector<mlir::Operation *> findAttentionScopes(mlir::Operation *root);

class KVSharing {
public:
  /// Analyses the attention-like operations of one scope, an operation that is
  /// isolated from above. Emits errors that name both sides and fails when
  /// layer numbers are incomplete, an explicit `kv_source` or `kv_share`
  /// disagrees with SSA, or a rule of specification 6.7 is broken:
  ///  - the producer comes first, in program order and by layer number;
  ///  - K and V are shared together;
  ///  - a consumer sees no key that the producer's cache does not keep;
  ///  - a consumer layer is allocated no cache and writes none; K/V are stored once;
  ///  - the offset of a query's rotary embedding is the position before the append;
  ///  - shared K/V and shared indices of one branch come from one layer.
  static mlir::FailureOr<KVSharing> compute(mlir::Operation *scope);

  /// Every key source, in program order.
  llvm::ArrayRef<KVUse> getUses() const { return uses; }
  /// Every selection operand, in program order.
  llvm::ArrayRef<IndexUse> getIndexUses() const { return indexUses; }
  /// Operations of each layer, by ascending layer number.
  const std::map<int64_t, llvm::SmallVector<AttentionOpInterface>> &getLayers() const { return layers; }
  int64_t getLayer(mlir::Operation *op) const { return layerOf.lookup(op); }
  /// True when no operation had a number and program order gave them.
  bool areLayersInferred() const { return inferredLayers; }
  /// The one other layer that `op` reads keys from; nothing when there is none or more than one.
  std::optional<int64_t> getOnlySource(mlir::Operation *op) const;

private:
  llvm::LogicalResult numberLayers(mlir::Operation *scope);
  llvm::LogicalResult collectUses(mlir::Operation *scope);
  llvm::LogicalResult findProducers();
  llvm::LogicalResult findIndexProducers();
  llvm::LogicalResult checkExplicitSources();
  llvm::LogicalResult checkPatterns();
  llvm::LogicalResult checkCaches(mlir::Operation *scope);
  llvm::LogicalResult checkPositions();
  llvm::LogicalResult checkIndexAgainstKV();

  llvm::SmallVector<AttentionOpInterface> ops;
  llvm::SmallVector<KVUse> uses;
  llvm::SmallVector<IndexUse> indexUses;
  std::map<int64_t, llvm::SmallVector<AttentionOpInterface>> layers;
  llvm::DenseMap<mlir::Operation *, int64_t> layerOf;
  bool inferredLayers = false;
};

} // namespace sparseattn

#endif // SPARSEATTN_ANALYSIS_KVSHARING_H
