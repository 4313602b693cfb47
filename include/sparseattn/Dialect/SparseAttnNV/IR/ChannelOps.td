//===- ChannelOps.td - roles, channels and shared tiles -----*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_NV_CHANNEL_OPS_TD
#define SPARSEATTN_NV_CHANNEL_OPS_TD

include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVBase.td"

def SparseAttnNV_ChannelOp : SparseAttnNV_Op<"channel", [MemoryEffects<[MemAlloc]>]> {
  let summary = "a ring of tiles in shared memory";
  let description = [{
    Item p is filled once by the producer, awaited and released once by every
    consumer warpgroup, in ascending order of p; the slot of item p is free for
    item p + `stages` when every consumer has released p.

    `name` appears in diagnostics. `sparseattn-nv-plan-smem` sets `offset`, the
    first byte of the slots in shared memory, and `barriers`, the first byte of
    its 2 x `stages` barriers: "full" of each slot, then "empty" of each slot.
    Behind them are the numbers of each slot, if the channel has a `post`: 4
    bytes each, and together a multiple of 8.

    Constraints:
    - (C1) `offset` and `barriers` are both present or both absent.
    - (C2) `offset` is a multiple of 1024, `barriers` of 8, and the slots and barriers end within 227 KB.
  }];
  let arguments = (ins OptionalAttr<StrAttr>:$name, OptionalAttr<I32Attr>:$offset, OptionalAttr<I32Attr>:$barriers);
  let results = (outs SparseAttnNV_ChannelType:$channel);
  let assemblyFormat = [{
    ($name^)? (`offset` `(` $offset^ `)`)? (`barriers` `(` $barriers^ `)`)? attr-dict `:` qualified(type($channel))
  }];
  let builders = [OpBuilder<(ins "::sparseattn::nv::ChannelType":$type, CArg<"::llvm::StringRef", "{}">:$name)>];
  let extraClassDeclaration = [{
    /// Bytes that the numbers of a slot take.
    int64_t getNumberBytes();
  }];
  let hasVerifier = 1;
}

def SparseAttnNV_EndOp : SparseAttnNV_Op<"end", [Pure, Terminator, ParentOneOf<["SpecializeOp"]>]> {
  let summary = "end of a role";
  let description = [{The implicit terminator of both regions of `sparseattn_nv.specialize`; it is not printed.}];
  let assemblyFormat = "attr-dict";
}

def SparseAttnNV_SpecializeOp : SparseAttnNV_Op<"specialize", [
    SingleBlockImplicitTerminator<"EndOp">, RecursiveMemoryEffects]> {
  let summary = "producer and consumer roles";
  let description = [{
    The block has 128 x (`consumers` + 1) threads. One elected thread of the
    first warpgroup runs the producer region: scalars, control flow, `fill`,
    `post` and `next_tile` only. Each other warpgroup runs the consumer region, whose argument is its
    number 0 … `consumers` - 1. The registers of a thread are redistributed when
    a role begins (`setmaxnreg`).

    Constraints:
    - (C1) it is directly inside a function, at most one in it.
    - (C2) `consumers` in [1, 3].
    - (C3) register counts are multiples of 8 in [24, 256].
    - (C4) the roles' registers fit the pool: `producer_registers + consumers * consumer_registers <= (consumers + 1) * R`, where R is the number of registers of each thread at launch (256 for 1 consumer, 168 for 2, 128 for 3).
    - (C5) the producer region has no argument, the consumer region one of type i32.
    - (C6) the producer region has no tensor with an encoding and no await, take, release, take_turn, pass_turn, dot or wait.
    - (C7) the consumer region has no fill, post or next_tile.
  }];
  let arguments = (ins I32Attr:$producer_registers, I32Attr:$consumers, I32Attr:$consumer_registers);
  let regions = (region SizedRegion<1>:$producer_body, SizedRegion<1>:$consumer_body);
  let assemblyFormat = [{
    `producer` `registers` `(` $producer_registers `)` $producer_body
    `consumers` `(` $consumers `)` `registers` `(` $consumer_registers `)` $consumer_body attr-dict
  }];
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "int32_t":$producerRegisters, "int32_t":$consumers, "int32_t":$consumerRegisters)>];
  let extraClassDeclaration = [{
    /// The body of the producer.
    ::mlir::Block *getProducerBlock() { return &getProducerBody().front(); }
    /// The body of the consumers and its argument, the number of the warpgroup.
    ::mlir::Block *getConsumerBlock() { return &getConsumerBody().front(); }
    ::mlir::Value getWarpgroup() { return getConsumerBlock()->getArgument(0); }
    /// Threads of the block.
    int64_t getNumThreads();
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def SparseAttnNV_FillOp : SparseAttnNV_Op<"fill", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "load one item of a channel from global memory";
  let description = [{
    Waits until the slot of item `position` is free, and starts the TMA load of
    a whole tile into it: one, or one for each block of 64 columns where the
    columns are no multiple of 64. `coordinates` (i32, innermost first) name the
    first element of the map's box: feature within 64, position, block of 64
    features, then the dimensions that the tile does not have (head, batch). A
    map without a dimension of blocks has no coordinate for it. Elements outside
    the tensor read as 0.

    Constraints:
    - (C1) 3 to 5 coordinates.
  }];
  let arguments = (ins SparseAttnNV_ChannelType:$channel, I32:$position, SparseAttnNV_TensorMapType:$map,
    Variadic<I32>:$coordinates);
  let assemblyFormat = [{
    $channel `[` $position `]` `from` $map `[` $coordinates `]` attr-dict `:` qualified(type($channel))
  }];
  let hasVerifier = 1;
}

def SparseAttnNV_PostOp : SparseAttnNV_Op<"post", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "send numbers along with an item of a channel";
  let description = [{
    Waits until the slot of item `position` is free, and puts the numbers beside
    it: `take` reads them. The `fill` of the item follows; with `alone` there is
    none, and the item is complete without a tile.

    Constraints:
    - (C1) there is a number, and every `post` and `take` of a channel has as many.
  }];
  let arguments = (ins SparseAttnNV_ChannelType:$channel, I32:$position, Variadic<I32>:$numbers, UnitAttr:$alone);
  let assemblyFormat = "$channel `[` $position `]` `,` $numbers (`alone` $alone^)? attr-dict `:` qualified(type($channel))";
  let hasVerifier = 1;
}

