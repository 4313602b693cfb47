"""entmax, its solvers, and entmax_route."""

import numpy as np
import pytest
import scalar
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sparseattn import reference as ref

TOL = dict(rtol=1e-9, atol=1e-12)


def solver_of(alpha, exact=True):
    """The scalar solver of alpha."""
    if alpha == 1.5 and exact:
        return scalar.entmax15_exact
    if alpha == 2 and exact:
        return scalar.sparsemax_exact
    return lambda z: scalar.entmax_by_search(z, alpha)


@pytest.mark.parametrize("alpha", [1, 1.25, 1.5, 1.75, 2])
@pytest.mark.parametrize("m", [1, 2, 7, 40])
@pytest.mark.parametrize("spread", [0.01, 1.0, 10.0])
def test_bisection_for_any_alpha(alpha, m, spread):
    z = spread * np.random.default_rng(m).normal(size=(20, m))
    got = ref.entmax(z, alpha=alpha, solver=ref.Bisect(60))
    want = [scalar.entmax(row, alpha, solver_of(alpha, exact=False)) for row in z.tolist()]
    np.testing.assert_allclose(got, want, **TOL)
    np.testing.assert_allclose(got.sum(axis=-1), 1, rtol=1e-9)


@pytest.mark.parametrize("alpha", [1.5, 2])
@pytest.mark.parametrize("m", [1, 2, 7, 40])
@pytest.mark.parametrize("spread", [0.01, 1.0, 10.0])
def test_sorting_is_exact(alpha, m, spread):
    z = spread * np.random.default_rng(m).normal(size=(20, m)) + 50.0
    got = ref.entmax(z, alpha=alpha, solver=ref.Sort())
    want = np.array([solver_of(alpha)(row) for row in z.tolist()])
    np.testing.assert_allclose(got, want, **TOL)
    np.testing.assert_array_equal(got > 0, want > 0)


@pytest.mark.parametrize("n", range(7))
@pytest.mark.parametrize("m,spread", [(1, 1.0), (2, 3.0), (40, 0.1), (40, 3.0), (300, 0.3)])
def test_halley_does_exactly_these_steps(n, m, spread):
    z = spread * np.random.default_rng(m).normal(size=(10, m))
    got = ref.entmax(z, solver=ref.Halley(n))
    want = [scalar.entmax15_halley(row, n) for row in z.tolist()]
    np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n", range(7))
@pytest.mark.parametrize("levels", [
    [(0.0, 8), (-0.4995, 100)],                                     # a step the wrong way: back to the middle
    [(0.0, 1), (-0.6644, 1), (-0.6999, 74), (-0.9191, 699)],        # the middle of a bracket lowered by f < 0
    [(0.0, 1), (-0.961, 2), (-0.888, 758), (-0.7633, 34)],          # both, one after the other
])
def test_halley_steps_that_leave_the_bracket(levels, n):
    z = np.concatenate([np.full(count, 2 * x) for x, count in levels])
    np.testing.assert_allclose(ref.entmax(z, solver=ref.Halley(n)), scalar.entmax15_halley(z.tolist(), n), rtol=1e-7,
                               atol=1e-9)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("alpha", [1.1, 1.25, 1.5, 2])
@pytest.mark.parametrize("m", [1, 2, 9])
def test_bisection_does_exactly_these_halvings(n, alpha, m):
    z = 2 * np.random.default_rng(m).normal(size=(10, m))
    want = [scalar.entmax_bisect(row, alpha, n) for row in z.tolist()]
    np.testing.assert_allclose(ref.entmax(z, alpha=alpha, solver=ref.Bisect(n)), want, rtol=1e-9, atol=1e-12)


def test_three_halley_steps_are_wrong_for_flat_scores_and_five_are_right():
    # The table of specification §4.1: logits of standard deviation 0.1, 2048 chunks.
    z = 0.1 * np.random.default_rng(0).normal(size=(64, 2048))
    exact = ref.entmax(z, solver=ref.Sort())
    three, five = ref.entmax(z, solver=ref.Halley(3)), ref.entmax(z, solver=ref.Halley(5))
    sum_error = np.abs(three.sum(axis=-1) - 1).max()
    assert 0.2 < sum_error < 0.5
    wrong = ((three > 0) != (exact > 0)).sum(axis=-1)
    assert (wrong > 0).all() and 50 < wrong.max() < 200
    assert np.abs(five.sum(axis=-1) - 1).max() < 1e-9
    assert np.abs(five - exact).max() < 1e-9
    np.testing.assert_array_equal(five > 0, exact > 0)


