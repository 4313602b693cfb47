//===- SparseAttnNV.h - the sparseattn_nv dialect (level L2) ---------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_DIALECT_SPARSEATTNNV_IR_SPARSEATTNNV_H
#define SPARSEATTN_DIALECT_SPARSEATTNNV_IR_SPARSEATTNNV_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVDialect.h.inc"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVTypes.h.inc"

#define GET_OP_CLASSES
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVOps.h.inc"

#endif // SPARSEATTN_DIALECT_SPARSEATTNNV_IR_SPARSEATTNNV_H
