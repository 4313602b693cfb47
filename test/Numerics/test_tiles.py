"""Level L1 on the CPU: against the reference, and against L0 on the CPU (specification §1, §5, §10).

The same kernels as in test_attention.py, cut into query tiles and key blocks first.
"""

import dataclasses

import numpy as np
import pytest
from attention_ops import Attention, compile_function, random_selection
from compare import assert_matches
from sparseattn import reference as ref
from sparseattn.compiler import CompilerError

# Weights meet values rounded to the values' type, so that every weighted value is wrong by up to half a unit of it;
# the errors of a row are independent, and 4 of them never add up in these tests (values of a few units).
ROUNDED_WEIGHTS = {"f32": 0.0, "f16": 4 * 2.0 ** -11, "bf16": 4 * 2.0 ** -8}


def tiled(op, query_tile=16, key_tile=16):
    """``op``, compiled through L1."""
    return dataclasses.replace(
        op, pipeline=f"builtin.module(sparseattn-tiles-to-cpu{{query-tile={query_tile} key-tile={key_tile}}})")


def check(op, inputs, *, query_tile=16, key_tile=16, absolute=1e-5):
    """L1 against the reference and against L0."""
    absolute += ROUNDED_WEIGHTS[op.dtype]
    got, _ = tiled(op, query_tile, key_tile).check(inputs, absolute=absolute)
    for name, want in op.run(inputs).items():
        assert_matches(f"{name} at L0", got[name], want.astype(np.float64), absolute=absolute)
    return got


TILES = [(16, 16), (16, 48), (64, 64)]
LENGTHS = [(1, 1), (1, 70), (63, 63), (64, 64), (65, 64), (64, 65), (127, 129), (129, 127), (33, 5), (7, 200), (200, 1),
           (0, 5), (5, 0), (0, 0)]
PATTERNS = [ref.Full(), ref.Causal(), ref.Window(1), ref.Window(7), ref.Window(16), ref.Window(50), ref.Window(1000),
            ref.PrefixLM(0), ref.PrefixLM(40), ref.PrefixLM(1000), ref.CompleteBlocks(8, 4),
            ref.HeadTable((ref.Causal(), ref.Window(20))), ref.HeadTable((ref.Full(), ref.PrefixLM(9)))]


@pytest.mark.parametrize("tiles", TILES, ids=str)
@pytest.mark.parametrize("keys", PATTERNS, ids=str)
def test_patterns_and_lengths(keys, tiles):
    """Every pattern with dynamic sizes: lengths around multiples of a tile, more queries than keys, nothing at all."""
    op = Attention(keys=keys)
    for nq, nk in LENGTHS:
        check(op, op.inputs(batch=2, nq=nq, nk=nk), query_tile=tiles[0], key_tile=tiles[1])


@pytest.mark.parametrize("keys", [ref.Full(), ref.Causal(), ref.Window(20), ref.PrefixLM(40)], ids=str)
@pytest.mark.parametrize("nk", [16, 32, 48, 200])
@pytest.mark.parametrize("nq", [16, 20])
def test_static_sizes(keys, nq, nk):
    """Loops of 1, 2, 3 and 13 blocks whose bounds are constants in part."""
    op = Attention(keys=keys, sizes=(1, nq, nk))
    check(op, op.inputs())


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 4])
def test_numbers_of_blocks(blocks):
    """The last block whole, or with one key less or more."""
    for keys in (ref.Full(), ref.Causal(), ref.Window(16), ref.Window(17), ref.Window(33)):
        op = Attention(keys=keys)
        for extra in (-1, 0, 1):
            if 16 * blocks + extra >= 0:
                check(op, op.inputs(nq=16, nk=16 * blocks + extra))


@pytest.mark.parametrize("heads", [(3, 3), (4, 2), (6, 2), (16, 1), (32, 2), (5, 1)], ids=str)
def test_head_groups(heads):
    """Groups of 1, 2, 3, 5 and 16 heads."""
    op = Attention(heads=heads, takes=("sink",))
    check(op, op.inputs(nq=19, nk=23))


def test_unknown_numbers_of_heads():
    op = Attention(static_heads=False, takes=("sink",))
    check(op, op.inputs(nq=19, nk=40))


@pytest.mark.parametrize("dims", [(1, 1), (5, 3), (24, 40), (64, 96), (192, 128), (256, 256)], ids=str)
def test_head_dimensions(dims):
    op = Attention(dims=dims)
    check(op, op.inputs(nq=21, nk=35))


@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("keys", [ref.Full(), ref.Causal(), ref.Window(20)], ids=str)
def test_layouts_and_types(layout, dtype, keys):
    op = Attention(layout=layout, dtype=dtype, dims=(40, 24), keys=keys, takes=("sink",))
    check(op, op.inputs(batch=2, nq=29, nk=41))


