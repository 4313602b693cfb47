"""Laws that hold between operators, searched for counterexamples by hypothesis."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseattn import reference as ref

FEW = settings(max_examples=60)
TOL = dict(rtol=1e-10, atol=1e-12)


@st.composite
def problems(draw):
    """q, k, v with random sizes, head groups, lengths and sharpness."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    hkv, g = draw(st.sampled_from([(1, 1), (2, 1), (1, 3), (2, 2), (2, 4), (1, 16)]))
    nq, nk, d = draw(st.integers(1, 12)), draw(st.integers(1, 24)), draw(st.integers(1, 5))
    spread = draw(st.sampled_from([0.0, 1.0, 30.0]))
    return (spread * rng.normal(size=(1, hkv * g, nq, d)), rng.normal(size=(1, hkv, nk, d)),
            rng.normal(size=(1, hkv, nk, 2)), rng)


PATTERNS = st.sampled_from([ref.Full(), ref.Causal(), ref.Window(1), ref.Window(4)])


@FEW
@given(problems(), PATTERNS)
def test_heads_may_be_permuted(problem, keys):
    q, k, v, rng = problem
    hkv, g = k.shape[1], q.shape[1] // k.shape[1]
    sink = rng.normal(size=q.shape[1])
    kv_order = rng.permutation(hkv)
    q_order = np.concatenate([r * g + rng.permutation(g) for r in kv_order])
    out, lse = ref.attention(q, k, v, keys=keys, sink=sink, return_lse=True)
    turned, turned_lse = ref.attention(q[:, q_order], k[:, kv_order], v[:, kv_order], keys=keys, sink=sink[q_order],
                                       return_lse=True)
    np.testing.assert_allclose(turned, out[:, q_order], **TOL)
    np.testing.assert_allclose(turned_lse, lse[:, q_order], **TOL)


@FEW
@given(problems(), PATTERNS, st.integers(1, 4), st.booleans())
def test_merging_a_split_is_the_whole(problem, keys, parts, with_sink):
    q, k, v, rng = problem
    nq, nk = q.shape[2], k.shape[2]
    sink = 5 * rng.normal(size=q.shape[1]) if with_sink else None
    cuts = np.sort(np.concatenate([[0, nk], rng.integers(0, nk + 1, size=parts - 1)]))
    pieces = [ref.attention(q, k, v, keys=keys, return_lse=True, valid_range=np.tile([a, b], (1, nq, 1)))
              for a, b in zip(cuts[:-1], cuts[1:])]
    out, lse = ref.lse_merge(*zip(*pieces), sink=sink)
    want, want_lse = ref.attention(q, k, v, keys=keys, sink=sink, return_lse=True)
    np.testing.assert_allclose(out, want, **TOL)
    np.testing.assert_allclose(lse, want_lse, **TOL)


@FEW
@given(problems(), PATTERNS, st.integers(1, 4))
def test_packing_documents_is_running_them_one_by_one(problem, keys, documents):
    q, k, v, rng = problem
    cu_q, cu_k = (np.sort(np.concatenate([[0, n], rng.integers(0, n + 1, size=documents - 1)]))
                  for n in (q.shape[2], k.shape[2]))
    packed = ref.attention(*(x[0].swapaxes(0, 1) for x in (q, k, v)), keys=keys, layout="thd", cu_seqlens_q=cu_q,
                           cu_seqlens_k=cu_k)
    alone = [ref.attention(q[:, :, a:b], k[:, :, c:d], v[:, :, c:d], keys=keys)
             for a, b, c, d in zip(cu_q[:-1], cu_q[1:], cu_k[:-1], cu_k[1:])]
    np.testing.assert_allclose(packed.swapaxes(0, 1)[None], np.concatenate(alone, axis=2), **TOL)


@FEW
@given(problems(), st.integers(1, 6))
def test_block_scores_are_the_blocks_of_the_probabilities(problem, block):
    # With V the identity, the output row is the row of probabilities.
    q, k, _, _ = problem
    nk = k.shape[2]
    identity = np.broadcast_to(np.eye(nk), (1, k.shape[1], nk, nk))
    probability, score = ref.attention(q, k, identity, keys=ref.Causal(),
                                       block_score=ref.BlockScore(block, "prob_max", "none"))
    blocks = [probability[..., c:c + block].max(axis=-1) for c in range(0, nk, block)]
    np.testing.assert_allclose(score, np.stack(blocks, axis=-1), **TOL)


