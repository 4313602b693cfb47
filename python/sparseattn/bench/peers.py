"""The attention kernels that torch brings, as programs to time beside ours. A peer that cannot do a case is absent."""

from __future__ import annotations

import functools

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention


def _sdpa(backend, q, k, v, case):
    def run():
        with sdpa_kernel([backend]):
            return scaled_dot_product_attention(q, k, v, is_causal=case.mask == "causal",
                                                enable_gqa=case.heads != case.kv_heads)

    return run


def _flash_window(q, k, v, case):
    """FlashAttention-2's own window argument; torch's public function has none. It takes [B, S, H, D]."""
    q, k, v = (x.transpose(1, 2).contiguous() for x in (q, k, v))

    def run():
        return torch.ops.aten._flash_attention_forward(
            q, k, v, None, None, case.length, case.length, 0.0, True, False,
            window_size_left=case.window - 1, window_size_right=0)[0].transpose(1, 2)

    return run


@functools.lru_cache(maxsize=1)
def _compiled_flex():
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def _flex(q, k, v, case):
    from torch.nn.attention.flex_attention import create_block_mask

    def mask(b, h, row, column):
        visible = row >= column
        if case.mask == "window":
            visible &= row - column < case.window
        return visible

    block_mask = create_block_mask(mask, None, None, case.length, case.length, device=q.device)
    flex = _compiled_flex()
    return lambda: flex(q, k, v, block_mask=block_mask, enable_gqa=case.heads != case.kv_heads)


def programs(case, q, k, v, flex=False) -> dict:
    """Name to callable returning [B, H, S, D]."""
    found = {}
    if case.mask in ("full", "causal") and not case.extras:
        found["cuDNN"] = _sdpa(SDPBackend.CUDNN_ATTENTION, q, k, v, case)
        found["FA2"] = _sdpa(SDPBackend.FLASH_ATTENTION, q, k, v, case)
    if case.mask == "window":
        found["FA2"] = _flash_window(q, k, v, case)
    if flex:
        found["FlexAttention"] = _flex(q, k, v, case)
    return found