def test_three_halley_steps_suffice_for_spread_scores():
    z = np.random.default_rng(0).normal(size=(64, 1024))
    exact, three = ref.entmax(z, solver=ref.Sort()), ref.entmax(z, solver=ref.Halley(3))
    assert np.abs(three.sum(axis=-1) - 1).max() < 1e-5
    np.testing.assert_array_equal(three > 0, exact > 0)


ALL_SOLVERS = [(1.5, ref.Sort()), (1.5, ref.Halley(5)), (1.5, ref.Bisect(50)), (2, ref.Sort()), (2, ref.Bisect(50)),
               (1.25, ref.Bisect(50)), (1, None)]


@pytest.mark.parametrize("alpha,solver", ALL_SOLVERS)
@pytest.mark.parametrize("m", [1, 2, 33, 2048])
def test_uniform_scores_give_equal_weights(alpha, solver, m):
    np.testing.assert_allclose(ref.entmax(np.full((1, m), -3.0), alpha=alpha, solver=solver), 1 / m, rtol=1e-8)


@pytest.mark.parametrize("alpha,solver", [s for s in ALL_SOLVERS if s[0] > 1])
@pytest.mark.parametrize("m", [2, 33])
def test_a_clear_winner_takes_all(alpha, solver, m):
    # One-hot as soon as (alpha - 1) * gap exceeds 1.
    z = np.zeros((1, m))
    z[0, 1] = 1.01 / (alpha - 1)
    want = np.zeros(m)
    want[1] = 1.0
    got = ref.entmax(z, alpha=alpha, solver=solver)[0]
    np.testing.assert_allclose(got, want, rtol=1e-12)
    np.testing.assert_array_equal(got > 0, want > 0)


@pytest.mark.parametrize("alpha,solver", ALL_SOLVERS)
def test_masked_columns_take_no_part(alpha, solver):
    z = np.random.default_rng(1).normal(size=(3, 9))
    z[0, [0, 4, 8]] = -np.inf
    z[1] = -np.inf
    z[2, 1:] = -np.inf
    got = ref.entmax(z, alpha=alpha, solver=solver)
    kept = [1, 2, 3, 5, 6, 7]
    np.testing.assert_array_equal(got[0, kept], ref.entmax(z[0, kept], alpha=alpha, solver=solver))
    assert (got[0, [0, 4, 8]] == 0).all() and (got[1] == 0).all()
    np.testing.assert_allclose(got[2], [1] + [0] * 8, rtol=1e-9, atol=0)


