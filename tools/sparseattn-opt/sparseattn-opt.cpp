//===- sparseattn-opt.cpp - the pass driver --------------------------------===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "sparseattn/Registration.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  mlir::registerAllPasses();
  // registerAllExtensions leaves these out; gpu-module-to-binary needs them.
  mlir::registerAllGPUToLLVMIRTranslations(registry);
  sparseattn::registerDialects(registry);
  sparseattn::registerPasses();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "sparseattn optimizer driver\n", registry));
}
