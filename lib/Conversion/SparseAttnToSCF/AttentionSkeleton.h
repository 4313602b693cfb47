//===- AttentionSkeleton.h - one loop nest for every attention -------------===//
//
// Part of the sparseattn project.
//
// for each tile of query rows:
//   for each key source, for each tile of its visible keys:
//     S = scale Q K^T; S = score(S) + bias, -inf where invisible
//     state = normalise(state, S, V)
//   out, lse = finish(state); epilogue over blocks
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_ATTENTIONSKELETON_H
#define SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_ATTENTIONSKELETON_H

#include "LoweringUtils.h"

namespace sparseattn {

/// Keys and values with the rule that says which of them a query sees.
struct KeySource {
  HeadView keys;
  HeadView values;
  KeyPatternAttrInterface pattern;
  /// Buffer of indices or bit masks; null for a source without selection.
  mlir::Value selection;
  SelectionFormat format = SelectionFormat::Index;
  int64_t block = 1;
  /// Queries that share a row of the selection and of the bias.
  int64_t queryBlock = 1;
  BlockOrigin origin = BlockOrigin::Absolute;
  /// Buffer of biases per block (bit mask) or per entry (index); may be null.
  mlir::Value bias;
};

/// Operands and attributes of an attention, as buffers and plug-ins.
struct AttentionSpec {
  HeadView query;
  HeadView out;
  llvm::SmallVector<KeySource> sources;
  double scale;
  ScoreModAttrInterface scoreMod;
  NormalizerAttrInterface normalizer;
  /// Position of query 0; null for packed documents.
  mlir::Value queryOffset;
  // Buffers that may be null.
  mlir::Value sink, validRange, cuSeqlensQ, cuSeqlensK, lse, score;
  EpilogueAttrInterface epilogue;
};

/// Emits the whole attention.
void buildAttention(LoopBuilder &k, const AttentionSpec &spec);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_CONVERSION_SPARSEATTNTOSCF_ATTENTIONSKELETON_H
