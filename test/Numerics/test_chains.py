"""Selections as the methods compute them (specification §9.1): summaries, logits, then a choice.

Scores come from f32 arithmetic, so that selections are compared by what they score.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from compare import assert_selects
from harness import Suite, normal, type_of

from sparseattn import reference as ref

SUITE = Suite()
B, HQ, HKV, N, D, OFFSET = 1, 4, 2, 75, 16, 9
QUERY, KEY = normal(1, B, HQ, N, D), normal(2, B, HKV, N + OFFSET, D)
KEYS = N + OFFSET


@dataclass
class Chain:
    name: str
    kernel: object
    operands: dict
    reference: object       # operands -> (indices, score that they were chosen by)
    block: int

    def run(self):
        (found,) = self.kernel(*self.operands.values())
        indices, score = self.reference(**self.operands)
        assert_selects(self.name, found, indices, score)
        position = OFFSET + np.arange(N)
        assert (found * self.block <= position[:, None]).all(), "a query selected a block of its future"


def chain(name, block, lines, result, reference, **operands):
    """``lines`` of operators without their types, which ``%x : type`` marks; ``result`` is (name, type)."""
    operands = dict(q=QUERY, k=KEY, **operands, p=OFFSET)
    arguments = ", ".join(f"%{n}: {type_of(x)}" for n, x in operands.items())
    source = f"({arguments}) -> {result[1]} {{\n  " + "\n  ".join(lines) + f"\n  return {result[0]} : {result[1]}\n}}\n"
    return Chain(name, SUITE.function(source), operands, reference, block)


def tensor(*sizes, element="f32"):
    return f"tensor<{'x'.join(map(str, sizes))}x{element}>"


Q, K = type_of(QUERY), type_of(KEY)


def infllm():
    """Mean of 8 keys every 4, softmax, sum over the group, max-pool to blocks of 16, first and local blocks forced."""
    m = (KEYS - 8) // 4 + 1
    pooled = (m + 2 - 5) // 4 + 1
    s, z, p, o = tensor(B, HKV, m, D), tensor(B, HQ, N, m), tensor(B, HKV, N, m), tensor(B, HKV, N, pooled)
    i = tensor(B, HKV, N, 3, element="i32")
    select = ref.TopK(3, 16, 1, 1)

    def reference(q, k, p):
        z = ref.block_logits(q, ref.chunk_summarize(k, block=8, stride=4, complete_only=True), block=8, stride=4,
                             visibility="complete", q_offset=p)
        score = ref.pool_scores(ref.block_softmax(z, kv_heads=HKV, group="sum"), kernel=5, stride=4, pad=1)
        return ref.select_topk(score, select=select, q_offset=p), score

    return chain("infllm", 16, [
        f"%s = sparseattn.chunk_summarize %k block 8 stride 4 complete_only : ({K}) -> {s}",
        f"%z = sparseattn.block_logits %q, %s q_offset(%p) block 8 stride 4 visibility(complete) : ({Q}, {s}, index) -> {z}",
        f"%w = sparseattn.block_softmax %z kv_heads {HKV} group(sum) : ({z}) -> {p}",
        f"%o = sparseattn.pool_scores %w kernel 5 stride 4 pad 1 : ({p}) -> {o}",
        f"%i = sparseattn.select_topk %o <k = 3, block = 16, force_first = 1, force_local = 1> q_offset(%p) : ({o}, index) -> {i}",
    ], ("%i", i), reference)


def moba():
    """Mean of each chunk, own chunk at +inf, per query head."""
    m = -(-KEYS // 16)
    s, z, i = tensor(B, HKV, m, D), tensor(B, HQ, N, m), tensor(B, HQ, N, 3, element="i32")

    def reference(q, k, p):
        z = ref.block_logits(q, ref.chunk_summarize(k, block=16), block=16, scale=1.0, visibility="own_inf", q_offset=p)
        return ref.select_topk(z, select=ref.TopK(3, 16), q_offset=p), z

    return chain("moba", 16, [
        f"%s = sparseattn.chunk_summarize %k block 16 : ({K}) -> {s}",
        f"%z = sparseattn.block_logits %q, %s q_offset(%p) block 16 scale 1.0 visibility(own_inf) : ({Q}, {s}, index) -> {z}",
        f"%i = sparseattn.select_topk %z <k = 3, block = 16> q_offset(%p) : ({z}, index) -> {i}",
    ], ("%i", i), reference)


def quest():
    """Upper bound from the minimum and maximum of each page."""
    m = -(-KEYS // 8)
    s, z, i = tensor(B, HKV, m, D), tensor(B, HQ, N, m), tensor(B, HQ, N, 4, element="i32")

    def reference(q, k, p):
        low, high = ref.chunk_summarize(k, block=8, mode="minmax")
        z = ref.block_logits(q, low, summary_max=high, bound="minmax", block=8, visibility="all", q_offset=p)
        return ref.select_topk(z, select=ref.TopK(4, 8), q_offset=p), z

    return chain("quest", 8, [
        f"%a, %b = sparseattn.chunk_summarize %k block 8 mode(minmax) : ({K}) -> ({s}, {s})",
        f"%z = sparseattn.block_logits %q, %a max(%b) q_offset(%p) block 8 visibility(all) bound(minmax) : ({Q}, {s}, {s}, index) -> {z}",
        f"%i = sparseattn.select_topk %z <k = 4, block = 8> q_offset(%p) : ({z}, index) -> {i}",
    ], ("%i", i), reference)


def dsa():
    """Tokens by the weighted sum of rectified index logits, one selection for all heads."""
    weight = abs(normal(5, B, N, HQ))
    z, i = tensor(B, 1, N, KEYS), tensor(B, 1, N, 12, element="i32")

    def reference(q, k, w, p):
        z = ref.block_logits(q, k[:, :1], head_weight=w, activation="relu", visibility="complete", q_offset=p)
        return ref.select_topk(z, select=ref.TopK(12, 1), q_offset=p), z

    one = tensor(B, 1, KEYS, D)
    return chain("dsa", 1, [
        f"%one = tensor.extract_slice %k[0, 0, 0, 0] [{B}, 1, {KEYS}, {D}] [1, 1, 1, 1] : {K} to {one}",
        f"%z = sparseattn.block_logits %q, %one head_weight(%w) q_offset(%p) block 1 activation(relu) visibility(complete) "
        f": ({Q}, {one}, {type_of(weight)}, index) -> {z}",
        f"%i = sparseattn.select_topk %z <k = 12, block = 1> q_offset(%p) : ({z}, index) -> {i}",
    ], ("%i", i), reference, w=weight)


CHAINS = [infllm(), moba(), quest(), dsa()]


@pytest.mark.parametrize("case", CHAINS, ids=lambda case: case.name)
def test_selection_of(case):
    case.run()


def dash_source():
    """chunk_summarize, then the fused routing operator, its mask as indices and back."""
    m = -(-KEYS // 8)
    s, bias = tensor(B, HKV, m, D), tensor(B, HKV, N, m)
    mask, index, count = tensor(B, HKV, N, 1, element="i32"), tensor(B, HKV, N, m, element="i32"), tensor(B, HKV, N, element="i32")
    return f"""(%q: {Q}, %k: {K}, %w: tensor<{HKV}x{D}xf32>, %p: index) -> ({mask}, {bias}, {count}) {{
  %s = sparseattn.chunk_summarize %k block 8 mode(learned_query) summary_query(%w) : ({K}, tensor<{HKV}x{D}xf32>) -> {s}
  %m, %b = sparseattn.route %q, %s block 8 scale 1.5 q_offset(%p) : ({Q}, {s}, index) -> ({mask}, {bias})
  %i, %n = sparseattn.mask_to_index %m cap {m} : ({mask}) -> ({index}, {count})
  %again = sparseattn.index_to_mask %i num_blocks {m} : ({index}) -> {mask}
  return %again, %b, %n : {mask}, {bias}, {count}
}}
"""


DASH = SUITE.function(dash_source())


def test_dash_routing():
    query = normal(3, HKV, D)
    mask, bias, count = DASH(QUERY, KEY, query, OFFSET)
    summary = ref.chunk_summarize(KEY, block=8, mode="learned_query", summary_query=query)
    logits = ref.block_logits(QUERY, summary, block=8, scale=1.5, visibility="before_own", q_offset=OFFSET)
    wanted, wanted_bias, wanted_count = ref.entmax_route(logits, kv_heads=HKV, block=8, q_offset=OFFSET, prior="tempered",
                                                         return_count=True)
    weight = np.sort(ref.entmax(logits)[ref.entmax(logits) > 0])
    assert weight[0] > 1e-9, "the data has no borderline column, so that the support must agree"
    np.testing.assert_array_equal(mask, wanted)
    np.testing.assert_array_equal(count, wanted_count)
    np.testing.assert_allclose(bias, wanted_bias, atol=1e-8)
