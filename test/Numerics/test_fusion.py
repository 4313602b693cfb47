"""sparseattn-fuse changes no number: fused modules compute the same bits as their parts (specification §9.2)."""

from pathlib import Path

import numpy as np
import pytest
from compare import DTYPES, assert_matches
from harness import as_tuple
from sparseattn import reference as ref
from sparseattn.compiler import compile_cpu, run_pipeline

METHODS = Path(__file__).resolve().parent.parent / "Methods"

SLICED_HEADS = """
func.func @heads(%q: tensor<1x4x37x16xf32>, %k: tensor<1x2x50x16xf32>, %v: tensor<1x2x50x8xf32>, %s: tensor<4xf32>)
    -> tensor<1x4x37x8xf32> {
  %q0 = tensor.extract_slice %q[0, 0, 0, 0] [1, 2, 37, 16] [1, 1, 1, 1] : tensor<1x4x37x16xf32> to tensor<1x2x37x16xf32>
  %q1 = tensor.extract_slice %q[0, 2, 0, 0] [1, 2, 37, 16] [1, 1, 1, 1] : tensor<1x4x37x16xf32> to tensor<1x2x37x16xf32>
  %k0 = tensor.extract_slice %k[0, 0, 0, 0] [1, 1, 50, 16] [1, 1, 1, 1] : tensor<1x2x50x16xf32> to tensor<1x1x50x16xf32>
  %k1 = tensor.extract_slice %k[0, 1, 0, 0] [1, 1, 50, 16] [1, 1, 1, 1] : tensor<1x2x50x16xf32> to tensor<1x1x50x16xf32>
  %v0 = tensor.extract_slice %v[0, 0, 0, 0] [1, 1, 50, 8] [1, 1, 1, 1] : tensor<1x2x50x8xf32> to tensor<1x1x50x8xf32>
  %v1 = tensor.extract_slice %v[0, 1, 0, 0] [1, 1, 50, 8] [1, 1, 1, 1] : tensor<1x2x50x8xf32> to tensor<1x1x50x8xf32>
  %s0 = tensor.extract_slice %s[0] [2] [1] : tensor<4xf32> to tensor<2xf32>
  %s1 = tensor.extract_slice %s[2] [2] [1] : tensor<4xf32> to tensor<2xf32>
  %a = sparseattn.attention %q0, %k0, %v0 keys(#sparseattn.causal) sink(%s0)
    : (tensor<1x2x37x16xf32>, tensor<1x1x50x16xf32>, tensor<1x1x50x8xf32>, tensor<2xf32>) -> tensor<1x2x37x8xf32>
  %b = sparseattn.attention %q1, %k1, %v1 keys(#sparseattn.window<9>) sink(%s1)
    : (tensor<1x2x37x16xf32>, tensor<1x1x50x16xf32>, tensor<1x1x50x8xf32>, tensor<2xf32>) -> tensor<1x2x37x8xf32>
  %o = tensor.concat dim(1) %a, %b : (tensor<1x2x37x8xf32>, tensor<1x2x37x8xf32>) -> tensor<1x4x37x8xf32>
  return %o : tensor<1x4x37x8xf32>
}
"""

# A decode step of DashAttention at position 99, part by part.
ROUTED = """
func.func @routed(%q: tensor<1x4x1x16xf32>, %k: tensor<1x2x100x16xf32>, %v: tensor<1x2x100x16xf32>,
    %summary: tensor<1x2x7x16xf32>) -> tensor<1x4x1x16xf32> {
  %p = arith.constant 99 : index
  %z = sparseattn.block_logits %q, %summary q_offset(%p) block 16 scale 0.5
    : (tensor<1x4x1x16xf32>, tensor<1x2x7x16xf32>, index) -> tensor<1x4x1x7xf32>
  %m, %b = sparseattn.entmax_route %z kv_heads 2 block 16 q_offset(%p)
    : (tensor<1x4x1x7xf32>, index) -> (tensor<1x2x1x1xi32>, tensor<1x2x1x7xf32>)
  %o = sparseattn.sparse_attention %q, %k, %v selection(%m) block 16 format(bitmask) keys(#sparseattn.causal) bias(%b)
    : (tensor<1x4x1x16xf32>, tensor<1x2x100x16xf32>, tensor<1x2x100x16xf32>, tensor<1x2x1x1xi32>, tensor<1x2x1x7xf32>)
      -> tensor<1x4x1x16xf32>
  return %o : tensor<1x4x1x16xf32>
}
"""

