//===- KVPlan.h - who keeps how many keys and values -----------------------===//
//
// Part of the sparseattn project.
//
// Sizes are exact integers. A cache of `slots` tokens takes
// `batch * heads * slots * (key_dim + value_dim) * bytes(dtype)` bytes, with
// `slots = min(window, length)` for a ring (specification 2.3, 3.3, 5.3).
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_ANALYSIS_KVPLAN_H
#define SPARSEATTN_ANALYSIS_KVPLAN_H

#include "sparseattn/Analysis/KVSharing.h"

namespace llvm::json {
class Object;
} // namespace llvm::json

namespace sparseattn {

struct KVPlanOptions {
  /// Tokens of each sequence; absent: the key length of each operation.
  std::optional<int64_t> length;
  /// Sequences; absent: the batch dimension of each operation.
  std::optional<int64_t> batch;
  /// Element type of every cache; null: that of the keys, or of the cache type that is read.
  mlir::Type dtype;
};

/// Block summaries instead of tokens: `M(length)` slots.
struct SummaryShape {
  int64_t block = 1;
  int64_t stride = 1;
  bool completeOnly = false;
};

/// Keys and values (or one of several sources) of a layer.
struct PlannedCache {
  int64_t layer = 0;
  /// Layer whose cache is read; equal to `layer` for an owner.
  int64_t producer = 0;
  /// Set for summaries: of the layer's keys, for routing or as keys of their own.
  std::optional<SummaryShape> summary;
  /// Full, ring or one of them for each head.
  CacheKindAttrInterface kind;
  int64_t heads = 0;
  int64_t keyDim = 0;
  /// 0 for routing summaries, which have no values.
  int64_t valueDim = 0;
  mlir::Type dtype;
  int64_t length = 0;
  int64_t batch = 0;
  /// Operations that read it, of layer `layer`.
  llvm::SmallVector<mlir::Operation *> users;

  bool isAlias() const { return producer != layer; }
  /// `full`, `ring(w)`, `ragged(full x n, w x m)` or `summary(block/stride)`.
  std::string describeKind() const;
  /// Token slots of one head once `length` tokens were appended.
  int64_t getSlotsAt(int64_t head, int64_t length) const;
  /// Bytes for `batch` sequences of `length` tokens; nothing when 64 bits do not hold
  /// them. An alias takes none.
  std::optional<int64_t> getBytesAt(int64_t length, int64_t batch) const;
};

/// The plan of one function.
class KVPlan {
public:
  /// Plans the caches of `scope`, whose sharing `sharing` is. Emits an error
  /// with advice and fails when a size is neither static nor given, the dtype
  /// is not one that a cache can have, or a size does not fit 64 bits.
  static mlir::FailureOr<KVPlan> compute(mlir::Operation *scope, const KVSharing &sharing,
                                         const KVPlanOptions &options);

  /// Owners, aliases and summaries, by layer.
  llvm::ArrayRef<PlannedCache> getCaches() const { return caches; }
  int64_t getTotalBytes() const { return totalBytes; }
  /// Bytes when every layer kept every token of the widest source it reads.
  int64_t getDenseBytes() const { return denseBytes; }
  /// Dense over planned bytes.
  double getRatio() const;

  /// A table a person can read.
  void print(llvm::raw_ostream &os, llvm::StringRef title) const;
  /// One entry of `functions` in the JSON document, see `sparseattn-plan-kv-cache`.
  llvm::json::Object toJson(llvm::StringRef name) const;
  mlir::DictionaryAttr toAttribute(mlir::MLIRContext *context) const;

private:
  llvm::LogicalResult addTokenCaches(const KVSharing &sharing, const KVPlanOptions &options);
  llvm::LogicalResult addSummaries(mlir::Operation *scope, const KVSharing &sharing, const KVPlanOptions &options);
  llvm::LogicalResult addUp(mlir::Operation *scope);

  llvm::SmallVector<PlannedCache> caches;
  int64_t totalBytes = 0;
  int64_t denseBytes = 0;
};

} // namespace sparseattn

#endif // SPARSEATTN_ANALYSIS_KVPLAN_H
