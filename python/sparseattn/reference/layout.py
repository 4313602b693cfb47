"""Layouts, head groups and query positions: the conventions that all operators share.

Inside the reference every tensor is [B, H, N, d]. ``bshd`` and the packed ``thd`` are turned into it on
entry and back on exit; a packed tensor becomes one batch whose rows know their document's key range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .attributes import one_of

LAYOUTS = ("bhsd", "bshd", "thd")


def as_float(x):
    """Any array, any float type (bfloat16 of ml_dtypes included), as float64."""
    return np.asarray(x).astype(np.float64)


def as_index(x):
    """Any integer array as int64; a float array is refused, because rounding would hide an error."""
    x = np.asarray(x)
    if x.size and not np.issubdtype(x.dtype, np.integer):
        raise ValueError(f"expected integers, found an array of {x.dtype}")
    return x.astype(np.int64)


def to_bhsd(x, layout, name="operand"):
    """[B,H,N,d] view of a float operand given in ``layout``."""
    one_of("layout", layout, LAYOUTS)
    x = as_float(x)
    rank = 3 if layout == "thd" else 4
    if x.ndim != rank:
        raise ValueError(f"{name} has rank {x.ndim}, but layout {layout} needs rank {rank}")
    if layout == "thd":
        return x.transpose(1, 0, 2)[None]
    return x.transpose(0, 2, 1, 3) if layout == "bshd" else x


def from_bhsd(x, layout):
    """Inverse of ``to_bhsd``."""
    if layout == "thd":
        return x[0].transpose(1, 0, 2)
    return x.transpose(0, 2, 1, 3) if layout == "bshd" else x


def add_batch(x, layout):
    """Gives lse, scores, indices, masks and ranges of a packed op their batch dimension of 1."""
    return x[None] if layout == "thd" else x


def drop_batch(x, layout):
    """Inverse of ``add_batch``."""
    return x[0] if layout == "thd" else x


def check_shape(x, shape, name):
    """Raises ValueError unless ``x.shape`` equals ``shape`` (None matches any size)."""
    if x.ndim != len(shape) or any(s is not None and s != n for s, n in zip(shape, x.shape)):
        wanted = ", ".join("?" if s is None else str(s) for s in shape)
        raise ValueError(f"{name} must have shape [{wanted}], found {list(x.shape)}")


def group_size(query_heads, kv_heads):
    """g = Hq / Hkv; query head h reads KV head h div g. Specification §0."""
    if kv_heads < 1 or query_heads % kv_heads:
        raise ValueError(f"{query_heads} query heads cannot be shared evenly by {kv_heads} KV heads")
    return query_heads // kv_heads


def expand_heads(x, query_heads):
    """Repeats the head axis (1) of [B,H,...] so that query head h finds its KV head's values at h."""
    return np.repeat(x, group_size(query_heads, x.shape[1]), axis=1)


def reduce_group(x, kv_heads, how):
    """Reduces [B,Hq,...] over the heads of each group: none | max | sum | mean. Specification §1.6."""
    if how == "none":
        return x
    g = group_size(x.shape[1], kv_heads)
    grouped = x.reshape(x.shape[0], kv_heads, g, *x.shape[2:])
    return {"max": np.max, "sum": np.sum, "mean": np.mean}[how](grouped, axis=2)


@dataclass(frozen=True)
class QueryRows:
    """Where each query row stands: absolute position and allowed key range [begin, end), all [B,Nq].

    ``first`` is the key from which a pattern counts: that of the row's document, or 0.
    ``ranged`` is False if nothing but the pattern limits the keys; blocks cannot begin at a range then.
    """

    position: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    ranged: bool
    first: np.ndarray

    def block_begin(self, origin):
        """First key of block 0 of each row, [B,Nq]: 0, or the range's begin. Specification §1.2."""
        one_of("origin", origin, ("absolute", "range_begin"))
        if origin == "absolute":
            return np.zeros_like(self.begin)
        if not self.ranged:
            raise ValueError("origin range_begin needs valid_range or the packed layout thd: "
                             "without them there is no range whose begin could be the origin")
        return self.begin


def query_rows(batch, num_queries, num_keys, *, default_offset, q_offset=None, valid_range=None,
               layout="bhsd", cu_seqlens_q=None, cu_seqlens_k=None) -> QueryRows:
    """Positions and ranges of all rows.

    Unpacked: p_i = q_offset + i, with ``default_offset`` if q_offset is absent. Packed (thd): document s
    holds queries [cq[s], cq[s+1]) and keys [ck[s], ck[s+1]), p = ck[s] + (t - cq[s]) + (lenk - lenq), and
    only its own keys are visible. ``valid_range`` [B,Nq,2] (thd: [T,2]) narrows either. Specification §1.1, §1.2.
    """
    if layout == "thd":
        if q_offset is not None:
            raise ValueError("q_offset has no meaning in layout thd: positions come from cu_seqlens; remove it")
        position, begin, end = _packed_rows(num_queries, num_keys, cu_seqlens_q, cu_seqlens_k)
        first = begin
    else:
        if cu_seqlens_q is not None or cu_seqlens_k is not None:
            raise ValueError(f"cu_seqlens_q and cu_seqlens_k belong to layout thd, found layout {layout}")
        offset = default_offset if q_offset is None else int(q_offset)
        position = np.broadcast_to(offset + np.arange(num_queries), (batch, num_queries))
        begin = np.zeros_like(position)
        end = np.full_like(position, num_keys)
        first = begin
    if valid_range is not None:
        ranges = add_batch(as_index(valid_range), layout)
        check_shape(ranges, (batch, num_queries, 2), "valid_range")
        begin = np.maximum(begin, ranges[..., 0])
        end = np.minimum(end, ranges[..., 1])
    return QueryRows(position, begin, end, valid_range is not None or layout == "thd", first)


def _packed_rows(num_queries, num_keys, cu_seqlens_q, cu_seqlens_k):
    if cu_seqlens_q is None or cu_seqlens_k is None:
        raise ValueError("layout thd needs cu_seqlens_q and cu_seqlens_k")
    cq, ck = as_index(cu_seqlens_q), as_index(cu_seqlens_k)
    if cq.ndim != 1 or cq.shape != ck.shape or len(cq) < 1:
        raise ValueError("cu_seqlens_q and cu_seqlens_k must be vectors of the same length [S+1], "
                         f"found {list(cq.shape)} and {list(ck.shape)}")
    for name, cu, total in (("cu_seqlens_q", cq, num_queries), ("cu_seqlens_k", ck, num_keys)):
        if cu[0] != 0 or cu[-1] != total or np.any(np.diff(cu) < 0):
            raise ValueError(f"{name} must rise from 0 to {total}, found {cu.tolist()}")
    position, begin, end = (np.zeros((1, num_queries), dtype=np.int64) for _ in range(3))
    for q0, q1, k0, k1 in zip(cq[:-1], cq[1:], ck[:-1], ck[1:]):
        position[0, q0:q1] = k0 + np.arange(q1 - q0) + (k1 - k0) - (q1 - q0)
        begin[0, q0:q1] = k0
        end[0, q0:q1] = k1
    return position, begin, end
