//===- ScheduleModel.h - what a schedule costs, and which one to take ------===//
//
// Part of the sparseattn project.
//
// Registers and shared memory of the streaming kernel on Hopper, as a schedule
// asks for them, and the table of schedules. Sources of the numbers: PTX ISA
// (setmaxnreg, wgmma), the CUDA programming guide (limits of compute capability
// 9.0), and for the register rule the kernels that ptxas 13.0 assembled with and
// without spills.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_ANALYSIS_SCHEDULEMODEL_H
#define SPARSEATTN_ANALYSIS_SCHEDULEMODEL_H

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"

namespace sparseattn {

/// What decides about a schedule.
enum class MaskKind { Full, Causal, Window, Mixed, Blocks };
llvm::StringRef stringifyMaskKind(MaskKind kind);
std::optional<MaskKind> parseMaskKind(llvm::StringRef name);

/// Kind of a pattern: `Mixed` when its KV heads differ in kind, `Window` when
/// each sees a bounded number of keys, `Causal` when none sees the future, else
/// `Full`. With `kvHeads` dynamic (negative), one head is looked at.
MaskKind classifyPattern(KeyPatternAttrInterface keys, int64_t kvHeads);

/// Sizes of an attention that matter to its schedule.
struct ScheduleProblem {
  int64_t headDim;
  int64_t valueDim;
  /// Bytes of an element of query, key and value.
  int64_t elementBytes;
  MaskKind mask;
  /// Keys of a listed block; 0 without lists.
  int64_t block = 0;
  /// Queries that share a list; 0 without lists.
  int64_t queryBlock = 0;
  /// Each row has a first and a last key that depend on numbers in memory.
  bool hasRanges = false;
  /// A sink joins the sums of the rows; positions of queries begin at a number given at run time.
  bool hasSink = false, hasOffset = false;
  /// Sequences begin at numbers in memory.
  bool isPacked = false;
  /// Keys of a sequence, or for a window its width; dynamic: not known.
  int64_t keys = mlir::ShapedType::kDynamic;
};

/// One resource: what a schedule needs of it and what there is.
struct ResourceUse {
  std::string name;
  int64_t needed;
  int64_t available;
  /// How `needed` comes about.
  std::string formula;
  bool fits() const { return needed <= available; }
};

/// Shared memory, registers of a consumer thread, and the register pool of a
/// block of threads, in this order.
llvm::SmallVector<ResourceUse> getResourceUses(ScheduleAttr schedule, const ScheduleProblem &problem);

/// What makes a schedule impossible apart from resources: a reason, or nothing.
std::optional<std::string> findShapeMismatch(ScheduleAttr schedule, const ScheduleProblem &problem);

/// A row of the table. The first row that agrees is taken.
struct ScheduleRow {
  /// -1: any.
  int64_t headDim;
  int64_t valueDim;
  /// Nothing: any.
  std::optional<MaskKind> mask;
  /// The length class: at least so many keys; 0: all lengths, known or not.
  int64_t leastKeys;
  ScheduleAttr schedule;
  bool agrees(const ScheduleProblem &problem) const;
};

/// The table for H100 and H200. A length class begins at a power of two, so that
/// who leaves lengths open has to ask at powers of two only.
llvm::SmallVector<ScheduleRow> getHopperSchedules(mlir::MLIRContext *context);

/// Rows of a table in text, one a line: head dimension, value dimension and mask
/// kind (`*`: any), and the attribute. `>=N` behind the mask kind: from N keys on.
/// Lines that begin with `//` are comments.
///
///     128 128 full>=8192 #sparseattn.schedule<query_tile = 192, key_tile = 80, consumers = 3>
///     128 128 full #sparseattn.schedule<query_tile = 128, key_tile = 128>
///
/// Fails with an error through `emitError`, which is given the number of the line.
mlir::FailureOr<llvm::SmallVector<ScheduleRow>>
parseScheduleTable(llvm::StringRef text, mlir::MLIRContext *context,
                   llvm::function_ref<mlir::InFlightDiagnostic(unsigned line)> emitError);

} // namespace sparseattn

#endif // SPARSEATTN_ANALYSIS_SCHEDULEMODEL_H
