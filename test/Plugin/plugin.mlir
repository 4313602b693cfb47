// MLIR's own mlir-opt with the plugin: dialect, verifier and passes.

// RUN: %mlir_opt --load-dialect-plugin=%plugin --load-pass-plugin=%plugin %s \
// RUN:   --pass-pipeline='builtin.module(sparseattn-decompose)' | FileCheck %s
// The dialect plugin brings the passes along.
// RUN: %mlir_opt --load-dialect-plugin=%plugin %s --pass-pipeline='builtin.module(sparseattn-decompose)' | FileCheck %s
// A host without the plugin does not know the dialect.
// RUN: not %mlir_opt %s 2>&1 | FileCheck %s --check-prefix=WITHOUT
// WITHOUT: error: Dialect `sparseattn' not found
// Pipelines and the passes of the host work on the same IR: traits and interfaces have one TypeID.
// RUN: %mlir_opt --load-dialect-plugin=%plugin %s --pass-pipeline='builtin.module(sparseattn-to-cpu)' \
// RUN:   | FileCheck %s --check-prefix=CPU
// CPU: llvm.func @_mlir_ciface_routed

// CHECK-LABEL: func.func @routed
func.func @routed(%query: tensor<1x4x32x16xf32>, %summary: tensor<1x2x4x16xf32>)
    -> (tensor<1x2x32x1xi32>, tensor<1x2x32x4xf32>) {
  // CHECK: sparseattn.block_logits
  // CHECK: sparseattn.entmax_route
  %mask, %bias = sparseattn.route %query, %summary block 8
    : (tensor<1x4x32x16xf32>, tensor<1x2x4x16xf32>) -> (tensor<1x2x32x1xi32>, tensor<1x2x32x4xf32>)
  return %mask, %bias : tensor<1x2x32x1xi32>, tensor<1x2x32x4xf32>
}
