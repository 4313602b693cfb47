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

func.func @documents(%q: tensor<256x2x64xbf16>, %starts: tensor<3xi32>) -> tensor<256x2x64xbf16> {
  // expected-error @+1 {{layout thd}}
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal) cu_seqlens(%starts, %starts) layout(thd)
    {schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64>}
    : (tensor<256x2x64xbf16>, tensor<256x2x64xbf16>, tensor<256x2x64xbf16>, tensor<3xi32>, tensor<3xi32>) -> tensor<256x2x64xbf16>
  return %o : tensor<256x2x64xbf16>
}
