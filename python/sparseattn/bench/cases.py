"""What is measured: shapes of attention layers, in suites."""

from __future__ import annotations

import dataclasses
import itertools
import math

TOKENS = 16 * 1024
"""Batch times length of the dense suites."""
LIST_QUERIES = 128
"""Queries that share a list of key blocks."""
HIDDEN = 2048
"""Heads times head dimension of the dense suites."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer. `mask` is "full", "causal", "window" (of `window` keys, causal), "prefix" (causal, but for the first
    `window` keys, which all see) or "mixed" (the first half of the KV heads causal, the others a window)."""

    suite: str
    batch: int
    heads: int
    kv_heads: int
    length: int
    dim: int
    mask: str
    window: int = 0
    extras: tuple[str, ...] = ()
    """Of "sink", "softcap", "lse": what the kernel computes besides."""
    dtype: str = "bf16"
    layout: str = "bhsd"
    keys: int = 0
    """Number of keys where it is not `length`; the queries are the last tokens."""
    block: int = 0
    """Keys of a block, where LIST_QUERIES queries share a list of the blocks that they see; 0: there are no lists."""
    density: float = 0.25
    """Share of the blocks that a list names."""
    list_heads: int = 1
    """Heads of the lists: 1, `kv_heads` or `heads`."""
    values_dim: int = 0
    """Head dimension of the values where it is not `dim`."""
    documents: int = 0
    """Documents of random lengths, packed into each sequence, that see only themselves; 0: no documents. Layout thd
    packs queries and keys alike where `keys` is 0, else each to its own lengths; it has one batch."""
    diagonal: bool = False
    """Lists as models make them: ascending, with the blocks of the tile's own positions. Otherwise as tests want them."""

    @property
    def key_length(self) -> int:
        return self.keys or self.length

    @property
    def value_dim(self) -> int:
        return self.values_dim or self.dim

    @property
    def dims(self) -> str:
        return f"d{self.dim}" + (f"v{self.values_dim}" if self.values_dim else "")

    @property
    def name(self) -> str:
        mask = self.mask + (str(self.window) if self.window else "")
        variant = [value for value, usual in ((self.dtype, "bf16"), (self.layout, "bhsd")) if value != usual]
        keys = f"k{self.keys}" if self.keys else ""
        if self.documents:
            variant.append(f"documents{self.documents}")
        if self.block:
            variant.append(f"blocks{self.block}x{self.density:g}" + (f"h{self.list_heads}" if self.list_heads > 1 else ""))
        return "-".join([f"b{self.batch}h{self.heads}/{self.kv_heads}s{self.length}{keys}{self.dims}", mask, *self.extras, *variant])

    @property
    def group(self) -> str:
        """Cases of a group share a bar: everything but the length."""
        lists = f" blocks{self.block} {self.density:.0%}" if self.block else ""
        heads = "" if self.suite.startswith("dense") else f" {self.heads}/{self.kv_heads}"
        return f"{self.suite} d{self.dim}{heads} {self.mask}{self.window or ''}{lists}"

    @property
    def pairs(self) -> float:
        """(query, key) pairs of one head that count as work; a causal mask counts half, as the peers' papers do."""
        if self.block:
            tiles = (listed_blocks(self, tile) for tile in range(-(-self.length // LIST_QUERIES)))
            return sum((count - (seen - first)) * LIST_QUERIES * self.block + LIST_QUERIES**2 / 2 for first, seen, count in tiles)
        square = self.length * self.length
        causal = square / 2
        band = self.length * min(self.window, self.length) - min(self.window, self.length) ** 2 / 2
        return {"full": square, "causal": causal, "window": band, "mixed": (causal + band) / 2}[self.mask]

    @property
    def flops(self) -> float:
        """Useful floating-point operations: two products of `dim` for each pair and head."""
        return 4.0 * self.batch * self.heads * self.dim * self.pairs


def listed_blocks(case: Case, tile: int) -> tuple[int, int, int]:
    """Of the blocks that a causal tile of queries sees: where those with its own positions begin, how many there are
    in all, and how many of these a list with `diagonal` names: the share `density`, but at least its own."""
    first = tile * LIST_QUERIES // case.block
    seen = -(-min((tile + 1) * LIST_QUERIES, case.length) // case.block)
    return first, seen, max(math.ceil(round(case.density * seen, 9)), seen - first)


def dense(suite, lengths) -> list[Case]:
    return [Case(suite, TOKENS // length, HIDDEN // dim, HIDDEN // dim, length, dim, mask)
            for dim, mask, length in itertools.product((64, 128, 256), ("causal", "full"), lengths)]


def gqa() -> list[Case]:
    return [Case("gqa", 1, 32, kv_heads, length * 1024, 128, "causal")
            for kv_heads, length in itertools.product((8, 2), (4, 8, 16, 32, 64, 128))]


def window() -> list[Case]:
    return [Case("window", 1, 32, 8, length * 1024, 128, "window", window=size)
            for size, length in itertools.product((128, 512, 1024, 4096), (16, 64))]


def extras() -> list[Case]:
    plain = Case("extras", 1, 16, 16, TOKENS, 128, "causal")
    return [plain, dataclasses.replace(plain, extras=("sink", "softcap", "lse"))]


def mixed() -> list[Case]:
    """Half the heads causal, half a window, beside each of them alone on all heads."""
    sizes = ("mixed", 1, 16, 8, 32 * 1024, 128)
    return [Case(*sizes, "mixed", window=1024), Case(*sizes, "causal"), Case(*sizes, "window", window=1024)]


def blocks() -> list[Case]:
    return [Case("blocks", 1, 32, 8, length * 1024, 128, "causal", block=128, density=density, list_heads=32, diagonal=True)
            for density, length in itertools.product((0.25, 0.1), (16, 64))]


def variants() -> list[Case]:
    """Not timed: other element types, layouts, patterns and key lengths, for tests."""
    usual = Case("variants", 2, 6, 3, 333, 128, "causal")
    return [dataclasses.replace(usual, **changes) for changes in (
        {"dtype": "f16"}, {"dtype": "f16", "dim": 64, "mask": "full"}, {"layout": "bshd"},
        {"layout": "bshd", "mask": "window", "window": 100}, {"keys": 1000}, {"keys": 1000, "mask": "full"},
        {"length": 1, "keys": 777}, {"length": 500, "keys": 300}, {"length": 500, "keys": 300, "mask": "window", "window": 100},
        {"mask": "prefix", "window": 150}, {"kv_heads": 2, "mask": "mixed", "window": 100},
        {"extras": ("sink", "softcap")}, {"extras": ("lse",), "length": 500, "keys": 300},
        # Few queries over many keys.
        {"keys": 2100, "mask": "full"}, {"keys": 4200})]


SUITES = {
    "dense-long": lambda: dense("dense-long", (4096, 8192, 16384)),
    "dense-short": lambda: dense("dense-short", (512, 1024, 2048)),
    "gqa": gqa,
    "window": window,
    "extras": extras,
    "mixed": mixed,
    "blocks": blocks,
}
