//===- Registration.cpp ----------------------------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Registration.h"
#include "sparseattn/Conversion/Passes.h"
#include "sparseattn/Dialect/SparseAttn/IR/SparseAttn.h"
#include "sparseattn/Dialect/SparseAttn/Transforms/Passes.h"
#include "sparseattn/Dialect/SparseAttnNV/IR/SparseAttnNV.h"
#include "sparseattn/Dialect/SparseAttnNV/Transforms/Passes.h"
#include "sparseattn/Pipelines/Pipelines.h"

void sparseattn::registerDialects(mlir::DialectRegistry &registry) {
  registry.insert<SparseAttnDialect>();
  registry.insert<nv::SparseAttnNVDialect>();
}

void sparseattn::registerPasses() {
  registerPipelines();
  registerSparseAttnConversionPasses();
  registerSparseAttnNVTransformsPasses();
  registerSparseAttnTransformsPasses();
}
