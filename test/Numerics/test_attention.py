"""sparseattn.attention, compiled, against the reference (specification §1, §5, §10)."""

import numpy as np
import pytest
from attention_ops import Attention
from sparseattn import reference as ref

LENGTHS = [(33, 33), (1, 1), (1, 70), (2, 70), (9, 8), (33, 5), (7, 1), (70, 130), (0, 5), (5, 0), (0, 0)]


@pytest.mark.parametrize("nq,nk", LENGTHS)
@pytest.mark.parametrize("keys", [ref.Full(), ref.Causal(), ref.Window(1), ref.Window(7), ref.Window(64),
                                  ref.Window(1000), ref.PrefixLM(40)], ids=str)
def test_patterns_and_lengths(keys, nq, nk):
    """Queries stand at the end of the keys; with Nq > Nk the first rows see nothing."""
    op = Attention(keys=keys)
    got, _ = op.check(op.inputs(batch=2, nq=nq, nk=nk))
    everywhere = isinstance(keys, (ref.Full, ref.PrefixLM))
    empty = nq if nk == 0 else 0 if everywhere else max(0, nq - nk)
    assert (got["out"][:, :, :empty] == 0).all() and np.isneginf(got["lse"][:, :, :empty]).all()
    assert np.isfinite(got["lse"][:, :, empty:]).all()


@pytest.mark.parametrize("sizes", [None, (2, 1, 77), (1, 2, 77), (1, 9, 20)], ids=str)
@pytest.mark.parametrize("heads", [(3, 3), (4, 2), (6, 2), (8, 2), (32, 2), (16, 1), (5, 1)], ids=str)
def test_head_groups(heads, sizes):
    """Groups of 1, 2, 3, 4 and 16 heads and a single KV head; few static queries pack the heads of a group."""
    op = Attention(heads=heads, sizes=sizes)
    op.check(op.inputs(nq=19, nk=23))


@pytest.mark.parametrize("sizes", [None, (1, 1, 40)], ids=str)
def test_unknown_numbers_of_heads(sizes):
    op = Attention(static_heads=False, sizes=sizes, takes=("sink",))
    op.check(op.inputs(nq=19, nk=23))


@pytest.mark.parametrize("dims", [(1, 1), (5, 3), (24, 40), (40, 24), (128, 64), (17, 128)], ids=str)
def test_head_dimensions(dims):
    op = Attention(dims=dims)
    op.check(op.inputs(nq=21, nk=35))


@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_layouts_and_types(layout, dtype):
    op = Attention(layout=layout, dtype=dtype, dims=(40, 24), keys=ref.Window(20), takes=("sink",))
    op.check(op.inputs(batch=2, nq=29, nk=41))


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_results_round_to_nearest(dtype):
    """A single visible key has weight 1, so that the result is its value, bit for bit."""
    op = Attention(dtype=dtype, keys=ref.Window(1))
    inputs = op.inputs(nq=9, nk=9)
    got = op.run(inputs)["out"]
    assert (got.reshape(2, 2, 9, 16) == inputs["value"].reshape(2, 1, 9, 16)).all()


@pytest.mark.parametrize("sink", [[0.0, 1.0, -2.0, 3.0], [-1e4] * 4, [1e4] * 4, [-np.inf] * 4, [-1e30] * 4, [1e30] * 4],
                         ids=str)
@pytest.mark.parametrize("sizes", [None, (1, 2, 1)], ids=str)
def test_sink(sink, sizes):
    """Rows without keys: out 0 and lse = sink. Very low: no sink; very high: out 0."""
    op = Attention(takes=("sink",), sizes=sizes)
    inputs = op.inputs(nq=20, nk=9, sink=sink)
    got, want = op.check(inputs)
    empty = inputs["query"].shape[2] - inputs["key"].shape[2]
    assert (got["out"][:, :, :empty] == 0).all()
    assert (got["lse"][:, :, :empty] == np.array(sink, np.float32)[:, None]).all()
    if sink[0] >= 1e4:
        assert (got["out"] == 0).all()


@pytest.mark.parametrize("spread", [1, 30, 1e4])
def test_scale_and_soft_cap(spread):
    """Extreme logits neither overflow nor become NaN; a soft cap bounds them."""
    op = Attention(scale=0.7, score_mod=ref.SoftCap(4.0))
    op.check(op.inputs(nq=17, nk=40, spread=spread), absolute=1e-5 * min(spread, 30))
    op = Attention(scale=0.7)
    inputs = op.inputs(nq=17, nk=40, spread=spread)
    # The relative error of a weight is the absolute error of its logit.
    largest = np.abs(op.reference(inputs)["lse"][np.isfinite(op.reference(inputs)["lse"])]).max()
    op.check(inputs, absolute=1e-5 * max(1, largest))


