"""chunk_summarize, block_logits, block_softmax, pool_scores and select_topk against the scalar form."""

import numpy as np
import pytest
import scalar
from sparseattn import reference as ref

TOL = dict(rtol=1e-11, atol=1e-12)
CHUNKS = [(4, 4), (4, 2), (3, 1), (2, 3), (32, 16), (1, 1)]       # (block, stride); (2, 3) skips keys
LENGTHS = [1, 3, 4, 11, 12, 13]


def keys(seed, n, batch=2, heads=2, d=4):
    return np.random.default_rng(seed).normal(size=(batch, heads, n, d))


def check_summary(got, key, block, stride, complete_only, summary_of):
    """summary_of(k rows as lists, keys of the chunk, batch, head, chunk)."""
    chunks = scalar.chunks(key.shape[2], block, stride, complete_only)
    assert got.shape == (*key.shape[:2], len(chunks), key.shape[3])
    for b, r in np.ndindex(key.shape[:2]):
        for c, members in enumerate(chunks):
            np.testing.assert_allclose(got[b, r, c], summary_of(key[b, r].tolist(), members, b, r, c), **TOL)


@pytest.mark.parametrize("block,stride", CHUNKS)
@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("complete_only", [False, True])
def test_mean_and_minmax(block, stride, n, complete_only):
    k = keys(1, n)
    common = dict(block=block, stride=stride, complete_only=complete_only)
    check_summary(ref.chunk_summarize(k, **common), k, block, stride, complete_only,
                  lambda rows, members, *_: scalar.mean_of(rows, members))
    low, high = ref.chunk_summarize(k, mode="minmax", **common)
    for got, pick in ((low, min), (high, max)):
        check_summary(got, k, block, stride, complete_only,
                      lambda rows, members, *_: [pick(rows[j][e] for j in members) for e in range(4)])


@pytest.mark.parametrize("per_chunk", [False, True])
@pytest.mark.parametrize("scale", [None, 1.3])
def test_learned_query(per_chunk, scale):
    k = keys(2, 11)
    query = np.random.default_rng(3).normal(size=(2, 3, 4) if per_chunk else (2, 4))
    got = ref.chunk_summarize(k, block=4, mode="learned_query", summary_query=query, scale=scale)
    check_summary(got, k, 4, 4, False, lambda rows, members, b, r, c: scalar.learned_summary(
        rows, members, (query[r, c] if per_chunk else query[r]).tolist(), scale))


def test_learned_query_zero_is_the_mean():
    k = keys(4, 11)
    got = ref.chunk_summarize(k, block=4, mode="learned_query", summary_query=np.zeros((2, 4)))
    np.testing.assert_allclose(got, ref.chunk_summarize(k, block=4), **TOL)


@pytest.mark.parametrize("with_position", [False, True])
@pytest.mark.parametrize("block,stride", [(4, 4), (4, 2)])
def test_mlp(with_position, block, stride):
    rng = np.random.default_rng(5)
    k, w_in, w_out = keys(6, 13), rng.normal(size=(block * 4, 6)), rng.normal(size=(6, 4))
    position = rng.normal(size=(block, 4)) if with_position else None
    got = ref.chunk_summarize(k, block=block, stride=stride, mode="mlp", weight_in=w_in, weight_out=w_out,
                              position=position, complete_only=True)
    check_summary(got, k, block, stride, True, lambda rows, members, *_: scalar.mlp_summary(
        rows, members, w_in.tolist(), w_out.tolist(), position.tolist() if with_position else None))


@pytest.mark.parametrize("with_position", [False, True])
@pytest.mark.parametrize("complete_only", [False, True])
def test_gated_softmax(with_position, complete_only):
    k, gate = keys(7, 11), keys(8, 11)
    position = np.random.default_rng(9).normal(size=(4, 4)) if with_position else None
    got = ref.chunk_summarize(k, block=4, stride=2, mode="gated_softmax", gate=gate, position=position,
                              complete_only=complete_only)
    check_summary(got, k, 4, 2, complete_only, lambda rows, members, b, r, c: scalar.gated_summary(
        rows, members, gate[b, r].tolist(), position.tolist() if with_position else None))


