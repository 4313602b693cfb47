"""attention, sparse_attention and concat_kv_attention against the scalar form, row by row."""

import numpy as np
import pytest
import scalar
from sparseattn import reference as ref

TOL = dict(rtol=1e-11, atol=1e-12)

PATTERNS = {
    ("full",): ref.Full(),
    ("causal",): ref.Causal(),
    ("window", 1): ref.Window(1),
    ("window", 5): ref.Window(5),
    ("window", 100): ref.Window(100),
    ("prefix_lm", 0): ref.PrefixLM(0),
    ("prefix_lm", 5): ref.PrefixLM(5),
    ("prefix_lm", 100): ref.PrefixLM(100),
}


def operands(seed, *, batch=1, hq=4, hkv=2, nq=13, nk=13, d=5, dv=3, spread=1.0):
    rng = np.random.default_rng(seed)
    return (spread * rng.normal(size=(batch, hq, nq, d)), rng.normal(size=(batch, hkv, nk, d)),
            rng.normal(size=(batch, hkv, nk, dv)))


def scalar_attention(q, k, v, pattern, position, *, ranges=None, sink=None, scale=None, cap=None):
    """out, lse and the logits {key: z} of every row; pattern: one tuple, or one for each KV head."""
    batch, hq, nq, _ = q.shape
    group = hq // k.shape[1]
    out, lse = np.zeros((*q.shape[:3], v.shape[3])), np.zeros(q.shape[:3])
    logits = {}
    for b, h, i in np.ndindex(batch, hq, nq):
        r = h // group
        own = pattern[r] if isinstance(pattern, list) else pattern
        keys = scalar.visible_keys(own, position(i), k.shape[2], ranges and ranges[b][i])
        z = scalar.logits(q[b, h, i].tolist(), k[b, r].tolist(), keys, scale, cap)
        logits[b, h, i] = z
        out[b, h, i], lse[b, h, i] = scalar.attend(z, v[b, r].tolist(), v.shape[3],
                                                   None if sink is None else sink[h])
    return out, lse, logits


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("nq,nk", [(13, 13), (1, 1), (1, 9), (4, 9), (9, 4), (3, 1)])
def test_patterns_and_lengths(pattern, nq, nk):
    q, k, v = operands(1, batch=2, nq=nq, nk=nk)
    out, lse = ref.attention(q, k, v, keys=PATTERNS[pattern], return_lse=True)
    want, want_lse, _ = scalar_attention(q, k, v, pattern, lambda i: i + nk - nq)
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)


@pytest.mark.parametrize("hq,hkv", [(1, 1), (4, 4), (4, 2), (3, 1), (6, 2), (8, 2), (16, 1), (32, 2)])
def test_head_groups(hq, hkv):
    q, k, v = operands(2, hq=hq, hkv=hkv, nq=5, nk=5)
    want, _, _ = scalar_attention(q, k, v, ("causal",), lambda i: i)
    np.testing.assert_allclose(ref.attention(q, k, v, keys=ref.Causal()), want, **TOL)


@pytest.mark.parametrize("offset", [-3, 0, 2, 50])
def test_query_offset(offset):
    q, k, v = operands(3, nq=4, nk=9)
    out, lse = ref.attention(q, k, v, keys=ref.Window(5), q_offset=offset, return_lse=True)
    want, want_lse, _ = scalar_attention(q, k, v, ("window", 5), lambda i: i + offset)
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)


@pytest.mark.parametrize("sink", [[0.0, 1.0, -2.0, 3.0], [-1e4] * 4, [1e4] * 4, [-np.inf] * 4])
def test_sink(sink):
    # Nq > Nk leaves the first rows empty: out 0, lse = sink.
    q, k, v = operands(4, nq=9, nk=6)
    out, lse = ref.attention(q, k, v, keys=ref.Causal(), sink=np.array(sink), return_lse=True)
    want, want_lse, _ = scalar_attention(q, k, v, ("causal",), lambda i: i - 3, sink=sink)
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)
    assert (out[:, :, :3] == 0).all() and (lse[:, :, :3] == np.array(sink)[None, :, None]).all()
    if sink[0] == 1e4:
        assert (out == 0).all()
    if sink[0] in (-1e4, -np.inf):
        bare, bare_lse = ref.attention(q, k, v, keys=ref.Causal(), return_lse=True)
        np.testing.assert_array_equal(out, bare)
        np.testing.assert_array_equal(lse[:, :, 3:], bare_lse[:, :, 3:])


