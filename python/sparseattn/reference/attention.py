"""Dense attention, block-sparse attention, and attention over several key sources.

All three are one sum (specification §1.3, §1.4), over the visible keys j of query row i:

    z_ij = score_mod(scale * <q_i, k_j>) + bias        lse_i = log(exp(sink_h) + sum_j exp(z_ij))
    o_i  = sum_j exp(z_ij - lse_i) v_j                 empty row: o = 0, lse = -inf (lse = sink with a sink)
"""

from __future__ import annotations

import numpy as np

from .attributes import ORIGINS, Softmax, SoftCap, one_of
from .layout import (add_batch, as_float, as_index, check_shape, drop_batch, expand_heads, from_bhsd,
                     group_size, query_rows, reduce_group, to_bhsd)
from .masks import unpack_bits
from .patterns import Causal, KeyPattern, is_summary_pattern, positive
from .select import choose_columns

NEG_INF = float("-inf")


def attention(query, key, value, *, keys, sink=None, valid_range=None, q_offset=None, cu_seqlens_q=None,
              cu_seqlens_k=None, scale=None, score_mod=None, normalizer=Softmax(), layout="bhsd",
              return_lse=False, block_score=None, selection=None, layer=None, kv_source=None):
    """Attention of every query over the keys of a pattern; operators 1, 2 and 12 of specification §9.

    query [B,Hq,Nq,d], key [B,Hkv,Nk,d], value [B,Hkv,Nk,dv] in ``layout``; keys: a pattern of ``patterns``;
    sink [Hq]; valid_range [B,Nq,2] int, half-open; q_offset: integer, default Nk - Nq (0 for CompleteBlocks).
    ``block_score`` (BlockScore): score[b,r,t,c] = reduction over the group of the maximum over the visible
    keys j of block c of exp(z - lse), z - lse or z; 0 (prob_max) or -inf where nothing is visible.
    ``selection`` (TopK, needs block_score) replaces that score by ``select_topk`` of it.
    ``layer`` and ``kv_source`` name the place in a model and change no number.

    Returns out, then lse [B,Hq,Nq] if ``return_lse``, then score [B,H,Nq,M] or indices [B,H,Nq,K] if asked
    for: a tuple, or out alone. Raises ValueError on shapes or attributes that do not fit.
    """
    q, k, v = _operands(query, key, value, layout)
    rows = _token_rows(q, k, keys, layout, q_offset, valid_range, cu_seqlens_q, cu_seqlens_k)
    z = _logits(q, k, scale, score_mod, normalizer)
    visible = expand_heads(_visible(keys, rows, k.shape[1], k.shape[2]), q.shape[1])
    z = np.where(visible, z, NEG_INF)
    out, lse = _attend(z, v, sink)

    results = [from_bhsd(out, layout)]
    if return_lse:
        results.append(drop_batch(lse, layout))
    if selection is not None and block_score is None:
        raise ValueError("selection needs block_score: there is no score to select from")
    if block_score is not None:
        score = _score_blocks(z, lse, rows, k.shape[1], block_score)
        if selection is not None:
            if selection.block != block_score.block:
                raise ValueError(f"selection has block {selection.block}, block_score has block "
                                 f"{block_score.block}; they must be equal")
            score, _ = choose_columns(score, rows, selection, block_score.origin)
        results.append(drop_batch(score, layout))
    return results[0] if len(results) == 1 else tuple(results)


def sparse_attention(query, key, value, selection, *, block, query_block=1, bias=None, sink=None, valid_range=None,
                     q_offset=None, cu_seqlens_q=None, cu_seqlens_k=None, keys=Causal(), format="index",
                     origin="absolute", scale=None, score_mod=None, normalizer=Softmax(), layout="bhsd",
                     strategy=None, return_lse=False, layer=None, kv_source=None):
    """Attention over the union of selected blocks, cut by the pattern; operator 9 of specification §9.

    ``selection`` int: indices [B,Hs,Nq,K] (entries below 0 or not below M are skipped) or, with format
    ``bitmask``, words [B,Hs,Nq,ceil(M/32)] with bit c%32 of word c/32 for block c; Hs is 1, Hkv or Hq;
    M = ceil(Nk/block). ``bias`` is a natural logarithm added to z after scale and score_mod: [B,Hkv,Nq,M] for
    bitmask, [B,Hkv,Nq,K] beside the entries for index. With ``query_block`` n, row t of selection and bias (of
    ceil(Nq/n)) is that of queries [t*n, (t+1)*n). ``origin`` range_begin counts blocks from the begin of
    the row's range. ``strategy`` is a hint to a compiler and changes no number. The rest is as in ``attention``.

    Returns out, or (out, lse) if ``return_lse``. Raises ValueError on shapes or attributes that do not fit,
    and on an index that occurs twice in a row together with a bias, where the bias would be ambiguous.
    """
    one_of("format", format, ("index", "bitmask"))
    one_of("origin", origin, ORIGINS)
    q, k, v = _operands(query, key, value, layout)
    rows = _token_rows(q, k, keys, layout, q_offset, valid_range, cu_seqlens_q, cu_seqlens_k)
    positive("query_block", query_block)
    if query_block != 1 and (layout == "thd" or origin == "range_begin"):
        raise ValueError("query_block must be 1 for layout thd and for origin range_begin, where blocks begin with the "
                         f"range of each query; found {query_block}")
    owners = q[:, :, ::query_block]
    chosen, block_bias = (np.repeat(x, query_block, axis=2)[:, :, :q.shape[2]]
                          for x in _selected_blocks(selection, bias, owners, k, block, format, layout))
    z = _logits(q, k, scale, score_mod, normalizer)
    visible = expand_heads(_visible(keys, rows, k.shape[1], k.shape[2]), q.shape[1])

    # The block of key j, row by row, because the origin may differ. Keys before the origin are invisible anyway.
    column = np.maximum(np.arange(k.shape[2]) - rows.block_begin(origin)[..., None], 0) // block
    column = np.broadcast_to(column[:, None], z.shape)
    visible = visible & np.take_along_axis(chosen, column, axis=-1)
    z = z + np.take_along_axis(block_bias, column, axis=-1)
    out, lse = _attend(np.where(visible, z, NEG_INF), v, sink)
    out = from_bhsd(out, layout)
    return (out, drop_batch(lse, layout)) if return_lse else out


