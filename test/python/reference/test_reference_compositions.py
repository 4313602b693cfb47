"""Whole methods composed of operators against the scalar form of each method."""

import numpy as np
import pytest
import scalar
import scalar_methods as methods
from sparseattn import reference as ref
from sparseattn.reference import compositions as compose

TOL = dict(rtol=1e-9, atol=1e-11)
LENGTHS = [(37, 37), (1, 37), (3, 40), (5, 5)]      # prefill, decode, a late chunk of prefill, shorter than anything
GROUPS = [(4, 2), (3, 1), (16, 1)]


def heads(rng, *shapes):
    return [rng.normal(size=(1, *shape)) for shape in shapes]


def groups(q, hkv):
    """(row's group of query vectors, KV head, query index) of every row."""
    g = q.shape[1] // hkv
    for r, i in np.ndindex(hkv, q.shape[2]):
        yield q[0, r * g:(r + 1) * g, i].tolist(), r, i


def check_indices(got, kept):
    assert got.tolist() == scalar.pad(kept, got.shape[-1])


@pytest.mark.parametrize("nq,nk", LENGTHS)
@pytest.mark.parametrize("hq,hkv", GROUPS)
@pytest.mark.parametrize("kind", ["prob_max", "log_prob_max"])
def test_hysparse(nq, nk, hq, hkv, kind):
    rng = np.random.default_rng(1)
    q, qs, gate_s, gate_w = heads(rng, (hq, nq, 6), (hq, nq, 6), (hq, nq, 4), (hq, nq, 4))
    q *= rng.uniform(1, 4, size=(1, hq, 1, 1))      # heads of different sharpness: raw logits would choose otherwise
    k, v, k_own, v_own = heads(rng, (hkv, nk, 6), (hkv, nk, 4), (hkv, nk, 6), (hkv, nk, 4))
    sinks = rng.normal(size=(2, hq))
    out, indices = compose.hysparse_full(q, k, v, block=4, k=3, kind=kind)
    sparse = compose.hysparse_sparse(qs, k, v, indices, k_own, v_own, gate_s, gate_w, block=4, window=7,
                                     sink_sparse=sinks[0], sink_window=sinks[1])
    g = hq // hkv
    for group, r, i in groups(q, hkv):
        p = i + nk - nq
        want, kept = methods.hysparse_full_row(group, k[0, r].tolist(), v[0, r].tolist(), p, 4, 3)
        np.testing.assert_allclose(out[0, r * g:(r + 1) * g, i], want, **TOL)
        check_indices(indices[0, r, i], kept)
        for h in range(r * g, (r + 1) * g):
            want = methods.hysparse_sparse_row(
                qs[0, h, i].tolist(), k[0, r].tolist(), v[0, r].tolist(), k_own[0, r].tolist(), v_own[0, r].tolist(),
                kept, p, 4, 7, sinks[:, h], (gate_s[0, h, i], gate_w[0, h, i]))
            np.testing.assert_allclose(sparse[0, h, i], want, **TOL)


def test_hysparse_group_maximum_of_raw_logits_chooses_other_blocks():
    # Rule 1 of the specification: every head's lse comes before the maximum over the group.
    rng = np.random.default_rng(2)
    q, k, v = heads(rng, (4, 200, 16), (1, 200, 16), (1, 200, 4))
    q *= np.array([1, 2, 3, 4])[None, :, None, None]
    chosen = {kind: ref.attention(q, k, v, keys=ref.Causal(), block_score=ref.BlockScore(16, kind),
                                  selection=ref.TopK(3, 16))[1] for kind in ("prob_max", "log_prob_max", "logit_max")}
    np.testing.assert_array_equal(chosen["prob_max"], chosen["log_prob_max"])
    differs = (chosen["prob_max"] != chosen["logit_max"]).any(axis=-1)[0, 0, 100:]
    assert differs.mean() > 0.3


