"""Attribute values of the operators: small frozen dataclasses with the names of the dialect's attributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .patterns import positive


def one_of(name: str, value, choices) -> None:
    """Raises ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; found {value!r}")


def at_least_zero(name: str, value) -> None:
    """Raises ValueError unless ``value`` is an integer of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{name} must be an integer of at least 0, found {value!r}")


ORIGINS = ("absolute", "range_begin")
GROUP_REDUCTIONS = ("none", "max", "sum", "mean")


@dataclass(frozen=True)
class Softmax:
    """The normaliser: softmax, with a sink where the operand is given. Specification §1.3, §1.4."""


@dataclass(frozen=True)
class SoftCap:
    """Score change s -> cap * tanh(s / cap), after the scale and before bias and mask."""

    cap: float

    def __post_init__(self):
        if not self.cap > 0:
            raise ValueError(f"the soft cap must be positive, found {self.cap!r}")

    def apply(self, score):
        return self.cap * np.tanh(score / self.cap)


@dataclass(frozen=True)
class BlockScore:
    """What ``attention`` reports of each key block. Specification §2.1, operator 2 of §9.

    kind ``prob_max``: largest probability; ``log_prob_max``: largest z - lse; ``logit_max``: largest z.
    The reduction over the heads of a group comes after that maximum.
    """

    block: int
    kind: str = "prob_max"
    group: str = "max"
    origin: str = "absolute"

    def __post_init__(self):
        positive("block", self.block)
        one_of("kind", self.kind, ("prob_max", "log_prob_max", "logit_max"))
        one_of("group", self.group, GROUP_REDUCTIONS)
        one_of("origin", self.origin, ORIGINS)


@dataclass(frozen=True)
class TopK:
    """How ``select_topk`` chooses. Operator 6 of specification §9.

    The width of the result is ``k`` if forced columns count, else ``k + force_first + force_local``.
    """

    k: int
    block: int
    force_first: int = 0
    force_local: int = 0
    count_forced: bool = True

    def __post_init__(self):
        positive("k", self.k)
        positive("block", self.block)
        at_least_zero("force_first", self.force_first)
        at_least_zero("force_local", self.force_local)
        forced = self.force_first + self.force_local
        if self.count_forced and forced > self.k:
            raise ValueError(f"{forced} forced columns do not fit into k = {self.k}; "
                             "raise k or set count_forced = False")

    @property
    def width(self) -> int:
        return self.k if self.count_forced else self.k + self.force_first + self.force_local


@dataclass(frozen=True)
class Halley:
    """``n`` safeguarded Halley steps for alpha = 1.5. Specification §4.1."""

    n: int = 5

    def __post_init__(self):
        at_least_zero("the number of Halley steps", self.n)


@dataclass(frozen=True)
class Bisect:
    """``n`` halvings of the threshold's bracket, any alpha in (1, 2]. Specification §4.1."""

    n: int = 50

    def __post_init__(self):
        at_least_zero("the number of halvings", self.n)


@dataclass(frozen=True)
class Sort:
    """The exact threshold from the sorted scores, alpha 1.5 and 2. Specification §4.1."""