def SparseAttnNV_TakeOp : SparseAttnNV_Op<"take", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "wait for an item and read its numbers";
  let description = [{
    The numbers that `post` sent with item `position`. The item is then awaited:
    a consumer releases it after it took the numbers and, if there is one, read
    the tile (`await`).
  }];
  let arguments = (ins SparseAttnNV_ChannelType:$channel, I32:$position);
  let results = (outs Variadic<I32>:$numbers);
  let assemblyFormat = "$channel `[` $position `]` attr-dict `:` qualified(type($channel)) `->` type($numbers)";
}

def SparseAttnNV_AwaitOp : SparseAttnNV_Op<"await", [
    MemoryEffects<[MemRead, MemWrite]>, InferTypeOpAdaptor]> {
  let summary = "wait until an item of a channel is there";
  let description = [{
    The tile may be read until `release` of the same `position`. Every consumer
    warpgroup awaits every item that it releases, in ascending order.
  }];
  let arguments = (ins SparseAttnNV_ChannelType:$channel, I32:$position);
  let results = (outs SparseAttnNV_TileType:$tile);
  let assemblyFormat = "$channel `[` $position `]` attr-dict `:` qualified(type($channel))";
}

def SparseAttnNV_ReleaseOp : SparseAttnNV_Op<"release", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "give the slot of an item back to the producer";
  let description = [{
    Every matrix product that reads the item has been waited for. Each thread of
    the consumer arrives once at the slot's barrier.
  }];
  let arguments = (ins SparseAttnNV_ChannelType:$channel, I32:$position);
  let assemblyFormat = "$channel `[` $position `]` attr-dict `:` qualified(type($channel))";
}

def SparseAttnNV_TakeTurnOp : SparseAttnNV_Op<"take_turn", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "wait until it is this consumer's turn";
  let description = [{
    Waits until another consumer passed the turn to `consumer`, the number of
    this warpgroup, and takes it. What order consumers start their products in is
    a matter of speed only.
  }];
  let arguments = (ins I32:$consumer);
  let assemblyFormat = "$consumer attr-dict";
}

def SparseAttnNV_PassTurnOp : SparseAttnNV_Op<"pass_turn", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "pass the turn to another consumer";
  let description = [{
    Does not wait. `consumer` must have taken the turn that it was passed before:
    two that nobody took are undefined.
  }];
  let arguments = (ins I32:$consumer);
  let assemblyFormat = "$consumer attr-dict";
}

def SparseAttnNV_TileAtOp : SparseAttnNV_Op<"tile_at", [Pure]> {
  let summary = "the tile at a shared-memory address";
  let description = [{
    `address` counts units of 16 bytes of the shared window, as matrix
    descriptors do, and is a multiple of 64. What `await` becomes in
    `sparseattn-nv-lower-channels`.
  }];
  let arguments = (ins I32:$address);
  let results = (outs SparseAttnNV_TileType:$tile);
  let assemblyFormat = "$address attr-dict `:` qualified(type($tile))";
}

def SparseAttnNV_SubtileOp : SparseAttnNV_Op<"subtile", [Pure]> {
  let summary = "some rows of a shared tile";
  let description = [{
    Rows `row` … `row` + rows of the result - 1. `row` is a multiple of 64 and
    lies in the tile; it is the same in all threads of the warpgroup.

    Constraints:
    - (C1) the result has the columns, the element type and the pitch of the tile.
    - (C2) the result has no more rows than the tile.
  }];
  let arguments = (ins SparseAttnNV_TileType:$tile, I32:$row);
  let results = (outs SparseAttnNV_TileType:$result);
  let assemblyFormat = "$tile `[` $row `]` attr-dict `:` qualified(type($tile)) `->` qualified(type($result))";
  let hasVerifier = 1;
}

#endif // SPARSEATTN_NV_CHANNEL_OPS_TD