@pytest.mark.parametrize("nq,nk", LENGTHS)
@pytest.mark.parametrize("hq,hkv", [(4, 1), (4, 2)])
def test_hysparse2(nq, nk, hq, hkv):
    rng = np.random.default_rng(3)
    q, qs, gate = heads(rng, (hq, nq, 6), (hq, nq, 6), (hq, nq, 4))
    k, v = heads(rng, (hkv, nk, 6), (hkv, nk, 4))
    sink = rng.normal(size=hq)
    _, indices = compose.hysparse2_full(q, k, v, k=5, window=7)
    out = compose.hysparse2_sparse(qs, k, v, indices, gate, sink=sink)
    g = hq // hkv
    for group, r, i in groups(q, hkv):
        kept = methods.hysparse2_tokens(group, k[0, r].tolist(), v[0, r].tolist(), i + nk - nq, 7, 5)
        check_indices(indices[0, r, i], kept)
        for h in range(r * g, (r + 1) * g):
            want, _ = scalar.attend(scalar.logits(qs[0, h, i].tolist(), k[0, r].tolist(), kept), v[0, r].tolist(), 4,
                                    sink[h])
            want = [scalar.sigmoid(a) * x for a, x in zip(gate[0, h, i], want)]
            np.testing.assert_allclose(out[0, h, i], want, **TOL)


def test_hysparse2_bridged_layers_read_projected_keys():
    rng = np.random.default_rng(4)
    hidden, w_k, w_v = rng.normal(size=(1, 9, 5)), rng.normal(size=(5, 6)), rng.normal(size=(5, 4))
    queries = heads(rng, (2, 9, 6), (2, 9, 6))
    k = (hidden @ w_k)[:, None]
    v = (hidden @ w_v)[:, None]
    for out, q in zip(compose.yoco_cross(hidden, w_k, w_v, queries, kv_heads=1), queries):
        for group, r, i in groups(q, 1):
            want = [scalar.attend(scalar.logits(row, k[0, 0].tolist(), range(i + 1)), v[0, 0].tolist(), 4)[0]
                    for row in group]
            np.testing.assert_allclose(out[0, :, i], want, **TOL)


@pytest.mark.parametrize("nq,nk", LENGTHS)
@pytest.mark.parametrize("hq,hkv", GROUPS)
@pytest.mark.parametrize("sigma", [1e6, 2.0])
def test_dash(nq, nk, hq, hkv, sigma):
    rng = np.random.default_rng(5)
    q, k, v = heads(rng, (hq, nq, 6), (hkv, nk, 6), (hkv, nk, 4))
    query = rng.normal(size=(hkv, 6))
    out, mask, _ = compose.dash(q, k, v, query, block=4, gamma=3.0, solver=ref.Sort(), sigma=sigma)
    g = hq // hkv
    for group, r, i in groups(q, hkv):
        p = i + nk - nq
        rows = k[0, r].tolist()
        summaries = [scalar.learned_summary(rows, keys, query[r].tolist()) for keys in scalar.chunks(nk, 4, 4, True)]
        want, routed = methods.dash_row(group, rows, v[0, r].tolist(), summaries, p, 4, 3.0, sigma)
        np.testing.assert_allclose(out[0, r * g:(r + 1) * g, i], want, **TOL)
        assert scalar.columns_of(mask[0, r, i].tolist()) == routed


def test_dash_with_the_default_sigma_is_a_plain_softmax_on_the_support():
    rng = np.random.default_rng(6)
    q, k, v = heads(rng, (4, 64, 8), (2, 64, 8), (2, 64, 8))
    out, mask, bias = compose.dash(q, k, v, np.zeros((2, 8)), block=4)
    plain = ref.sparse_attention(q, k, v, mask, block=4, format="bitmask")
    assert 0 < np.abs(bias).max() < 2e-5
    np.testing.assert_allclose(out, plain, atol=1e-4)


@pytest.mark.parametrize("nq,nk", LENGTHS)
def test_consa(nq, nk):
    rng = np.random.default_rng(7)
    windows = [None, 3, 100, 8]
    q, k, v = heads(rng, (8, nq, 6), (4, nk, 6), (4, nk, 4))
    out = compose.consa(q, k, v, windows)
    for group, r, i in groups(q, 4):
        p = i + nk - nq
        first = 0 if windows[r] is None else max(0, p - windows[r] + 1)
        want = [scalar.attend(scalar.logits(row, k[0, r].tolist(), range(first, p + 1)), v[0, r].tolist(), 4)[0]
                for row in group]
        np.testing.assert_allclose(out[0, 2 * r:2 * r + 2, i], want, **TOL)