@pytest.mark.parametrize("n", [8, 9, 12, 13])
def test_summaries_of_prefill_and_decode_agree(n):
    # Lengths of 0 and 1 mod the block: what is complete after n tokens never changes later.
    k = keys(10, 16)
    query = np.random.default_rng(11).normal(size=(2, 4))
    common = dict(block=4, mode="learned_query", summary_query=query, complete_only=True)
    early = ref.chunk_summarize(k[:, :, :n], **common)
    np.testing.assert_array_equal(early, ref.chunk_summarize(k, **common)[:, :, :n // 4])


def test_summary_layout():
    k = keys(12, 11)
    np.testing.assert_array_equal(ref.chunk_summarize(k.swapaxes(1, 2), block=4, layout="bshd").swapaxes(1, 2),
                                  ref.chunk_summarize(k, block=4))


@pytest.mark.parametrize("arguments,message", [
    (dict(mode="median"), "mode must be one of"),
    (dict(mode="learned_query"), "needs the operand summary_query"),
    (dict(mode="mean", gate=np.zeros((2, 2, 11, 4))), "takes no operand gate"),
    (dict(mode="mlp", weight_in=np.zeros((16, 2)), weight_out=np.zeros((2, 4))), "needs complete_only"),
    (dict(mode="gated_softmax", gate=np.zeros((2, 2, 10, 4))), "gate"),
    (dict(mode="learned_query", summary_query=np.zeros((2, 2, 4))), "summary_query"),
    (dict(layout="thd"), "layout must be one of"),
    (dict(stride=0), "stride must be an integer"),
])
def test_summarize_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        ref.chunk_summarize(keys(13, 11), block=4, **arguments)


# ---- block logits

@pytest.mark.parametrize("visibility", ["all", "before_own", "complete", "own_inf"])
@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("bound", ["dot", "minmax"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hq,hkv", [(4, 2), (3, 1)])
def test_block_logits(visibility, activation, bound, weighted, hq, hkv):
    rng = np.random.default_rng(14)
    q, low = rng.normal(size=(2, hq, 7, 4)), rng.normal(size=(2, hkv, 5, 4))
    high = low + rng.random(size=low.shape)
    weight = rng.normal(size=(2, 7, hq))
    block, stride, offset = 4, 2, 3
    got = ref.block_logits(q, low, summary_max=high if bound == "minmax" else None, q_offset=offset,
                           head_weight=weight if weighted else None, activation=activation, visibility=visibility,
                           block=block, stride=stride, bound=bound, scale=0.8)

    def one(b, h, i, c):
        r = h * hkv // hq
        z = 0.8 * (scalar.dot(q[b, h, i], low[b, r, c]) if bound == "dot" else
                   scalar.minmax_bound(q[b, h, i], low[b, r, c], high[b, r, c]))
        return max(0.0, z) if activation == "relu" else z

    assert got.shape == (2, 1 if weighted else hq, 7, 5)
    for b, h, i, c in np.ndindex(got.shape):
        z = sum(weight[b, i, n] * one(b, n, i, c) for n in range(hq)) if weighted else one(b, h, i, c)
        want = scalar.masked_logit(z, c, i + offset, visibility, block, stride)
        np.testing.assert_allclose(got[b, h, i, c], want, **TOL)


def test_block_logits_defaults():
    rng = np.random.default_rng(15)
    q, s = rng.normal(size=(1, 2, 3, 4)), rng.normal(size=(1, 1, 5, 4))
    np.testing.assert_allclose(ref.block_logits(q, s), 0.5 * np.einsum("bhid,bxcd->bhic", q, s), **TOL)
    np.testing.assert_array_equal(
        ref.block_logits(q.swapaxes(1, 2), s.swapaxes(1, 2), layout="bshd"), ref.block_logits(q, s))
    # Position 0 without an offset: nothing lies before the first block.
    assert np.isneginf(ref.block_logits(q, s, visibility="before_own", block=4)).all()
    with pytest.raises(ValueError, match="need each other"):
        ref.block_logits(q, s, bound="minmax")


# ---- block probabilities and pooling

@pytest.mark.parametrize("group", ["none", "max", "sum", "mean"])
def test_block_softmax(group):
    rng = np.random.default_rng(16)
    z = rng.normal(size=(1, 4, 5, 6))
    z[rng.random(z.shape) < 0.3] = -np.inf
    z[0, 1, 2] = -np.inf
    got = ref.block_softmax(z, kv_heads=2, group=group)
    rows = [[scalar.softmax(z[0, h, i].tolist()) for i in range(5)] for h in range(4)]
    if group == "none":
        want = rows
    else:
        want = [[[scalar.reduce(list(column), group) for column in zip(rows[2 * r][i], rows[2 * r + 1][i])]
                 for i in range(5)] for r in range(2)]
    np.testing.assert_allclose(got[0], want, **TOL)
    with pytest.raises(ValueError, match="own_inf"):
        ref.block_softmax(np.full((1, 2, 1, 1), np.inf), kv_heads=1)


@pytest.mark.parametrize("kernel,stride,pad", [(5, 4, 1), (1, 1, 0), (3, 1, 1), (2, 3, 0), (3, 2, 4), (9, 4, 0)])
@pytest.mark.parametrize("mode", ["max", "sum"])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("m", [1, 4, 7, 8])
def test_pool_scores(kernel, stride, pad, mode, ceil_mode, m):
    score = np.random.default_rng(17).normal(size=(1, 2, 3, m))
    score[0, 0, 0, 0] = -np.inf
    got = ref.pool_scores(score, kernel=kernel, stride=stride, pad=pad, mode=mode, ceil_mode=ceil_mode)
    want = [[scalar.pool(row, kernel, stride, pad, mode, ceil_mode) for row in head] for head in score[0].tolist()]
    assert got.shape[3] == len(want[0][0])
    if got.size:
        np.testing.assert_allclose(got[0], want, **TOL)


# ---- top-k

@pytest.mark.parametrize("select", [
    ref.TopK(3, 4), ref.TopK(1, 4), ref.TopK(20, 4), ref.TopK(3, 4, 1, 1), ref.TopK(3, 4, 1, 2), ref.TopK(2, 4, 2, 0),
    ref.TopK(2, 4, 1, 2, count_forced=False), ref.TopK(4, 1, 0, 3, count_forced=False), ref.TopK(3, 16, 1, 1),
], ids=str)
@pytest.mark.parametrize("case", ["plain", "offset", "ranges", "range_begin"])
def test_select_topk(select, case):
    rng = np.random.default_rng(18)
    nq, m = 24, 6 if select.block == 4 else 24 if select.block == 1 else 2
    score = rng.integers(0, 4, size=(2, 2, nq, m)).astype(float)       # many ties
    score[rng.random(score.shape) < 0.2] = -np.inf
    score[rng.random(score.shape) < 0.05] = np.nan
    score[rng.random(score.shape) < 0.05] = np.inf
    offset = 5 if case == "offset" else 0
    ranges = None
    if case in ("ranges", "range_begin"):
        starts = [0] * 5 + [5] * 8 + [13] * 11
        ranges = [[(starts[i], starts[i] if i == 7 else i + 1) for i in range(nq)]] * 2
    got, count = ref.select_topk(score, select=select, q_offset=offset or None, return_count=True,
                                 valid_range=None if ranges is None else np.array(ranges),
                                 origin="range_begin" if case == "range_begin" else "absolute")
    assert got.dtype == count.dtype == np.int32 and got.shape[3] == select.width
    for b, h, i in np.ndindex(score.shape[:3]):
        kept = scalar.topk(score[b, h, i].tolist(), select.k, select.block, i + offset, select.force_first,
                           select.force_local, select.count_forced, ranges and ranges[b][i], case == "range_begin")
        assert got[b, h, i].tolist() == scalar.pad(kept, select.width)
        assert count[b, h, i] == len(kept)
        if case != "range_begin":
            assert all(c * select.block <= i + offset for c in kept)


def test_equal_scores_take_the_lower_index():
    got = ref.select_topk(np.zeros((1, 1, 1, 8)), select=ref.TopK(3, 4), q_offset=100)
    assert got.tolist() == [[[[0, 1, 2]]]]


def test_forced_columns_need_no_finite_score():
    score = np.full((1, 1, 1, 8), -np.inf)
    got = ref.select_topk(score, select=ref.TopK(4, 4, 1, 2), q_offset=23)
    assert got.tolist() == [[[[0, 4, 5, -1]]]]


def test_forced_window_of_tokens_is_not_counted():
    score = np.arange(20.0)[None, None, None]
    got = ref.select_topk(score, select=ref.TopK(2, 1, 0, 3, count_forced=False), q_offset=9)
    assert got.tolist() == [[[[5, 6, 7, 8, 9]]]]


def test_range_begin_needs_a_range():
    with pytest.raises(ValueError, match="needs valid_range"):
        ref.select_topk(np.zeros((1, 1, 2, 2)), select=ref.TopK(1, 4), origin="range_begin")
