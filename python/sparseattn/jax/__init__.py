"""JAX side of sparseattn: attention as a composite that compilers recognise.

`attention` lowers to `stablehlo.composite "sparseattn.attention"`, version 1.
Any backend can run it through its decomposition, which is plain `jax.numpy`;
`sparseattn-raise-imported` turns it back into one `sparseattn.attention`.

Contract of the composite
-------------------------
Operands, in this order:

1. any number of constants (JAX hoists what a decomposition closes over),
2. the sink, if attribute `sink` is true: f32 [Hq],
3. q, k, v: always the **last three**.

One result: the attention output, of q's element type.

Attributes (`composite_attributes`):

| name | type | meaning | absent |
|---|---|---|---|
| `layout` | string | `"BTNH"` = [batch, tokens, heads, dim]; required, because shapes alone do not tell | refuse |
| `scale` | f64 | factor on q.k | refuse |
| `causal` | bool | keys at or before the query, aligned at the last key (bottom-right) | refuse |
| `window` | i64 | number of visible keys, the query's own included; needs `causal` | no window |
| `softcap` | f64 | s -> c tanh(s / c), after scale, before the mask | none |
| `sink` | bool | operand 2 is there | false |
| `layer` | i64 | index of the layer | unknown |
"""

import jax
import jax.numpy as jnp
import numpy as np

NAME = "sparseattn.attention"
VERSION = 1
LAYOUT = "BTNH"


def _decomposition(*operands, layout, scale, causal, window=None, softcap=None, sink=False, layer=None):
    """Reference semantics; the meaning of the attributes is in the module's
    documentation. `layout` and `layer` do not change the values."""
    del layout, layer
    q, k, v = operands[-3:]
    b, n_q, heads, d = q.shape
    n_k, kv_heads = k.shape[1], k.shape[2]
    grouped = q.astype(jnp.float32).reshape(b, n_q, kv_heads, heads // kv_heads, d)
    z = jnp.einsum("btkgd,bskd->bkgts", grouped, k.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
    z = z * float(scale)
    if softcap is not None:
        z = float(softcap) * jnp.tanh(z / float(softcap))
    if causal:
        p = jax.lax.broadcasted_iota(jnp.int32, (n_q, n_k), 0) + (n_k - n_q)
        j = jax.lax.broadcasted_iota(jnp.int32, (n_q, n_k), 1)
        visible = j <= p
        if window is not None:
            visible = visible & (j > p - int(window))
        z = jnp.where(visible, z, -jnp.inf)
    largest = jnp.max(z, axis=-1, keepdims=True)
    if sink:
        s = operands[0].astype(jnp.float32).reshape(1, kv_heads, heads // kv_heads, 1, 1)
        largest = jnp.maximum(largest, s)
    # A row that sees no key has no largest score; any finite number will do.
    largest = jnp.where(jnp.isfinite(largest), largest, 0.0)
    weights = jnp.exp(z - largest)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    if sink:
        total = total + jnp.exp(s - largest)
    out = jnp.einsum("bkgts,bskd->bkgtd", weights, v.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
    out = out / jnp.where(total > 0.0, total, 1.0)
    return jnp.transpose(out, (0, 3, 1, 2, 4)).reshape(b, n_q, heads, v.shape[-1]).astype(q.dtype)


_composite = jax.lax.composite(_decomposition, name=NAME, version=VERSION)


def _require(condition, text):
    if not condition:
        raise ValueError("sparseattn.jax.attention: " + text)


def attention(q, k, v, *, sink=None, scale=None, causal=True, window=None, softcap=None, layer=None):
    """Attention as one composite operation.

    q [B, Nq, Hq, d], k [B, Nk, Hkv, d], v [B, Nk, Hkv, dv], one floating-point
    dtype; query head h reads key/value head h div (Hq / Hkv). sink: f32 [Hq],
    joins the denominator only. scale: default 1/sqrt(d). window: number of
    visible keys, the query's own included (JAX's own `local_window_size` does
    not count it). layer: index recorded for the plan.

    Returns [B, Nq, Hq, dv] of q's dtype, computed in float32; 0 where a query
    sees no key. Raises ValueError if the arguments disagree.
    """
    _require(q.ndim == k.ndim == v.ndim == 4,
             f"expected q, k, v of rank 4 [batch, tokens, heads, dim], found {q.shape}, {k.shape}, {v.shape}")
    _require(q.dtype == k.dtype == v.dtype and jnp.issubdtype(q.dtype, jnp.floating),
             f"expected one floating-point dtype for q, k and v, found {q.dtype}, {k.dtype}, {v.dtype}")
    _require(q.shape[0] == k.shape[0] and q.shape[-1] == k.shape[-1],
             f"q {q.shape} and k {k.shape} differ in batch or head dimension")
    _require(k.shape[:3] == v.shape[:3], f"k {k.shape} and v {v.shape} differ in batch, tokens or heads")
    _require(q.shape[2] % k.shape[2] == 0,
             f"the {q.shape[2]} query heads cannot be grouped over {k.shape[2]} key/value heads")
    _require(window is None or (causal and window >= 1), f"expected window >= 1 with causal=True, found window={window}")
    _require(softcap is None or softcap > 0, f"expected softcap > 0 or None, found {softcap}")
    _require(sink is None or (sink.shape == (q.shape[2],) and sink.dtype == jnp.float32),
             "expected sink of shape [Hq] and dtype float32")
    # NumPy scalars become typed attributes: np.int64 -> i64, np.bool_ -> bool, np.float64 -> f64.
    attributes = {
        "layout": LAYOUT,
        "scale": np.float64(q.shape[-1]**-0.5 if scale is None else scale),
        "causal": np.bool_(causal),
    }
    if window is not None:
        attributes["window"] = np.int64(window)
    if softcap is not None:
        attributes["softcap"] = np.float64(softcap)
    if layer is not None:
        attributes["layer"] = np.int64(layer)
    if sink is None:
        return _composite(q, k, v, **attributes)
    return _composite(sink, q, k, v, sink=np.bool_(True), **attributes)
