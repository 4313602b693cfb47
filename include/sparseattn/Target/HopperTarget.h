//===- HopperTarget.h - the numbers of sm_90a -------------------------------===//
//
// Part of the sparseattn project.
//
// Every hardware number that the compiler relies on. Sources: "PTX ISA" 8.8 by
// section; "CUDA C++ Programming Guide" 13.0, technical specifications by compute
// capability (9.0).
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TARGET_HOPPERTARGET_H
#define SPARSEATTN_TARGET_HOPPERTARGET_H

#include <cstdint>

namespace sparseattn::hopper {

/// What `#nvvm.target` must say. Warpgroup matrix instructions exist on sm_90a
/// only; TMA loads into the block's own shared memory need PTX 8.6.
inline constexpr const char *kChip = "sm_90a";
inline constexpr unsigned kMinPTXVersion = 86;
inline constexpr const char *kFeatures = "+ptx86";

/// Threads.
inline constexpr int64_t kWarpThreads = 32;
inline constexpr int64_t kWarpgroupThreads = 128;
inline constexpr int64_t kWarpgroupWarps = kWarpgroupThreads / kWarpThreads;
inline constexpr int64_t kMaxConsumers = 3;

/// Shared memory that one block may have, in bytes (227 KB).
inline constexpr int64_t kSharedMemoryLimit = 232448;

/// An mbarrier object is 8 bytes, aligned to 8 (PTX ISA, "Parallel Synchronization and Communication
/// Instructions: mbarrier").
inline constexpr int64_t kBarrierBytes = 8;
/// A number that is sent along with an item of a channel.
inline constexpr int64_t kNumberBytes = 4;

/// Registers of a multiprocessor, and of one thread (instructions can name 255 of the 256).
inline constexpr int64_t kRegisterFile = 65536;
inline constexpr int64_t kMaxThreadRegisters = 256;
/// Registers are given to threads in groups of 8; `setmaxnreg` takes a multiple of 8 in [24, 256] (PTX ISA,
/// "Miscellaneous Instructions: setmaxnreg").
inline constexpr int64_t kRegisterGranularity = 8;
inline constexpr int64_t kMinRoleRegisters = 24;
inline constexpr int64_t kMaxRoleRegisters = 256;

/// Registers of each thread when a block of `threads` starts and no second block shares the
/// multiprocessor. They times the number of threads are the pool that `setmaxnreg` distributes.
constexpr int64_t getLaunchRegisters(int64_t threads) {
  int64_t most = kRegisterFile / threads / kRegisterGranularity * kRegisterGranularity;
  return most > kMaxThreadRegisters ? kMaxThreadRegisters : most;
}

/// wgmma (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions"): m64nNk16 for 16-bit elements, N a
/// multiple of 8 up to 256.
inline constexpr int64_t kMmaRows = 64;
inline constexpr int64_t kMmaDepth = 16;
inline constexpr int64_t kMmaColumnGranularity = 8;
inline constexpr int64_t kMmaMaxColumns = 256;
inline constexpr int64_t kMaxOutstandingGroups = 7;

/// Rows of 128 bytes are swizzled in groups of 8: shared tiles start at multiples of 1024 bytes (PTX ISA,
/// "Asynchronous Warpgroup Level Matrix Shared Memory Layout", 128-byte swizzling).
inline constexpr int64_t kSwizzleBytes = 128;
inline constexpr int64_t kSwizzleRows = 8;
inline constexpr int64_t kSwizzleAtomBytes = kSwizzleBytes * kSwizzleRows;
/// Unit of addresses and offsets in matrix descriptors.
inline constexpr int64_t kDescriptorUnit = 16;
/// Columns of 16-bit elements in one swizzled row.
inline constexpr int64_t kSwizzleColumns = kSwizzleBytes / 2;
/// Columns of shared tiles are a multiple: the 4 lanes of a row store 16 bytes each.
inline constexpr int64_t kColumnGranularity = 32;

/// Largest extent of a TMA box in one dimension, and largest rank of a tensor map (PTX ISA, "Tensors").
inline constexpr int64_t kMaxBoxExtent = 256;
inline constexpr int64_t kMaxTensorMapRank = 5;
inline constexpr int64_t kTensorMapBytes = 128;
inline constexpr int64_t kTensorMapAlignment = 64;

} // namespace sparseattn::hopper

#endif // SPARSEATTN_TARGET_HOPPERTARGET_H
