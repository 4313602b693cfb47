//===- GlobalMemory.h - numbers that a kernel loads ------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_GLOBALMEMORY_H
#define SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_GLOBALMEMORY_H

#include "ScalarInterpreter.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace sparseattn::nv {

/// The address that `op` computes from one index, in bytes; nothing when the
/// base or the index is not known.
std::optional<int64_t> getElementAddress(mlir::LLVM::GEPOp op, const ScalarInterpreter &interpreter);

/// Integers in the memory of a launch. The protocol must hold for any numbers,
/// as long as all roles read the same one at an address: each address has a
/// number that a hash of it chooses, half of them numbers of blocks (-1 to
/// `blocks`), half coordinates (up to `blocks` x `rows`).
class GlobalMemory {
public:
  GlobalMemory(int64_t rows, int64_t blocks) : rows(rows), blocks(blocks) {}
  int64_t read(int64_t address) const;

  /// Runs address arithmetic and loads; false for other operations.
  bool run(mlir::Operation *op, ScalarInterpreter &interpreter) const;

private:
  int64_t rows, blocks;
};

} // namespace sparseattn::nv

#endif // SPARSEATTN_LIB_DIALECT_SPARSEATTNNV_TRANSFORMS_VERIFYCHANNELS_GLOBALMEMORY_H
