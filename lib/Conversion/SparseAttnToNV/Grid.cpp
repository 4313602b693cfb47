//===- Grid.cpp - which query tile a block works on ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"

using namespace mlir;
using namespace sparseattn;

/// Blocks start in the order of their numbers. Those that run at once should
/// share keys, so that these stay in the L2 cache: the query tiles of one group
/// of heads come before those of the next, tile by tile over all heads of the
/// group, and the last tile first where it is the heaviest (causal patterns).
LogicalResult KernelEmitter::emitGrid() {
  Value id = gpu::BlockIdOp::create(builder, loc, gpu::Dimension::x);
  id = arith::IndexCastOp::create(builder, loc, builder.getI32Type(), id);
  outerPoint = id.getDefiningOp();

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
  Value first = mul(div(id, perGroup), group);
  Value rest = rem(id, perGroup);
  // The last group may be smaller.
  Value size = arith::MinUIOp::create(builder, loc, group, sub(mul(batches, heads), first));
  Value tile = div(rest, size);
  if (schedule.getOrder() == TileOrder::HeaviestFirst)
    tile = sub(sub(tiles, constant(1)), tile);
  Value head = add(first, rem(rest, size));
  map.map(grid.getInductionVars()[0], div(head, heads));
  map.map(grid.getInductionVars()[1], rem(head, heads));
  map.map(grid.getInductionVars()[2], tile);
  return success();
}
