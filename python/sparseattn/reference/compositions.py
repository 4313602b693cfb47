"""Whole attention methods, built from the operators as in specification §9.1.

Every function takes rotated queries and keys in layout bhsd, with queries at the end of the keys
(p_i = i + Nk - Nq) unless it says otherwise, and returns float64 and int32 arrays.
"""

from __future__ import annotations

import numpy as np

from .attention import attention, concat_kv_attention, sparse_attention
from .attributes import BlockScore, TopK
from .blocks import block_logits, block_softmax, chunk_summarize, pool_scores
from .cache import kv_bridge
from .combine import gated_combine
from .entmax import entmax_route
from .patterns import Causal, CompleteBlocks, HeadTable, Window
from .rotary import rope
from .select import select_topk


def _offset(query, key):
    """Position of the first query when the last query stands at the last key."""
    return np.shape(key)[2] - np.shape(query)[2]


# ---- HySparse, specification §2

def hysparse_full(query, key, value, *, block=64, k=16, kind="prob_max", sink=None, scale=None):
    """HySparse full layer: (out, indices [B,Hkv,Nq,k]). kind ``log_prob_max`` selects the same without exp."""
    return attention(query, key, value, keys=Causal(), scale=scale, sink=sink,
                     block_score=BlockScore(block, kind, "max"), selection=TopK(k, block))


def hysparse_sparse(query, full_key, full_value, indices, own_key, own_value, gate_sparse, gate_window, *,
                    block=64, window=128, sink_sparse=None, sink_window=None, gate="elementwise", scale=None):
    """HySparse sparse layer: the full layer's selected blocks and an own window, two softmaxes, two gates."""
    selected = sparse_attention(query, full_key, full_value, indices, block=block, sink=sink_sparse, scale=scale)
    local = attention(query, own_key, own_value, keys=Window(window), sink=sink_window, scale=scale)
    return gated_combine([selected, local], [gate_sparse, gate_window], gate=gate)


# ---- HySparse2, specification §3

def hysparse2_full(query, key, value, *, k=1024, window=128, scale=None):
    """HySparse2 full layer: (out, token indices [B,Hkv,Nq,k + window]).

    The window is forced and not counted; the k best tokens outside it are chosen by the maximum over the
    group of log-probabilities (specification §3.4).
    """
    return attention(query, key, value, keys=Causal(), scale=scale, block_score=BlockScore(1, "log_prob_max", "max"),
                     selection=TopK(k, 1, force_local=window, count_forced=False))


def hysparse2_sparse(query, full_key, full_value, indices, output_gate, *, sink=None, gate="elementwise", scale=None):
    """HySparse2 sparse layer: one softmax over the selected tokens of the full layer, then the output gate."""
    out = sparse_attention(query, full_key, full_value, indices, block=1, sink=sink, scale=scale)
    return gated_combine([out], [output_gate], gate=gate)


# ---- DashAttention, specification §4

def dash(query, key, value, summary_query, *, block=64, gamma=1.0, alpha=1.5, solver=None, prior="tempered",
         sigma=1e6, local_blocks=0):
    """DashAttention: (out, mask [B,Hkv,Nq,ceil(M/32)], bias [B,Hkv,Nq,M]).

    summary_query [Hkv,d] or [Hkv,M,d]. Incomplete chunks get a summary, too, but only chunks before the
    query's own are routed to, and those are complete.
    """
    offset, d = _offset(query, key), np.shape(query)[3]
    summary = chunk_summarize(key, block=block, mode="learned_query", summary_query=summary_query)
    logits = block_logits(query, summary, scale=gamma * d ** -0.5, visibility="before_own", block=block,
                          q_offset=offset)
    mask, bias = entmax_route(logits, kv_heads=np.shape(key)[1], block=block, q_offset=offset, alpha=alpha,
                              solver=solver, prior=prior, sigma=sigma, local_blocks=local_blocks)
    return sparse_attention(query, key, value, mask, bias=bias, block=block, format="bitmask"), mask, bias


# ---- ConSA, specification §5

def consa(query, key, value, windows):
    """ConSA layer after learning; windows: for each KV head its window, or None for full causal attention."""
    return attention(query, key, value, keys=HeadTable(tuple(Causal() if w is None else Window(w) for w in windows)))