@pytest.mark.parametrize("sink", [[0.0, 1.0, -2.0, 3.0], [-1e4] * 4, [1e4] * 4, [-np.inf] * 4, [-1e30] * 4, [1e30] * 4],
                         ids=str)
@pytest.mark.parametrize("keys", [ref.Causal(), ref.Window(3)], ids=str)
def test_sink(sink, keys):
    """Rows without keys: out 0 and lse the sink, exactly. Very low: no sink; very high: out 0."""
    op = Attention(takes=("sink",), keys=keys)
    inputs = op.inputs(nq=40, nk=20, sink=sink)
    got = check(op, inputs)
    assert (got["out"][:, :, :20] == 0).all()
    assert (got["lse"][:, :, :20] == np.array(sink, np.float32)[:, None]).all()
    if sink[0] >= 1e4:
        assert (got["out"] == 0).all()


def test_rows_without_keys():
    """Also in a tile with rows that have keys: out 0, lse -inf, never NaN."""
    op = Attention()
    got = check(op, op.inputs(nq=50, nk=21))
    assert (got["out"][:, :, :29] == 0).all() and np.isneginf(got["lse"][:, :, :29]).all()


@pytest.mark.parametrize("spread", [1, 30, 1e4])
@pytest.mark.parametrize("change", [dict(scale=0.7), dict(scale=0.7, score_mod=ref.SoftCap(4.0)), dict(scale=-0.7),
                                    dict(scale=0.0), dict(scale=-0.5, score_mod=ref.SoftCap(2.0))], ids=str)
def test_scale_and_soft_cap(spread, change):
    """Any sign of the scale; extreme logits neither overflow nor become NaN."""
    op = Attention(keys=ref.Window(20), takes=("sink",), **change)
    # Logits of thousands are sums whose terms cancel: their error is that of the largest terms.
    check(op, op.inputs(nq=17, nk=40, spread=spread), absolute=1e-5 * min(spread, 1000))


@pytest.mark.parametrize("cap", [0.5, 30.0, 37.0, 50.0, 60.0])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_rows_at_the_bounds_of_a_soft_cap(dtype, cap):
    """Bounded scores need no running maximum, up to a cap of 50; no row vanishes or overflows, wherever its scores lie."""
    op = Attention(keys=ref.Causal(), dtype=dtype, takes=("sink",), score_mod=ref.SoftCap(cap))
    inputs = op.inputs(nq=41, nk=40, sink=[-cap, 0.0, cap, -np.inf])
    inputs["key"][:, :, ::2] = inputs["key"][:, :, :1]
    inputs["query"][:, :, 10:20] = 100 * inputs["key"][:, :1, :1]
    inputs["query"][:, :, 20:30] = -100 * inputs["key"][:, :1, :1]
    check(op, inputs, absolute=2e-5)


@pytest.mark.parametrize("offset", [-100, -5, 0, 3, 30, 200])
@pytest.mark.parametrize("keys", [ref.Causal(), ref.Window(20), ref.PrefixLM(10), ref.Full()], ids=str)
def test_query_offset(offset, keys):
    """Also before the first key and past the last one."""
    op = Attention(keys=keys, takes=("q_offset",))
    check(op, op.inputs(nq=35, nk=50, q_offset=offset))


def test_values_of_not_a_number_stay_in_their_rows():
    op = Attention(keys=ref.Causal())
    inputs = op.inputs(nq=40, nk=40)
    inputs["query"][0, 1, 7] = np.nan
    got = tiled(op).run(inputs)["out"]
    assert np.isnan(got[0, 1, 7]).all() and np.isfinite(np.delete(got[0, 1], 7, axis=0)).all()


def test_keys_that_nobody_sees_may_hold_anything():
    """Scores of invisible keys are replaced, not weighted by 0."""
    op = Attention(keys=ref.Causal())
    inputs = op.inputs(nq=20, nk=20)
    want = tiled(op).run(inputs)["out"][:, :, :10]
    inputs["key"][:, :, 10:] = np.inf
    assert (tiled(op).run(inputs)["out"][:, :, :10] == want).all()


def test_schedule_of_the_operation_wins():
    """The attribute gives the tiles, not the options."""
    op = Attention(keys=ref.Window(20), schedule="<query_tile = 24, key_tile = 40>")
    check(op, op.inputs(nq=70, nk=90))


def test_results_do_not_depend_on_the_run():
    op = tiled(Attention(keys=ref.Window(20), dtype="bf16"))
    inputs = op.inputs(nq=100, nk=100)
    first = op.run(inputs)
    for _ in range(3):
        again = op.run(inputs)
        assert all((first[name] == again[name]).all() for name in first)


def test_what_has_no_tiles_is_an_error():
    op = tiled(Attention(block_score=ref.BlockScore(block=16)))
    with pytest.raises(CompilerError, match="left at level L1"):
        op.compile()


# ---- keys chosen at run time


