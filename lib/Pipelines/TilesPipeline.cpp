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

void sparseattn::addTilePasses(OpPassManager &manager, int64_t queryTile, int64_t keyTile) {
  SparseAttnTileToGridOptions grid;
  grid.queryTile = queryTile;
  grid.keyTile = keyTile;
  manager.addPass(createSparseAttnTileToGrid(grid));
  manager.addPass(createSparseAttnTileKV());
  manager.addPass(createSparseAttnSplitMaskedBlocks());
}

void sparseattn::buildGraphToTilesPipeline(OpPassManager &manager, const GraphToTilesPipelineOptions &options) {
  manager.addPass(createSparseAttnDecompose());
  addTilePasses(manager, options.queryTile, options.keyTile);
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  // Constants that CSE has just made one let bounds fold.
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createSparseAttnCheckTiles());
}
