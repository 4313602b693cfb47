"""Masks, unions, gates, merges, caches, bridges, rotary embedding and normalisation."""

import numpy as np
import pytest
import scalar
from sparseattn import reference as ref

TOL = dict(rtol=1e-12, atol=1e-13)


# ---- masks

@pytest.mark.parametrize("m", [1, 31, 32, 33, 64, 100])
def test_packing(m):
    chosen = np.random.default_rng(m).random((2, 3, m)) < 0.5
    chosen[0, 0], chosen[0, 1] = True, False
    words = ref.pack_bits(chosen)
    assert words.dtype == np.int32
    for row in np.ndindex(2, 3):
        assert words[row].tolist() == scalar.words_of(np.flatnonzero(chosen[row]).tolist(), m)
    np.testing.assert_array_equal(ref.unpack_bits(words, m), chosen)


@pytest.mark.parametrize("cap", [0, 1, 5, 40, 80])
def test_mask_to_index(cap):
    rng = np.random.default_rng(1)
    mask = rng.integers(-2**31, 2**31, size=(1, 2, 3, 2)).astype(np.int32)
    mask[0, 0, 0], mask[0, 0, 1] = 0, -1
    indices, count = ref.mask_to_index(mask, cap=cap)
    assert indices.dtype == count.dtype == np.int32
    for row in np.ndindex(1, 2, 3):
        kept = scalar.columns_of(mask[row].tolist())[:cap]
        assert indices[row].tolist() == scalar.pad(kept, cap) and count[row] == len(kept)


def test_index_to_mask_skips_entries_out_of_range():
    indices = np.array([[[[3, 31, -1, 40, 32]], [[-1, -1, -1, -1, -5]]]])
    got = ref.index_to_mask(indices, num_blocks=40)
    assert got.tolist() == [[[scalar.words_of([3, 31, 32], 40)], [[0, 0]]]]


