"""Key patterns: which half-open range [lo, hi) of keys a query position may see.

A pattern is a frozen value. ``key_range(position, num_keys)`` takes an integer
array of query positions p and returns two arrays of the same shape, clamped to
[0, num_keys); ``for_head(r)`` gives the pattern of KV head r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def positive(name: str, value: int) -> None:
    """Raises ValueError unless ``value`` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, found {value!r}")


class KeyPattern:
    """Common part of all patterns; a subclass defines ``bounds``."""

    def bounds(self, position, num_keys):
        raise NotImplementedError

    def key_range(self, position, num_keys):
        position = np.asarray(position, dtype=np.int64)
        lo, hi = self.bounds(position, num_keys)
        return np.clip(lo, 0, num_keys), np.clip(hi, 0, num_keys)

    def for_head(self, kv_head):
        return self

    def check_heads(self, kv_heads):
        """Raises ValueError if the pattern does not describe ``kv_heads`` KV heads."""


@dataclass(frozen=True)
class Full(KeyPattern):
    """Every key: [0, Nk)."""

    def bounds(self, position, num_keys):
        return np.zeros_like(position), np.full_like(position, num_keys)


@dataclass(frozen=True)
class Causal(KeyPattern):
    """Keys up to the query itself: [0, p + 1). Specification §1.1."""

    def bounds(self, position, num_keys):
        return np.zeros_like(position), position + 1


@dataclass(frozen=True)
class Window(KeyPattern):
    """The last ``w`` keys, the query's own included: [p - w + 1, p + 1). Specification §0."""

    w: int

    def __post_init__(self):
        positive("the window width", self.w)

    def bounds(self, position, num_keys):
        return position - self.w + 1, position + 1


@dataclass(frozen=True)
class PrefixLM(KeyPattern):
    """A prefix that every query sees, then causal: [0, max(p + 1, prefix))."""

    prefix: int

    def __post_init__(self):
        if isinstance(self.prefix, bool) or not isinstance(self.prefix, (int, np.integer)) or self.prefix < 0:
            raise ValueError(f"the prefix must be an integer of at least 0, found {self.prefix!r}")

    def bounds(self, position, num_keys):
        return np.zeros_like(position), np.maximum(position + 1, self.prefix)


@dataclass(frozen=True)
class CompleteBlocks(KeyPattern):
    """Keys are block summaries: key c is seen once its last token is, c*stride + block - 1 <= p.

    Specification §6.1. ``stride`` defaults to ``block``.
    """

    block: int
    stride: int | None = None

    def __post_init__(self):
        if self.stride is None:
            object.__setattr__(self, "stride", self.block)
        positive("block", self.block)
        positive("stride", self.stride)

    def bounds(self, position, num_keys):
        return np.zeros_like(position), (position - self.block + 1) // self.stride + 1


@dataclass(frozen=True)
class HeadTable(KeyPattern):
    """One pattern for each KV head. Specification §5.1 (ConSA)."""

    patterns: tuple

    def __post_init__(self):
        object.__setattr__(self, "patterns", tuple(self.patterns))
        for pattern in self.patterns:
            if not isinstance(pattern, KeyPattern) or isinstance(pattern, HeadTable):
                raise ValueError("a head table holds plain key patterns such as Causal() or Window(128), "
                                 f"found {pattern!r}")

    def key_range(self, position, num_keys):
        raise ValueError("a head table has no single key range; ask for_head(kv_head) first")

    def for_head(self, kv_head):
        return self.patterns[kv_head]

    def check_heads(self, kv_heads):
        if len(self.patterns) != kv_heads:
            raise ValueError(f"a head table needs one pattern for each of the {kv_heads} KV heads, "
                             f"found {len(self.patterns)}")


def is_summary_pattern(pattern) -> bool:
    """True if positions count tokens while keys count block summaries.

    Such a pattern cannot derive the query offset from Nk - Nq. A head table must not mix both sorts,
    because one offset could not serve both.
    """
    if not isinstance(pattern, HeadTable):
        return isinstance(pattern, CompleteBlocks)
    sorts = {isinstance(p, CompleteBlocks) for p in pattern.patterns}
    if len(sorts) > 1:
        raise ValueError("a head table mixes CompleteBlocks with token patterns: their keys count "
                         "different things; use one attention for each sort")
    return sorts == {True}