def concat_kv_attention(query, keys, values, *, patterns, selections=None, sink=None, q_offset=None,
                        scale=None, score_mod=None, normalizer=Softmax(), layout="bhsd", return_lse=False):
    """One softmax over the visible keys of several sources; operator 18 of specification §9 (§6.4).

    keys[n] [B,H_n,N_n,d], values[n] [B,H_n,N_n,dv] and patterns[n] describe source n; selections[n], if not
    None, is an index tensor [B,Hs,Nq,K] over the source's keys (block 1). All sources share the query's
    position p_i = q_offset + i; the default offset is N_n - Nq of the sources with token keys, which must
    agree, or 0 if every source holds summaries.

    Returns out [B,Hq,Nq,dv] in ``layout``, or (out, lse). Raises ValueError on operands that do not fit.
    """
    one_of("layout", layout, ("bhsd", "bshd"))
    selections = [None] * len(keys) if selections is None else selections
    if not len(keys) == len(values) == len(patterns) == len(selections) or not keys:
        raise ValueError("keys, values, patterns and selections must have one entry for each source, found "
                         f"{len(keys)}, {len(values)}, {len(patterns)} and {len(selections)}")
    sources = [_operands(query, k, v, layout) for k, v in zip(keys, values)]
    q = sources[0][0]
    if q_offset is None:
        offsets = {k.shape[2] - q.shape[2] for (_, k, _), p in zip(sources, patterns) if not is_summary_pattern(p)}
        if len(offsets) > 1:
            raise ValueError(f"the token sources imply different query offsets {sorted(offsets)}; give q_offset")
        q_offset = offsets.pop() if offsets else 0
    logits, all_values = [], []
    for (_, k, v), pattern, selection in zip(sources, patterns, selections):
        rows = _token_rows(q, k, pattern, layout, q_offset, None, None, None)
        visible = expand_heads(_visible(pattern, rows, k.shape[1], k.shape[2]), q.shape[1])
        if selection is not None:
            visible = visible & _selected_blocks(selection, None, q, k, 1, "index", layout)[0]
        logits.append(np.where(visible, _logits(q, k, scale, score_mod, normalizer), NEG_INF))
        all_values.append(expand_heads(v, q.shape[1]))
    out, lse = _attend(np.concatenate(logits, axis=-1), np.concatenate(all_values, axis=2), sink)
    out = from_bhsd(out, layout)
    return (out, lse) if return_lse else out


def _operands(query, key, value, layout):
    q, k, v = (to_bhsd(x, layout, name) for x, name in ((query, "query"), (key, "key"), (value, "value")))
    group_size(q.shape[1], k.shape[1])
    check_shape(k, (q.shape[0], None, None, q.shape[3]), "key ([B,Hkv,Nk,d] with the query's B and d)")
    check_shape(v, (*k.shape[:3], None), "value ([B,Hkv,Nk,dv] with the key's B, Hkv and Nk)")
    return q, k, v


def _token_rows(q, k, keys, layout, q_offset, valid_range, cu_seqlens_q, cu_seqlens_k):
    if not isinstance(keys, KeyPattern):
        raise ValueError(f"keys must be a key pattern such as Causal() or Window(128), found {keys!r}")
    keys.check_heads(k.shape[1])
    summaries = is_summary_pattern(keys)
    if summaries and layout == "thd":
        raise ValueError("CompleteBlocks needs layout bhsd or bshd: packed summaries have no token positions")
    return query_rows(q.shape[0], q.shape[2], k.shape[2], default_offset=0 if summaries else k.shape[2] - q.shape[2],
                      q_offset=q_offset, valid_range=valid_range, layout=layout, cu_seqlens_q=cu_seqlens_q,
                      cu_seqlens_k=cu_seqlens_k)


