"""Rotary position embedding and RMS normalisation."""

from __future__ import annotations

import numpy as np

from .attributes import one_of
from .layout import as_float, check_shape, from_bhsd, to_bhsd


def rope(x, *, q_offset=None, base=10000.0, dims=None, stride=1, inverse=False, interleaved=False, layout="bhsd"):
    """Rotary position embedding; operator 19 of specification §9 (§3.2, §6.4).

    x [B,H,N,d] in ``layout``; row i has position p_i = q_offset + i*stride (default offset 0; a stride
    above 1 is for rows that stand for blocks of tokens). The first ``dims``
    (default d, even) channels are rotated, the rest pass. Pair i of dims/2 pairs turns by the angle
    p * base^(-2i/dims), by its negative if ``inverse``:

        (a, b) -> (a cos - b sin, a sin + b cos)

    A pair is channels (i, i + dims/2), or (2i, 2i + 1) if ``interleaved``. Returns the rotated tensor. Raises
    ValueError on dims that are odd or out of range.
    """
    one_of("layout", layout, ("bhsd", "bshd"))
    x = to_bhsd(x, layout, "x").copy()
    dims = x.shape[3] if dims is None else dims
    if dims % 2 or not 0 <= dims <= x.shape[3]:
        raise ValueError(f"dims must be even and at most the head dimension {x.shape[3]}, found {dims}")
    if stride < 1:
        raise ValueError(f"stride must be at least 1, found {stride}")
    if not base > 0:
        raise ValueError(f"base must be positive, found {base!r}")
    half = dims // 2
    position = (0 if q_offset is None else int(q_offset)) + stride * np.arange(x.shape[2])
    angle = position[:, None] * base ** (-2.0 * np.arange(half) / max(dims, 1))
    cos, sin = np.cos(angle), np.sin(angle) * (-1.0 if inverse else 1.0)
    first = slice(0, dims, 2) if interleaved else slice(0, half)
    second = slice(1, dims, 2) if interleaved else slice(half, dims)
    a, b = x[..., first].copy(), x[..., second].copy()
    x[..., first] = a * cos - b * sin
    x[..., second] = a * sin + b * cos
    return from_bhsd(x, layout)


def rms_norm(x, weight=None, *, eps=1e-6):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis; operator 19 of specification §9.

    x [..., d]; weight [d], default all 1. Returns a tensor shaped as x. Raises ValueError on a weight that
    does not fit.
    """
    x = as_float(x)
    y = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    if weight is None:
        return y
    weight = as_float(weight)
    check_shape(weight, x.shape[-1:], "weight")
    return y * weight
