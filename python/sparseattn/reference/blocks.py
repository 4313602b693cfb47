"""Block summaries, block logits, block probabilities and their pooling."""

from __future__ import annotations

import numpy as np

from .attributes import GROUP_REDUCTIONS, at_least_zero, one_of
from .layout import (as_float, check_shape, expand_heads, from_bhsd, group_size, query_rows, reduce_group,
                     to_bhsd)
from .patterns import positive

NEG_INF = float("-inf")


def chunk_summarize(key, *, block, stride=None, mode="mean", summary_query=None, gate=None, position=None,
                    weight_in=None, weight_out=None, complete_only=False, scale=None, layout="bhsd"):
    """One summary for each chunk of keys; operator 3 of specification §9.

    key [B,Hkv,Nk,d] in ``layout``. Chunk c holds the keys [c*stride, c*stride + block) that exist;
    M = max(0, (Nk - block) div stride + 1) if ``complete_only``, else ceil(Nk / stride). ``stride`` defaults
    to ``block``.

        mean            mean over the chunk                                                    §6.2, §6.6
        learned_query   sum_t softmax_t(scale * <summary_query, k_t>) k_t; summary_query [Hkv,d] or
                        [Hkv,M,d], scale default 1/sqrt(d)                                     §4.1
        minmax          per channel minimum and maximum: two results                           §6.6
        mlp             relu(vec(k + position) weight_in) weight_out, vec in (token, channel) order;
                        position [block,d] optional, weight_in [block*d,h], weight_out [h,d];
                        needs complete_only                                                    §6.1
        gated_softmax   per channel, sum_t softmax_t(gate_t + position_t) k_t; gate like key,
                        position [block,d] optional                                            §6.4

    Returns summary [B,Hkv,M,d] in ``layout`` (minmax: the pair min, max). Raises ValueError on operands
    that the mode does not take or needs, and on shapes that do not fit.
    """
    one_of("layout", layout, ("bhsd", "bshd"))
    one_of("mode", mode, ("mean", "learned_query", "minmax", "mlp", "gated_softmax"))
    stride = block if stride is None else stride
    positive("block", block)
    positive("stride", stride)
    k = to_bhsd(key, layout, "key")
    batch, heads, num_keys, d = k.shape
    num_chunks = max(0, (num_keys - block) // stride + 1) if complete_only else -(-num_keys // stride)
    _check_operands(mode, summary_query=summary_query, gate=gate, position=position, weight_in=weight_in,
                    weight_out=weight_out)
    if mode == "mlp" and not complete_only:
        raise ValueError("mode mlp needs complete_only: a partial chunk has no vector of block*d values")
    if position is not None:
        position = as_float(position)
        check_shape(position, (block, d), "position")
    chunks = [slice(c * stride, min(c * stride + block, num_keys)) for c in range(num_chunks)]

    def stack(summary_of_chunk):
        result = np.zeros((batch, heads, num_chunks, d))
        for c, chunk in enumerate(chunks):
            result[:, :, c] = summary_of_chunk(c, chunk)
        return from_bhsd(result, layout)

    if mode == "mean":
        return stack(lambda c, chunk: k[:, :, chunk].mean(axis=2))
    if mode == "minmax":
        return stack(lambda c, chunk: k[:, :, chunk].min(axis=2)), stack(lambda c, chunk: k[:, :, chunk].max(axis=2))
    if mode == "learned_query":
        query = as_float(summary_query)
        if query.ndim == 2:
            query = np.repeat(query[:, None], num_chunks, axis=1)
        check_shape(query, (heads, num_chunks, d), "summary_query ([Hkv,d] or [Hkv,M,d])")
        scale = d ** -0.5 if scale is None else scale

        def attend(c, chunk):
            weight = softmax(scale * (k[:, :, chunk] * query[None, :, c, None]).sum(axis=-1), axis=-1)
            return (weight[..., None] * k[:, :, chunk]).sum(axis=2)

        return stack(attend)
    if mode == "mlp":
        w_in, w_out = as_float(weight_in), as_float(weight_out)
        check_shape(w_in, (block * d, None), "weight_in")
        check_shape(w_out, (w_in.shape[1], d), "weight_out")
        shift = 0.0 if position is None else position
        return stack(lambda c, chunk: np.maximum(
            (k[:, :, chunk] + shift).reshape(batch, heads, block * d) @ w_in, 0.0) @ w_out)
    gates = to_bhsd(gate, layout, "gate")
    check_shape(gates, k.shape, "gate (like key)")

    def gated(c, chunk):
        shift = 0.0 if position is None else position[:chunk.stop - chunk.start]
        return (softmax(gates[:, :, chunk] + shift, axis=2) * k[:, :, chunk]).sum(axis=2)

    return stack(gated)


# Operands of each mode: those it needs, and those it may have besides.
_OPERANDS = {
    "mean": ((), ()),
    "minmax": ((), ()),
    "learned_query": (("summary_query",), ()),
    "mlp": (("weight_in", "weight_out"), ("position",)),
    "gated_softmax": (("gate",), ("position",)),
}


def _check_operands(mode, **operands):
    needed, optional = _OPERANDS[mode]
    for name, value in operands.items():
        if value is None and name in needed:
            raise ValueError(f"mode {mode} needs the operand {name}")
        if value is not None and name not in needed + optional:
            raise ValueError(f"mode {mode} takes no operand {name}; remove it or choose another mode")


def block_logits(query, summary, *, summary_max=None, head_weight=None, q_offset=None, scale=None,
                 activation="none", visibility="all", block=1, stride=None, bound="dot", layout="bhsd"):
    """Logits of queries against block summaries; operator 4 of specification §9.

    query [B,Hq,Nq,d], summary [B,Hkv,M,d] in ``layout``; p_i = q_offset + i (default offset 0).

        z_hic = activation(scale * <q_hi, summary_c>)          bound dot; scale default 1/sqrt(d)
        z_hic = activation(scale * sum_d max(q_d min_d, q_d max_d))   bound minmax; summary is min, summary_max max

    With head_weight [B,Nq,Hq] the result is sum_h w_hi z_hic with one head. Masked columns are -inf:

        all         nothing masked
        before_own  visible iff c < p div block                                  §4.1
        complete    visible iff c*stride + block - 1 <= p                        §6.1
        own_inf     c = p div block is +inf, later columns are masked            §6.6

    Returns z [B,Hq,Nq,M] (head_weight: [B,1,Nq,M]). Raises ValueError on operands that do not fit.
    """
    one_of("layout", layout, ("bhsd", "bshd"))
    one_of("activation", activation, ("none", "relu"))
    one_of("visibility", visibility, ("all", "before_own", "complete", "own_inf"))
    one_of("bound", bound, ("dot", "minmax"))
    stride = block if stride is None else stride
    positive("block", block)
    positive("stride", stride)
    if (bound == "minmax") != (summary_max is not None):
        raise ValueError("summary_max and bound minmax need each other: summary holds the minima, "
                         "summary_max the maxima")
    q, s = to_bhsd(query, layout, "query"), to_bhsd(summary, layout, "summary")
    batch, heads, num_queries, d = q.shape
    check_shape(s, (batch, None, None, d), "summary ([B,Hkv,M,d] with the query's B and d)")
    s = expand_heads(s, heads)
    num_chunks = s.shape[2]
    if bound == "dot":
        z = q @ s.swapaxes(-1, -2)
    else:
        s_max = expand_heads(to_bhsd(summary_max, layout, "summary_max"), heads)
        check_shape(s_max, s.shape, "summary_max (like summary)")
        z = np.stack([np.maximum(q * s[:, :, c, None], q * s_max[:, :, c, None]).sum(axis=-1)
                      for c in range(num_chunks)], axis=-1) if num_chunks else np.zeros((*q.shape[:3], 0))
    z = (d ** -0.5 if scale is None else scale) * z
    if activation == "relu":
        z = np.maximum(z, 0.0)
    if head_weight is not None:
        weight = as_float(head_weight)
        check_shape(weight, (batch, num_queries, heads), "head_weight")
        z = (z * weight.transpose(0, 2, 1)[..., None]).sum(axis=1, keepdims=True)
    rows = query_rows(batch, num_queries, num_chunks, default_offset=0, q_offset=q_offset)
    p, c = rows.position[:, None, :, None], np.arange(num_chunks)
    if visibility == "before_own":
        return np.where(c < p // block, z, NEG_INF)
    if visibility == "complete":
        return np.where(c * stride + block - 1 <= p, z, NEG_INF)
    if visibility == "own_inf":
        return np.where(c < p // block, z, np.where(c == p // block, np.inf, NEG_INF))
    return z


def block_softmax(logits, *, kv_heads, group="none"):
    """Softmax over the blocks, then the reduction over each group; operator 5 of specification §9 (§6.1).

    logits [B,Hq,Nq,M] with -inf for masked columns -> p [B,Hq,Nq,M] (group none) or [B,kv_heads,Nq,M].
    A row with nothing visible is all 0. Raises ValueError for +inf, whose softmax is undefined.
    """
    one_of("group", group, GROUP_REDUCTIONS)
    z = as_float(logits)
    check_shape(z, (None, None, None, None), "logits")
    group_size(z.shape[1], kv_heads)
    if np.any(np.isposinf(z)):
        raise ValueError("block_softmax found +inf among its logits; use visibility complete or before_own, "
                         "own_inf is for select_topk")
    return reduce_group(softmax(z, axis=-1), kv_heads, group)


def softmax(z, axis):
    """exp(z - lse) with 0 for -inf, and all 0 for a row of nothing but -inf. Specification §1.4."""
    largest = z.max(axis=axis, keepdims=True, initial=NEG_INF)
    weight = np.exp(z - np.where(np.isneginf(largest), 0.0, largest))
    total = weight.sum(axis=axis, keepdims=True)
    return weight / np.where(total == 0, 1.0, total)


def pool_scores(score, *, kernel, stride, pad=0, mode="max", ceil_mode=False):
    """Pools neighbouring columns; operator 5 of specification §9 (§6.1, §6.2, §6.5).

    score [B,H,Nq,M] -> [B,H,Nq,M'], M' = max(0, floor((M + 2*pad - kernel) / stride) + 1), ceil in place of
    floor with ``ceil_mode``. Column m pools the columns of [m*stride - pad, m*stride - pad + kernel) that
    exist, by max (of nothing: -inf) or sum (of nothing: 0). Raises ValueError on attributes out of range.
    """
    one_of("mode", mode, ("max", "sum"))
    positive("kernel", kernel)
    positive("stride", stride)
    at_least_zero("pad", pad)
    score = as_float(score)
    check_shape(score, (None, None, None, None), "score")
    span = score.shape[-1] + 2 * pad - kernel
    num_pooled = max(0, (-(-span // stride) if ceil_mode else span // stride) + 1)
    pooled = np.zeros((*score.shape[:-1], num_pooled))
    for m in range(num_pooled):
        begin = m * stride - pad
        window = score[..., max(0, begin):max(0, begin + kernel)]
        pooled[..., m] = window.max(axis=-1, initial=NEG_INF) if mode == "max" else window.sum(axis=-1)
    return pooled
