"""sparseattn.sparse_attention, compiled, against the reference (specification §2.1, §4.1, operator 9)."""

from dataclasses import replace

import numpy as np
import pytest
from attention_ops import Attention, random_mask, random_selection
from compare import assert_matches
from sparseattn import reference as ref


def select(op, rng, *, batch=1, nq, nk, entries=4):
    """A selection that fits ``op``: for rows of a packed op without a batch."""
    shape = op.shape(op.selection_heads, nq, batch=batch)
    blocks = -(-nk // op.block)
    if op.format == "index":
        return random_selection(rng, *shape, blocks=blocks, entries=entries)
    return random_mask(rng, *shape, blocks=blocks)


def check(op, seed=0, *, batch=1, nq=19, nk=70, entries=4, **given):
    selection = select(op, np.random.default_rng(seed), batch=batch, nq=nq, nk=nk, entries=entries)
    return op.check(op.inputs(seed, batch=batch, nq=nq, nk=nk, selection=selection, **given))


@pytest.mark.parametrize("format", ["index", "bitmask"])
@pytest.mark.parametrize("selection_heads", [1, 2, 6])
@pytest.mark.parametrize("sizes", [None, (1, 1, 90)], ids=str)
def test_who_shares_the_selection(format, selection_heads, sizes):
    """All heads, the heads of a group, or none; entries past the last block and of -1 are skipped."""
    op = Attention(format=format, heads=(6, 2), selection_heads=selection_heads, sizes=sizes, takes=("sink",))
    for nq, nk in [(19, 70), (3, 16), (5, 1)] if sizes is None else [sizes[1:]]:
        check(op, batch=2 if sizes is None else 1, nq=nq, nk=nk)


@pytest.mark.parametrize("format", ["index", "bitmask"])
def test_unknown_numbers_of_heads(format):
    for selection_heads in (1, 2, 4):
        check(Attention(format=format, static_heads=False, selection_heads=selection_heads))


@pytest.mark.parametrize("heads", [(3, 3), (16, 1), (32, 2)], ids=str)
@pytest.mark.parametrize("selection_heads", ["kv", "query"])
def test_head_groups(heads, selection_heads):
    op = Attention(format="index", heads=heads, selection_heads=heads[selection_heads == "kv"])
    check(op, nq=9)


@pytest.mark.parametrize("format", ["index", "bitmask"])
@pytest.mark.parametrize("block", [1, 5, 64, 100])
def test_blocks(format, block):
    """Tokens, odd blocks, a tile and more than a tile of keys; more mask words than one."""
    check(Attention(format=format, block=block), nq=11, nk=210, entries=7)


@pytest.mark.parametrize("keys", [ref.Full(), ref.Window(13), ref.HeadTable((ref.Causal(), ref.Window(30)))], ids=str)
def test_patterns_cut_the_selection(keys):
    check(Attention(format="index", keys=keys))


@pytest.mark.parametrize("format", ["index", "bitmask"])
def test_future_blocks_stay_invisible(format):
    """A selection of everything equals causal attention: causality is intersected, not implied (§1.1)."""
    op = Attention(format=format, block=8)
    blocks = 6
    if format == "index":
        selection = np.broadcast_to(np.arange(blocks), (1, 2, 45, blocks))
    else:
        selection = np.full((1, 2, 45, 1), (1 << blocks) - 1)
    inputs = op.inputs(nq=45, nk=45, selection=selection)
    got, _ = op.check(inputs)
    inputs.pop("selection")
    assert_matches("dense", got["out"], replace(op, format=None).reference(inputs)["out"])


@pytest.mark.parametrize("format", ["index", "bitmask"])
@pytest.mark.parametrize("takes", [(), ("sink",)], ids=["bare", "sink"])
def test_empty_selections(format, takes):
    """Rows without any block: out 0, lse -inf or the sink; also width 0 and no keys at all."""
    op = Attention(format=format, takes=takes)
    nothing = np.full((1, 2, 7, 3), -1) if format == "index" else np.zeros((1, 2, 7, 1))
    got, _ = op.check(op.inputs(nq=7, nk=40, selection=nothing))
    assert (got["out"] == 0).all()
    if format == "index":
        op.check(op.inputs(nq=7, nk=40, selection=np.zeros((1, 2, 7, 0))))
    for nq, nk in [(7, 0), (0, 40), (0, 0)]:
        check(op, nq=nq, nk=nk)


@pytest.mark.parametrize("format", ["index", "bitmask"])
@pytest.mark.parametrize("block", [1, 16])
def test_bias(format, block):
    """Natural logarithm beside the entries (index) or for every block (bitmask), after scale and soft cap."""
    op = Attention(format=format, block=block, bias=True, score_mod=ref.SoftCap(2.0), scale=1.5)
    check(op, nq=12, nk=61, entries=6)


def test_bias_of_minus_infinity_removes_a_block():
    op = Attention(format="bitmask", bias=True)
    bias = np.where(np.random.default_rng(1).random((1, 2, 19, 5)) < 0.3, -np.inf, 0.5)
    check(op, bias=bias)


@pytest.mark.parametrize("format", ["index", "bitmask"])
def test_valid_range(format):
    op = Attention(format=format, takes=("valid_range",))
    ranges = [(i // 3 - 2, i + 40) if i % 5 else (9, 9) for i in range(19)]
    check(op, valid_range=[ranges])


@pytest.mark.parametrize("format", ["index", "bitmask"])
@pytest.mark.parametrize("block", [1, 8])
def test_range_begin(format, block):
    """Block j starts at the row's own begin + j * block; a begin before key 0 counts as 0."""
    op = Attention(format=format, takes=("valid_range", "q_offset"), origin="range_begin", block=block)
    ranges = [(3 * i - 7, 3 * i + 20) for i in range(19)]
    check(op, valid_range=[ranges], q_offset=20, entries=5)


@pytest.mark.parametrize("offset", [-5, 0, 30, 200])
def test_query_offset(offset):
    check(Attention(format="index", takes=("q_offset",)), q_offset=offset)


@pytest.mark.parametrize("format", ["index", "bitmask"])
def test_packed_documents(format):
    """Blocks start at the document's first key; documents of length 0 and with fewer keys than queries."""
    op = Attention(format=format, layout="thd", origin="range_begin", block=4, bias=True, takes=("sink",))
    cu_q, cu_k = [0, 5, 5, 14, 20], [0, 9, 12, 40, 43]
    selection = select(op, np.random.default_rng(3), nq=20, nk=43, entries=5)
    op.check(op.inputs(cu_seqlens_q=cu_q, cu_seqlens_k=cu_k, selection=selection))


@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_layouts_and_types(layout, dtype):
    op = Attention(format="index", layout=layout, dtype=dtype, dims=(24, 40), heads=(8, 2))
    check(op, batch=2)


@pytest.mark.parametrize("dims", [(1, 1), (5, 33), (128, 64)], ids=str)
def test_head_dimensions(dims):
    check(Attention(format="index", dims=dims, heads=(6, 2)))


@pytest.mark.parametrize("format", ["index", "bitmask"])
@pytest.mark.parametrize("query_block", [2, 8, 32])
def test_queries_that_share_a_selection(format, query_block):
    """The last group may have fewer queries; the bias is the group's, too."""
    op = Attention(format=format, query_block=query_block, bias=True)
    rows, rng = -(-19 // query_block), np.random.default_rng(5)
    selection = select(op, rng, nq=rows, nk=61)
    op.check(op.inputs(nq=19, nk=61, selection=selection))