# ---- NSA and InfLLMv2, specification §6.1 and §6.2

def nsa(query, compressed, selected, local, gates, *, block=32, stride=16, select_block=64, k=16, window=512,
        key_weights=None, value_weights=None, gate="headwise"):
    """NSA: (out, indices [B,Hkv,Nq,k]).

    compressed, selected, local: (key, value) of each branch; gates: three gates in that order, before the
    sigmoid. key_weights, value_weights: (weight_in, weight_out, position) of the compressing MLPs; without
    them chunks are averaged. select_block and block are multiples of stride.
    """
    offset, kv_heads = _offset(query, compressed[0]), np.shape(compressed[0])[1]

    def compress(x, weights):
        if weights is None:
            return chunk_summarize(x, block=block, stride=stride, complete_only=True)
        weight_in, weight_out, position = weights
        return chunk_summarize(x, block=block, stride=stride, mode="mlp", complete_only=True, weight_in=weight_in,
                               weight_out=weight_out, position=position)

    k_cmp, v_cmp = compress(compressed[0], key_weights), compress(compressed[1], value_weights)
    out_cmp = attention(query, k_cmp, v_cmp, keys=CompleteBlocks(block, stride), q_offset=offset)
    logits = block_logits(query, k_cmp, visibility="complete", block=block, stride=stride, q_offset=offset)
    probability = block_softmax(logits, kv_heads=kv_heads, group="sum")
    importance = _to_selection_blocks(probability, np.shape(compressed[0])[2], block, stride, select_block, "sum")
    indices = select_topk(importance, q_offset=offset, select=TopK(k, select_block, force_first=1, force_local=2))
    out_slc = sparse_attention(query, *selected, indices, block=select_block)
    out_win = attention(query, *local, keys=Window(window))
    return gated_combine([out_cmp, out_slc, out_win], gates, gate=gate), indices


