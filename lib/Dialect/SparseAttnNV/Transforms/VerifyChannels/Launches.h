//===- Launches.h - arguments to try a kernel with -------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_LAUNCHES_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_LAUNCHES_H

#include "../Kernels.h"
#include "ScalarInterpreter.h"
#include "sparseattn/Analysis/ChannelModel.h"

namespace sparseattn::nv {

/// Arguments and block of one run.
struct Launch {
  llvm::SmallVector<int64_t> arguments;
  int64_t block;
  /// Number of blocks: few enough that each works on several tiles.
  int64_t blocks;

  /// What the block gets when it asks for a tile again, after `asked` times: blocks are in step with each other until
  /// others have taken the rest of `tiles`, so that a run is short however many tiles there are.
  int64_t getNextTile(int64_t asked, int64_t tiles) const;

  bool operator==(const Launch &other) const {
    return arguments == other.arguments && block == other.block && blocks == other.blocks;
  }
};

/// Launches in which a loop over blocks of one of the `rows` makes 0 to `blocks` steps: sizes just below, at and above
/// a whole number of blocks. Every integer argument takes every size, together and in mixtures that are the same
/// every time.
std::vector<Launch> chooseLaunches(mlir::gpu::GPUFuncOp kernel, llvm::ArrayRef<int64_t> rows, int64_t blocks,
                                   int mixtures);

/// Gives the integer arguments of the kernel their numbers, and pointers addresses far apart.
void setArguments(ScalarInterpreter &interpreter, mlir::gpu::GPUFuncOp kernel, const Launch &launch);

/// Adds to an error for which launch it was found.
void describeLaunch(mlir::InFlightDiagnostic &diag, mlir::gpu::GPUFuncOp kernel, const Launch &launch);

} // namespace sparseattn::nv

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_LAUNCHES_H