# Summaries of the keys that a cache takes.
APPEND = """
!c = !sparseattn.kv_cache<kind = #sparseattn.full_cache, batch = 1, heads = 2, length = 100, key_dim = 16, value_dim = 16, dtype = f32>
!k = tensor<1x2x50x16xf32>
func.func @append(%k: !k, %v: !k, %q: tensor<2x16xf32>) -> (tensor<1x2x?x16xf32>, tensor<1x2x6x16xf32>) {
  %zero = arith.constant 0 : index
  %length = arith.constant 50 : index
  %c = sparseattn.kv_cache.create : !c
  %s = sparseattn.chunk_summarize %k block 8 mode(learned_query) summary_query(%q) complete_only
    : (!k, tensor<2x16xf32>) -> tensor<1x2x6x16xf32>
  %c1 = sparseattn.kv_cache.append %c, %k, %v at %zero : (!c, !k, !k, index) -> !c
  %key, %value = sparseattn.kv_cache.read %c1 length %length : (!c, index) -> (tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>)
  return %key, %s : tensor<1x2x?x16xf32>, tensor<1x2x6x16xf32>
}
"""


def method(name):
    return (METHODS / f"{name}.mlir").read_text()


def fuse(text, group):
    return run_pipeline(text, f"sparseattn-fuse{{groups={group}}}")


def operands(function):
    """Gaussian tensors; distinct ascending blocks for index operands."""
    rng = np.random.default_rng(0)
    arrays = []
    for x in function.arguments:
        if x.dtype == "i32":
            arrays.append(np.argsort(rng.random((*x.shape[:-1], max(7, x.shape[-1]))), axis=-1)[..., :x.shape[-1]].astype(np.int32))
        else:
            arrays.append(rng.normal(size=x.shape).astype(DTYPES[x.dtype]))
    return arrays


# Group, IR, function, the fused operation, and what it replaces.
GROUPS = [("select", method("hysparse"), "full_layer", " select <", "sparseattn.select_topk"),
          ("branches", method("hysparse"), "sparse_layer", "sparseattn.branched_attention", "sparseattn.gated_combine"),
          ("branches", method("hysparse2"), "sparse_layer", "sparseattn.branched_attention", "sparseattn.gated_combine"),
          ("branches", method("nsa"), "nsa", "sparseattn.branched_attention", "sparseattn.gated_combine"),
          ("route", method("dash"), "mean_raw_local", "sparseattn.route ", "sparseattn.entmax_route"),
          ("routed", ROUTED, "routed", "sparseattn.routed_attention", "sparseattn.entmax_route"),
          ("summarize", APPEND, "append", " summarize <", "sparseattn.chunk_summarize"),
          ("heads", SLICED_HEADS, "heads", "sparseattn.head_table", "tensor.concat")]


@pytest.mark.parametrize("group,text,name,fused_op,part", GROUPS, ids=[f"{g[0]}-{g[2]}" for g in GROUPS])
def test_group(group, text, name, fused_op, part):
    fused = fuse(text, group)

    def body(module):
        """The text of function ``name``: up to the next one."""
        return module.split(f"@{name}(")[1].split("func.func")[0]

    assert part in body(text) and fused_op in body(fused) and part not in body(fused)
    before, after = (compile_cpu(module, opt_level=0)(name) for module in (text, fused))
    arrays = operands(before)
    for mine, theirs in zip(as_tuple(after(*arrays)), as_tuple(before(*arrays)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert np.abs(theirs.astype(np.float64)).max() > 0


def test_fused_heads_match_the_reference():
    """The parts slice heads by hand, so the two forms are compared with a third."""
    function = compile_cpu(fuse(SLICED_HEADS, "heads"))("heads")
    q, k, v, sink = arrays = operands(function)
    keys = ref.HeadTable((ref.Causal(), ref.Window(9)))
    assert_matches("out", function(*arrays), ref.attention(q, k, v, keys=keys, sink=sink))
