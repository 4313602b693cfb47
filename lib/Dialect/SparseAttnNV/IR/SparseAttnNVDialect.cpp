//===- SparseAttnNVDialect.cpp - dialect registration ----------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"

#include "mlir/Dialect/LLVMIR/LLVMTypes.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sparseattn::nv;

#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVDialect.cpp.inc"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVAttrs.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVTypes.cpp.inc"

#define GET_OP_CLASSES
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVOps.cpp.inc"

void SparseAttnNVDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNVOps.cpp.inc"
      >();
}
