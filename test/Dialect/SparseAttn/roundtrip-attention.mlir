// RUN: sparseattn-opt %s | sparseattn-opt | FileCheck %s
// RUN: sparseattn-opt %s --mlir-print-op-generic | sparseattn-opt | FileCheck %s
// RUN: sparseattn-opt %s --emit-bytecode | sparseattn-opt | FileCheck %s

// CHECK-LABEL: func.func @window_with_sink
// CHECK: sparseattn.attention %{{.*}}, %{{.*}}, %{{.*}} keys(#sparseattn.window<128>) scale 1.250000e-01
// CHECK-SAME: kv_source = 0 : i64, layer = 2 : i64
func.func @window_with_sink(%q: tensor<1x8x64x64xbf16>, %k: tensor<1x2x64x64xbf16>, %v: tensor<1x2x64x64xbf16>,
                            %s: tensor<8xf32>) -> tensor<1x8x64x64xbf16> {
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.window<128>) scale 0.125 sink(%s) {layer = 2 : i64, kv_source = 0 : i64}
    : (tensor<1x8x64x64xbf16>, tensor<1x2x64x64xbf16>, tensor<1x2x64x64xbf16>, tensor<8xf32>) -> tensor<1x8x64x64xbf16>
  return %o : tensor<1x8x64x64xbf16>
}
