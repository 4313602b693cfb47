// RUN: sparseattn-opt %s --convert-sparseattn-to-scf --split-input-file --verify-diagnostics

func.func @extern(%a: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{cannot be executed on the CPU: the framework runs it; compile the attention layers alone}}
  %0 = sparseattn.extern "aten.relu"(%a) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @fused(%q: tensor<1x2x50x16xf32>, %k: tensor<1x2x50x16xf32>, %s: tensor<1x2x4x16xf32>)
    -> tensor<1x2x50x16xf32> {
  // expected-error @+1 {{cannot be executed on the CPU: run sparseattn-decompose first}}
  %o = sparseattn.routed_attention %q, %k, %k summary(%s) block 16 routing_scale 0.25
    : (tensor<1x2x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x4x16xf32>) -> tensor<1x2x50x16xf32>
  return %o : tensor<1x2x50x16xf32>
}

// -----

func.func @dynamic_groups(%q: tensor<1x?x50x16xf32>, %k: tensor<1x2x50x16xf32>)
    -> (tensor<1x?x50x16xf32>, tensor<1x2x50x4xf32>) {
  // expected-error @+2 {{needs static numbers of heads to reduce block scores over a group}}
  // expected-error @+1 {{cannot be executed on the CPU}}
  %o, %s = sparseattn.attention %q, %k, %k keys(#sparseattn.causal) emit(#sparseattn.block_score<block = 16>)
    : (tensor<1x?x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x50x16xf32>) -> (tensor<1x?x50x16xf32>, tensor<1x2x50x4xf32>)
  return %o, %s : tensor<1x?x50x16xf32>, tensor<1x2x50x4xf32>
}

// -----

// Straight in the module, a graph region, where an operand may be the operation's own result.
// expected-error @+1 {{stands in a graph region, which has no order of execution: put it into a function}}
%a = sparseattn.rms_norm %a : (tensor<1x2x8x16xf32>) -> tensor<1x2x8x16xf32>