@pytest.mark.parametrize("alpha", [1.25, 1.5, 2])
def test_a_larger_gamma_never_widens_the_support(alpha):
    z = np.random.default_rng(2).normal(size=50)
    sizes = [(ref.entmax(gamma * z, alpha=alpha, solver=ref.Bisect()) > 0).sum() for gamma in (0.001, 0.1, 1, 10, 1e4)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 50 and sizes[-1] == 1


@pytest.mark.parametrize("arguments,message", [
    (dict(alpha=0.5), "alpha must lie in"), (dict(alpha=2.5), "alpha must lie in"),
    (dict(alpha=2, solver=ref.Halley()), "Halley solver serves"), (dict(alpha=1.25, solver=ref.Sort()), "sort solver"),
    (dict(solver="sort"), "solver must be"),
])
def test_entmax_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        ref.entmax(np.zeros(3), **arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_entmax_refuses_nan_and_inf(bad):
    with pytest.raises(ValueError, match="NaN or"):
        ref.entmax(np.array([0.0, bad]))


SCORES = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=24)


@settings(max_examples=150)
@given(SCORES, st.sampled_from([1.5, 2]))
@example([0.0, 0.0, -2.0], 1.5)
@example([0.0, -2.0], 1.5)
@example([1.0, 0.0], 2)
def test_bisection_and_sorting_agree(scores, alpha):
    z = np.array(scores)
    sort, bisect = (ref.entmax(z, alpha=alpha, solver=s) for s in (ref.Sort(), ref.Bisect(60)))
    assert abs(sort.sum() - 1) < 1e-12
    np.testing.assert_allclose(sort, bisect, atol=1e-12)
    # Supports agree but for scores that lie on the threshold to within rounding.
    assert np.maximum(sort, bisect)[(sort > 0) != (bisect > 0)].max(initial=0.0) < 1e-12


@settings(max_examples=100)
@given(SCORES, st.sampled_from([1.1, 1.25, 1.5, 1.9, 2]), st.floats(-100, 100))
def test_entmax_properties(scores, alpha, shift):
    z = np.array(scores)
    w = ref.entmax(z, alpha=alpha, solver=ref.Bisect(60))
    assert abs(w.sum() - 1) < 1e-9 and (w >= 0).all()
    np.testing.assert_allclose(ref.entmax(z + shift, alpha=alpha, solver=ref.Bisect(60)), w, atol=1e-6)
    order = np.argsort(z, kind="stable")
    assert (np.diff(w[order]) >= -1e-15).all()


# ---- routing

@pytest.mark.parametrize("prior", ["none", "raw", "tempered"])
@pytest.mark.parametrize("local_blocks", [0, 1, 3])
@pytest.mark.parametrize("visibility", ["before_own", "all"])
@pytest.mark.parametrize("alpha,solver", [(1.5, ref.Sort()), (1.5, None), (1.25, None), (2, ref.Sort()), (1, None)])
def test_route(prior, local_blocks, visibility, alpha, solver):
    rng = np.random.default_rng(3)
    block, offset, nq, m = 4, 2, 22, 6
    z = 2 * rng.normal(size=(2, 4, nq, m))
    for b, h, i, c in np.ndindex(z.shape):
        z[b, h, i, c] = scalar.masked_logit(z[b, h, i, c], c, i + offset, visibility, block, block)
    mask, bias, count = ref.entmax_route(z, kv_heads=2, block=block, q_offset=offset, alpha=alpha, solver=solver,
                                         local_blocks=local_blocks, prior=prior, sigma=3.0, return_count=True)
    assert mask.dtype == count.dtype == np.int32 and mask.shape == (2, 2, nq, 1)
    one = (lambda row: scalar.entmax15_halley(row, 5)) if solver is None and alpha == 1.5 else solver_of(alpha)
    for b, r, i in np.ndindex(2, 2, nq):
        heads = [scalar.entmax(z[b, h, i].tolist(), alpha, one) for h in (2 * r, 2 * r + 1)]
        routed, want = scalar.route(heads, i + offset, block, local_blocks, prior, 3.0)
        assert scalar.columns_of(mask[b, r, i].tolist()) == routed
        assert count[b, r, i] == len(routed)
        np.testing.assert_allclose(bias[b, r, i], [want[c] for c in range(m)], rtol=1e-6, atol=1e-9)


def test_route_without_visible_chunks_keeps_the_own_chunk_only():
    mask, bias, count = ref.entmax_route(np.full((1, 2, 3, 40), -np.inf), kv_heads=1, block=4, q_offset=129,
                                         prior="raw", return_count=True)
    assert [scalar.columns_of(w) for w in mask[0, 0].tolist()] == [[32], [32], [32]]
    assert (bias == 0).all() and (count == 1).all()


def test_route_beyond_the_last_chunk_forces_nothing():
    mask, _, count = ref.entmax_route(np.full((1, 1, 1, 3), -np.inf), kv_heads=1, block=4, q_offset=400,
                                      return_count=True)
    assert (mask == 0).all() and (count == 0).all()


@pytest.mark.parametrize("arguments,message", [
    (dict(prior="log"), "prior must be one of"), (dict(sigma=0.0), "sigma must be positive"),
    (dict(local_blocks=-1), "local_blocks must be"), (dict(kv_heads=3), "cannot be shared evenly"),
])
def test_route_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        ref.entmax_route(np.zeros((1, 4, 2, 2)), **{"kv_heads": 2, "block": 4, **arguments})
