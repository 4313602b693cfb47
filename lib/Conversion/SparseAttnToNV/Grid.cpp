//===- Grid.cpp - which query tile a block works on ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

using namespace mlir;
using namespace sparseattn;

/// A block works on one tile after the other, so that the loads of the next
/// begin under the end of the last; which one that is shows when the block has
/// time for it (next_tile), because tiles differ in work. Tiles that are worked on at once should
/// share keys, so that these stay in the L2 cache: the query tiles of one group
/// of heads come before those of the next, tile by tile over all heads of the
/// group, and the last tile first where it is the heaviest (causal patterns).
LogicalResult KernelEmitter::emitGrid() {
  auto read = [&](Value index) -> Value {
    return arith::IndexCastOp::create(builder, loc, builder.getI32Type(), index);
  };
  Value first = read(gpu::BlockIdOp::create(builder, loc, gpu::Dimension::x));
  Value step = read(gpu::GridDimOp::create(builder, loc, gpu::Dimension::x));
  Value total = parameters.getNumTiles(), counter = parameters.getTileCounter();
  auto loop = scf::ForOp::create(builder, loc, first, total, step);
  loop->setAttr(nv::kTilesAttr, builder.getUnitAttr());
  outerPoint = loop;
  builder.setInsertionPointToStart(loop.getBody());
  Value id = loop.getInductionVar();
  nv::NextTileOp::create(builder, loc, builder.getI32Type(), counter, total);

  SmallVector<Value> bounds;
  for (OpFoldResult bound : grid.getMixedUpperBound()) {
    bounds.push_back(lookup(bound));
    if (!bounds.back())
      return failure();
  }
  if (bounds.size() != 3)
    return grid.emitOpError("must have the dimensions (batch, head, query tile); found ") << bounds.size();
  Value batches = bounds[0], heads = bounds[1], tiles = bounds[2];

  auto mul = [&](Value a, Value b) -> Value { return arith::MulIOp::create(builder, loc, a, b); };
  auto sub = [&](Value a, Value b) -> Value { return arith::SubIOp::create(builder, loc, a, b); };
  auto add = [&](Value a, Value b) -> Value { return arith::AddIOp::create(builder, loc, a, b); };
  auto div = [&](Value a, Value b) -> Value { return arith::DivUIOp::create(builder, loc, a, b); };
  auto rem = [&](Value a, Value b) -> Value { return arith::RemUIOp::create(builder, loc, a, b); };

  Value group = parameters.getHeadGroup();
  Value perGroup = mul(group, tiles);
  Value firstHead = mul(div(id, perGroup), group);
  Value rest = rem(id, perGroup);
  // The last group may be smaller.
  Value size = arith::MinUIOp::create(builder, loc, group, sub(mul(batches, heads), firstHead));
  Value tile = div(rest, size);
  if (schedule.getOrder() == TileOrder::HeaviestFirst)
    tile = sub(sub(tiles, constant(1)), tile);
  Value head = add(firstHead, rem(rest, size));
  map.map(grid.getInductionVars()[0], div(head, heads));
  map.map(grid.getInductionVars()[1], rem(head, heads));
  map.map(grid.getInductionVars()[2], tile);
  return success();
}
