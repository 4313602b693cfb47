"""alpha-entmax over chunks and the routing built on it."""

from __future__ import annotations

import numpy as np

from .attributes import Bisect, Halley, Sort, at_least_zero, one_of
from .layout import as_float, check_shape, query_rows, reduce_group
from .masks import pack_bits
from .patterns import positive

NEG_INF = float("-inf")
BRACKET_SLACK = 1e-5        # a Halley step may leave the bracket by this much; specification §4.1


def entmax(z, *, alpha=1.5, solver=None):
    """alpha-entmax over the last axis; specification §4.1.

        w_c = [(alpha - 1) z_c - kappa]_+ ^ (1 / (alpha - 1)),  sum_c w_c = 1       alpha = 1: softmax

    z [..., M]; -inf columns take no part and get 0; a row without any other column is all 0. alpha in [1, 2].
    solver: Halley(n) (alpha 1.5 only; the default there is Halley(5)), Bisect(n) (alpha in (1, 2]; default
    Bisect(50)), Sort() (alpha 1.5 and 2, exact). No solver renormalises. Raises ValueError on NaN or +inf, on
    alpha out of range, and on a solver that does not serve alpha.
    """
    z = as_float(z)
    if np.any(np.isnan(z) | np.isposinf(z)):
        raise ValueError("entmax found NaN or +inf among its logits; masked columns must be -inf")
    solver = _check_solver(alpha, solver)
    weight = np.zeros_like(z)
    for row in np.ndindex(*z.shape[:-1]):
        visible = ~np.isneginf(z[row])
        if visible.any():
            weight[row][visible] = _entmax_row(z[row][visible], alpha, solver)
    return weight


def _check_solver(alpha, solver):
    if not 1 <= alpha <= 2:
        raise ValueError(f"alpha must lie in [1, 2], found {alpha!r}")
    if solver is None:
        solver = Halley() if alpha == 1.5 else Bisect()
    if isinstance(solver, Halley) and alpha != 1.5:
        raise ValueError(f"the Halley solver serves alpha = 1.5 only, found {alpha!r}; use Bisect(50)")
    if isinstance(solver, Sort) and alpha not in (1.5, 2):
        raise ValueError(f"the sort solver serves alpha = 1.5 and 2 only, found {alpha!r}; use Bisect(50)")
    if not isinstance(solver, (Halley, Bisect, Sort)):
        raise ValueError(f"solver must be Halley(n), Bisect(n) or Sort(), found {solver!r}")
    return solver


def _entmax_row(z, alpha, solver):
    """entmax of one row of finite logits."""
    if alpha == 1:
        weight = np.exp(z - z.max())
        return weight / weight.sum()
    x = (alpha - 1) * z
    if isinstance(solver, Sort):
        kappa = threshold_sorted(x, alpha)
    elif isinstance(solver, Halley):
        kappa = threshold_halley(x, solver.n)
    else:
        kappa = threshold_bisect(x, alpha, solver.n)
    return np.maximum(x - kappa, 0.0) ** (1 / (alpha - 1))


def threshold_sorted(x, alpha):
    """The exact kappa of x = (alpha - 1) z for alpha 1.5 and 2; specification §4.1, "Exact reference".

    With x descending and rho the support size, alpha 1.5: kappa = mean - sqrt(max(0, (1 - ss) / rho)), where
    ss = rho (mean of squares - mean^2); alpha 2: kappa = (sum - 1) / rho. The largest rho with
    kappa <= x_(rho) is the support.
    """
    # The maximum at 0 keeps the squares small and the difference of the two means exact.
    shift = x.max()
    ordered = np.sort(x - shift)[::-1]
    rho = np.arange(1, len(x) + 1)
    mean = np.cumsum(ordered) / rho
    if alpha == 2:
        kappa = mean - 1 / rho
    else:
        spread = rho * (np.cumsum(ordered ** 2) / rho - mean ** 2)
        kappa = mean - np.sqrt(np.maximum(0.0, (1 - spread) / rho))
    return kappa[np.flatnonzero(kappa <= ordered)[-1]] + shift


