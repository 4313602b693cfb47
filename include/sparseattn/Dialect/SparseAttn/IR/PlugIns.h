//===- PlugIns.h - values that the plug-in interfaces exchange -------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_SPARSEATTN_IR_PLUGINS_H
#define SPARSEATTN_DIALECT_SPARSEATTN_IR_PLUGINS_H

#include "mlir/IR/Value.h"

namespace sparseattn {

/// Half-open range of key indices: `index` values, or tensors of them.
struct KeyRange {
  mlir::Value begin;
  mlir::Value end;
};

/// Running state of a normaliser: f32 scalars or vectors of a row, or tensors over the rows of a tile.
struct NormalizerState {
  mlir::Value max;
  mlir::Value sum;
  /// `max` stays what it is.
  bool isFixed = false;
};

/// What a row's normaliser leaves behind.
struct NormalizerResult {
  /// Multiplies the accumulated output; 0 for a row without keys.
  mlir::Value factor;
  /// Natural-log sum of exponentials; -inf for a row without keys.
  mlir::Value lse;
};

/// What a normaliser makes of the scores of a block of keys.
struct TileStep {
  /// Weights, f32 [R,C].
  mlir::Value weights;
  /// For each row, multiplies what was accumulated before, f32 [R]; null for nothing.
  mlir::Value factor;
};

} // namespace sparseattn

#endif // SPARSEATTN_DIALECT_SPARSEATTN_IR_PLUGINS_H