def test_soft_cap_and_scale():
    q, k, v = operands(5, spread=5.0)
    out = ref.attention(q, k, v, keys=ref.Causal(), scale=0.7, score_mod=ref.SoftCap(3.0))
    want, _, _ = scalar_attention(q, k, v, ("causal",), lambda i: i, scale=0.7, cap=3.0)
    np.testing.assert_allclose(out, want, **TOL)


def test_large_logits_do_not_overflow():
    q, k, v = operands(6, spread=1e4)
    out, lse = ref.attention(q, k, v, keys=ref.Causal(), return_lse=True)
    want, want_lse, _ = scalar_attention(q, k, v, ("causal",), lambda i: i)
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)


def document_ranges(nq, documents, masked=()):
    """[bos, eos) of each query: its document up to itself; an empty range for the masked documents."""
    ranges = []
    for n, (begin, end) in enumerate(documents):
        ranges += [(0, 0) if n in masked else (begin, i + 1) for i in range(begin, end)]
    assert len(ranges) == nq
    return ranges


@pytest.mark.parametrize("pattern", [("full",), ("causal",), ("window", 3)], ids=str)
def test_valid_range_with_masked_documents(pattern):
    q, k, v = operands(7, batch=2)
    ranges = [document_ranges(13, [(0, 5), (5, 6), (6, 13)], masked=[1]), document_ranges(13, [(0, 13)])]
    out, lse = ref.attention(q, k, v, keys=PATTERNS.get(pattern) or ref.Window(3), valid_range=np.array(ranges),
                             return_lse=True)
    want, want_lse, _ = scalar_attention(q, k, v, pattern, lambda i: i, ranges=ranges)
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)
    assert (out[0, :, 5] == 0).all() and np.isneginf(lse[0, :, 5]).all()


CU_Q, CU_K = [0, 4, 4, 5, 11, 13], [0, 4, 6, 9, 12, 17]      # equal, no query, decode, Nq > Nk, Nq < Nk


@pytest.mark.parametrize("pattern", [("full",), ("causal",), ("window", 2)], ids=str)
def test_packed_layout(pattern):
    q, k, v = operands(8, nq=13, nk=17)
    sink = np.array([0.3, -1.0, 0.0, 2.0])
    out, lse = ref.attention(*(x[0].swapaxes(0, 1) for x in (q, k, v)), keys=PATTERNS.get(pattern) or ref.Window(2),
                             sink=sink, layout="thd", cu_seqlens_q=CU_Q, cu_seqlens_k=CU_K, return_lse=True)
    rows = scalar.packed_rows(CU_Q, CU_K)
    want, want_lse, _ = scalar_attention(q, k, v, pattern, lambda i: rows[i][0], ranges=[[r for _, r in rows]],
                                         sink=sink)
    np.testing.assert_allclose(out, want[0].swapaxes(0, 1), **TOL)
    np.testing.assert_allclose(lse, want_lse[0], **TOL)


@pytest.mark.parametrize("keys", [ref.Full(), ref.Causal(), ref.Window(2), ref.PrefixLM(3)], ids=str)
def test_packed_documents_are_independent(keys):
    """Also for a pattern that depends on where a document begins."""
    q, k, v = operands(8, nq=13, nk=17)
    packed = ref.attention(*(x[0].swapaxes(0, 1) for x in (q, k, v)), keys=keys, layout="thd", cu_seqlens_q=CU_Q,
                           cu_seqlens_k=CU_K)
    for q0, q1, k0, k1 in zip(CU_Q[:-1], CU_Q[1:], CU_K[:-1], CU_K[1:]):
        alone = ref.attention(q[:, :, q0:q1], k[:, :, k0:k1], v[:, :, k0:k1], keys=keys)
        np.testing.assert_allclose(packed[q0:q1], alone[0].swapaxes(0, 1), **TOL)


