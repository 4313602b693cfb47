"""`torch.ops.sparseattn.attention`: one attention layer as one opaque operator.

`torch.export` keeps an operator without decomposition as a single node, so a
window, a sink or the sharing of K and V survive export exactly as the model
meant them. `sparseattn.frontend.pt2` reads the node back.

Schema (arguments that are left out take the defaults shown):

    sparseattn::attention(Tensor q, Tensor k, Tensor v, float scale, int window,
                          bool causal, int layer, int kv_source,
                          Tensor? sink=None, float softcap=0.0) -> Tensor

The operator is for capture and for checking: its eager form is slow, plain
and exact, and it has no gradient.
"""

from typing import Optional

import torch

NO_WINDOW = -1
NO_LAYER = -1


def _require(condition, text):
    if not condition:
        raise ValueError("sparseattn::attention: " + text)


def _check(q, k, v, window, causal, sink, softcap):
    """Shape rules, shared by the eager and the fake form. Symbolic sizes are
    compared only where export can guard on them."""
    _require(q.dim() == k.dim() == v.dim() == 4,
             f"expected q, k and v of rank 4 [batch, heads, tokens, dim], found ranks {q.dim()}, {k.dim()}, {v.dim()}")
    _require(q.dtype == k.dtype == v.dtype and q.dtype.is_floating_point,
             f"expected one floating-point dtype for q, k and v, found {q.dtype}, {k.dtype}, {v.dtype}")
    _require(q.shape[-1] == k.shape[-1], f"q has head dimension {q.shape[-1]}, k has {k.shape[-1]}")
    _require(k.shape[:3] == v.shape[:3], f"k {tuple(k.shape)} and v {tuple(v.shape)} differ in batch, heads or tokens")
    _require(q.shape[1] % k.shape[1] == 0,
             f"the {q.shape[1]} query heads cannot be grouped over {k.shape[1]} key/value heads")
    _require(window == NO_WINDOW or window >= 1, f"expected window >= 1, or -1 for none, found {window}")
    _require(causal or window == NO_WINDOW, "a window without causality has no meaning here; pass causal=True")
    _require(softcap >= 0.0, f"expected softcap >= 0 (0 means none), found {softcap}")
    if sink is not None:
        _require(tuple(sink.shape) == (q.shape[1],) and sink.dtype == torch.float32,
                 f"expected sink of shape [{q.shape[1]}] and dtype float32, found {list(sink.shape)} {sink.dtype}")


@torch.library.custom_op("sparseattn::attention", mutates_args=())
def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, window: int, causal: bool, layer: int,
              kv_source: int, sink: Optional[torch.Tensor] = None, softcap: float = 0.0) -> torch.Tensor:
    """Attention of one layer.

    q [B, Hq, Nq, d], k [B, Hkv, Nk, d], v [B, Hkv, Nk, dv], of one dtype;
    query head h reads key/value head h div (Hq / Hkv).
    With z = softcap(scale * <q, k>) over the visible keys, where
    softcap(s) = s for softcap 0 and softcap * tanh(s / softcap) otherwise:

        out_i = sum_j exp(z_ij) v_j / (exp(sink_h) + sum_j exp(z_ij))

    Query i stands at position p = i + Nk - Nq. causal: keys j <= p are
    visible; window w >= 1: only the last w of them, the query's own included;
    window -1: no window. sink [Hq] float32 joins the denominator only.
    layer: index of the layer, -1 if unknown. kv_source: index of the layer
    that produced k and v (`layer` itself if it owns them), -1 if unknown.

    Returns [B, Hq, Nq, dv] of q's dtype. All arithmetic is float32 (float64
    for float64 inputs). A query that sees no key gets 0.
    Raises ValueError, naming what was expected, if the arguments disagree.
    """
    _check(q, k, v, window, causal, sink, softcap)
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    group = q.shape[1] // k.shape[1]
    n_q, n_k = q.shape[2], k.shape[2]
    keys = k.to(wide).repeat_interleave(group, dim=1)
    values = v.to(wide).repeat_interleave(group, dim=1)
    z = torch.matmul(q.to(wide), keys.transpose(2, 3)) * scale
    if softcap > 0.0:
        z = softcap * torch.tanh(z / softcap)
    if causal:
        p = torch.arange(n_q, device=q.device)[:, None] + (n_k - n_q)
        j = torch.arange(n_k, device=q.device)[None, :]
        visible = j <= p
        if window != NO_WINDOW:
            visible &= j > p - window
        z = z.masked_fill(~visible, -torch.inf)
    if sink is not None:
        column = sink.to(wide).reshape(1, -1, 1, 1).expand(z.shape[0], -1, n_q, 1)
        z = torch.cat([z, column], dim=-1)
    probabilities = torch.softmax(z, dim=-1)[..., :n_k].nan_to_num(0.0)
    return torch.matmul(probabilities, values).to(q.dtype)


@attention.register_fake
def _(q, k, v, scale, window, causal, layer, kv_source, sink=None, softcap=0.0):
    _check(q, k, v, window, causal, sink, softcap)
    return q.new_empty((*q.shape[:-1], v.shape[-1]))
