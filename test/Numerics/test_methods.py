"""Whole methods of the specification, compiled from test/Methods, against the reference's compositions.

Selections may differ from the reference's where two scores nearly tie (specification §10.5): the rows that agree
are compared, and nearly all must agree.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from compare import DTYPES, assert_matches, assert_selects
from harness import as_tuple
from sparseattn import reference as ref
from sparseattn.compiler import compile_cpu, run_pipeline
from sparseattn.reference import compositions

METHODS = Path(__file__).resolve().parent.parent / "Methods"


@lru_cache(maxsize=None)
def load(name):
    text = (METHODS / f"{name}.mlir").read_text()
    if "kv_cache" in text:
        # Callers hold caches as tensors of their slots.
        text = run_pipeline(text, "convert-sparseattn-cache-to-tensor", name=name)
    return compile_cpu(text, name=name)


def operands(function, seed=0, *, spread=1.0):
    """Gaussian operands for a function of tensors; ``spread`` scales the first, the query."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=x.shape).astype(DTYPES[x.dtype]) for x in function.arguments]
    arrays[0] = (spread * arrays[0]).astype(arrays[0].dtype)
    return arrays


@pytest.fixture
def scores(monkeypatch):
    """The scores of all selections that the compositions make, in order."""
    recorded = []

    def record(score, **attributes):
        recorded.append(np.asarray(score))
        return ref.select_topk(score, **attributes)

    monkeypatch.setattr(compositions, "select_topk", record)
    return recorded


