"""HuggingFace transformers: attention by substitution.

`register()` adds an attention implementation named "sparseattn". A model that
is loaded with it, or switched by `model.set_attn_implementation("sparseattn")`,
calls `torch.ops.sparseattn.attention` once per layer, with q, k and v after
the rotary embedding and k, v not repeated over the group.

The mask is carried by the attributes `causal` and `window`. Anything that
these two cannot say (padding, packed documents, bidirectional images) is
refused with an error, never dropped.
"""

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from .export_op import NO_LAYER, NO_WINDOW, attention

NAME = "sparseattn"


def kv_source_of(module):
    """Index of the layer whose K and V `module` attends to, from its config:
    with `num_kv_shared_layers`, the last layer before the shared range that
    has the same entry in `layer_types` (Gemma 3n, Gemma 4)."""
    layer = int(module.layer_idx)
    config = module.config
    first_shared = config.num_hidden_layers - (getattr(config, "num_kv_shared_layers", 0) or 0)
    if layer < first_shared or first_shared <= 0:
        return layer
    kinds = config.layer_types
    same = [i for i in range(first_shared) if kinds[i] == kinds[layer]]
    if not same:
        raise ValueError(f"layer {layer} shares K and V, but no layer before {first_shared} is of its kind "
                         f"'{kinds[layer]}'")
    return same[-1]


def layer_arguments(module, kwargs):
    """The non-tensor arguments of the operator for one call of a HuggingFace
    attention function; `kwargs` are its keyword arguments."""
    known = {"scaling", "sliding_window", "softcap", "s_aux", "dropout", "is_causal"}
    unsupported = {"head_mask", "position_bias", "block_mask", "cu_seq_lens_q", "cu_seq_lens_k", "cu_seqlens"}
    found = sorted(n for n in unsupported if kwargs.get(n) is not None)
    if found:
        raise ValueError(f"attention argument(s) {', '.join(found)} have no counterpart in sparseattn::attention; "
                         f"it understands {', '.join(sorted(known))}")
    if kwargs.get("dropout"):
        raise ValueError("attention dropout is not supported; call model.eval() first")
    scaling = kwargs.get("scaling")
    causal = kwargs.get("is_causal")
    return {
        "scale": float(module.head_dim**-0.5 if scaling is None else scaling),
        "window": int(kwargs.get("sliding_window") or NO_WINDOW),
        "causal": bool(getattr(module, "is_causal", True) if causal is None else causal),
        "layer": int(getattr(module, "layer_idx", NO_LAYER)),
        "kv_source": kv_source_of(module),
        "softcap": float(kwargs.get("softcap") or 0.0),
    }


def sparseattn_attention(module, query, key, value, attention_mask, **kwargs):
    """HuggingFace attention function: BHSD in, ([B, S, H, D], None) out."""
    if attention_mask is not None:
        raise ValueError("sparseattn attention takes no mask tensor; pass one unpadded sequence a batch row")
    sink = kwargs.get("s_aux")
    out = attention(query, key, value, sink=None if sink is None else sink.float(), **layer_arguments(module, kwargs))
    return out.transpose(1, 2).contiguous(), None


def _expected_mask(q_length, kv_length, q_offset, kv_offset, window, device):
    q = torch.arange(q_length, device=device)[:, None] + q_offset
    k = torch.arange(kv_length, device=device)[None, :] + kv_offset
    visible = k <= q
    return visible if window is None else visible & (k > q - window)


def sparseattn_mask(batch_size, q_length, kv_length, q_offset=0, kv_offset=0, mask_function=None, attention_mask=None,
                    config=None, device="cpu", **kwargs):
    """HuggingFace mask function: returns None, because the operator's own
    attributes say which keys are visible, after checking that they do.

    While tracing, values cannot be looked at: run the model once in eager mode
    on the same inputs before exporting it (as `capture.record` does).
    """
    if attention_mask is not None:
        raise ValueError("sparseattn attention does not support padding masks; pass one unpadded sequence a batch row "
                         "and leave attention_mask out")
    if torch.compiler.is_compiling() or mask_function is None:
        return None
    mask = sdpa_mask(batch_size=batch_size, q_length=q_length, kv_length=kv_length, q_offset=q_offset,
                     kv_offset=kv_offset, mask_function=mask_function, attention_mask=None, allow_is_causal_skip=False,
                     allow_is_bidirectional_skip=False, use_vmap=kwargs.get("use_vmap", False), device=device)
    windows = {None, getattr(config, "sliding_window", None)}
    if not any(bool((mask == _expected_mask(q_length, kv_length, q_offset, kv_offset, w, mask.device)).all())
               for w in windows):
        raise ValueError("the model asks for a mask that is neither causal nor causal with its sliding window "
                         "(packed documents, or bidirectional tokens?); sparseattn attention cannot express it")
    return None


def register():
    """Register attention and mask function under "sparseattn". Both are
    needed: without a mask function of that name transformers passes no mask
    and says nothing. Returns the name."""
    AttentionInterface.register(NAME, sparseattn_attention)
    AttentionMaskInterface.register(NAME, sparseattn_mask)
    return NAME
