//===- Passes.td - passes on the sparseattn_nv dialect ------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_NV_TRANSFORMS_PASSES_TD
#define SPARSEATTN_NV_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def SparseAttnNVBalanceTiles : Pass<"sparseattn-nv-balance-tiles"> {
  let summary = "give the next query tile to the block that is free";
  let description = [{
    *Reads* kernels with roles whose loops over query tiles
    (`sparseattn_nv.tiles`) step by the grid, and a producer that asks for tiles
    (`next_tile`).

    *Holds afterwards:* the producer goes on with the tile that it got and sends
    its number along with the tile's item of a channel that has one item for
    each tile (the queries); consumers take it from there. Tiles of different
    work are then shared out evenly, and so are SMs of different speed.

    *Remark* `NotBalanced`, with the reason, when there is no such channel; the
    loops then stay as they are, in steps of the grid.

    *Numerics:* bit-exact.

    Example: `scf.for %t = %block to %tiles step %blocks` becomes `scf.while`
    with `next_tile`, `post` and `take`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect", "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVPostQuotients : Pass<"sparseattn-nv-post-quotients"> {
  let summary = "divide the number of a tile once for all consumers";
  let description = [{
    *Reads* kernels whose consumers take the number of a tile from a channel
    (`sparseattn-nv-balance-tiles`) and divide it by numbers that are known at
    run time only, to get its row, head and batch.

    *Holds afterwards:* the producer, which has divided it anyway, sends along
    those quotients and remainders that consumers use for more than further
    divisions.

    *Numerics:* bit-exact.

    *Leaves to others:* what became superfluous (`canonicalize`, `cse`).

    Example: `%t = take %q[%p]` and `%head = arith.remui %t, %heads` become
    `%t, %head = take %q[%p]`.
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVDeferRowSums : Pass<"sparseattn-nv-defer-row-sums"> {
  let summary = "add up the lanes of a row once, after the loops";
  let description = [{
    Reads loops that carry a running sum `sum * factor + reduce add tile`, also
    through several loops in a row, from 0 on. Afterwards each lane carries the
    sum of its own columns (encoding `row_partial`) and `combine` adds them up
    behind the last loop: two shuffles per row instead of two per key block.

    A sum that a loop reads otherwise stays as it is.

    numerics: another order of additions.

    Left to others: everything else.

    Example: `%l2 = math.fma %l, %a, (reduce add %p)` becomes `scale`, `reduce
    add … partial` and `arith.addf`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVDistributeFragments : Pass<"sparseattn-nv-distribute-fragments"> {
  let summary = "tensors that a warpgroup holds to the values of one thread";
  let description = [{
    *Reads* kernels (`gpu.func`) in which tensors with an encoding of the
    dialect are made, loaded, reduced and stored, also through `scf` loops and
    conditions.

    *Holds afterwards:* no tensor with an encoding and no `pending` is left.
    Each is the values of one thread (see the dialect); pairs of 16-bit elements
    share an i32. `dot` and `wait` are `mma_chain` and `mma_wait`; reductions are
    arithmetic and shuffles over 4 lanes; `mask` compares two limits per row,
    relative to the thread's first column, with constants; `store_tile`
    transposes, through its staging in shared memory or else over 4 lanes, and
    stores 16 bytes at a time.

    *Errors:* element-wise operations on 16-bit tiles other than conversions
    (they are computed in f32), operations on `row_partial` that are not linear,
    and constants that are not splats.

    *Numerics:* bit-exact, except for the order of sums, which `reduce` states.

    *Leaves to others:* shared tiles, approximations of `math`, and instructions:
    `convert-sparseattn-nv-to-nvvm`.

    Example:
    ```mlir
    %y = math.exp2 %x : tensor<64x8xf32, #sparseattn_nv.acc>
    // becomes
    %y0 = math.exp2 %x0 : f32
    %y1 = math.exp2 %x1 : f32
    %y2 = math.exp2 %x2 : f32
    %y3 = math.exp2 %x3 : f32
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect"
  ];
}

def SparseAttnNVFinalizeKernel : Pass<"sparseattn-nv-finalize-kernel"> {
  let summary = "gpu.func to the kernel function of the LLVM dialect";
  let description = [{
    *Reads* `gpu.module`s whose kernels hold operations on single values only.

    *Holds afterwards:* each kernel is an `llvm.func` with `nvvm.kernel`,
    `nvvm.maxntid`, `nvvm.minctasm = 1` (without both the assembler ignores
    `setmaxnreg`), denormals flushed to zero in f32, and tensor maps as 128 bytes
    by value. `sparseattn_nv.shared_bytes` stays on it. `gpu.block_id` and
    `gpu.grid_dim` with the `arith.index_cast` to i32 behind them are reads of
    special registers.

    *Errors* (the check at the end of level L2): an operation of the dialect is
    left, with the pass that should have removed it; an operation of `math` or
    another dialect that has no instruction; an argument type that a kernel
    cannot have; a module whose `#nvvm.target` is not sm_90a with PTX 8.6 or
    newer (LLVM aborts on instructions that its target lacks).

    *Numerics:* denormal f32 values count as 0.

    *Leaves to others:* `scf`, `arith`, `nvvm`: upstream conversions.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect"];
}

def SparseAttnNVFoldScales : Pass<"sparseattn-nv-fold-scales"> {
  let summary = "move constant factors of tiles to where they are free";
  let description = [{
    *Reads* products and quotients of tiles held in registers with constants.

    *Holds afterwards:* quotients are products; products of products are one; a
    positive factor goes through `mask` and `reduce max`, where it multiplies
    rows instead of elements, and into the factor of a multiply-add. The scores
    cap * tanh(s * scale / cap) of a softmax then cost one product for each
    element instead of three.

    *Numerics:* factors are multiplied in f64 and rounded once; results differ
    in roundings.

    *Left to others:* everything else.

    Example: `math.fma (arith.mulf %x, 30.0), 1.44, %z` becomes
    `math.fma %x, 43.2, %z`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVInsertChannels : Pass<"sparseattn-nv-insert-channels"> {
  let summary = "loads of shared tiles become items of channels";
  let description = [{
    Reads kernels that are the program of one consumer, with `load`. Afterwards
    there is a `channel` for each load outside key loops and for each tensor that
    key loops load (as many stages as the kernel's schedule says), and every load
    is `fill`, `await` and, after the last matrix product on the tile, `release`.
    Loops that follow each other and load the same tensor share a ring; their
    items are numbered through.

    In a loop over query tiles (`sparseattn_nv.tiles`) items are numbered through
    over all tiles of the block: the loop carries how many there were before this
    tile, in one counter for all channels with as many items. Channels with one
    item for each tile then have 2 stages where shared memory has room, so that
    the next tile's items load under this tile; otherwise 1.

    numerics: bit-exact.

    Left to others: who fills and who awaits (`sparseattn-nv-specialize-warps`).

    Errors: a key loop that does not count from 0 by 1; a load that nothing reads,
    or deeper in control flow than a key loop; a kernel without schedule.

    Example: `%k = load %map[…]` in a loop over `%i` becomes `fill %c[%i] from
    %map[…]`, `%k = await %c[%i]`, …, `release %c[%i]`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVLazyRescale : Pass<"sparseattn-nv-lazy-rescale"> {
  let summary = "keep the reference of the exponentials while it is near the maximum";
  let description = [{
    *Reads* loops that carry a running maximum m' = max(m, x) and multiply an
    accumulator by the factor exp2((m - m') * c) of each row, c > 0.

    *Holds afterwards:* m' is the new maximum only where that exceeds m by more
    than `threshold` / c; else it stays m, the factor is exactly 1, and the
    multiplication (`rescale`) is skipped by a warp whose rows all kept theirs:
    after the first block nearly always. Any reference gives the same quotient
    of weighted values and weights; weights reach 2^threshold instead of 1.

    *Numerics:* other roundings; f16 and bf16 hold the weights as exactly.

    *Left to others:* everything else. A maximum that is used in another way
    stays as it is, and so does an accumulator of fewer than 96 columns, for
    which the vote and the branch cost as much as they save.

    The idea is that of FlashAttention-4.

    Example: `%m2 = arith.maxnumf %m, %x` becomes a comparison and a selection,
    `arith.mulf %o, %factor` becomes `rescale`.
  }];
  let options = [
    Option<"threshold", "threshold", "double", "8.0", "Greatest excess over the reference, a power of 2">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVLowerChannels : Pass<"sparseattn-nv-lower-channels"> {
  let summary = "channels to barriers, roles to branches";
  let description = [{
    *Reads* kernels with one `specialize`, whose channels have their place in
    shared memory (`sparseattn-nv-plan-smem`).

    *Holds afterwards:* `channel`, `fill`, `post`, `await`, `take`, `release`,
    `next_tile` and `specialize` are gone. Item p of a channel with S stages is in slot p mod S; its "full"
    barrier is waited for with parity (p div S) mod 2, its "empty" barrier with
    the opposite one, so that the first S items find their slots free. A full
    barrier counts 1 arrival and the bytes of the tile, an empty one an arrival
    of every consumer thread: a branch that chooses one lane of a warp would make
    ptxas treat the loops as divergent. `post` stores its number beside the
    barriers, `take` waits and loads it; `next_tile` counts atomically in a global
    of the kernel, which wraps to 0 with its last tile. Roles are branches on the number of the warpgroup,
    which `redux.sync` makes the same in all lanes of a warp in a way that the
    assembler sees; each begins with `setmaxnreg`. The kernel has
    `known_block_size`, and the module the global `dsmem`, its dynamic shared
    memory.

    *Errors:* a channel without a place; operations of one role outside it.

    *Numerics:* bit-exact.

    *Leaves to others:* tensors (`sparseattn-nv-distribute-fragments`), shared
    tiles (`convert-sparseattn-nv-to-nvvm`), arguments
    (`sparseattn-nv-finalize-kernel`).

    Example:
    ```mlir
    %tile = sparseattn_nv.await %keys[%i] : !sparseattn_nv.channel<176x128xbf16, stages = 2>
    // becomes
    %stage = arith.andi %i, %c1 : i32
    %round = arith.shrui %i, %c1 : i32
    %parity = arith.andi %round, %c1 : i32
    nvvm.mbarrier.try_wait.parity %full, %parity, %ticks : !llvm.ptr<3>, i32, i32
    %tile = sparseattn_nv.tile_at %address : !sparseattn_nv.tile<176x128xbf16>
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect"
  ];
}

def SparseAttnNVOverlapSoftmax : Pass<"sparseattn-nv-overlap-softmax"> {
  let summary = "the softmax of a block runs under matrix products";
  let description = [{
    Reads the consumers' key loops: scores of a block, its weights, the weighted
    values added to an accumulator. Afterwards the product of a block's weights
    and values is started one iteration later, together with the scores of the
    next block, and its wait comes after the softmax of that block
    (FlashAttention-3's overlap within a warpgroup). The first block stands
    before the loops, without the question whether its weights left their range
    (`sparseattn-nv-reuse-maximum`), and the last product behind them. Loops that
    hand their values on (full and masked blocks) stay one pipeline; one that
    could only run for the first block is gone.

    Where one item of a channel is both keys and values, the later product awaits
    it again, and it is released after that; its channel needs 2 stages.

    Weights become an operand after the wait: ptxas serialises matrix products
    whose registers are written while one is running (C7513).

    numerics: bit-exact.

    A loop of another form stays, with a missed remark that says why.

    Left to others: barriers and phases (`sparseattn-nv-lower-channels`).
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
                           "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVPingPong : Pass<"sparseattn-nv-ping-pong"> {
  let summary = "consumers take turns to start their products";
  let description = [{
    Reads kernels with roles whose schedule has `ping_pong` and two consumers or
    more.

    *Holds afterwards:* a consumer starts the products of a block of keys, from
    the first, which has no accumulator, to the last before the wait for it, in
    its turn (`take_turn`, `pass_turn`), then passes the turn on: 0, 1, ..., 0.
    The tensor cores then finish one consumer's scores first instead of all
    consumers' together, and its softmax runs under the others' products
    (FlashAttention-3's ping-pong scheduling).

    Every consumer takes as many turns as the others, one for each block that it
    skips too, which `sparseattn-nv-verify-channels` proves.

    *Numerics:* bit-exact.

    *Left to others:* named barriers (`sparseattn-nv-lower-channels`).
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
                           "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVPlanSmem : Pass<"sparseattn-nv-plan-smem"> {
  let summary = "places of channels and of tiles that are stored in shared memory";
  let description = [{
    *Reads* kernels (`gpu.func`) with channels.

    *Holds afterwards:* every channel has `offset` and `barriers`: slots one after
    the other in the order of the channels, then all barriers, each channel's
    followed by the numbers of its items if it has a `post`. Behind them is a
    place for as many columns of a `store_tile` as fit, for each warp of the
    consumers: its `staging` and `staging_columns`, if that is 32 at least. The
    kernel has `sparseattn_nv.shared_bytes`, what the host must ask for at launch.

    *Errors:* more than 227 KB, with a table of what each channel takes.

    *Numerics:* bit-exact.

    *Leaves to others:* the choice of tiles and stages that fit
    (`sparseattn-select-schedule`).
  }];
}

def SparseAttnNVReuseMaximum : Pass<"sparseattn-nv-reuse-maximum"> {
  let summary = "weights relative to the maximum of earlier blocks";
  let description = [{
    *Reads* key loops with an online softmax over blocks without a mask, or with
    one under a branch.

    *Holds afterwards:* the weights of a block are relative to the maximum that
    its rows had before it, and nothing waits for the block's own: no maximum is
    taken and nothing rescaled. Where a lane of the warpgroup adds up more than
    2^40 in a block (f16: 2^14), which also holds for rows without a maximum
    (their weights are infinite), the warpgroup computes the scores again and
    does what the loop did before (`any_above`). Weights keep their relative
    precision whatever number they are relative to, as f32 and bf16 do.

    Loops over masked blocks only stay, for their rows may have no maximum yet,
    and so do loops between such whose accumulator has more than 192 columns.

    *Remark* `MaximumNotReused`, with the reason, for any other key loop, which
    stays too.

    *Numerics:* changes rounding: exponentials of other arguments. With bf16,
    values of magnitudes above 2^64 can overflow.

    *Leaves to others:* the channel's release of the keys, which now comes after
    the weights (`sparseattn-nv-insert-channels`).
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect", "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVSkipMaskedBlocks : Pass<"sparseattn-nv-skip-masked-blocks"> {
  let summary = "no work on blocks of keys that all rows of a warpgroup mask";
  let description = [{
    Reads the key loops of two or more consumers, which visit the blocks that some
    row of the query tile sees, from the last to the first, and their masks.

    *Holds afterwards:* each consumer computes on the blocks that some of its own
    64 rows sees, by bounds of the loops that depend on its number; it awaits and
    releases the others, which come before (a causal mask) or behind those (a
    window). One without rows that exist computes on none.

    Begin and end of the keys of a row have to grow from row to row, or stay: they
    are sums with, and minima and maxima of, row numbers and what all rows share.
    What all rows share is a bound of the loops already.

    *Numerics:* bit-exact: a block that is masked completely changes nothing.

    Other masks, and lists of blocks, stay, with a missed remark that says why.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
                           "::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVSpecializeWarps : Pass<"sparseattn-nv-specialize-warps"> {
  let summary = "one program becomes a producer's and a consumer's";
  let description = [{
    Reads kernels whose program fills and awaits channels. Afterwards it is a
    `specialize`: the producer keeps the fills and what decides their number and
    coordinates, the consumers keep the rest. Registers and the number of
    consumers come from the kernel's schedule.

    numerics: bit-exact.

    Errors: a fill that depends on what consumers compute; a kernel without
    channels or schedule.
  }];
  let dependentDialects = ["::sparseattn::nv::SparseAttnNVDialect"];
}

def SparseAttnNVVerifyBarriers : Pass<"sparseattn-nv-verify-barriers"> {
  let summary = "run the barriers of a lowered kernel in a model";
  let description = [{
    *Reads* kernels after `sparseattn-nv-lower-channels`, knowing nothing of
    channels: one thread of each role runs on concrete arguments, and its waits,
    arrivals, loads and tiles are put together again by their addresses.

    *Holds afterwards:* what held before; nothing is changed.

    *Errors:* a wait with the parity of another round; a load that does not wait
    for its slot, or expects its bytes at another barrier; a slot with two pairs
    of barriers; a tile that is named before its wait or after its release;
    barriers that are initialised for another number of arrivals or not
    published; arrivals by some lanes of a warp only; and what
    `sparseattn-nv-verify-channels` finds.

    *Remarks:* barriers that depend on numbers that are not known here are not
    verified; loaded integers are known, as in `sparseattn-nv-verify-channels`.

    *Numerics:* bit-exact.

    *Leaves to others:* everything.
  }];
}

def SparseAttnNVVerifyChannels : Pass<"sparseattn-nv-verify-channels"> {
  let summary = "run the channels of a kernel in a model";
  let description = [{
    *Reads* kernels with a `specialize`. The scalar program of each role runs on
    concrete arguments, a few hundred launches among which every loop over blocks
    makes 0 to stages + 2 steps; what the roles do with channels then runs in a
    model of the barriers (`Analysis/ChannelModel.h`), under every order of
    priority of the roles, or under one where all come to the same end. Integers
    in global memory are chosen by a hash of their address: any numbers, but the
    same for all roles.

    *Holds afterwards:* what held before; nothing is changed.

    *Errors:* no role can go on (deadlock), an item that a consumer never awaits
    or that is overwritten before, a slot that is filled while it is held, a wait
    that another round of the slot satisfies, a release that is missing or
    unmatched, a negative position.

    *Remarks:* channels that depend on numbers that are not known here in any
    launch are not verified.

    *Numerics:* bit-exact.

    *Leaves to others:* everything.
  }];
}

def SparseAttnNVVerifyPTX : Pass<"sparseattn-nv-verify-ptx"> {
  let summary = "PTX without calls";
  let description = [{
    *Reads* `gpu.binary` operations that hold PTX (`gpu-module-to-binary` with
    `format=isa`).

    *Holds afterwards:* what held before; nothing is changed.

    *Errors:* a declaration of an external function (`.extern .func`): no library
    is linked, and a call would make the assembler serialise every matrix
    product of the kernel.

    *Numerics:* bit-exact.

    *Leaves to others:* spills and serialisation, which only the assembler knows.
  }];
}

#endif // SPARSEATTN_NV_TRANSFORMS_PASSES_TD
