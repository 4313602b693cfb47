//===- Passes.td - conversions between levels ---------------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_CONVERSION_PASSES_TD
#define SPARSEATTN_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

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