@pytest.mark.parametrize("layout", ["bhsd", "thd"])
@pytest.mark.parametrize("origin", ["absolute", "range_begin"])
def test_ranges_are_cut_to_what_exists(layout, origin):
    # Ranges that begin before the first key or end after the last; packed, before or after the own document.
    q, k, v = operands(16, nq=13, nk=17)
    given = [(i - 3, i + 4 + i % 3) for i in range(13)]
    if layout == "thd":
        rows = scalar.packed_rows(CU_Q, CU_K)
        positions, limits = [p for p, _ in rows], [r for _, r in rows]
    else:
        positions, limits = [i + 4 for i in range(13)], [(0, 17)] * 13
    ranges = [[(max(a, c), min(b, d)) for (a, b), (c, d) in zip(given, limits)]]
    if layout == "thd":
        operand = [x[0].swapaxes(0, 1) for x in (q, k, v)]
        extra = dict(layout="thd", cu_seqlens_q=CU_Q, cu_seqlens_k=CU_K, valid_range=np.array(given))
    else:
        operand, extra = [q, k, v], dict(valid_range=np.array([given]))
    out, score = ref.attention(*operand, keys=ref.Full(), block_score=ref.BlockScore(3, origin=origin), **extra)
    want, lse, logits = scalar_attention(q, k, v, ("full",), lambda i: positions[i], ranges=ranges)
    begin = (lambda b, i: ranges[b][i][0]) if origin == "range_begin" else (lambda b, i: 0)
    want_score = scalar_scores(logits, lse, q.shape[:3], 2, 6, 3, "prob_max", "max", begin)
    np.testing.assert_allclose(out, want[0].swapaxes(0, 1) if layout == "thd" else want, **TOL)
    np.testing.assert_allclose(score, want_score[0] if layout == "thd" else want_score, **TOL)


def test_bshd_layout_is_a_transposition():
    q, k, v = operands(9, batch=2, nq=4)
    out, lse = ref.attention(q, k, v, keys=ref.Causal(), return_lse=True)
    turned, same_lse = ref.attention(*(x.swapaxes(1, 2) for x in (q, k, v)), keys=ref.Causal(), return_lse=True,
                                     layout="bshd")
    np.testing.assert_array_equal(turned.swapaxes(1, 2), out)
    np.testing.assert_array_equal(same_lse, lse)


def test_head_table_gives_each_kv_head_its_pattern():
    q, k, v = operands(10, hq=6, hkv=3)
    table = ref.HeadTable((ref.Causal(), ref.Window(3), ref.Full()))
    want, _, _ = scalar_attention(q, k, v, [("causal",), ("window", 3), ("full",)], lambda i: i)
    np.testing.assert_allclose(ref.attention(q, k, v, keys=table), want, **TOL)


@pytest.mark.parametrize("block,stride", [(4, 4), (4, 2), (3, 1), (8, 4)])
def test_complete_blocks_start_at_position_zero(block, stride):
    q, k, v = operands(11, nq=13, nk=5)
    out, lse = ref.attention(q, k, v, keys=ref.CompleteBlocks(block, stride), return_lse=True)
    want, want_lse, _ = scalar_attention(q, k, v, ("complete", block, stride), lambda i: i)
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_inputs_of_any_dtype_become_float64(dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    rounded = [x.astype(dtype) for x in operands(12)]
    out = ref.attention(*rounded, keys=ref.Causal())
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, ref.attention(*(x.astype(np.float64) for x in rounded), keys=ref.Causal()))


# ---- block scores and fused selection

