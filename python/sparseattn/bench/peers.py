"""The attention kernels that torch brings, as programs to time beside ours. A peer that cannot do a case is absent."""

from __future__ import annotations

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


def programs(case, q, k, v) -> dict:
    """Name to callable returning [B, H, S, D]."""
    found = {}
    if case.mask in ("full", "causal") and not case.extras:
        found["cuDNN"] = _sdpa(SDPBackend.CUDNN_ATTENTION, q, k, v, case)
        found["FA2"] = _sdpa(SDPBackend.FLASH_ATTENTION, q, k, v, case)
    if case.mask == "window":
        found["FA2"] = _flash_window(q, k, v, case)
    return found