@pytest.mark.parametrize("nq,tile", [(7, 3), (8, 4), (5, 1), (3, 8)])
@pytest.mark.parametrize("cap", [None, 4, 40])
def test_union_tile(nq, tile, cap):
    rng = np.random.default_rng(2)
    indices = rng.integers(-1, 9, size=(2, 2, nq, 3))
    tiles, bits = ref.union_tile(indices, tile=tile, cap=cap)
    width = tile * 3 if cap is None else cap
    assert tiles.shape == (2, 2, -(-nq // tile), width) and bits.shape == (2, 2, nq, -(-width // 32))
    for b, h, i in np.ndindex(2, 2, nq):
        first = i // tile * tile
        union = sorted({c for n in range(first, min(first + tile, nq)) for c in indices[b, h, n].tolist() if c >= 0})
        assert tiles[b, h, i // tile].tolist() == scalar.pad(union[:width], width)
        own = [u for u, c in enumerate(union[:width]) if c in indices[b, h, i].tolist()]
        assert scalar.columns_of(bits[b, h, i].tolist()) == own


# ---- gates and merges

@pytest.mark.parametrize("gate", ["elementwise", "headwise"])
@pytest.mark.parametrize("activation", ["sigmoid", "none"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_gated_combine(gate, activation, n):
    rng = np.random.default_rng(3)
    shape = (1, 2, 3, 4)
    outs = rng.normal(size=(n, *shape))
    gates = 3 * rng.normal(size=(n, *shape) if gate == "elementwise" else (n, *shape[:-1]))
    got = ref.gated_combine(list(outs), list(gates), gate=gate, activation=activation)
    act = scalar.sigmoid if activation == "sigmoid" else float
    for at in np.ndindex(shape):
        want = sum(act(gates[(m, *at)] if gate == "elementwise" else gates[(m, *at[:-1])]) * outs[(m, *at)]
                   for m in range(n))
        np.testing.assert_allclose(got[at], want, **TOL)


def test_sigmoid_does_not_overflow():
    np.testing.assert_array_equal(ref.sigmoid(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("with_sink", [False, True])
@pytest.mark.parametrize("layout", ["bhsd", "bshd", "thd"])
def test_lse_merge(parts, with_sink, layout):
    rng = np.random.default_rng(4)
    outs, lses = rng.normal(size=(parts, 1, 2, 3, 4)), 3 * rng.normal(size=(parts, 1, 2, 3))
    lses[0, 0, 0, 0], outs[0, 0, 0, 0] = -np.inf, 0.0
    lses[:, 0, 1, 2], outs[:, 0, 1, 2] = -np.inf, 0.0            # empty everywhere
    sink = np.array([0.5, -1.0]) if with_sink else None

    def turned(o):
        return {"bhsd": o, "bshd": o.swapaxes(1, 2), "thd": o[0].swapaxes(0, 1)}[layout]

    out, lse = ref.lse_merge([turned(o) for o in outs], [l[0] if layout == "thd" else l for l in lses], sink=sink,
                             layout=layout)
    want_out, want_lse = np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3))
    for at in np.ndindex(1, 2, 3):
        want_out[at], want_lse[at] = scalar.lse_merge([(o[at].tolist(), l[at]) for o, l in zip(outs, lses)],
                                                      sink[at[1]] if with_sink else None)
    np.testing.assert_allclose(out, turned(want_out), **TOL)
    np.testing.assert_allclose(lse, want_lse[0] if layout == "thd" else want_lse, **TOL)


@pytest.mark.parametrize("constants", [{}, dict(beta=0.5, gamma=-0.2, zeta=1.3)])
def test_hard_concrete_gate(constants):
    rng = np.random.default_rng(5)
    log_alpha, noise = 4 * rng.normal(size=40), rng.uniform(0.001, 0.999, size=40)
    z, expected = ref.hard_concrete_gate(log_alpha, noise, **constants)
    beta, gamma, zeta = (constants.get(n, d) for n, d in (("beta", 2 / 3), ("gamma", -0.1), ("zeta", 1.1)))
    want = [scalar.hard_concrete(a, u, beta, gamma, zeta) for a, u in zip(log_alpha, noise)]
    np.testing.assert_allclose(np.stack([z, expected], axis=1), want, **TOL)
    assert (z == 0).any() and (z == 1).any() and ((z > 0) & (z < 1)).any()


def test_expected_open_is_the_probability_of_an_open_gate():
    noise = (np.arange(20000) + 0.5) / 20000
    for log_alpha in (-2.0, 0.0, 1.5):
        z, expected = ref.hard_concrete_gate(np.full(20000, log_alpha), noise)
        assert abs((z > 0).mean() - expected[0]) < 1e-4


@pytest.mark.parametrize("call,message", [
    (lambda: ref.gated_combine([], []), "one gate for each output"),
    (lambda: ref.gated_combine([np.zeros((1, 2))], [np.zeros(1)]), "gate 0"),
    (lambda: ref.gated_combine([np.zeros((1, 2))], [np.zeros((1, 2))], activation="tanh"), "activation"),
    (lambda: ref.lse_merge([np.zeros((1, 2, 3, 4))], [np.zeros((1, 3, 2))]), "lse 0"),
    (lambda: ref.hard_concrete_gate(np.zeros(2), np.array([0.5, 1.0])), "strictly between"),
    (lambda: ref.hard_concrete_gate(np.zeros(2), np.full(2, 0.5), gamma=0.1), "gamma < 0"),
    (lambda: ref.union_tile(np.zeros((1, 1, 2, 2), int), tile=0), "tile must be"),
    (lambda: ref.mask_to_index(np.zeros((1, 1)), cap=1), "expected integers"),
])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- caches

def tokens(seed, n, heads=2, batch=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, heads, n, 3)), rng.normal(size=(batch, heads, n, 2))


STEPS = [[1] * 9, [4, 1, 4], [5, 1, 1, 1, 1], [3], [4], [5], [11, 2], [0, 4, 0, 1]]      # around and across w = 4


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("w", [None, 1, 4])
def test_cache_holds_the_last_tokens_in_order(steps, w):
    k, v = tokens(6, sum(steps))
    cache = ref.KVCache.create(ref.FullCache() if w is None else ref.RingCache(w), batch=2, d=3, dv=2, kv_heads=2)
    done = 0
    for n in steps:
        cache = cache.append(k[:, :, done:done + n], v[:, :, done:done + n], pos=done)
        done += n
        first = 0 if w is None else max(0, done - w)
        got_k, got_v = cache.read()
        np.testing.assert_array_equal(got_k, k[:, :, first:done])
        np.testing.assert_array_equal(got_v, v[:, :, first:done])
        assert cache.positions().tolist() == list(range(first, done)) and cache.length == done
        if w is not None:
            assert cache.keys[0].shape[1] == w
            for p in range(first, done):
                np.testing.assert_array_equal(cache.keys[1][:, p % w], k[:, 1, p])


def test_ragged_cache_keeps_each_heads_own_length():
    k, v = tokens(7, 7, heads=3)
    kinds = (ref.FullCache(), ref.RingCache(2), ref.RingCache(5))
    cache = ref.KVCache.create(kinds, batch=2, d=3, dv=2).append(k, v)
    for head, first in enumerate((0, 5, 2)):
        got_k, got_v = cache.read_head(head)
        np.testing.assert_array_equal(got_k, k[:, head, first:])
        np.testing.assert_array_equal(got_v, v[:, head, first:])
    with pytest.raises(ValueError, match="different numbers of tokens"):
        cache.read()


def test_cache_is_a_value():
    k, v = tokens(8, 6)
    before = ref.KVCache.create(ref.RingCache(4), batch=2, d=3, dv=2, kv_heads=2).append(k[:, :, :4], v[:, :, :4])
    before.append(k[:, :, 4:], v[:, :, 4:])
    np.testing.assert_array_equal(before.read()[0], k[:, :, :4])


@pytest.mark.parametrize("w", [3, 4, 5])
def test_decoding_from_a_ring_is_windowed_attention(w):
    # Tokens w - 1, w and w + 1 of the ring, rotated by absolute positions that the ring does not change.
    rng = np.random.default_rng(9)
    q, (k, v) = rng.normal(size=(2, 4, 8, 4)), (rng.normal(size=(2, 2, 8, n)) for n in (4, 2))
    q, k = ref.rope(q), ref.rope(k)
    whole = ref.attention(q, k, v, keys=ref.Window(w))
    cache = ref.KVCache.create(ref.RingCache(w), batch=2, d=4, dv=2, kv_heads=2)
    for t in range(8):
        cache = cache.append(k[:, :, t:t + 1], v[:, :, t:t + 1], layout="bhsd", pos=t)
        step = ref.attention(q[:, :, t:t + 1], *cache.read(), keys=ref.Full())
        np.testing.assert_allclose(step, whole[:, :, t:t + 1], **TOL)


def test_cache_refusals():
    k, v = tokens(10, 2)
    cache = ref.KVCache.create(ref.FullCache(), batch=2, d=3, dv=2, kv_heads=2)
    with pytest.raises(ValueError, match="at position 0 only, found pos = 1"):
        cache.append(k, v, pos=1)
    with pytest.raises(ValueError, match="key must have shape"):
        cache.append(k[:, :1], v[:, :1])
    with pytest.raises(ValueError, match="for each KV head"):
        ref.KVCache.create(("full",), batch=1, d=3)
    with pytest.raises(ValueError, match="ring's width"):
        ref.RingCache(0)


def test_cache_layout():
    k, v = tokens(11, 3)
    cache = ref.KVCache.create(ref.FullCache(), batch=2, d=3, dv=2, kv_heads=2)
    got = cache.append(k.swapaxes(1, 2), v.swapaxes(1, 2), layout="bshd").read(layout="bshd")
    np.testing.assert_array_equal(got[0], k.swapaxes(1, 2))


# ---- bridges, rotary embedding, normalisation

def test_kv_bridge():
    rng = np.random.default_rng(12)
    hidden, w_k, w_v = rng.normal(size=(2, 3, 5)), rng.normal(size=(5, 8)), rng.normal(size=(5, 4))
    k, v = ref.kv_bridge(hidden, w_k, w_v, kv_heads=2, source_layer=7)
    for got, weight, d in ((k, w_k, 4), (v, w_v, 2)):
        assert got.shape == (2, 2, 3, d)
        for b, r, i, e in np.ndindex(got.shape):
            np.testing.assert_allclose(got[b, r, i, e], scalar.dot(hidden[b, i], weight[:, r * d + e]), **TOL)
    np.testing.assert_array_equal(ref.kv_bridge(hidden, w_k, w_v, kv_heads=2, layout="bshd")[0], k.swapaxes(1, 2))
    with pytest.raises(ValueError, match="cannot share evenly"):
        ref.kv_bridge(hidden, w_k, w_v, kv_heads=3)


def test_kv_share_changes_nothing():
    k, v = tokens(13, 3)
    shared = ref.kv_share(k, v, producer_layer=2, what="kv")
    np.testing.assert_array_equal(shared[0], k)
    np.testing.assert_array_equal(shared[1], v)
    with pytest.raises(ValueError, match="what must be"):
        ref.kv_share(k, v, what="cache")


@pytest.mark.parametrize("dims", [None, 4, 2, 0])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("offset", [None, 100])
def test_rope(dims, inverse, interleaved, offset):
    x = np.random.default_rng(14).normal(size=(1, 2, 5, 6))
    got = ref.rope(x, q_offset=offset, base=500.0, dims=dims, inverse=inverse, interleaved=interleaved)
    for b, h, i in np.ndindex(1, 2, 5):
        want = scalar.rope(x[b, h, i].tolist(), i + (offset or 0), 500.0, 6 if dims is None else dims, inverse,
                           interleaved)
        np.testing.assert_allclose(got[b, h, i], want, **TOL)
    back = ref.rope(got, q_offset=offset, base=500.0, dims=dims, inverse=not inverse, interleaved=interleaved)
    np.testing.assert_allclose(back, x, **TOL)


def test_rope_layout_relative_positions_and_refusal():
    rng = np.random.default_rng(15)
    x = rng.normal(size=(1, 2, 5, 6))
    np.testing.assert_array_equal(ref.rope(x.swapaxes(1, 2), layout="bshd").swapaxes(1, 2), ref.rope(x))
    k = rng.normal(size=(1, 2, 5, 6))
    near, far = (ref.rope(x, q_offset=o) @ ref.rope(k, q_offset=o).swapaxes(-1, -2) for o in (0, 77))
    np.testing.assert_allclose(near, far, rtol=1e-9, atol=1e-11)
    for dims in (3, 8):
        with pytest.raises(ValueError, match="dims must be even"):
            ref.rope(x, dims=dims)


@pytest.mark.parametrize("weighted", [False, True])
def test_rms_norm(weighted):
    rng = np.random.default_rng(16)
    x, weight = rng.normal(size=(2, 3, 5)), rng.normal(size=5) if weighted else None
    got = ref.rms_norm(x, weight, eps=0.01)
    for at in np.ndindex(2, 3):
        want = scalar.rms_norm(x[at].tolist(), [1.0] * 5 if weight is None else weight.tolist(), 0.01)
        np.testing.assert_allclose(got[at], want, **TOL)
    with pytest.raises(ValueError, match="weight"):
        ref.rms_norm(x, np.ones(4))
