//===- Pipelines.h - registered pass pipelines -----------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_PIPELINES_PIPELINES_H
#define SPARSEATTN_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassOptions.h"

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace sparseattn {

/// Options of `sparseattn-to-cpu`.
struct CpuPipelineOptions : mlir::PassPipelineOptions<CpuPipelineOptions> {
  Option<bool> parallel{*this, "parallel",
                        llvm::cl::desc("Run independent iterations on OpenMP threads"),
                        llvm::cl::init(true)};
};

/// Options of `sparseattn-graph-to-tiles`.
struct GraphToTilesPipelineOptions : mlir::PassPipelineOptions<GraphToTilesPipelineOptions> {
  Option<int64_t> queryTile{*this, "query-tile",
                            llvm::cl::desc("Query rows of a tile where an attention has no schedule"),
                            llvm::cl::init(64)};
  Option<int64_t> keyTile{*this, "key-tile",
                          llvm::cl::desc("Keys of a block where an attention has no schedule"), llvm::cl::init(64)};
};

/// Attention without fused operations to grid, key loops and loops without
/// mask; tile sizes are for what has no schedule. Nothing is canonicalised.
void addTilePasses(mlir::OpPassManager &manager, int64_t queryTile, int64_t keyTile);

/// Level L0 to L1: every attention becomes a grid of query tiles with loops over
/// key blocks. An attention that cannot is an error; other operations stay.
void buildGraphToTilesPipeline(mlir::OpPassManager &manager, const GraphToTilesPipelineOptions &options);

/// Options of `sparseattn-tiles-to-cpu`.
struct TilesToCpuPipelineOptions : mlir::PassPipelineOptions<TilesToCpuPipelineOptions> {
  Option<int64_t> queryTile{*this, "query-tile",
                            llvm::cl::desc("Query rows of a tile where an attention has no schedule"),
                            llvm::cl::init(64)};
  Option<int64_t> keyTile{*this, "key-tile",
                          llvm::cl::desc("Keys of a block where an attention has no schedule"), llvm::cl::init(64)};
  Option<bool> parallel{*this, "parallel",
                        llvm::cl::desc("Run independent iterations on OpenMP threads"),
                        llvm::cl::init(true)};
};

/// As `buildCpuPipeline`, with attention through level L1: what runs there is
/// what other targets lower further.
void buildTilesToCpuPipeline(mlir::OpPassManager &manager, const TilesToCpuPipelineOptions &options);

/// Level L0 to the LLVM dialect: a module of functions on tensors becomes one
/// of functions on memref descriptors, each with a C interface
/// (`_mlir_ciface_<name>`) whose results are new buffers, owned by the caller.
void buildCpuPipeline(mlir::OpPassManager &manager, const CpuPipelineOptions &options);

/// Options of the pipelines for Hopper GPUs.
struct HopperPipelineOptions : mlir::PassPipelineOptions<HopperPipelineOptions> {
  Option<std::string> format{*this, "format",
                             llvm::cl::desc("isa: PTX text, needs no CUDA toolkit; bin: machine code (cubin), "
                                            "assembled by the toolkit's ptxas"),
                             llvm::cl::init("isa")};
  Option<std::string> toolkit{*this, "toolkit", llvm::cl::desc("Folder of the CUDA toolkit, for format=bin"),
                              llvm::cl::init("")};
};

/// Options that say how schedules are chosen, beside those of `Base`.
template <typename Base>
struct WithScheduleOptions : Base {
  typename Base::template Option<int64_t> expectedKeys{
      *this, "expected-keys", llvm::cl::desc("Keys to expect where the types leave it open; 0: not known"),
      llvm::cl::init(0)};
  typename Base::template Option<std::string> scheduleTable{
      *this, "schedule-table", llvm::cl::desc("File with schedules that come before the built-in ones"),
      llvm::cl::init("")};
};

/// Options of `sparseattn-to-nvvm`.
struct ToNVVMPipelineOptions : WithScheduleOptions<mlir::PassPipelineOptions<ToNVVMPipelineOptions>> {};

/// Options of `sparseattn-to-ptx`.
struct ToPTXPipelineOptions : WithScheduleOptions<HopperPipelineOptions> {};

/// Level L1 to level L2: each function with a grid loop becomes a kernel of
/// producer and consumer warpgroups in a `gpu.module`.
void buildTilesToWarpgroups(mlir::OpPassManager &manager);

/// Level L2 to level L3: kernels (`gpu.func`) on warpgroups, channels and tiles
/// become `llvm.func`s on single values. Each `gpu.module` names its target,
/// `#nvvm.target<chip = "sm_90a", features = "+ptx88">`.
void buildWarpgroupsToNVVM(mlir::OpPassManager &manager);

/// Level L0 to level L3 for Hopper: schedules, tiles, warpgroups, threads.
/// `expectedKeys` and `scheduleTable` are the options `expected-keys` and `table` of `sparseattn-select-schedule`.
void buildToNVVM(mlir::OpPassManager &manager, int64_t expectedKeys, llvm::StringRef scheduleTable);

/// Level L3 to a `gpu.binary` with PTX or machine code.
void buildNVVMToPTX(mlir::OpPassManager &manager, const HopperPipelineOptions &options);

/// Registers all pipelines under their command-line names.
void registerPipelines();

} // namespace sparseattn

#endif // SPARSEATTN_PIPELINES_PIPELINES_H
