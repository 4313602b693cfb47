//===- PTXAsm.h - every assembly string of the compiler --------------------===//
//
// Part of the sparseattn project.
//
// Instructions that no operation of MLIR 22 expresses, as inline assembly. Each
// function cites the section of "PTX ISA" 8.8 that defines the instruction.
// No other file contains assembly.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_TARGET_PTXASM_H
#define SPARSEATTN_TARGET_PTXASM_H

#include "sparseattn/Target/HopperTarget.h"
#include <string>

namespace sparseattn::ptx {

/// Inline assembly with the constraints of its operands: results first, then
/// inputs tied to results, then other inputs.
struct InlineAsm {
  std::string text;
  std::string constraints;
  /// False for functions of their inputs.
  bool hasSideEffects = true;
};

/// 16-bit element types of matrix operands.
enum class Half { BF16, F16 };

//===----------------------------------------------------------------------===//
// Shared-memory matrix descriptors
//===----------------------------------------------------------------------===//
// PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout", "Matrix Descriptor Format": bits 0-13
// address / 16, 16-29 leading-dimension byte offset / 16, 32-45 stride-dimension byte offset / 16, 62-63
// swizzling mode (1: 128 bytes). Only the low word varies within a kernel.

/// How a tile is read as a matrix operand.
struct TileView {
  /// Rows between two blocks of 64 columns.
  int64_t pitch;
  /// The rows of the tile run along K, not along M or N ("MN-major").
  bool rowsAlongK;
};

/// High word: swizzling mode and stride offset of 8 rows.
constexpr uint32_t getDescriptorHigh() {
  return static_cast<uint32_t>(1) << 30 | static_cast<uint32_t>(hopper::kSwizzleAtomBytes / hopper::kDescriptorUnit);
}

/// Low word without the address. The leading offset is that of the next 64 columns; a K-major operand with
/// 128-byte swizzle does not use it.
constexpr uint32_t getDescriptorLow(TileView view) {
  int64_t leading = view.rowsAlongK ? view.pitch * hopper::kSwizzleBytes : hopper::kDescriptorUnit;
  return static_cast<uint32_t>(leading / hopper::kDescriptorUnit) << 16;
}

/// What is added to the low word for step `step` of 16 along K.
constexpr uint32_t getDescriptorStep(TileView view, int64_t step) {
  constexpr int64_t stepsPerBlock = hopper::kSwizzleColumns / hopper::kMmaDepth;
  int64_t bytes = view.rowsAlongK ? step * hopper::kMmaDepth * hopper::kSwizzleBytes
                                  : step / stepsPerBlock * view.pitch * hopper::kSwizzleBytes +
                                        step % stepsPerBlock * hopper::kMmaDepth * 2;
  return static_cast<uint32_t>(bytes / hopper::kDescriptorUnit);
}

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

/// `m64nNk16` for all steps along K of one product.
struct MatrixProduct {
  int64_t n, k;
  Half element;
  /// A from shared memory; else from K/4 registers.
  bool aIsShared;
  TileView a;
  TileView b;
  /// False: the first step overwrites the accumulator.
  bool accumulate;
};

/// Fence, K/16 products and commit in one piece, so that nothing comes between the fence and the first product
/// (PTX ISA, "wgmma.fence", "wgmma.mma_async", "wgmma.commit_group").
/// Results: N/2 f32. Inputs: the accumulator (tied) when accumulating, then the low word of A's descriptor or its
/// K/4 registers, then the low word of B's descriptor.
InlineAsm getMatrixProduct(const MatrixProduct &product);

/// Waits until at most `outstanding` groups are running (PTX ISA, "wgmma.wait_group"). `values` f32 results, tied
/// to as many inputs: the instruction names no registers, but the compiler must not read them before it.
InlineAsm getWaitGroup(int64_t outstanding, int64_t values);

//===----------------------------------------------------------------------===//
// Approximations of one f32 argument
//===----------------------------------------------------------------------===//

/// 2^x, relative error 2^-22.5 (PTX ISA, "Floating Point Instructions: ex2").
InlineAsm getExp2();
/// log2 x, absolute error 2^-22 in [0.5, 2], else relative 2^-22 (PTX ISA, "Floating Point Instructions: lg2").
InlineAsm getLog2();
/// tanh x, relative error 2^-11 (PTX ISA, "Floating Point Instructions: tanh").
InlineAsm getTanh();

} // namespace sparseattn::ptx

#endif // SPARSEATTN_TARGET_PTXASM_H