@pytest.mark.parametrize("keys", [ref.Full(), ref.Causal(), ref.Window(30), ref.HeadTable((ref.Causal(), ref.Window(20)))],
                         ids=str)
def test_valid_range(keys):
    """Packed documents, ranges in no order, rows without keys, ranges past both ends."""
    op = Attention(keys=keys, takes=("valid_range",))
    documents = [(0, 20) if i < 20 else (20, 23) if i < 23 else (23, 70) for i in range(70)]
    shuffled = [((37 * i) % 50 - 5, (53 * i) % 90) if i % 5 else (9, 9) for i in range(70)]
    for ranges in (documents, shuffled, [(0, 70)] * 70, [(0, 0)] * 70):
        check(op, op.inputs(nq=70, nk=70, valid_range=[ranges]))
        check(op, op.inputs(nq=70, nk=70, valid_range=[ranges]), query_tile=64, key_tile=48)


@pytest.mark.parametrize("keys", [ref.Full(), ref.Causal(), ref.Window(10), ref.PrefixLM(8)], ids=str)
@pytest.mark.parametrize("tiles", TILES, ids=str)
def test_documents(keys, tiles):
    """Documents of length 0 and 1, around a tile, with more queries than keys, without keys."""
    op = Attention(keys=keys, layout="thd", takes=("sink",))
    for cu_q, cu_k in [([0, 5, 5, 22, 38, 39], [0, 9, 12, 40, 43, 43]), ([0, 64, 129, 130], [0, 64, 129, 130]),
                       ([0, 7], [0, 100]), ([0, 0], [0, 5]), ([0, 3, 3], [0, 0, 0]), ([0, 16, 32, 48], [0, 16, 32, 48])]:
        check(op, op.inputs(cu_seqlens_q=cu_q, cu_seqlens_k=cu_k), query_tile=tiles[0], key_tile=tiles[1])


@pytest.mark.parametrize("keys", [ref.Full(), ref.Causal(), ref.Window(50)], ids=str)
@pytest.mark.parametrize("block,query_block", [(16, 16), (32, 32), (64, 32)])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_lists_of_blocks(keys, block, query_block, heads):
    """Lists for whole query tiles, shared by all heads, by those of a group, or own."""
    op = Attention(keys=keys, format="index", block=block, query_block=query_block, selection_heads=heads, takes=("sink",))
    for nq, nk, entries in [(70, 130, 4), (64, 64, 1), (33, 200, 9), (20, 7, 2), (40, 50, 0)]:
        rows, blocks = -(-nq // query_block), -(-nk // block)
        selection = random_selection(np.random.default_rng(nq), 1, heads, rows, blocks=blocks, entries=entries)
        check(op, op.inputs(nq=nq, nk=nk, selection=selection))


def test_list_of_every_block_is_dense():
    """Naming all blocks in order gives the numbers of the dense loop, bit for bit."""
    dense, sparse = Attention(keys=ref.Causal()), Attention(keys=ref.Causal(), format="index", query_block=16)
    inputs = dense.inputs(nq=64, nk=64)
    selection = np.broadcast_to(np.arange(4, dtype=np.int32), (1, 2, 4, 4)).copy()
    want = tiled(dense).run(inputs)
    got = tiled(sparse).run({**inputs, "selection": selection})
    assert all((got[name] == want[name]).all() for name in want)


# ---- the pipeline


MIXED = """
func.func @f(%q: tensor<1x4x?x16xf32>, %k: tensor<1x2x?x16xf32>, %g: tensor<1x4x?x16xf32>)
    -> (tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>) {
  %w = sparseattn.attention %q, %k, %k keys(#sparseattn.window<20>)
    : (tensor<1x4x?x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>) -> tensor<1x4x?x16xf32>
  %c = sparseattn.attention %w, %k, %k keys(#sparseattn.causal)
    : (tensor<1x4x?x16xf32>, tensor<1x2x?x16xf32>, tensor<1x2x?x16xf32>) -> tensor<1x4x?x16xf32>
  %o = sparseattn.gated_combine %w, %c gates(%g, %g)
    : (tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>) -> tensor<1x4x?x16xf32>
  return %o, %c : tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>
}
"""


@pytest.mark.parametrize("parallel", ["true", "false"])
def test_operations_without_tiles_stay_beside_them(parallel):
    """Attention that feeds attention, and an operation of L0 that reads both; with and without threads."""
    pipeline = f"sparseattn-tiles-to-cpu{{query-tile=16 key-tile=16 parallel={parallel}}}"
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(1, heads, 70, 16)).astype(np.float32) for heads in (4, 2, 4)]
    got = compile_function(MIXED, 0, pipeline)(*arrays)
    for name, found, want in zip(("combined", "causal"), got, compile_function(MIXED)(*arrays)):
        assert_matches(name, found, want.astype(np.float64))
