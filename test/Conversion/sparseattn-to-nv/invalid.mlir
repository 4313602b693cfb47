// RUN: sparseattn-opt %s --split-input-file --verify-diagnostics --sparseattn-tile-to-grid --sparseattn-tile-kv --cse --convert-sparseattn-to-nv

// expected-error @+1 {{expected one grid loop (scf.forall), which becomes the kernel; found 0}}
func.func @no_attention(%x: f32) -> f32 {
  return %x : f32
}

// -----

func.func @rows(%q: tensor<1x2x256x64xbf16>) -> tensor<1x2x256x64xbf16> {
  // expected-error @+1 {{has a schedule with query_tile = 96; expected 64 rows for each of its 2 consumers, 128}}
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.full) {schedule = #sparseattn.schedule<query_tile = 96, key_tile = 64>}
    : (tensor<1x2x256x64xbf16>, tensor<1x2x256x64xbf16>, tensor<1x2x256x64xbf16>) -> tensor<1x2x256x64xbf16>
  return %o : tensor<1x2x256x64xbf16>
}

// -----

func.func @keys(%q: tensor<1x2x256x64xbf16>) -> tensor<1x2x256x64xbf16> {
  // expected-error @+1 {{has a schedule with key_tile = 40; expected a multiple of 16 up to 256}}
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.full) {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 40>}
    : (tensor<1x2x256x64xbf16>, tensor<1x2x256x64xbf16>, tensor<1x2x256x64xbf16>) -> tensor<1x2x256x64xbf16>
  return %o : tensor<1x2x256x64xbf16>
}

// -----

func.func @element_type(%q: tensor<1x2x256x64xf32>) -> tensor<1x2x256x64xf32> {
  // expected-error @+1 {{cannot be held in shared memory}}
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.full) {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64>}
    : (tensor<1x2x256x64xf32>, tensor<1x2x256x64xf32>, tensor<1x2x256x64xf32>) -> tensor<1x2x256x64xf32>
  return %o : tensor<1x2x256x64xf32>
}

// -----

func.func @rows_of_two_axes(%q: tensor<1x2x256x64xbf16>, %table: tensor<256x256xi32>) -> tensor<1x2x256x64xf32> {
  %o = tensor.empty() : tensor<1x2x256x64xf32>
  %r = scf.forall (%b, %h, %t) in (1, 2, 2) shared_outs(%out = %o) -> (tensor<1x2x256x64xf32>) {
    %c64 = arith.constant 64 : index
    %ends = tensor.generate {
    ^bb0(%row: index):
      // expected-error @+1 {{must read 32-bit integers that differ from row to row along one axis, on the GPU}}
      %end = tensor.extract %table[%row, %row] : tensor<256x256xi32>
      %wide = arith.index_cast %end : i32 to index
      tensor.yield %wide : index
    } : tensor<128xindex>
    %zero = arith.constant dense<0.0> : tensor<128x64xf32>
    %m = sparseattn.tile_mask %zero end(%ends) at(%c64) : tensor<128x64xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %m into %out[%b, %h, %c64, 0] [1, 1, 128, 64] [1, 1, 1, 1] : tensor<128x64xf32> into tensor<1x2x256x64xf32>
    }
  } {sparseattn.schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64>}
  return %r : tensor<1x2x256x64xf32>
}

// -----

func.func @head_dimension(%q: tensor<1x2x256x80xbf16>) -> tensor<1x2x256x80xbf16> {
  // expected-error @+1 {{has a head dimension of 80; kernels for this target take multiples of 32 up to 256 (32, 64, 96, 128, ...): pad queries, keys and values with zeros to the next one}}
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.full) {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64>}
    : (tensor<1x2x256x80xbf16>, tensor<1x2x256x80xbf16>, tensor<1x2x256x80xbf16>) -> tensor<1x2x256x80xbf16>
  return %o : tensor<1x2x256x80xbf16>
}