def threshold_halley(x, n):
    """kappa after ``n`` Halley steps from the middle of [max - 1, max], alpha 1.5; specification §4.1.

    Over x > kappa: f = sum (x - kappa)^2 - 1, f' = -2 sum (x - kappa), f'' = 2 count, and
    kappa' = kappa - 2 f f' / (2 f'^2 - f f''). f > 0 raises the bracket's low end to kappa, f < 0 lowers its
    high end; a kappa' outside the bracket (by more than 1e-5) is replaced by the bracket's middle.
    """
    hi = x.max()
    lo = hi - 1
    kappa = (lo + hi) / 2
    for _ in range(n):
        excess = x[x > kappa] - kappa
        f, f1, f2 = (excess ** 2).sum() - 1, -2 * excess.sum(), 2 * len(excess)
        divisor = 2 * f1 * f1 - f * f2
        if f > 0:
            lo = kappa
        elif f < 0:
            hi = kappa
        step = kappa - 2 * f * f1 / divisor if divisor != 0 else np.inf
        kappa = step if lo - BRACKET_SLACK <= step <= hi + BRACKET_SLACK else (lo + hi) / 2
    return kappa


def threshold_bisect(x, alpha, n):
    """kappa after ``n`` halvings of [max - 1, max - M^(1 - alpha)]; specification §4.1.

    The low end is returned: there sum w >= 1, so that the support is never too small.
    """
    hi = x.max() - float(len(x)) ** (1 - alpha)
    lo = x.max() - 1
    for _ in range(n):
        middle = (lo + hi) / 2
        if (np.maximum(x - middle, 0.0) ** (1 / (alpha - 1))).sum() >= 1:
            lo = middle
        else:
            hi = middle
    return lo


def entmax_route(logits, *, kv_heads, block, q_offset=None, alpha=1.5, solver=None, local_blocks=0,
                 prior="none", sigma=1e6, return_count=False):
    """Routing of each query to a variable set of chunks; operator 7 of specification §9 (§4.1, §4.2).

    logits z [B,Hq,Nq,M], -inf where a chunk is not visible; p_i = q_offset + i (default offset 0).

        w_ic  = mean over the heads of the group of entmax(z_i)_c             support S_i = {c : w_ic > 0}
        routed = S_i and, forced, the own chunk p div block and the ``local_blocks`` chunks before it
        bias  = 0 | log w_ic | (log w_ic - mean_{S_i} log w_i) / sigma        prior none | raw | tempered

    Forced chunks have bias 0, also where w_ic > 0; so have chunks that are not routed.

    Returns mask [B,Hkv,Nq,ceil(M/32)] int32 (bit c%32 of word c/32), bias [B,Hkv,Nq,M], and count
    [B,Hkv,Nq] int32 (chunks routed) if ``return_count``. Raises ValueError as ``entmax`` does, and on
    attributes out of range.
    """
    one_of("prior", prior, ("none", "raw", "tempered"))
    positive("block", block)
    at_least_zero("local_blocks", local_blocks)
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, found {sigma!r}")
    z = as_float(logits)
    check_shape(z, (None, None, None, None), "logits")
    weight = reduce_group(entmax(z, alpha=alpha, solver=solver), kv_heads, "mean")
    support = weight > 0

    rows = query_rows(z.shape[0], z.shape[2], z.shape[3], default_offset=0, q_offset=q_offset)
    own, c = rows.position[:, None, :, None] // block, np.arange(z.shape[3])
    forced = np.broadcast_to((c <= own) & (c >= own - local_blocks), weight.shape)

    bias = np.zeros_like(weight)
    if prior != "none":
        log_weight = np.log(np.where(support, weight, 1.0))
        if prior == "tempered":
            size = np.maximum(support.sum(axis=-1, keepdims=True), 1)
            log_weight = (log_weight - log_weight.sum(axis=-1, keepdims=True) / size) / sigma
        bias = np.where(support & ~forced, log_weight, 0.0)
    routed = support | forced
    results = pack_bits(routed), bias
    return (*results, routed.sum(axis=-1).astype(np.int32)) if return_count else results