def scalar_scores(logits, lse, shape, group, num_blocks, block, kind, how, begin=lambda b, i: 0):
    batch, hq, nq = shape
    heads = np.zeros((batch, hq, nq, num_blocks))
    for b, h, i in np.ndindex(batch, hq, nq):
        heads[b, h, i] = scalar.block_score_head(logits[b, h, i], lse[b, h, i], num_blocks, block, kind, begin(b, i))
    if how == "none":
        return heads
    out = np.zeros((batch, hq // group, nq, num_blocks))
    for b, r, i, c in np.ndindex(out.shape):
        out[b, r, i, c] = scalar.reduce([heads[b, r * group + n, i, c] for n in range(group)], how)
    return out


@pytest.mark.parametrize("kind", ["prob_max", "log_prob_max", "logit_max"])
@pytest.mark.parametrize("how", ["none", "max", "sum", "mean"])
@pytest.mark.parametrize("block", [1, 4, 32])
def test_block_score(kind, how, block):
    q, k, v = operands(13, nq=7, nk=11)
    sink = np.array([0.5, 2.0, -1.0, 0.0])
    _, lse, score = ref.attention(q, k, v, keys=ref.Window(6), sink=sink, return_lse=True,
                                  block_score=ref.BlockScore(block, kind, how))
    _, want_lse, logits = scalar_attention(q, k, v, ("window", 6), lambda i: i + 4, sink=sink)
    want = scalar_scores(logits, want_lse, q.shape[:3], 2, -(-11 // block), block, kind, how)
    np.testing.assert_allclose(score, want, **TOL)


@pytest.mark.parametrize("kind", ["prob_max", "log_prob_max", "logit_max"])
def test_block_score_of_empty_rows(kind):
    q, k, v = operands(14, nq=5, nk=2)
    score = ref.attention(q, k, v, keys=ref.Causal(), block_score=ref.BlockScore(1, kind))[1]
    assert (score[:, :, :3] == (0 if kind == "prob_max" else -np.inf)).all()
    assert np.isfinite(score[:, :, 4]).all()


@pytest.mark.parametrize("origin", ["absolute", "range_begin"])
def test_block_score_and_selection_in_documents(origin):
    q, k, v = operands(15)
    ranges = [document_ranges(13, [(0, 5), (5, 6), (6, 13)], masked=[1])]
    score_attr = ref.BlockScore(3, "log_prob_max", "max", origin)
    common = dict(keys=ref.Full(), valid_range=np.array(ranges))
    score = ref.attention(q, k, v, block_score=score_attr, **common)[1]
    _, lse, logits = scalar_attention(q, k, v, ("full",), lambda i: i, ranges=ranges)
    begin = (lambda b, i: ranges[b][i][0]) if origin == "range_begin" else (lambda b, i: 0)
    want = scalar_scores(logits, lse, q.shape[:3], 2, 5, 3, "log_prob_max", "max", begin)
    np.testing.assert_allclose(score, want, **TOL)

    indices = ref.attention(q, k, v, block_score=score_attr, selection=ref.TopK(2, 3, 0, 1), **common)[1]
    for b, r, i in np.ndindex(indices.shape[:3]):
        kept = scalar.topk(want[b, r, i].tolist(), 2, 3, i, local=1, key_range=ranges[b][i],
                           from_begin=origin == "range_begin")
        assert indices[b, r, i].tolist() == scalar.pad(kept, 2)


def test_packed_block_score_counts_blocks_from_the_document():
    q, k, v = operands(16, nq=13, nk=17)
    packed = [x[0].swapaxes(0, 1) for x in (q, k, v)]
    score, = ref.attention(*packed, keys=ref.Causal(), layout="thd", cu_seqlens_q=CU_Q, cu_seqlens_k=CU_K,
                           block_score=ref.BlockScore(2, "prob_max", "max", "range_begin"))[1:]
    rows = scalar.packed_rows(CU_Q, CU_K)
    _, lse, logits = scalar_attention(q, k, v, ("causal",), lambda i: rows[i][0], ranges=[[r for _, r in rows]])
    want = scalar_scores(logits, lse, q.shape[:3], 2, 9, 2, "prob_max", "max", lambda b, i: rows[i][1][0])
    np.testing.assert_allclose(score, want[0], **TOL)


def test_fused_selection_uses_the_default_offset_of_attention():
    q, k, v = operands(17, nq=4, nk=13)
    score, = ref.attention(q, k, v, keys=ref.Causal(), block_score=ref.BlockScore(4, "log_prob_max"))[1:]
    fused, = ref.attention(q, k, v, keys=ref.Causal(), block_score=ref.BlockScore(4, "log_prob_max"),
                           selection=ref.TopK(2, 4))[1:]
    np.testing.assert_array_equal(fused, ref.select_topk(score, select=ref.TopK(2, 4), q_offset=9))


# ---- sparse attention

def scalar_sparse(q, k, v, entries, pattern, position, block, *, bias=None, sink=None, ranges=None,
                  from_begin=False, cap=None):
    """entries(b, h, i): selected blocks; bias(b, h, i, block)."""
    out, lse = np.zeros((*q.shape[:3], v.shape[3])), np.zeros(q.shape[:3])
    group = q.shape[1] // k.shape[1]
    for b, h, i in np.ndindex(q.shape[:3]):
        r = h // group
        begin = ranges[b][i][0] if from_begin else 0
        blocks = set(entries(b, h, i))
        keys = [j for j in scalar.visible_keys(pattern, position(i), k.shape[2], ranges and ranges[b][i])
                if (j - begin) // block in blocks]
        z = scalar.logits(q[b, h, i].tolist(), k[b, r].tolist(), keys, None, cap)
        if bias is not None:
            z = {j: s + bias(b, h, i, (j - begin) // block) for j, s in z.items()}
        out[b, h, i], lse[b, h, i] = scalar.attend(z, v[b, r].tolist(), v.shape[3],
                                                   None if sink is None else sink[h])
    return out, lse


def random_indices(seed, heads, nq, num_blocks, width, batch=1):
    """Distinct blocks in random order with -1 among them; row 0 is empty."""
    rng = np.random.default_rng(seed)
    indices = np.full((batch, heads, nq, width), -1)
    for b, h, i in np.ndindex(batch, heads, nq):
        count = 0 if i == 0 else int(rng.integers(0, min(width, num_blocks) + 1))
        indices[b, h, i, rng.permutation(width)[:count]] = rng.permutation(num_blocks)[:count]
    return indices


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("block,nk,width", [(1, 11, 6), (4, 11, 3), (4, 12, 5), (16, 11, 2)])
@pytest.mark.parametrize("sink", [None, [0.5, 2.0, -1.0, 0.0]])
def test_sparse_index(heads, block, nk, width, sink):
    q, k, v = operands(20, batch=2, nq=7, nk=nk)
    indices = random_indices(21, heads, 7, -(-nk // block), width, batch=2)
    out, lse = ref.sparse_attention(q, k, v, indices, block=block, sink=sink, return_lse=True)
    want, want_lse = scalar_sparse(q, k, v, lambda b, h, i: indices[b, h * heads // 4, i].tolist(), ("causal",),
                                   lambda i: i + nk - 7, block, sink=sink)
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)
    assert (out[:, :, 0] == 0).all()


@pytest.mark.parametrize("cap", [None, 2.0])
def test_sparse_index_with_bias_window_and_soft_cap(cap):
    q, k, v = operands(22, nq=11, nk=11)
    indices = random_indices(23, 2, 11, 4, 4)
    bias = np.random.default_rng(24).normal(size=(1, 2, 11, 4))

    def bias_of(b, h, i, c):
        return bias[b, h // 2, i, indices[b, h // 2, i].tolist().index(c)]

    out = ref.sparse_attention(q, k, v, indices, bias=bias, block=3, keys=ref.Window(7),
                               score_mod=cap and ref.SoftCap(cap))
    want, _ = scalar_sparse(q, k, v, lambda b, h, i: indices[b, h // 2, i].tolist(), ("window", 7), lambda i: i, 3,
                            bias=bias_of, cap=cap)
    np.testing.assert_allclose(out, want, **TOL)


@pytest.mark.parametrize("block,nk", [(1, 70), (2, 70), (8, 70), (100, 70)])
def test_sparse_bitmask_with_bias(block, nk):
    q, k, v = operands(25, nq=5, nk=nk)
    num_blocks = -(-nk // block)
    rng = np.random.default_rng(26)
    chosen = rng.random((1, 2, 5, num_blocks)) < 0.4
    chosen[0, :, 2] = False
    mask = np.array([[[scalar.words_of(np.flatnonzero(row).tolist(), num_blocks) for row in head] for head in item]
                     for item in chosen])
    bias = rng.normal(size=chosen.shape)
    bias[0, 0, 1, 0] = -np.inf                  # excludes the block as if it were not selected
    out, lse = ref.sparse_attention(q, k, v, mask, bias=bias, block=block, format="bitmask", return_lse=True)
    want, want_lse = scalar_sparse(q, k, v, lambda b, h, i: np.flatnonzero(chosen[b, h // 2, i]).tolist(),
                                   ("causal",), lambda i: i + nk - 5, block,
                                   bias=lambda b, h, i, c: bias[b, h // 2, i, c])
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)


def test_sparse_entries_out_of_range_and_repeated_entries():
    q, k, v = operands(27, nq=11, nk=11)
    tidy = np.tile([0, 2, -1, -1, -1], (1, 2, 11, 1))
    messy = np.tile([2, 99, 0, -7, 2], (1, 2, 11, 1))
    np.testing.assert_array_equal(ref.sparse_attention(q, k, v, messy, block=4),
                                  ref.sparse_attention(q, k, v, tidy, block=4))
    with pytest.raises(ValueError, match="twice"):
        ref.sparse_attention(q, k, v, messy, block=4, bias=np.zeros((1, 2, 11, 5)))


@pytest.mark.parametrize("origin", ["absolute", "range_begin"])
def test_sparse_in_documents(origin):
    q, k, v = operands(28)
    ranges = [document_ranges(13, [(0, 5), (5, 6), (6, 13)], masked=[1])]
    indices = random_indices(29, 2, 13, 5, 3)
    out, lse = ref.sparse_attention(q, k, v, indices, block=3, valid_range=np.array(ranges), origin=origin,
                                    return_lse=True)
    want, want_lse = scalar_sparse(q, k, v, lambda b, h, i: indices[b, h // 2, i].tolist(), ("causal",),
                                   lambda i: i, 3, ranges=ranges, from_begin=origin == "range_begin")
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)


@pytest.mark.parametrize("origin", ["absolute", "range_begin"])
def test_sparse_packed(origin):
    q, k, v = operands(30, nq=13, nk=17)
    indices = random_indices(31, 2, 13, 9, 3)
    out, lse = ref.sparse_attention(*(x[0].swapaxes(0, 1) for x in (q, k, v)), indices[0], block=2, layout="thd",
                                    cu_seqlens_q=CU_Q, cu_seqlens_k=CU_K, origin=origin, return_lse=True)
    rows = scalar.packed_rows(CU_Q, CU_K)
    want, want_lse = scalar_sparse(q, k, v, lambda b, h, i: indices[b, h // 2, i].tolist(), ("causal",),
                                   lambda i: rows[i][0], 2, ranges=[[r for _, r in rows]],
                                   from_begin=origin == "range_begin")
    np.testing.assert_allclose(out, want[0].swapaxes(0, 1), **TOL)
    np.testing.assert_allclose(lse, want_lse[0], **TOL)


def test_all_blocks_selected_is_dense_attention():
    q, k, v = operands(32, nq=9, nk=11)
    every = np.tile(np.arange(4), (1, 1, 9, 1))
    np.testing.assert_array_equal(ref.sparse_attention(q, k, v, every, block=3),
                                  ref.attention(q, k, v, keys=ref.Causal()))


# ---- several sources in one softmax

@pytest.mark.parametrize("sink", [None, [0.5, 2.0, -1.0, 0.0]])
@pytest.mark.parametrize("offset", [None, 20])
def test_concat_of_window_and_selected_summaries(sink, offset):
    q, k, v = operands(33, hkv=1, nq=7, nk=12)
    _, k2, v2 = operands(34, hkv=1, nq=7, nk=5)
    indices = random_indices(35, 1, 7, 5, 3)
    out, lse = ref.concat_kv_attention(q, [k, k2], [v, v2], patterns=[ref.Window(4), ref.CompleteBlocks(4, 2)],
                                       selections=[None, indices], sink=sink, q_offset=offset, return_lse=True)
    for b, h, i in np.ndindex(1, 4, 7):
        p = i + (5 if offset is None else offset)
        row = q[b, h, i].tolist()
        z = {("raw", j): s for j, s in scalar.logits(row, k[b, 0].tolist(), scalar.visible_keys(
            ("window", 4), p, 12)).items()}
        seen = [j for j in scalar.visible_keys(("complete", 4, 2), p, 5) if j in indices[b, 0, i].tolist()]
        z.update({("summary", j): s for j, s in scalar.logits(row, k2[b, 0].tolist(), seen).items()})
        values = {("raw", j): x for j, x in enumerate(v[b, 0].tolist())}
        values.update({("summary", j): x for j, x in enumerate(v2[b, 0].tolist())})
        want, want_lse = scalar.attend(z, values, 3, None if sink is None else sink[h])
        np.testing.assert_allclose(out[b, h, i], want, **TOL)
        np.testing.assert_allclose(lse[b, h, i], want_lse, **TOL)


def test_concat_of_one_source_is_attention():
    q, k, v = operands(36, nq=4, nk=9)
    np.testing.assert_array_equal(ref.concat_kv_attention(q, [k], [v], patterns=[ref.Window(3)]),
                                  ref.attention(q, k, v, keys=ref.Window(3)))


# ---- refusals

@pytest.mark.parametrize("change,message", [
    (dict(layout="sbhd"), "layout must be one of"),
    (dict(layout="thd"), "needs rank 3"),
    (dict(keys="causal"), "keys must be a key pattern"),
    (dict(keys=ref.HeadTable((ref.Causal(),))), "one pattern for each of the 2 KV heads"),
    (dict(sink=[0.0, 0.0]), "sink"),
    (dict(valid_range=np.zeros((1, 3, 2), int)), "valid_range must have shape"),
    (dict(cu_seqlens_q=[0, 13]), "belong to layout thd"),
    (dict(selection=ref.TopK(2, 4)), "needs block_score"),
    (dict(selection=ref.TopK(2, 4), block_score=ref.BlockScore(8)), "must be equal"),
    (dict(block_score=ref.BlockScore(4, origin="range_begin")), "needs valid_range or the packed layout"),
    (dict(score_mod=lambda s: s), "SoftCap"),
    (dict(keys=ref.HeadTable((ref.Causal(), ref.CompleteBlocks(4)))), "mixes CompleteBlocks"),
])
def test_attention_refuses(change, message):
    q, k, v = operands(40)
    with pytest.raises(ValueError, match=message):
        ref.attention(q, k, v, **{"keys": ref.Causal(), **change})


def test_attention_refuses_shapes():
    q, k, v = operands(41)
    with pytest.raises(ValueError, match="cannot be shared evenly"):
        ref.attention(q[:, :3], k, v, keys=ref.Causal())
    with pytest.raises(ValueError, match="value"):
        ref.attention(q, k, v[:, :, :5], keys=ref.Causal())
    with pytest.raises(ValueError, match="key"):
        ref.attention(q, k[..., :2], v, keys=ref.Causal())
    with pytest.raises(ValueError, match="cu_seqlens_k must rise from 0 to 13"):
        ref.attention(*(x[0].swapaxes(0, 1) for x in (q, k, v)), keys=ref.Causal(), layout="thd",
                      cu_seqlens_q=[0, 13], cu_seqlens_k=[0, 12])
    with pytest.raises(ValueError, match="selection must have 1, 2"):
        ref.sparse_attention(q, k, v, np.zeros((1, 3, 13, 2), int), block=4)
    with pytest.raises(ValueError, match="query_block must be 1"):
        ref.sparse_attention(q, k, v, np.zeros((1, 2, 7, 2), int), block=4, query_block=2, origin="range_begin")
    with pytest.raises(ValueError, match="expected integers"):
        ref.sparse_attention(q, k, v, np.zeros((1, 2, 13, 2)), block=4)
    with pytest.raises(ValueError, match="different query offsets"):
        ref.concat_kv_attention(q, [k, k[:, :, :5]], [v, v[:, :, :5]], patterns=[ref.Full(), ref.Full()])


@pytest.mark.parametrize("make", [
    lambda: ref.Window(0), lambda: ref.Window(1.5), lambda: ref.PrefixLM(-1), lambda: ref.CompleteBlocks(0), lambda: ref.SoftCap(0.0),
    lambda: ref.BlockScore(4, kind="mean"), lambda: ref.TopK(0, 4), lambda: ref.TopK(2, 4, 2, 1),
    lambda: ref.HeadTable((ref.HeadTable(()),)), lambda: ref.Halley(-1),
])
def test_attributes_refuse_values_out_of_range(make):
    with pytest.raises(ValueError, match="must be|do not fit|holds plain"):
        make()