def test_consa_decodes_from_a_ragged_cache():
    rng = np.random.default_rng(8)
    windows = [None, 3, 8]
    q, k, v = heads(rng, (6, 12, 6), (3, 12, 6), (3, 12, 4))
    cache = ref.KVCache.create([ref.FullCache() if w is None else ref.RingCache(w) for w in windows], batch=1, d=6,
                               dv=4)
    whole = compose.consa(q, k, v, windows)
    for t in range(12):
        cache = cache.append(k[:, :, t:t + 1], v[:, :, t:t + 1], pos=t)
        for r in range(3):
            own_k, own_v = (x[:, None] for x in cache.read_head(r))
            step = ref.attention(q[:, 2 * r:2 * r + 2, t:t + 1], own_k, own_v, keys=ref.Full())
            np.testing.assert_allclose(step, whole[:, 2 * r:2 * r + 2, t:t + 1], **TOL)


@pytest.mark.parametrize("nq,nk", LENGTHS + [(2, 3), (50, 50)])
@pytest.mark.parametrize("mlp", [False, True])
def test_nsa(nq, nk, mlp):
    rng = np.random.default_rng(9)
    hq, hkv, block, stride, select_block = 4, 2, 4, 2, 8
    q, gates = rng.normal(size=(1, hq, nq, 6)), list(rng.normal(size=(3, 1, hq, nq)))
    branches = [heads(rng, (hkv, nk, 6), (hkv, nk, 4)) for _ in range(3)]
    weights = [None, None]
    if mlp:
        weights = [(rng.normal(size=(block * d, 5)), rng.normal(size=(5, d)), rng.normal(size=(block, d)))
                   for d in (6, 4)]
    out, indices = compose.nsa(q, *branches, gates, block=block, stride=stride, select_block=select_block, k=4,
                               window=5, key_weights=weights[0], value_weights=weights[1])
    for group, r, i in groups(q, hkv):
        def compress(x, w):
            return [scalar.mean_of(x, keys) if w is None else scalar.mlp_summary(x, keys, *(a.tolist() for a in w))
                    for keys in scalar.chunks(nk, block, stride, True)]

        cmp, slc, win = ([x[0, r].tolist() for x in branch] for branch in branches)
        cmp = [compress(x, w) for x, w in zip(cmp, weights)]
        row_gates = [[gates[n][0, h, i] for n in range(3)] for h in (2 * r, 2 * r + 1)]
        want, kept = methods.nsa_row(group, cmp, slc, win, row_gates, i + nk - nq, block, stride, select_block, 4, 5)
        np.testing.assert_allclose(out[0, 2 * r:2 * r + 2, i], want, **TOL)
        check_indices(indices[0, r, i], kept)


@pytest.mark.parametrize("nq,nk", LENGTHS + [(2, 3), (50, 50)])
def test_infllmv2(nq, nk):
    rng = np.random.default_rng(10)
    q, k, v = heads(rng, (16, nq, 6), (1, nk, 6), (1, nk, 4))
    out, indices = compose.infllmv2(q, k, v, block=4, stride=2, select_block=8, k=4, window=16)
    for group, r, i in groups(q, 1):
        want, kept = methods.infllmv2_row(group, k[0, r].tolist(), v[0, r].tolist(), i + nk - nq, 4, 2, 8, 4, 16)
        np.testing.assert_allclose(out[0, :, i], want, **TOL)
        check_indices(indices[0, r, i], kept)


@pytest.mark.parametrize("nq,nk", LENGTHS)
def test_dsa(nq, nk):
    rng = np.random.default_rng(11)
    q, k, v = heads(rng, (4, nq, 6), (1, nk, 6), (1, nk, 4))
    iq, ik = heads(rng, (5, nq, 3), (1, nk, 3))
    weight = rng.random(size=(1, nq, 5))
    out, indices = compose.dsa(q, k, v, iq, ik, weight, k=6)
    for group, _, i in groups(q, 1):
        kept = methods.dsa_tokens(iq[0, :, i].tolist(), ik[0, 0].tolist(), weight[0, i].tolist(), i + nk - nq, 6)
        check_indices(indices[0, 0, i], kept)
        want = [scalar.attend(scalar.logits(row, k[0, 0].tolist(), kept), v[0, 0].tolist(), 4)[0] for row in group]
        np.testing.assert_allclose(out[0, :, i], want, **TOL)