def document_ranges(lengths, masked=()):
    """[bos, eos) of every query: its document up to itself; nothing for masked documents."""
    ends = np.cumsum(lengths)
    return [(0, 0) if n in masked else (end - length, i + 1)
            for n, (length, end) in enumerate(zip(lengths, ends)) for i in range(end - length, end)]


@pytest.mark.parametrize("keys", [ref.Full(), ref.Causal(), ref.Window(6)], ids=str)
@pytest.mark.parametrize("sink", [(), ("sink",)], ids=["bare", "sink"])
def test_valid_range(keys, sink):
    """Packed documents, masked ones among them, and ranges that reach past both ends or are inverted."""
    op = Attention(keys=keys, takes=(*sink, "valid_range"))
    documents = document_ranges([11, 1, 20, 5], masked=[1, 3])
    odd = np.stack([np.arange(37) - 5, np.arange(37)[::-1] + 4], axis=-1)
    got, _ = op.check(op.inputs(batch=2, nq=37, nk=37, valid_range=np.stack([documents, odd])))
    assert (got["out"][0, :, 11] == 0).all() and (got["out"][0, :, 32:] == 0).all()
    op.check(op.inputs(nq=1, nk=90, valid_range=[[[70, 90]]]))


@pytest.mark.parametrize("offset", [-100, -3, 0, 5, 29, 1000])
@pytest.mark.parametrize("keys", [ref.Causal(), ref.Window(9), ref.CompleteBlocks(4, 2)], ids=str)
def test_query_offset(keys, offset):
    op = Attention(keys=keys, takes=("q_offset",))
    op.check(op.inputs(nq=12, nk=30, q_offset=offset))


@pytest.mark.parametrize("keys", [ref.CompleteBlocks(8), ref.CompleteBlocks(32, 16), ref.CompleteBlocks(1, 1),
                                  ref.CompleteBlocks(4, 7)], ids=str)
def test_complete_blocks(keys):
    """Keys are summaries; without q_offset the first query stands at 0, whatever the number of summaries."""
    op = Attention(keys=keys)
    for nq, nk in [(50, 6), (6, 50), (1, 1), (70, 70)]:
        op.check(op.inputs(nq=nq, nk=nk))


@pytest.mark.parametrize("table", [(ref.Causal(), ref.Window(5)), (ref.Window(1), ref.Full()),
                                   (ref.CompleteBlocks(2), ref.CompleteBlocks(3))], ids=str)
@pytest.mark.parametrize("sizes", [None, (1, 1, 33)], ids=str)
def test_head_table(table, sizes):
    op = Attention(keys=ref.HeadTable(table), sizes=sizes, heads=(6, 2))
    op.check(op.inputs(nq=31, nk=33))


def test_head_table_of_eight_kv_heads():
    windows = [None, 1, 5, 128, None, 9, 2, None]
    keys = ref.HeadTable(tuple(ref.Causal() if w is None else ref.Window(w) for w in windows))
    op = Attention(keys=keys, heads=(16, 8))
    op.check(op.inputs(batch=2, nq=31, nk=40))


DOCUMENTS = [([5], [5]), ([0, 3, 0, 7, 0], [0, 3, 4, 7, 0]), ([1, 9, 2], [4, 3, 70]), ([4, 4], [0, 9]), ([0], [3]),
             ([0, 0], [0, 0])]


@pytest.mark.parametrize("keys", [ref.Full(), ref.Causal(), ref.Window(3)], ids=str)
@pytest.mark.parametrize("documents", DOCUMENTS, ids=str)
def test_packed_documents(keys, documents):
    """Documents of length 0, with fewer keys than queries (leading rows empty) and without keys."""
    op = Attention(layout="thd", keys=keys, takes=("sink",))
    cu_q, cu_k = (np.concatenate([[0], np.cumsum(lengths)]) for lengths in documents)
    op.check(op.inputs(cu_seqlens_q=cu_q, cu_seqlens_k=cu_k))


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_packed_half_types(dtype):
    op = Attention(layout="thd", dtype=dtype, heads=(6, 1), dims=(24, 8))
    op.check(op.inputs(cu_seqlens_q=[0, 3, 30], cu_seqlens_k=[0, 8, 40]))


def test_more_scratch_than_a_stack_holds():
    """A decode step packs all heads of a group: 1024 heads of 1024 channels are 8 MiB."""
    op = Attention(heads=(1024, 1), dims=(1024, 1024), sizes=(2, 1, 3))
    op.check(op.inputs())
