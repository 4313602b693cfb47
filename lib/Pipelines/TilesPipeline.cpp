//===- TilesPipeline.cpp - L0 to L1 ----------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Pipelines/Pipelines.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace sparseattn;

void sparseattn::buildGraphToTilesPipeline(OpPassManager &manager, const GraphToTilesPipelineOptions &options) {
  manager.addPass(createSparseAttnDecompose());
  SparseAttnTileToGridOptions grid;
  grid.queryTile = options.queryTile;
  grid.keyTile = options.keyTile;
  manager.addPass(createSparseAttnTileToGrid(grid));
  manager.addPass(createSparseAttnTileKV());
  manager.addPass(createSparseAttnSplitMaskedBlocks());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  // Constants that CSE has just made one let bounds fold.
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createSparseAttnCheckTiles());
}