def _visible(keys, rows, kv_heads, num_keys):
    """[B,Hkv,Nq,Nk] bool: the pattern's range of each KV head, cut by the row's range."""
    j = np.arange(num_keys)
    heads = []
    for r in range(kv_heads):
        lo, hi = keys.for_head(r).key_range(rows.position - rows.first, num_keys)
        lo, hi = np.maximum(lo + rows.first, rows.begin), np.minimum(hi + rows.first, rows.end)
        heads.append((j >= lo[..., None]) & (j < hi[..., None]))
    return np.stack(heads, axis=1)


def _logits(q, k, scale, score_mod, normalizer):
    """[B,Hq,Nq,Nk]: score_mod(scale * <q_i, k_j>)."""
    if not isinstance(normalizer, Softmax):
        raise ValueError(f"normalizer must be Softmax(), found {normalizer!r}")
    if score_mod is not None and not isinstance(score_mod, SoftCap):
        raise ValueError(f"score_mod must be SoftCap(cap) or None, found {score_mod!r}")
    z = (q.shape[3] ** -0.5 if scale is None else scale) * (q @ expand_heads(k, q.shape[1]).swapaxes(-1, -2))
    return z if score_mod is None else score_mod.apply(z)


def _attend(z, v, sink):
    """Softmax of z [B,Hq,Nq,Nk] (-inf: invisible) with the sink in the denominator, times v."""
    largest = z.max(axis=-1, initial=NEG_INF)
    if sink is not None:
        sink = as_float(sink)
        check_shape(sink, (z.shape[1],), "sink (one value for each query head)")
        sink = sink[None, :, None]
        largest = np.maximum(largest, sink)
    m = np.where(np.isneginf(largest), 0.0, largest)
    weight = np.exp(z - m[..., None])
    total = weight.sum(axis=-1) + (0.0 if sink is None else np.exp(sink - m))
    empty = total == 0
    total = np.where(empty, 1.0, total)
    lse = np.where(empty, NEG_INF, m + np.log(total))
    return weight / total[..., None] @ expand_heads(v, z.shape[1]), lse


def _score_blocks(z, lse, rows, kv_heads, block_score):
    """[B,H,Nq,M]: the group-reduced block maximum of BlockScore."""
    num_keys = z.shape[-1]
    num_blocks = -(-num_keys // block_score.block)
    if block_score.kind != "logit_max":
        # A row with lse = -inf sees no key, so that its z is -inf everywhere and must stay so.
        z = z - np.where(np.isneginf(lse), 0.0, lse)[..., None]
    key_of = rows.block_begin(block_score.origin)[..., None] + np.arange(num_blocks * block_score.block)
    exists = key_of < num_keys
    key_of = np.broadcast_to(np.where(exists, key_of, 0)[:, None], (*z.shape[:3], key_of.shape[-1]))
    member = np.where(exists[:, None], np.take_along_axis(z, key_of, axis=-1), NEG_INF)
    score = member.reshape(*z.shape[:3], num_blocks, block_score.block).max(axis=-1, initial=NEG_INF)
    if block_score.kind == "prob_max":
        score = np.exp(score)
    return reduce_group(score, kv_heads, block_score.group)


def _selected_blocks(selection, bias, q, k, block, format, layout):
    """([B,Hq,Nq,M] bool, [B,Hq,Nq,M] bias) of a selection in either format."""
    batch, query_heads, num_queries = q.shape[:3]
    kv_heads, num_blocks = k.shape[1], -(-k.shape[2] // block)
    selection = add_batch(as_index(selection), layout)
    width = -(-num_blocks // 32) if format == "bitmask" else None
    check_shape(selection, (batch, None, num_queries, width), "selection")
    if selection.shape[1] not in (1, kv_heads, query_heads):
        raise ValueError(f"selection must have 1, {kv_heads} (KV) or {query_heads} (query) heads, "
                         f"found {selection.shape[1]}")
    selection = expand_heads(selection, query_heads)
    if bias is None:
        columns = num_blocks if format == "bitmask" else selection.shape[-1]
        bias = np.zeros((batch, query_heads, num_queries, columns))
        biased = False
    else:
        bias = add_batch(as_float(bias), layout)
        check_shape(bias, (batch, kv_heads, num_queries, num_blocks if format == "bitmask" else selection.shape[-1]),
                    "bias")
        bias, biased = expand_heads(bias, query_heads), True
    if format == "bitmask":
        return unpack_bits(selection, num_blocks), bias

    # Skipped entries land in one extra column, which is then cut off.
    entry = np.where((selection >= 0) & (selection < num_blocks), selection, num_blocks)
    ordered = np.sort(entry, axis=-1)
    if biased and np.any((ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] < num_blocks)):
        raise ValueError("selection names a block twice in one row, so that its bias is ambiguous; "
                         "name each block once")
    chosen = np.zeros((batch, query_heads, num_queries, num_blocks + 1), dtype=bool)
    block_bias = np.zeros(chosen.shape)
    np.put_along_axis(chosen, entry, True, axis=-1)
    np.put_along_axis(block_bias, entry, bias, axis=-1)
    return chosen[..., :-1], block_bias[..., :-1]
