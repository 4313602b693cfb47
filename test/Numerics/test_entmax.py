"""entmax_route against the reference, and its default solver against the exact sort.

In f32 a weight next to the threshold may fall on either side of it, so the support is compared where no head of the
group has |x - kappa| < 1e-4 (specification §10.6), and biases where their weight is not close to it either.
"""

from itertools import product

import numpy as np
import pytest
from harness import FUZZ, Suite, normal
from hypothesis import given
from hypothesis import strategies as st

from sparseattn import reference as ref
from sparseattn.reference.entmax import threshold_bisect, threshold_halley

SUITE = Suite()
OPTIMISED = Suite(opt_level=3)
MARGIN = 1e-4
SOLVERS = {"halley<5>": ref.Halley(5), "halley<3>": ref.Halley(3), "sort": ref.Sort(), "bisect<50>": ref.Bisect(50),
           None: None}


def borderline(logits, kv_heads, alpha, solver):
    """[B,Hkv,Nq,M] bool: some head of the group has the column within MARGIN of its threshold."""
    near = np.zeros(logits.shape, dtype=bool)
    if alpha == 1:
        return near[:, ::logits.shape[1] // kv_heads]
    # x - kappa is w^(alpha-1) inside the support; outside, the exact threshold decides.
    for row in np.ndindex(*logits.shape[:3]):
        visible = ~np.isneginf(logits[row])
        if not visible.any():
            continue
        x = (alpha - 1) * logits[row][visible].astype(np.float64)
        if isinstance(solver, ref.Halley):
            kappa = threshold_halley(x, solver.n)
        else:
            kappa = threshold_bisect(x, alpha, 60)
        near[row][visible] = abs(x - kappa) < MARGIN
    batch, heads, queries, columns = logits.shape
    return near.reshape(batch, kv_heads, heads // kv_heads, queries, columns).any(axis=2)


def compare_routing(logits, kv_heads, alpha, solver, prior):
    """Check for ``Case``: mask, bias and count up to borderline columns."""
    columns = logits.shape[-1]
    near = borderline(logits, kv_heads, alpha, solver)

    def check(found, expected):
        mask, bias, count = found
        routed, wanted = ref.unpack_bits(mask, columns), ref.unpack_bits(expected[0], columns)
        np.testing.assert_array_equal(routed | near, wanted | near)
        np.testing.assert_array_equal(count, routed.sum(axis=-1))
        assert not (bias != 0)[~routed].any()
        # Tempered biases share the row's mean, which a borderline weight moves a lot.
        usable = ~near if prior != "tempered" else ~near & ~near.any(axis=-1, keepdims=True)
        np.testing.assert_allclose(bias[usable], expected[1][usable], rtol=1e-2 if alpha < 1.5 else 2e-3, atol=2e-3)

    return check


def route(name, logits, *, kv_heads=2, block=4, alpha=1.5, solver=None, local_blocks=0, prior="raw", sigma=1.0,
          q_offset=None, dynamic=False):
    operands = dict(logits=logits)
    text = f"sparseattn.entmax_route $logits kv_heads {kv_heads} block {block} alpha {alpha:e}"
    text += f" solver(#sparseattn.{solver})" if solver else ""
    text += f" local_blocks {local_blocks} prior({prior}) sigma {sigma:e}"
    if q_offset is not None:
        operands["q_offset"] = q_offset
        text += " q_offset($q_offset)"
    resolved = SOLVERS[solver] or (ref.Halley(5) if alpha == 1.5 else ref.Bisect(50))
    return SUITE.case(
        f"{name}-{alpha}-{solver}-{prior}", text + " return_count", operands,
        lambda **o: ref.entmax_route(**o, kv_heads=kv_heads, block=block, alpha=alpha, solver=SOLVERS[solver],
                                     local_blocks=local_blocks, prior=prior, sigma=sigma, return_count=True),
        dynamic=dynamic, check=compare_routing(logits, kv_heads, alpha, resolved, prior))


def before_own(logits, block, q_offset=0):
    """What block_logits gives: columns from the own block on are -inf."""
    position = q_offset + np.arange(logits.shape[2])
    hidden = np.arange(logits.shape[3]) >= (position // block)[:, None]
    return np.where(hidden, np.float32(-np.inf), logits)


def one_hot(shape, gap):
    z = np.zeros(shape, np.float32)
    z[..., shape[-1] // 2] = gap
    return z


NARROW = before_own(normal(1, 2, 4, 30, 8, scale=2.0), 4)
WIDE = before_own(normal(2, 1, 4, 6, 100, scale=1.0), 2, q_offset=190)
METHODS = [(1.5, None), (1.5, "halley<5>"), (1.5, "halley<3>"), (1.5, "sort"), (1.5, "bisect<50>"), (2, "sort"),
           (2, None), (1.25, None), (1.75, None), (1, None)]
CASES = [route(name, z, alpha=alpha, solver=solver, q_offset=offset)
         for (name, z, offset), (alpha, solver) in product([("narrow", NARROW, None), ("wide", WIDE, 190)], METHODS)]
CASES += [route(f"prior-{sigma}", NARROW, prior=prior, sigma=sigma, local_blocks=1)
          for prior, sigma in [("none", 1.0), ("raw", 1.0), ("tempered", 1.0), ("tempered", 1e6)]]
CASES += [route(f"group-{hq}-{hkv}", before_own(normal(hq, 1, hq, 20, 5, scale=2.0), 4), kv_heads=hkv)
          for hq, hkv in [(1, 1), (6, 2), (3, 1), (4, 1), (16, 1)]]
for alpha, solver in METHODS:
    options = dict(alpha=alpha, solver=solver, block=1, q_offset=1000, kv_heads=1, prior="raw")
    CASES += [route("uniform", np.full((1, 2, 3, 33), 7.25, np.float32), **options),
              route("one-hot", one_hot((1, 2, 3, 33), 10.0), **options),
              route("one-column", normal(3, 1, 2, 3, 1, scale=100.0), **options),
              # Softmax weights of a larger spread underflow, each precision at its own place.
              route("sharp", normal(4, 1, 2, 3, 65, scale=10.0 if alpha == 1 else 300.0), **options)]
CASES += [route("local", NARROW, local_blocks=2), route("dynamic", NARROW, dynamic="all"),
          route("no-columns", NARROW[..., :0]), route("own-outside", NARROW, q_offset=500, local_blocks=3)]

test_routing = SUITE.tests(CASES)


def kernel(alpha, solver):
    return OPTIMISED.kernel(f"sparseattn.entmax_route $logits kv_heads 1 block 1 alpha {alpha:e} "
                        f"solver(#sparseattn.{solver}) prior(raw) q_offset($q_offset)",
                        dict(logits="tensor<?x1x?x?xf32>", q_offset="index"),
                        ["tensor<?x1x?x?xi32>", "tensor<?x1x?x?xf32>"])


KERNELS = {(alpha, solver): kernel(alpha, solver) for alpha, solver in
           [(1.5, "halley<5>"), (1.5, "sort"), (1.5, "bisect<50>"), (2, "sort"), (2, "bisect<50>"), (1.25, "bisect<50>")]}


def weights(alpha, solver, z):
    """(w, support) of rows ``z`` [N,M] by the compiled solver; the own block lies beyond the columns."""
    mask, bias = KERNELS[alpha, solver](np.ascontiguousarray(z[None, None]), 10 ** 6)
    support = ref.unpack_bits(mask, z.shape[1])[0, 0]
    return np.where(support, np.exp(bias[0, 0].astype(np.float64)), 0.0), support


def check_weights(method, z, solver):
    """Compares the compiled ``method`` with the reference's ``solver``."""
    alpha = method[0]
    expected = ref.entmax(z, alpha=alpha, solver=solver)
    w, support = weights(*method, z)
    near = borderline(z[None, None], 1, alpha, solver)[0, 0]
    np.testing.assert_array_equal(support | near, (expected > 0) | near)
    np.testing.assert_allclose(w, expected, atol=2e-5)
    return w


@pytest.mark.parametrize("method", KERNELS, ids=str)
@pytest.mark.parametrize("columns", [2, 33, 512, 2048])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.3, 1.0, 4.0])
def test_support_is_exact(method, columns, spread):
    """Specification §4.1: also for flat scores over many chunks, where three Halley steps fail."""
    exact = ref.Bisect(60) if method[0] == 1.25 else ref.Sort()
    w = check_weights(method, normal(columns, 6, columns, scale=spread), exact)
    np.testing.assert_allclose(w.sum(axis=-1), 1, atol=1e-3)


@FUZZ
@given(method=st.sampled_from(list(KERNELS)),
       z=st.lists(st.floats(-4, 4, width=16), min_size=1, max_size=24), scale=st.sampled_from([0.1, 1.0, 20.0]))
def test_entmax_of_any_row(method, z, scale):
    # The same solver: a few Halley steps may leave an arbitrary row unsolved, but must do so alike.
    check_weights(method, np.array([z], np.float32) * np.float32(scale), SOLVERS[method[1]])
