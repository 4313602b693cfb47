"""KV caches as values, and keys and values projected from another layer's hidden state."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .attributes import one_of
from .layout import LAYOUTS, as_float, check_shape, from_bhsd, to_bhsd
from .patterns import positive


@dataclass(frozen=True)
class FullCache:
    """Every token is kept."""


@dataclass(frozen=True)
class RingCache:
    """The last ``w`` tokens are kept; the token at position p lies in slot p mod w."""

    w: int

    def __post_init__(self):
        positive("the ring's width", self.w)


@dataclass(frozen=True)
class KVCache:
    """A KV cache as an immutable value; operators 14 and 15 of specification §9 (§2.1, §5.1).

    ``kinds`` has one FullCache or RingCache for each KV head: equal kinds are the full and the ring cache,
    different ones ConSA's ragged cache. ``keys[r]`` [B,slots,d] and ``values[r]`` [B,slots,dv] hold head r;
    ``length`` counts the tokens appended so far. The window of an attention is never taken from here (§5.4).
    """

    kinds: tuple
    keys: tuple
    values: tuple
    length: int = 0

    @staticmethod
    def create(kinds, *, batch, d, dv=None, kv_heads=None):
        """An empty cache. ``kinds``: one kind for each KV head, or one kind for all ``kv_heads``."""
        if isinstance(kinds, (FullCache, RingCache)):
            positive("kv_heads", kv_heads)
            kinds = (kinds,) * kv_heads
        kinds = tuple(kinds)
        if not kinds or not all(isinstance(kind, (FullCache, RingCache)) for kind in kinds):
            raise ValueError(f"kinds must hold a FullCache() or RingCache(w) for each KV head, found {kinds!r}")
        if kv_heads is not None and kv_heads != len(kinds):
            raise ValueError(f"expected a kind for each of {kv_heads} KV heads, found {len(kinds)}")
        slots = [kind.w if isinstance(kind, RingCache) else 0 for kind in kinds]
        dv = d if dv is None else dv
        return KVCache(kinds, tuple(np.zeros((batch, n, d)) for n in slots),
                       tuple(np.zeros((batch, n, dv)) for n in slots))

    def append(self, key, value, *, pos=None, layout="bhsd"):
        """The cache with the tokens key [B,Hkv,n,d] and value [B,Hkv,n,dv] added; self is unchanged.

        ``pos`` is the position of the first new token and must be the cache's length, the only place to
        append at. A ring keeps its newest w tokens. Raises ValueError on shapes or a position that do not fit.
        """
        if pos is not None and pos != self.length:
            raise ValueError(f"tokens can be appended at position {self.length} only, found pos = {pos}")
        k, v = to_bhsd(key, layout, "key"), to_bhsd(value, layout, "value")
        batch, _, d = self.keys[0].shape
        check_shape(k, (batch, len(self.kinds), None, d), "key")
        check_shape(v, (*k.shape[:3], self.values[0].shape[2]), "value")

        def store(kind, stored, new):
            if isinstance(kind, FullCache):
                return np.concatenate([stored, new], axis=1)
            stored = stored.copy()
            for t in range(new.shape[1]):
                stored[:, (self.length + t) % kind.w] = new[:, t]
            return stored

        return replace(self, length=self.length + k.shape[2],
                       keys=tuple(store(*x) for x in zip(self.kinds, self.keys, k.swapaxes(0, 1))),
                       values=tuple(store(*x) for x in zip(self.kinds, self.values, v.swapaxes(0, 1))))

    def positions(self, head=0):
        """Positions of the tokens that KV head ``head`` still holds, ascending: [max(0, length - w), length)."""
        kind = self.kinds[head]
        first = max(0, self.length - kind.w) if isinstance(kind, RingCache) else 0
        return np.arange(first, self.length)

    def read_head(self, head):
        """(keys [B,n,d], values [B,n,dv]) of one KV head in the order of positions, oldest first."""
        held = self.positions(head)
        slots = held % self.kinds[head].w if isinstance(self.kinds[head], RingCache) else held
        return self.keys[head][:, slots], self.values[head][:, slots]

    def read(self, *, layout="bhsd"):
        """(keys [B,Hkv,n,d], values [B,Hkv,n,dv]) in the order of positions.

        Raises ValueError if heads hold different numbers of tokens; use ``read_head`` then.
        """
        one_of("layout", layout, ("bhsd", "bshd"))
        lengths = sorted({len(self.positions(r)) for r in range(len(self.kinds))})
        if len(lengths) > 1:
            raise ValueError(f"the heads of this cache hold different numbers of tokens {lengths}; "
                             "read them one by one with read_head")
        heads = [self.read_head(r) for r in range(len(self.kinds))]
        return tuple(from_bhsd(np.stack(x, axis=1), layout) for x in zip(*heads))


def kv_bridge(hidden, w_k, w_v, *, kv_heads, source_layer=None, layout="bhsd"):
    """Keys and values projected from another layer's hidden state; operator 17 of specification §9 (§3.1).

    hidden [B,N,D], w_k [D,Hkv*d], w_v [D,Hkv*dv]; k = hidden w_k and v = hidden w_v, split into ``kv_heads``
    heads. ``source_layer`` names the layer and changes no number. Returns (k, v) in ``layout``. Raises
    ValueError on shapes that do not fit.
    """
    one_of("layout", layout, LAYOUTS[:2])
    positive("kv_heads", kv_heads)
    hidden = as_float(hidden)
    check_shape(hidden, (None, None, None), "hidden")

    def project(weight, name):
        weight = as_float(weight)
        check_shape(weight, (hidden.shape[2], None), name)
        if weight.shape[1] % kv_heads:
            raise ValueError(f"{name} has {weight.shape[1]} columns, which {kv_heads} heads cannot share evenly")
        heads = (hidden @ weight).reshape(*hidden.shape[:2], kv_heads, weight.shape[1] // kv_heads)
        return heads if layout == "bshd" else heads.transpose(0, 2, 1, 3)

    return project(w_k, "w_k"), project(w_v, "w_v")


def kv_share(key, value, *, producer_layer=None, what="kv"):
    """The producer's keys and values, unchanged: a read-only edge; operator 16 of specification §9 (§6.7)."""
    one_of("what", what, ("kv", "index", "kv+index"))
    return as_float(key), as_float(value)
