"""Random combinations of sizes, positions, ranges, sinks and selections through a few compiled functions."""

from dataclasses import replace

import numpy as np
import pytest
from attention_ops import Attention, random_mask, random_selection
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseattn import reference as ref

# Many optional operands and dynamic sizes.
OPS = {
    "causal": Attention(takes=("sink", "valid_range", "q_offset"), heads=(6, 2), dims=(5, 24)),
    "window, unknown heads": Attention(keys=ref.Window(10), takes=("sink", "q_offset"), static_heads=False),
    "score": Attention(takes=("valid_range", "q_offset"), heads=(4, 1), score_mod=ref.SoftCap(8.0),
                       block_score=ref.BlockScore(7, "log_prob_max", "max", "range_begin")),
    "index": Attention(format="index", block=5, takes=("sink", "valid_range", "q_offset"), bias=True, heads=(4, 2)),
    "bitmask": Attention(format="bitmask", block=3, takes=("sink", "valid_range", "q_offset"), bias=True,
                         selection_heads=4, origin="range_begin", keys=ref.Window(40), layout="bshd"),
    "tokens": Attention(format="index", block=1, takes=("sink", "q_offset"), selection_heads=1, heads=(16, 1),
                        dtype="bf16"),
}
# The same through level L1.
TILES = "sparseattn-tiles-to-cpu{query-tile=16 key-tile=24}"
OPS |= {
    "tiles, causal": replace(OPS["causal"], pipeline=TILES),
    "tiles, window, unknown heads": replace(OPS["window, unknown heads"], pipeline=TILES),
    "tiles, mixed heads": Attention(keys=ref.HeadTable((ref.PrefixLM(30), ref.Window(25))), pipeline=TILES, scale=-0.4,
                                    takes=("sink", "q_offset"), score_mod=ref.SoftCap(5.0), layout="bshd"),
    "tiles, lists": Attention(format="index", block=48, query_block=32, takes=("sink", "valid_range", "q_offset"),
                              pipeline=TILES, dtype="bf16", selection_heads=4),
}
OPS = {name: replace(op, opt_level=3) for name, op in OPS.items()}
SINKS = st.sampled_from([-np.inf, -1e30, -1e4, -3.0, 0.0, 4.0, 1e4])


@st.composite
def inputs_of(draw, op):
    batch, nq, nk = draw(st.integers(1, 2)), draw(st.integers(0, 40)), draw(st.integers(0, 150))
    rng = np.random.default_rng(draw(st.integers(0, 2 ** 32)))
    operands = {}
    if "sink" in op.takes:
        operands["sink"] = [draw(SINKS) for _ in range(op.heads[0])]
    if "q_offset" in op.takes:
        operands["q_offset"] = draw(st.integers(-nq - 3, nk + 50))
    if "valid_range" in op.takes:
        begin = rng.integers(-5, nk + 5, size=(batch, nq))
        length = rng.integers(-3, draw(st.sampled_from([3, 30, 200])), size=(batch, nq))
        operands["valid_range"] = np.stack([begin, begin + length], axis=-1)
    if op.format:
        rows = -(-nq // op.query_block)
        shape, blocks = op.shape(op.selection_heads, rows, batch=batch), -(-nk // op.block)
        entries = draw(st.integers(0, 12))
        operands["selection"] = (random_selection(rng, *shape, blocks=blocks, entries=entries)
                                 if op.format == "index" else
                                 random_mask(rng, *shape, blocks=blocks, density=draw(st.floats(0, 1))))
    return op.inputs(int(rng.integers(2 ** 32)), batch=batch, nq=nq, nk=nk,
                     spread=draw(st.sampled_from([0.0, 0.3, 1.0, 3.0])), **operands)


@pytest.mark.parametrize("name", OPS)
def test_random(name):
    op = OPS[name]

    @settings(max_examples=40)
    @given(inputs_of(op))
    def run(inputs):
        # Weights of level L1 are rounded to the type of the values.
        op.check(inputs, absolute=4 * 2.0 ** -8 if op.pipeline and op.dtype == "bf16" else 1e-5)

    run()
