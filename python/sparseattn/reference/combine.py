"""What happens to finished attention outputs: gates, merges, and the gates of ConSA's learning phase."""

from __future__ import annotations

import numpy as np

from .attributes import one_of
from .layout import add_batch, as_float, check_shape, drop_batch, from_bhsd, to_bhsd


def sigmoid(x):
    """1 / (1 + exp(-x)) without overflow for any x."""
    return np.exp(-np.logaddexp(0.0, -x))


def gated_combine(outputs, gates, *, gate="elementwise", activation="sigmoid"):
    """o = sum_n activation(g_n) * o_n; operator 10 of specification §9 (§2.1).

    outputs and gates: lists of the same length, any layout; gates are given before the activation. A gate has
    its output's shape (elementwise) or that shape without the last dimension (headwise). activation: sigmoid
    or none. Returns o, shaped as the outputs. Raises ValueError on shapes that do not fit.
    """
    one_of("gate", gate, ("elementwise", "headwise"))
    one_of("activation", activation, ("sigmoid", "none"))
    if len(outputs) != len(gates) or not len(outputs):
        raise ValueError(f"gated_combine needs one gate for each output, found {len(outputs)} outputs and "
                         f"{len(gates)} gates")
    outputs = [as_float(o) for o in outputs]
    total = np.zeros(outputs[0].shape)
    for n, (o, g) in enumerate(zip(outputs, gates)):
        g = as_float(g)
        check_shape(o, total.shape, f"output {n} (like output 0)")
        check_shape(g, o.shape if gate == "elementwise" else o.shape[:-1], f"gate {n} ({gate})")
        factor = sigmoid(g) if activation == "sigmoid" else g
        total = total + (factor if gate == "elementwise" else factor[..., None]) * o
    return total


def lse_merge(outputs, lses, *, sink=None, layout="bhsd"):
    """Merges attentions over disjoint key sets as if they were one; operator 11 of specification §9 (§1.5).

        lse = log(exp(sink_h) + sum_n exp(lse_n))        o = sum_n exp(lse_n - lse) o_n

    outputs: list of [B,H,N,dv] in ``layout``; lses: list of [B,H,N] (thd: [H,T]); sink [H] is added once, so
    that the parts must not contain it (§1.3). A row that is empty in all parts stays 0 and -inf.

    Returns (out, lse). Raises ValueError on shapes that do not fit.
    """
    if len(outputs) != len(lses) or not len(outputs):
        raise ValueError(f"lse_merge needs one lse for each output, found {len(outputs)} outputs and "
                         f"{len(lses)} lses")
    outputs = [to_bhsd(o, layout, f"output {n}") for n, o in enumerate(outputs)]
    lses = [add_batch(as_float(l), layout) for l in lses]
    for n, (o, l) in enumerate(zip(outputs, lses)):
        check_shape(o, outputs[0].shape, f"output {n} (like output 0)")
        check_shape(l, o.shape[:3], f"lse {n}")
    terms = list(lses)
    if sink is not None:
        sink = as_float(sink)
        check_shape(sink, (outputs[0].shape[1],), "sink (one value for each head)")
        terms.append(np.broadcast_to(sink[None, :, None], lses[0].shape))
    lse = np.logaddexp.reduce(terms, axis=0)
    finite = np.where(np.isneginf(lse), 0.0, lse)
    out = sum(np.exp(l - finite)[..., None] * o for o, l in zip(outputs, lses))
    return from_bhsd(out, layout), drop_batch(lse, layout)


def hard_concrete_gate(log_alpha, noise, *, beta=2 / 3, gamma=-0.1, zeta=1.1):
    """Stochastic gate of ConSA's learning phase; operator 13 of specification §9 (§5.1).

        s = sigmoid((ln u - ln(1 - u) + log_alpha) / beta)        z = clip(s (zeta - gamma) + gamma, 0, 1)
        expected_open = P(z > 0) = sigmoid(log_alpha - beta ln(-gamma / zeta))

    log_alpha, noise: [u], the noise in (0, 1). Returns (z, expected_open), both [u]. Raises ValueError on
    noise outside (0, 1) and on constants outside beta > 0, gamma < 0, zeta > 1.
    """
    log_alpha, u = as_float(log_alpha), as_float(noise)
    check_shape(log_alpha, (None,), "log_alpha")
    check_shape(u, log_alpha.shape, "noise (like log_alpha)")
    if not (beta > 0 and gamma < 0 and zeta > 1):
        raise ValueError(f"hard_concrete_gate needs beta > 0, gamma < 0 and zeta > 1, found beta = {beta}, "
                         f"gamma = {gamma}, zeta = {zeta}")
    if np.any((u <= 0) | (u >= 1)):
        raise ValueError("hard_concrete_gate needs noise strictly between 0 and 1")
    s = sigmoid((np.log(u) - np.log1p(-u) + log_alpha) / beta)
    return np.clip(s * (zeta - gamma) + gamma, 0.0, 1.0), sigmoid(log_alpha - beta * np.log(-gamma / zeta))
