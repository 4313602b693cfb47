//===- RuntimeRoutines.h - routines that the code generator calls -*- C++ -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_TARGET_CPU_RUNTIMEROUTINES_H
#define SPARSEATTN_LIB_TARGET_CPU_RUNTIMEROUTINES_H

namespace llvm {
class Module;
} // namespace llvm

namespace sparseattn {

/// Defines `__truncsfbf2` (f32 to bf16, round to nearest even) in a module that
/// uses bf16. The code generator calls it even where the program converts
/// nothing, for instance when a vector of bf16 crosses basic blocks, and the
/// run-time libraries of compilers before GCC 13 do not have it.
void addRuntimeRoutines(llvm::Module &module);

} // namespace sparseattn

#endif // SPARSEATTN_LIB_TARGET_CPU_RUNTIMEROUTINES_H
