//===- SparseAttn.h - the sparseattn dialect (level L0) --------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_SPARSEATTN_IR_SPARSEATTN_H
#define SPARSEATTN_DIALECT_SPARSEATTN_IR_SPARSEATTN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/SCF/IR/DeviceMappingInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "sparseattn/Dialect/SparseAttn/IR/PlugIns.h"

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnDialect.h.inc"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnEnums.h.inc"

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnAttrInterfaces.h.inc"

#define GET_ATTRDEF_CLASSES
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnTypes.h.inc"

#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnOpInterfaces.h.inc"

namespace sparseattn {
/// Vector of one `index` for each row of the tile type `tile`.
mlir::Type getIndexRowsType(mlir::Type tile);
} // namespace sparseattn

#define GET_OP_CLASSES
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttnOps.h.inc"

#endif // SPARSEATTN_DIALECT_SPARSEATTN_IR_SPARSEATTN_H
