//===- Problem.h - the arguments of a launch against the manifest --------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_RUNTIME_PROBLEM_H
#define SPARSEATTN_LIB_RUNTIME_PROBLEM_H

#include "Manifest.h"

namespace sparseattn::runtime {

/// A tensor that fits its operand.
struct View {
  char *data;
  int64_t sizes[kMaxRank];
  /// In elements, those of axes of size 1 normalised.
  int64_t strides[kMaxRank];
  bool isEmpty;
};

/// Everything a launch needs to know, without memory of its own: large enough
/// for any manifest.
struct Problem {
  View views[kMaxOperands];
  int64_t values[kMaxValues];
  /// f32 attributes, at the attribute's index.
  double numbers[kMaxAttributes];
  int64_t blocks = 0;
  /// A problem that the manifest declares empty: nothing else is set.
  bool isEmpty = false;
};

/// Checks tensors and attributes and fills `problem`. Throws Error.
void bindProblem(const KernelSpec &kernel, const SparseAttnTensor *tensors, size_t tensorCount,
                 const SparseAttnAttribute *attributes, size_t attributeCount, Problem &problem);

/// Attributes, derived values and the grid, once sizes are known.
void bindValues(const KernelSpec &kernel, const SparseAttnAttribute *attributes, size_t attributeCount,
                Problem &problem);

inline int64_t evaluate(const Term &term, const Problem &problem) {
  return term.value < 0 ? term.constant : problem.values[term.value];
}

} // namespace sparseattn::runtime

#endif // SPARSEATTN_LIB_RUNTIME_PROBLEM_H