def infllmv2(query, key, value, *, block=32, stride=16, select_block=64, k=64, window=1024):
    """InfLLMv2: (out, indices [B,Hkv,Nq,k]); the first block and the window's blocks are forced and counted."""
    offset, kv_heads = _offset(query, key), np.shape(key)[1]
    summary = chunk_summarize(key, block=block, stride=stride, complete_only=True)
    logits = block_logits(query, summary, visibility="complete", block=block, stride=stride, q_offset=offset)
    probability = block_softmax(logits, kv_heads=kv_heads, group="sum")
    score = _to_selection_blocks(probability, np.shape(key)[2], block, stride, select_block, "max")
    indices = select_topk(score, q_offset=offset, select=TopK(
        k, select_block, force_first=1, force_local=-(-window // select_block)))
    return sparse_attention(query, key, value, indices, block=select_block), indices


def _to_selection_blocks(score, num_keys, block, stride, select_block, mode):
    """Pools scores of overlapping chunks into the selection blocks that they touch.

    Chunk c covers [c*stride, c*stride + block): block j touches (select_block + block)/stride - 1 chunks. The
    last keys may belong to no complete chunk; columns of score 0 for them make every block, the query's own
    included, a column of the result.
    """
    missing = -(-num_keys // stride) - score.shape[-1]
    score = np.pad(score, [(0, 0)] * 3 + [(0, max(0, missing))])
    pooled = pool_scores(score, kernel=(select_block + block) // stride - 1, stride=select_block // stride,
                         pad=block // stride - 1, mode=mode, ceil_mode=True)
    return pooled[..., :-(-num_keys // select_block)]


# ---- DSA, DeepSeek-V4 and MSA, specification §6.3 to §6.5

def dsa(query, key, value, index_query, index_key, head_weight, *, k=2048):
    """DSA: (out, token indices [B,1,Nq,k]); index_query [B,Hi,Nq,di], index_key [B,1,Nk,di], head_weight [B,Nq,Hi]."""
    score = _indexer(index_query, index_key, head_weight, _offset(query, key), 1, 1)
    indices = select_topk(score, select=TopK(k, 1), q_offset=_offset(query, key))
    return sparse_attention(query, key, value, indices, block=1), indices


def _indexer(index_query, index_key, head_weight, offset, block, stride):
    """sum_j w_tj relu(<q_tj, k_s>); the positive factors of §6.3 that leave the order alone are left out."""
    return block_logits(index_query, index_key, head_weight=head_weight, scale=1.0, activation="relu",
                        visibility="complete", block=block, stride=stride, q_offset=offset)


def csa_compress(kv, gate, position, *, block=8, stride=4):
    """Compressed entries of DeepSeek-V4: per channel sum_t softmax(gate + position) kv over overlapping windows."""
    return chunk_summarize(kv, block=block, stride=stride, mode="gated_softmax", gate=gate, position=position,
                           complete_only=True)


def csa(query, kv, compressed, sink, *, index_query=None, index_key=None, head_weight=None, k=512, window=128,
        block=8, stride=4, rope_dims=64, base=10000.0):
    """DeepSeek-V4 CSA, and HCA without index operands: (out, indices [B,1,Nq,k] or None).

    kv [B,1,Nk,d] serves as keys and values; compressed [B,1,M,d] likewise, its entry c covering the tokens
    [c*stride, c*stride + block). index_key [B,1,M,di] are the compressed index keys. The last ``rope_dims``
    channels of the output are rotated back by the query's position.
    """
    offset = _offset(query, kv)
    indices = None
    if index_query is not None:
        score = _indexer(index_query, index_key, head_weight, offset, block, stride)
        indices = select_topk(score, select=TopK(k, stride), q_offset=offset)
    out = concat_kv_attention(query, [kv, compressed], [kv, compressed], sink=sink, q_offset=offset,
                              patterns=[Window(window), CompleteBlocks(block, stride)], selections=[None, indices])
    plain = out.shape[3] - rope_dims
    turned = rope(out[..., plain:], q_offset=offset, base=base, inverse=True)
    return np.concatenate([out[..., :plain], turned], axis=-1), indices


def msa(query, key, value, index_query, index_key, *, block=128, k=16):
    """MiniMax-M3 MSA: (out, indices [B,Hkv,Nq,k]); index_query [B,Hkv,Nq,di], index_key [B,1,Nk,di], no 1/sqrt(d)."""
    offset = _offset(query, key)
    tokens = block_logits(index_query, index_key, scale=1.0, visibility="complete", block=1, q_offset=offset)
    score = pool_scores(tokens, kernel=block, stride=block, mode="max", ceil_mode=True)
    indices = select_topk(score, q_offset=offset, select=TopK(k, block, force_local=1))
    return sparse_attention(query, key, value, indices, block=block), indices


# ---- MoBA and Quest, specification §6.6

def moba(query, key, value, *, block=4096, k=12):
    """MoBA: (out, indices [B,Hq,Nq,k]); each query head has its own chunks, the query's own chunk among them."""
    offset = _offset(query, key)
    logits = block_logits(query, chunk_summarize(key, block=block), scale=1.0, visibility="own_inf", block=block,
                          q_offset=offset)
    indices = select_topk(logits, select=TopK(k, block), q_offset=offset)
    return sparse_attention(query, key, value, indices, block=block), indices


def quest(query, key, value, *, block=16, k=64):
    """Quest decode step: (out, indices [B,Hq,Nq,k]); pages by the bound of min and max keys, per query head.

    Meant for one query at the end: the bound of the last page would otherwise know keys after the query.
    """
    low, high = chunk_summarize(key, block=block, mode="minmax")
    bound = block_logits(query, low, summary_max=high, bound="minmax", scale=1.0)
    indices = select_topk(bound, select=TopK(k, block), q_offset=_offset(query, key))
    return sparse_attention(query, key, value, indices, block=block), indices


# ---- KV sharing without selection, specification §6.7

def yoco_cross(hidden, w_k, w_v, queries, *, kv_heads):
    """YOCO's cross-decoder: K and V projected once from the self-decoder's hidden state, read by every layer.

    hidden [B,N,D]; queries: one [B,Hq,Nq,d] for each layer. Returns the list of outputs.
    """
    key, value = kv_bridge(hidden, w_k, w_v, kv_heads=kv_heads)
    return [attention(query, key, value, keys=Causal()) for query in queries]
