//===- FragmentLayout.h - which thread holds which element -----------------===//
//
// Part of the sparseattn project.
//
// The map between the elements of a 64xN tile and the registers of a warpgroup
// (PTX ISA, "Register Fragments for wgmma.mma_async": accumulator D and
// multiplicand A of m64nNk16). Threads are numbered 0 ... 127 in the warpgroup.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_ANALYSIS_FRAGMENTLAYOUT_H
#define SPARSEATTN_ANALYSIS_FRAGMENTLAYOUT_H

#include "sparseattn/Target/HopperTarget.h"

namespace sparseattn::fragment {

/// Lanes that share a row, and rows that one thread sees.
inline constexpr int64_t kQuad = 4;
inline constexpr int64_t kRowsPerThread = 2;
/// Distance between the rows of one thread.
inline constexpr int64_t kRowDistance = 8;
/// Neighbouring columns that one thread holds.
inline constexpr int64_t kPair = 2;
/// Rows of one warp, columns of one quad.
inline constexpr int64_t kWarpRows = kRowsPerThread * kRowDistance;
inline constexpr int64_t kQuadColumns = kPair * kQuad;

/// Values of one thread in a 64xN tile.
constexpr int64_t getNumValues(int64_t columns) { return columns * hopper::kMmaRows / hopper::kWarpgroupThreads; }

/// First row of a thread.
constexpr int64_t getThreadRow(int64_t thread) {
  return thread / hopper::kWarpThreads * kWarpRows + thread % hopper::kWarpThreads / kQuad;
}
/// First column of a thread.
constexpr int64_t getThreadColumn(int64_t thread) { return thread % kQuad * kPair; }

/// Which of the thread's rows value `i` of an accumulator belongs to.
constexpr int64_t getRowOfValue(int64_t i) { return i / kPair % kRowsPerThread; }
/// Column of value `i`, from the first column of the thread.
constexpr int64_t getColumnOfValue(int64_t i) {
  return i / (kPair * kRowsPerThread) * kQuadColumns + i % kPair;
}

/// Element of value `i` of `thread`.
constexpr int64_t getRow(int64_t thread, int64_t i) { return getThreadRow(thread) + getRowOfValue(i) * kRowDistance; }
constexpr int64_t getColumn(int64_t thread, int64_t i) { return getThreadColumn(thread) + getColumnOfValue(i); }

/// 16-bit tiles on their way to global memory: each warp has a place in shared memory for its rows, or for some columns
/// of them, which lanes write and read in units of 16 bytes.
inline constexpr int64_t kStagingUnit = 16;
inline constexpr int64_t kStagingUnitColumns = kStagingUnit / 2;
/// 64 bytes: what the lanes of a quad write of a row without staging.
inline constexpr int64_t kMinStagingColumns = kQuad * kStagingUnitColumns;
/// The lanes of a warp share rows evenly: a power of two columns, and a unit of one row for each lane at most.
constexpr int64_t getMaxStagingColumns(int64_t columns) {
  int64_t power = columns & -columns, most = hopper::kWarpThreads * kStagingUnitColumns;
  return power < most ? power : most;
}
/// Bytes from one row to the next: an odd number of units, so that 8 rows lie in different banks.
constexpr int64_t getStagingPitch(int64_t columns) { return columns * 2 + kStagingUnit; }
constexpr int64_t getStagingBytes(int64_t columns) { return kWarpRows * getStagingPitch(columns); }

} // namespace sparseattn::fragment

#endif // SPARSEATTN_ANALYSIS_FRAGMENTLAYOUT_H