@st.composite
def index_lists(draw, max_block=70):
    shape = (1, draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 6)))
    entries = st.integers(-1, max_block - 1)
    flat = draw(st.lists(entries, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.array(flat).reshape(shape)


@FEW
@given(index_lists())
def test_mask_and_index_round_trip(indices):
    mask = ref.index_to_mask(indices, num_blocks=70)
    back, count = ref.mask_to_index(mask, cap=indices.shape[-1])
    for row in np.ndindex(indices.shape[:-1]):
        want = sorted(set(indices[row].tolist()) - {-1})
        assert back[row].tolist() == want + [-1] * (indices.shape[-1] - len(want)) and count[row] == len(want)
    np.testing.assert_array_equal(ref.index_to_mask(back, num_blocks=70), mask)


@FEW
@given(index_lists(max_block=9), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_union_strategy_is_the_per_token_strategy(indices, tile, seed):
    rng = np.random.default_rng(seed)
    heads, nq = indices.shape[1:3]
    q, k, v = rng.normal(size=(1, 2 * heads, nq, 3)), rng.normal(size=(1, heads, 25, 3)), rng.normal(
        size=(1, heads, 25, 2))
    tiles, bits = ref.union_tile(indices, tile=tile)
    own = ref.unpack_bits(bits, tiles.shape[-1])
    from_union = np.where(own, np.repeat(tiles, tile, axis=2)[:, :, :nq], -1)
    np.testing.assert_array_equal(ref.index_to_mask(from_union, num_blocks=9),
                                  ref.index_to_mask(indices, num_blocks=9))
    np.testing.assert_array_equal(ref.sparse_attention(q, k, v, from_union, block=3),
                                  ref.sparse_attention(q, k, v, indices, block=3))


@FEW
@given(index_lists(max_block=9), st.integers(0, 2**32 - 1))
def test_index_and_bitmask_formats_agree(indices, seed):
    rng = np.random.default_rng(seed)
    heads, nq = indices.shape[1:3]
    q, k, v = rng.normal(size=(1, 2 * heads, nq, 3)), rng.normal(size=(1, heads, 25, 3)), rng.normal(
        size=(1, heads, 25, 2))
    by_index = ref.sparse_attention(q, k, v, indices, block=3, return_lse=True)
    by_mask = ref.sparse_attention(q, k, v, ref.index_to_mask(indices, num_blocks=9), block=3, format="bitmask",
                                   return_lse=True)
    np.testing.assert_array_equal(by_index[0], by_mask[0])
    np.testing.assert_array_equal(by_index[1], by_mask[1])


@FEW
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_selected_scores_are_the_best(seed, k, first, local, count_forced):
    rng = np.random.default_rng(seed)
    if count_forced:
        k += first + local
    score = rng.integers(-3, 4, size=(1, 1, 20, 6)).astype(float)
    select = ref.TopK(k, 4, first, local, count_forced)
    indices, count = ref.select_topk(score, select=select, return_count=True)
    for i in range(20):
        kept = indices[0, 0, i, :count[0, 0, i]].tolist()
        eligible = list(range(i // 4 + 1))
        forced = set(eligible[:first]) | set(eligible[len(eligible) - local:] if local else [])
        assert kept == sorted(set(kept)) and set(kept) <= set(eligible) and forced <= set(kept)
        assert len(kept) == min(len(eligible), k if count_forced else k + len(forced))
        free, rest = set(kept) - forced, set(eligible) - set(kept)
        assert all((score[0, 0, i, a], -a) > (score[0, 0, i, c], -c) for a in free for c in rest)


@FEW
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([1, 2, 4, 16]))
def test_routing_unites_the_supports_of_a_group(seed, m, g):
    rng = np.random.default_rng(seed)
    z = 3 * rng.normal(size=(1, g, 3, m))
    mask, _ = ref.entmax_route(z, kv_heads=1, block=1, q_offset=10**6, solver=ref.Sort())
    support = (ref.entmax(z, solver=ref.Sort()) > 0).any(axis=1, keepdims=True)
    np.testing.assert_array_equal(ref.unpack_bits(mask, m), support)
