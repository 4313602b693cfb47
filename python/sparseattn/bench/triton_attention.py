"""A peer for comparison: forward attention in Triton, in the way of FlashAttention-2. Full and causal, Nq = Nk.

Online softmax over blocks of keys, in powers of two; the blocks that no mask touches come first, in a loop of their own.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

CONFIGS = [triton.Config({"BM": rows, "BN": columns}, num_warps=warps, num_stages=stages)
           for rows, columns, warps, stages in ((128, 64, 4, 3), (128, 64, 8, 3), (128, 128, 8, 2))]


@triton.jit
def _attend(q, k, v, begin, end, rows, peak, total, acc, scale, length, MASKED: tl.constexpr, CAUSAL: tl.constexpr,
            D: tl.constexpr, BN: tl.constexpr):
    columns, features = tl.arange(0, BN), tl.arange(0, D)
    for start in tl.range(begin, end, BN):
        j = start + columns
        inside = j < length
        keys = tl.load(k + j[None, :] * D + features[:, None], mask=inside[None, :] if MASKED else None)
        scores = tl.dot(q, keys)
        if MASKED:
            seen = inside[None, :]
            if CAUSAL:
                seen = seen & (j[None, :] <= rows[:, None])
            scores = tl.where(seen, scores, -float("inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1) * scale)
        weights = tl.exp2(scores * scale - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        total = total * shrink + tl.sum(weights, 1)
        values = tl.load(v + j[:, None] * D + features[None, :], mask=inside[:, None] if MASKED else None)
        acc = tl.dot(weights.to(values.dtype), values, acc * shrink[:, None])
        peak = new_peak
    return peak, total, acc


@triton.autotune(CONFIGS, key=["D", "CAUSAL"])
@triton.jit
def _forward(q, k, v, out, scale, heads, group, length, CAUSAL: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    # The last rows, which see most under a causal mask, begin first.
    tile = tl.num_programs(0) - 1 - tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    kv_head = head // heads * (heads // group) + head % heads // group
    q += head * length * D
    out += head * length * D
    k += kv_head * length * D
    v += kv_head * length * D
    rows, features = tile * BM + tl.arange(0, BM), tl.arange(0, D)
    places = rows[:, None] * D + features[None, :]
    queries = tl.load(q + places, mask=rows[:, None] < length)
    peak = tl.full([BM], -float("inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    end = tl.minimum((tile + 1) * BM, length) if CAUSAL else length
    whole = (tile * BM if CAUSAL else length) // BN * BN
    peak, total, acc = _attend(queries, k, v, 0, whole, rows, peak, total, acc, scale, length, False, CAUSAL, D, BN)
    peak, total, acc = _attend(queries, k, v, whole, end, rows, peak, total, acc, scale, length, True, CAUSAL, D, BN)
    result = (acc / total[:, None]).to(out.dtype.element_ty)
    tl.store(out + places, result, mask=rows[:, None] < length)


def attention(q, k, v, causal: bool, blocks: tuple[int, int] | None = None):
    """q [B,Hq,S,D], k, v [B,Hkv,S,D], contiguous, D 64 or 128; scale 1/sqrt(D). Returns [B,Hq,S,D].

    blocks: rows and columns of a block, instead of the fastest of CONFIGS. Raises ValueError.
    """
    batch, heads, length, dim = q.shape
    if dim not in (64, 128) or k.shape[2] != length or v.shape != k.shape:
        raise ValueError(f"expected head dimension 64 or 128 and as many keys as queries, found {tuple(q.shape)} and {tuple(k.shape)}")
    if not all(x.is_contiguous() for x in (q, k, v)):
        raise ValueError("expected contiguous tensors")
    out = torch.empty_like(q)
    scale = math.log2(math.e) / math.sqrt(dim)
    arguments = (q, k, v, out, scale, heads, heads // k.shape[1], length, causal, dim)
    if blocks is None:
        _forward[lambda config: (triton.cdiv(length, config["BM"]), batch * heads)](*arguments)
    else:
        _forward.fn[(triton.cdiv(length, blocks[0]), batch * heads)](*arguments, *blocks)
    return out