def agreeing_rows(out, got, want, score):
    """A mask over ``out`` [B,Hq,Nq,dv] of the rows whose selections are equal; checks the others' scores."""
    assert_selects("selection", got, want, score)
    same = (got == want).all(axis=-1)
    assert same.mean() > 0.98
    return np.broadcast_to(np.repeat(same, out.shape[1] // same.shape[1], axis=1)[..., None], out.shape)


def check_selecting(function, arrays, expected, score):
    """Results (out, ..., indices) of a layer that selects."""
    got = as_tuple(function(*arrays))
    rows = agreeing_rows(got[0], got[-1], expected[-1], score)
    assert_matches("out", got[0][rows], expected[0][rows])
    for mine, theirs in zip(got[1:-1], expected[1:-1], strict=True):
        assert_matches("lse", mine, theirs)


SEEDS = pytest.mark.parametrize("seed,spread", [(0, 1.0), (1, 3.0)])


# ---- full attention, windows, sinks (§1, §6.8)

@SEEDS
@pytest.mark.parametrize("name,attributes", [
    ("full", dict(keys=ref.Full())),
    ("causal", dict(keys=ref.Causal())),
    ("window", dict(keys=ref.Window(32), score_mod=ref.SoftCap(50.0))),
    ("decode", dict(keys=ref.Window(32))),
])
def test_plain(name, attributes, seed, spread):
    function = load("plain")(name)
    arrays = operands(function, seed, spread=spread)
    assert_matches("out", *as_tuple(function(*arrays)), ref.attention(*arrays, **attributes))


@SEEDS
def test_window_with_sink(seed, spread):
    function = load("plain")("window_with_sink")
    q, k, v, sink = operands(function, seed, spread=spread)
    assert_matches("out", function(q, k, v, sink), ref.attention(q, k, v, keys=ref.Window(32), sink=sink))


@pytest.mark.parametrize("first", [40, 0, 1, 100])
def test_packed(first):
    function = load("plain")("packed")
    q, k, v, _ = operands(function)
    documents = np.array([0, first, 100], np.int32)
    want = ref.attention(q, k, v, keys=ref.Causal(), cu_seqlens_q=documents, cu_seqlens_k=documents, layout="thd")
    assert_matches("out", function(q, k, v, documents), want)


# ---- HySparse and HySparse2 (§2, §3)

def block_score(arrays, score):
    return ref.attention(*arrays, keys=ref.Causal(), block_score=score)[1]


@SEEDS
def test_hysparse_full_layer(seed, spread):
    function = load("hysparse")("full_layer")
    arrays = operands(function, seed, spread=spread)
    out, indices = compositions.hysparse_full(*arrays, block=16, k=3)
    _, lse = ref.attention(*arrays, keys=ref.Causal(), return_lse=True)
    check_selecting(function, arrays, (out, lse, indices), block_score(arrays, ref.BlockScore(16)))


def random_blocks(seed):
    """[1,2,100,3] distinct blocks of 16 that are not in the future, ascending, padded with -1."""
    score = np.random.default_rng(seed).random((1, 2, 100, 7))
    return ref.select_topk(score, select=ref.TopK(3, 16))


@SEEDS
def test_hysparse_sparse_layer(seed, spread):
    function = load("hysparse")("sparse_layer")
    arrays = operands(function, seed, spread=spread)
    arrays[3] = random_blocks(seed)
    *tensors, sink_sparse, sink_window = arrays
    want = compositions.hysparse_sparse(*tensors, block=16, window=8, sink_sparse=sink_sparse, sink_window=sink_window)
    assert_matches("out", function(*arrays), want)


@SEEDS
def test_hysparse_hybrid_block(seed, spread):
    """One full layer and two sparse layers that read its keys, values and selection."""
    function = load("hysparse")("hybrid_block")
    arrays = operands(function, seed, spread=spread)
    q0, k0, v0, q1, k1, v1, q2, k2, v2, gate, sink = arrays
    out0, indices = compositions.hysparse_full(q0, k0, v0, block=16, k=3)
    # The selection stays inside; where it nearly ties, the compiled layers may follow another one.
    score = np.sort(block_score((q0, k0, v0), ref.BlockScore(16)), axis=-1)
    clear = (score[..., -3] - score[..., -4] > 1e-5) | (score[..., -4] == 0)
    assert clear.mean() > 0.98
    rows = np.broadcast_to(np.repeat(clear, 2, axis=1)[..., None], out0.shape)
    got = function(*arrays)
    assert_matches("full layer", got[0], out0)
    for mine, (q, k, v) in zip(got[1:], [(q1, k1, v1), (q2, k2, v2)], strict=True):
        want = compositions.hysparse_sparse(q, k0, v0, indices, k, v, gate, gate, block=16, window=8,
                                            sink_sparse=sink, sink_window=sink)
        assert_matches("sparse layer", mine[rows], want[rows])


@SEEDS
def test_hysparse2_full_layer(seed, spread):
    function = load("hysparse2")("full_layer")
    arrays = operands(function, seed, spread=spread)
    want = compositions.hysparse2_full(*arrays, k=10, window=8)
    check_selecting(function, arrays, want, block_score(arrays, ref.BlockScore(1, "log_prob_max")))


@SEEDS
def test_hysparse2_sparse_layer(seed, spread):
    function = load("hysparse2")("sparse_layer")
    q, k, v, _, gate, sink = operands(function, seed, spread=spread)
    _, indices = compositions.hysparse2_full(q, k, v, k=10, window=8)
    want = compositions.hysparse2_sparse(q, k, v, indices, gate, sink=sink)
    assert_matches("out", function(q, k, v, indices, gate, sink), want)


def test_hysparse2_bridged_layer():
    function = load("hysparse2")("cross_full_layer")
    q, hidden, w_k, w_v = operands(function)
    w_k, w_v = w_k / 6, w_v / 6
    key, value = ref.kv_bridge(hidden, w_k, w_v, kv_heads=1)
    want = compositions.hysparse2_full(q, key, value, k=10, window=8)
    check_selecting(function, (q, hidden, w_k, w_v), want, block_score((q, key, value), ref.BlockScore(1, "log_prob_max")))


# ---- DashAttention (§4)

def dash_operands(function, seed=0, *, spread=1.0):
    """Keys that resemble the others of their chunk, so that chunks differ and routing has a choice."""
    arrays = operands(function, seed, spread=spread)
    arrays[1] += np.random.default_rng(seed + 100).normal(size=(1, 2, 7, 16)).repeat(16, axis=2)[:, :, :100]
    return arrays


DASH = {"learned_query_tempered": dict(prior="tempered", sigma=1e6),
        "mean_raw_local": dict(prior="raw", local_blocks=1, solver=ref.Halley(3)),
        "general_alpha_no_prior": dict(prior="none", alpha=1.25)}


@pytest.mark.parametrize("seed,spread", [(0, 1.0), (1, 0.05), (2, 10.0)], ids=["seed", "flat", "one-hot"])
@pytest.mark.parametrize("name", DASH)
def test_dash(name, seed, spread):
    function = load("dash")(name)
    arrays = dash_operands(function, seed, spread=spread)
    q, k, v, *summary_query = arrays
    # A summary query of zeros weighs all keys alike: the mean.
    summary_query = summary_query[0] if summary_query else np.zeros((2, 16))
    out, mask, bias = compositions.dash(q, k, v, summary_query, block=16, gamma=2.0, **DASH[name])
    got = as_tuple(function(*arrays))
    assert_matches("out", got[0], out, absolute=1e-5 * max(1, spread))
    if name == "learned_query_tempered":
        kept = ref.unpack_bits(mask, 7)[..., 96:, :].sum(axis=-1).mean()
        assert 6.5 < kept if spread < 0.1 else 1 < kept < 6, kept
    # Weights below 1e-8 mean |x - kappa| < 1e-4, where the support may differ (§10.6).
    options = {name: value for name, value in DASH[name].items() if name != "sigma"} | {"prior": "raw"}
    _, _, log_weight = compositions.dash(q, k, v, summary_query, block=16, gamma=2.0, **options)
    routed, want = ref.unpack_bits(got[1], 7), ref.unpack_bits(mask, 7)
    differ = routed != want
    assert (np.where(want, log_weight, -np.inf)[differ] < np.log(1e-8)).all() and differ.mean() < 0.01
    if len(got) > 2:
        sure = want & ~differ & (log_weight > np.log(1e-4))
        assert_matches("bias", got[2][sure], bias[sure], absolute=1e-3 if name == "mean_raw_local" else 1e-8)
        assert (got[2][~routed] == 0).all()


@SEEDS
def test_dash_decode(seed, spread):
    function = load("dash")("decode")
    q, k, v, _ = dash_operands(function, seed, spread=spread)
    summary_query = np.random.default_rng(seed).normal(size=(2, 16))
    summary = ref.chunk_summarize(k, block=16, mode="learned_query", summary_query=summary_query).astype(np.float32)
    out, *_ = compositions.dash(q, k, v, summary_query, block=16, gamma=2.0)
    assert_matches("out", function(q, k, v, summary), out)


# ---- ConSA (§5)

@SEEDS
def test_consa_layer(seed, spread):
    function = load("consa")("layer")
    arrays = operands(function, seed, spread=spread)
    assert_matches("out", function(*arrays), compositions.consa(*arrays, (None, 32)))


@SEEDS
def test_consa_while_learning(seed, spread):
    function = load("consa")("learning")
    q, k, v, log_alpha, noise = operands(function, seed, spread=spread)
    noise = np.random.default_rng(seed).uniform(0.05, 0.95, 2).astype(np.float32)
    z, expected_open = ref.hard_concrete_gate(log_alpha, noise)
    full, window = (ref.attention(q, k, v, keys=keys) for keys in (ref.Causal(), ref.Window(32)))
    mix = np.repeat(z, 2)[None, :, None, None]
    got = function(q, k, v, log_alpha, noise)
    assert_matches("out", got[0], mix * full + (1 - mix) * window)
    assert_matches("expected_open", got[1], expected_open)


# ---- NSA, InfLLMv2, indexers, MoBA, Quest (§6.1 to §6.3, §6.5, §6.6)

@SEEDS
def test_nsa(seed, spread, scores):
    function = load("nsa")("nsa")
    arrays = operands(function, seed, spread=spread)
    q, ck, cv, sk, sv, lk, lv, *rest = arrays
    for n in (3, 4, 6, 7):                    # weights of the MLPs
        rest[n] /= np.float32(np.sqrt(rest[n].shape[0]))
    gates, (k_in, k_out, k_pos, v_in, v_out, v_pos) = rest[:3], rest[3:]
    want = compositions.nsa(q, (ck, cv), (sk, sv), (lk, lv), gates, block=32, stride=16, select_block=64, k=3,
                            window=40, key_weights=(k_in, k_out, k_pos), value_weights=(v_in, v_out, v_pos))
    check_selecting(function, [q, ck, cv, sk, sv, lk, lv, *rest], want, scores[0])


@SEEDS
def test_infllmv2(seed, spread, scores):
    function = load("infllmv2")("infllmv2")
    arrays = operands(function, seed, spread=spread)
    want = compositions.infllmv2(*arrays, block=32, stride=16, select_block=64, k=3, window=64)
    check_selecting(function, arrays, want, scores[0])


@SEEDS
@pytest.mark.parametrize("name,attributes", [("dsa", dict(k=12)), ("msa", dict(block=16, k=3))])
def test_indexers(name, attributes, seed, spread, scores):
    function = load("indexers")(name)
    arrays = operands(function, seed, spread=spread)
    want = getattr(compositions, name)(*arrays, **attributes)
    check_selecting(function, arrays, want, scores[0])


@SEEDS
@pytest.mark.parametrize("name", ["moba", "quest"])
def test_per_head_selection(name, seed, spread, scores):
    function = load("moba-quest")(name)
    arrays = operands(function, seed, spread=spread)
    want = getattr(compositions, name)(*arrays, block=16, k=3)
    # The own chunk of MoBA scores +inf; a selection without it must not pass for a near tie.
    check_selecting(function, arrays, want, scores[0])


# ---- DeepSeek-V4 (§6.4)

@SEEDS
def test_csa(seed, spread, scores):
    function = load("deepseek-v4")("csa")
    arrays = operands(function, seed, spread=spread)
    q, kv, gate, position, sink, index_query, index_key, head_weight = arrays
    compressed = compositions.csa_compress(kv, gate, position, block=8, stride=4)
    want = compositions.csa(q, kv, compressed, sink, index_query=index_query, index_key=index_key,
                            head_weight=head_weight, k=5, window=12, block=8, stride=4, rope_dims=8)
    check_selecting(function, arrays, want, scores[0])


@SEEDS
def test_hca(seed, spread):
    function = load("deepseek-v4")("hca")
    q, kv, gate, position, sink = operands(function, seed, spread=spread)
    compressed = compositions.csa_compress(kv, gate, position, block=16, stride=16)
    want, _ = compositions.csa(q, kv, compressed, sink, window=12, block=16, stride=16, rope_dims=8)
    assert_matches("out", function(q, kv, gate, position, sink), want)


# ---- sharing without selection (§6.7)

def test_yoco():
    function = load("kv-sharing")("yoco")
    hidden, w_k, w_v, *queries = operands(function)
    w_k, w_v = w_k / 6, w_v / 6
    got = function(hidden, w_k, w_v, *queries)
    for mine, theirs in zip(got, compositions.yoco_cross(hidden, w_k, w_v, queries, kv_heads=2), strict=True):
        assert_matches("out", mine, theirs)


def test_cla():
    function = load("kv-sharing")("cla")
    q0, q1, k0, v0, q2, q3, k2, v2 = arrays = operands(function)
    layers = [(q0, k0, v0), (q1, k0, v0), (q2, k2, v2), (q3, k2, v2)]
    for mine, layer in zip(function(*arrays), layers, strict=True):
        assert_matches("out", mine, ref.attention(*layer, keys=ref.Causal()))


def test_gemma3n():
    function = load("kv-sharing")("gemma3n")
    q0, k0, v0, q1, k1, v1, q2, q3 = arrays = operands(function)
    layers = [(q0, k0, v0, ref.Window(32)), (q1, k1, v1, ref.Causal()), (q2, k0, v0, ref.Window(32)),
              (q3, k1, v1, ref.Causal())]
    for mine, (*layer, keys) in zip(function(*arrays), layers, strict=True):
        assert_matches("out", mine, ref.attention(*layer, keys=keys, scale=1.0), absolute=1e-4)


# ---- decode steps with caches (§5.1, §6.7, §10.10)

def token_by_token(function, seed=0):
    """(draw, caches): ``draw()`` gives the tensors of the next token; the caches are empty."""
    caches = [np.zeros(x.shape, np.float32) for x in function.arguments if x.dtype == "f32" and len(x.shape) == 3]
    rng = np.random.default_rng(seed)
    shapes = [x.shape for x in function.arguments if len(x.shape) == 4]
    return lambda: [rng.normal(size=shape).astype(np.float32) for shape in shapes], caches


def test_ragged_cache():
    """70 tokens: the ring of head 1 holds 32 and wraps around twice, while head 0 keeps everything."""
    function = load("cached-decode")("ragged")
    draw, caches = token_by_token(function)
    keys, values = np.zeros((2, 1, 2, 0, 16))
    for position in range(70):
        query, key, value = draw()
        keys, values = np.concatenate([keys, key], axis=2), np.concatenate([values, value], axis=2)
        out, *caches = function(query, key, value, *caches, position)
        assert_matches(f"token {position}", out, compositions.consa(query, keys, values, (None, 32)))


def test_shared_cache():
    """Layer 1 reads the keys that layer 0 has just appended."""
    function = load("cached-decode")("shared")
    draw, caches = token_by_token(function)
    keys, values = np.zeros((2, 1, 2, 0, 16))
    for position in range(20):
        query0, key, value, query1 = draw()
        keys, values = np.concatenate([keys, key], axis=2), np.concatenate([values, value], axis=2)
        out0, out1, *caches = function(query0, key, value, query1, *caches, position)
        assert_matches("owner", out0, ref.attention(query0, keys, values, keys=ref.Causal()))
        assert_matches("reader", out1, ref.attention(query1, keys, values, keys=ref.Causal()))
