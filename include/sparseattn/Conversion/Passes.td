//===- Passes.td - conversions between levels ---------------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_CONVERSION_PASSES_TD
#define SPARSEATTN_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertSparseAttnCacheToTensor : Pass<"convert-sparseattn-cache-to-tensor"> {
  let summary = "KV caches to tensors of their slots";
  let description = [{
    Reads modules whose `!sparseattn.kv_cache` values are made, appended to,
    read and viewed, also through functions, calls and `scf` loops and
    conditions. Appends that also summarize are split by `sparseattn-decompose`
    first. Afterwards no value is a cache: each is two tensors, the slots of
    the keys `[batch, slots, key_dim]` and of the values `[batch, slots,
    value_dim]`. The slots of head `h` follow those of head `h-1`, so that heads
    that keep fewer tokens take less room; token `t` is in slot `t mod s` of
    the `s` slots of its head.

    `append` and `read` become loops over buffers, as in
    `convert-sparseattn-to-scf`. `append` makes new storage: whoever holds the
    old cache still reads the old tokens. `read` gives 0 for tokens that were
    dropped, never written, or not below its `length`, which must be the number
    of tokens appended so far.

    numerics: bit-exact.

    Left to others: everything on tensors.

    Caches of 8-bit floats are an error: no CPU computes with them.

    Example: a cache `<kind = #sparseattn.ring<4>, batch = 1, heads = 2, length
    = 16, key_dim = 8, value_dim = 8, dtype = bf16>` is two
    `tensor<1x8x8xbf16>`.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
    "::mlir::vector::VectorDialect"
  ];
}

def ConvertSparseAttnNVToNVVM : Pass<"convert-sparseattn-nv-to-nvvm"> {
  let summary = "what is left of sparseattn_nv, and approximations, to instructions";
  let description = [{
    Reads kernels (`gpu.func`) without channels and without tensors: run
    `sparseattn-nv-lower-channels` and `sparseattn-nv-distribute-fragments`.
    Afterwards no operation of `sparseattn_nv` is left. A shared tile is its
    address; `mma_chain` is one piece of inline assembly with the low words of
    the matrix descriptors as operands (their high words are constant), and
    `mma_wait` one with the waited values as operands. `math.exp2`, `math.log2`
    and `math.tanh` on f32 are `ex2.approx.ftz`, `lg2.approx.ftz` and
    `tanh.approx`; `arith.divf` is `rcp.approx.ftz` and a product.

    numerics: approximations with relative errors of 2^-22.5 (exp2), 2^-22
    (log2), 2^-11 (tanh) and 2^-23 of the reciprocal; denormals count as 0.

    Left to others: arguments and attributes of the kernel
    (`sparseattn-nv-finalize-kernel`), other arithmetic (upstream).
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect"
  ];
}

def ConvertSparseAttnTilesToLinalg : Pass<"convert-sparseattn-tiles-to-linalg"> {
  let summary = "operations on tiles to structured ops on tensors";
  let description = [{
    Reads level L1 after `sparseattn-tile-kv`. Afterwards no operation on tiles
    is left: each is a `linalg.generic`, `load_tile` a slice inserted into zeros.
    Loops, the grid and element-wise arithmetic stay as they are.

    numerics: bit-exact; products are summed in f32 in the order of the
    contracted index.

    Left to others: `convert-elementwise-to-linalg`, bufferization, L0
    operations.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"
  ];
}

def ConvertSparseAttnToNV : Pass<"convert-sparseattn-to-nv", "::mlir::ModuleOp"> {
  let summary = "tiles to fragments of warpgroups and shared tiles";
  let description = [{
    Reads functions at level L1: one grid loop `scf.forall` over (batch, head,
    query tile) with a schedule. Afterwards each is a `gpu.module` with one
    kernel at level L2, the program of one consumer warpgroup: it finds its query
    tile from the number of its block, holds 64 of its rows in registers, loads
    key blocks with `sparseattn_nv.load`, and writes the rows that exist. What
    the launcher has to pass is in the kernel's attributes
    `sparseattn_nv.operands` and `sparseattn_nv.parameters`.

    Coordinates become i32; offsets into memory are 64-bit.

    numerics: matrix products on tensor cores; otherwise bit-exact.

    Left to others: channels, roles and overlap (`sparseattn-nv-*`).

    Errors: a function without exactly one grid loop; a schedule whose tiles do
    not fit warpgroups; element types other than bf16 and f16 in matrix products;
    head dimensions that are no multiple of 32; operations other than tile
    operations and arithmetic.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
    "::sparseattn::nv::SparseAttnNVDialect"
  ];
}

def ConvertSparseAttnToSCF : Pass<"convert-sparseattn-to-scf"> {
  let summary = "sparseattn operators on tensors to loops over buffers";
  let description = [{
    Reads functions at level L0 without fused operations (run
    `sparseattn-decompose`) and without caches (run
    `convert-sparseattn-cache-to-tensor`). Afterwards no operation of the
    dialect is left: each is a nest of `scf.parallel` and `scf.for` over
    buffers taken from its operands (`bufferization.to_buffer`, read-only) and
    a new buffer for each result. `scf.parallel` loops have independent
    iterations.

    All attention-like operations share one skeleton; key pattern, score
    change, normaliser and epilogue come from the attribute interfaces.

    numerics: the reference of the project. f32 arithmetic on widened operands,
    one rounding on output; sums over keys run in tiles of 64 in key order, so
    results do not depend on the number of threads.

    Left to others: bufferization of function boundaries and of surrounding
    tensor operations, threads, LLVM.

    An operation that cannot be executed (`sparseattn.extern`) is an error that
    names it.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect", "::mlir::vector::VectorDialect"
  ];
}

def ConvertStridedCopyToLinalg : Pass<"convert-strided-copy-to-linalg"> {
  let summary = "memref.copy of slices to linalg.generic";
  let description = [{
    Reads `memref.copy` between buffers of which one is not dense, as
    bufferization makes them of `tensor.extract_slice`. Afterwards they are
    `linalg.generic`. Without this pass, `finalize-memref-to-llvm` makes them
    calls of `memrefCopy`, a function of MLIR's own run-time library, which
    compiled code does not link.

    numerics: bit-exact.

    Left to others: dense copies, which become `memcpy`; loops.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def ScopeScratch : Pass<"sparseattn-scope-scratch"> {
  let summary = "free the scratch of every iteration of parallel loops";
  let description = [{
    Surrounds the body of each `scf.parallel` that allocates on the stack by
    `llvm.intr.stacksave` and `llvm.intr.stackrestore`. For loops that stay on
    one thread: `scf.parallel` promises to free its allocas, but the `cf` loop
    that it becomes does not, and a long loop would exhaust the stack.
    `convert-scf-to-openmp` frees them itself.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // SPARSEATTN_CONVERSION_PASSES_TD
