//===- Plugin.cpp - the project inside another mlir-opt --------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "sparseattn/Registration.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

/// Dialects, and the passes with them: a host that is given the dialect plugin
/// only can still run whole pipelines.
extern "C" mlir::DialectPluginLibraryInfo mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "SparseAttn", SPARSEATTN_VERSION, [](mlir::DialectRegistry *registry) {
            sparseattn::registerDialects(*registry);
            sparseattn::registerPasses();
          }};
}

extern "C" mlir::PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "SparseAttn", SPARSEATTN_VERSION, [] { sparseattn::registerPasses(); }};
}