@pytest.mark.parametrize("nq,nk", LENGTHS)
def test_msa(nq, nk):
    rng = np.random.default_rng(12)
    q, k, v = heads(rng, (6, nq, 6), (3, nk, 6), (3, nk, 4))
    iq, ik = heads(rng, (3, nq, 3), (1, nk, 3))
    out, indices = compose.msa(q, k, v, iq, ik, block=4, k=3)
    for group, r, i in groups(q, 3):
        p = i + nk - nq
        kept = methods.msa_blocks(iq[0, r, i].tolist(), ik[0, 0].tolist(), p, 4, 3)
        check_indices(indices[0, r, i], kept)
        keys = methods.keys_of_blocks(kept, 4, p)
        want = [scalar.attend(scalar.logits(row, k[0, r].tolist(), keys), v[0, r].tolist(), 4)[0] for row in group]
        np.testing.assert_allclose(out[0, 2 * r:2 * r + 2, i], want, **TOL)


@pytest.mark.parametrize("nq,nk", LENGTHS)
def test_moba(nq, nk):
    rng = np.random.default_rng(13)
    q, k, v = heads(rng, (4, nq, 6), (2, nk, 6), (2, nk, 4))
    out, indices = compose.moba(q, k, v, block=4, k=3)
    for h, i in np.ndindex(4, nq):
        p, r = i + nk - nq, h // 2
        row = q[0, h, i].tolist()
        kept = methods.moba_chunks(row, k[0, r].tolist(), p, 4, 3)
        check_indices(indices[0, h, i], kept)
        keys = methods.keys_of_blocks(kept, 4, p)
        want, _ = scalar.attend(scalar.logits(row, k[0, r].tolist(), keys), v[0, r].tolist(), 4)
        np.testing.assert_allclose(out[0, h, i], want, **TOL)


@pytest.mark.parametrize("nk", [1, 3, 4, 37, 40])
def test_quest(nk):
    rng = np.random.default_rng(14)
    q, k, v = heads(rng, (4, 1, 6), (2, nk, 6), (2, nk, 4))
    out, indices = compose.quest(q, k, v, block=4, k=3)
    for h in range(4):
        row, rows = q[0, h, 0].tolist(), k[0, h // 2].tolist()
        kept = methods.quest_pages(row, rows, 4, 3)
        check_indices(indices[0, h, 0], kept)
        keys = methods.keys_of_blocks(kept, 4, nk - 1)
        want, _ = scalar.attend(scalar.logits(row, rows, keys), v[0, h // 2].tolist(), 4)
        np.testing.assert_allclose(out[0, h, 0], want, **TOL)


@pytest.mark.parametrize("nq,nk", LENGTHS)
@pytest.mark.parametrize("block,stride,indexed", [(8, 4, True), (8, 4, False), (6, 6, False)])
def test_csa_and_hca(nq, nk, block, stride, indexed):
    rng = np.random.default_rng(15)
    q, kv, gate = heads(rng, (4, nq, 8), (1, nk, 8), (1, nk, 8))
    ikv, igate, iq = heads(rng, (1, nk, 3), (1, nk, 3), (5, nq, 3))
    position, iposition = rng.normal(size=(block, 8)), rng.normal(size=(block, 3))
    sink, weight = rng.normal(size=4), rng.random(size=(1, nq, 5))
    entries = compose.csa_compress(kv, gate, position, block=block, stride=stride)
    index = dict(index_query=iq, index_key=compose.csa_compress(ikv, igate, iposition, block=block, stride=stride),
                 head_weight=weight) if indexed else {}
    out, indices = compose.csa(q, kv, entries, sink, k=3, window=5, block=block, stride=stride, rope_dims=4,
                               base=100.0, **index)
    rows, chunks = kv[0, 0].tolist(), scalar.chunks(nk, block, stride, True)
    want_entries = [scalar.gated_summary(rows, keys, gate[0, 0].tolist(), position.tolist()) for keys in chunks]
    want_index = [scalar.gated_summary(ikv[0, 0].tolist(), keys, igate[0, 0].tolist(), iposition.tolist())
                  for keys in chunks]
    for h, i in np.ndindex(4, nq):
        p = i + nk - nq
        kept = [c for c, keys in enumerate(chunks) if keys[-1] <= p]
        if indexed:
            score = {c: methods.indexer(iq[0, :, i].tolist(), want_index[c], weight[0, i].tolist()) for c in kept}
            kept = sorted(sorted(kept, key=lambda c: (-score[c], c))[:3])
            check_indices(indices[0, 0, i], kept)
        want = methods.csa_row(q[0, h, i].tolist(), rows, want_entries, kept, sink[h], p, 5, 4, 100.0)
        np.testing.assert_allclose(out[0, h, i], want, **TOL)
