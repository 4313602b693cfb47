"""Bit masks of blocks, index lists, and the union of adjacent queries' selections."""

from __future__ import annotations

import numpy as np

from .attributes import at_least_zero
from .layout import as_index, check_shape
from .patterns import positive


def pack_bits(chosen):
    """bool [..., M] -> int32 [..., ceil(M/32)], bit c%32 of word c/32 for column c. Specification §4.5."""
    chosen = np.asarray(chosen, dtype=bool)
    words = np.zeros((*chosen.shape[:-1], -(-chosen.shape[-1] // 32)), dtype=np.uint32)
    for c in range(chosen.shape[-1]):
        words[..., c // 32] |= chosen[..., c].astype(np.uint32) << np.uint32(c % 32)
    return words.view(np.int32)


def unpack_bits(words, num_columns):
    """Inverse of ``pack_bits``; bits at and beyond ``num_columns`` are ignored."""
    column = np.arange(num_columns)
    return (as_index(words)[..., column // 32] >> (column % 32) & 1).astype(bool)


def mask_to_index(mask, *, cap):
    """Set bits as ascending indices; operator 8 of specification §9.

    mask [..., W] int32 -> (indices [..., cap] int32 padded with -1, count [...] int32 = min(popcount, cap)).
    Of more than ``cap`` set bits the lowest are kept.
    """
    at_least_zero("cap", cap)
    mask = as_index(mask)
    chosen = unpack_bits(mask, 32 * mask.shape[-1])
    indices = np.full((*mask.shape[:-1], cap), -1, dtype=np.int32)
    count = np.zeros(mask.shape[:-1], dtype=np.int32)
    for row in np.ndindex(*mask.shape[:-1]):
        kept = np.flatnonzero(chosen[row])[:cap]
        indices[row][:len(kept)] = kept
        count[row] = len(kept)
    return indices, count


def index_to_mask(indices, *, num_blocks):
    """indices [..., K] int -> mask [..., ceil(num_blocks/32)] int32; entries outside [0, num_blocks) are skipped."""
    at_least_zero("num_blocks", num_blocks)
    indices = as_index(indices)
    chosen = np.zeros((*indices.shape[:-1], num_blocks), dtype=bool)
    for row in np.ndindex(*indices.shape[:-1]):
        entries = indices[row]
        chosen[row][entries[(entries >= 0) & (entries < num_blocks)]] = True
    return pack_bits(chosen)


def union_tile(indices, *, tile, cap=None):
    """Union of the selections of each ``tile`` adjacent queries; operator 8 of specification §9.

    indices [B,H,Nq,K] int -> (tile_indices [B,H,ceil(Nq/tile),cap] int32, ascending, padded with -1;
    bits [B,H,Nq,ceil(cap/32)] int32: bit u is set iff the query itself selected tile_indices[..., u]).
    ``cap`` defaults to tile*K, which always suffices; of a larger union the lowest indices are kept.
    """
    positive("tile", tile)
    indices = as_index(indices)
    check_shape(indices, (None, None, None, None), "indices")
    batch, heads, num_queries, k = indices.shape
    cap = tile * k if cap is None else cap
    at_least_zero("cap", cap)
    tiles = np.full((batch, heads, -(-num_queries // tile), cap), -1, dtype=np.int32)
    own = np.zeros((batch, heads, num_queries, cap), dtype=bool)
    for b, h, t in np.ndindex(*tiles.shape[:3]):
        queries = range(t * tile, min((t + 1) * tile, num_queries))
        union = sorted({c for i in queries for c in indices[b, h, i] if c >= 0})[:cap]
        tiles[b, h, t, :len(union)] = union
        for i in queries:
            own[b, h, i, :len(union)] = np.isin(union, indices[b, h, i])
    return tiles, pack_bits(own)
