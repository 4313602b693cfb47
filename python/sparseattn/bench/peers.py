"""The attention kernels that torch brings, and Triton's, as programs to time beside ours.

A peer that is not installed, cannot do a case, fails or is wrong is left out with its reason.
"""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from . import check


class Unsupported(Exception):
    """The peer has no kernel for a case; says what is missing."""


def _require_plain(case, masks) -> None:
    """Refuses what no peer here computes."""
    for name, has in (("a sink, softcap or lse", case.extras), ("block lists", case.block), ("documents", case.documents),
                      ("other key lengths", case.keys)):
        if has:
            raise Unsupported(f"not timed with {name}")
    if case.mask not in masks:
        raise Unsupported(f"no kernel for a {case.mask} mask")


def _sdpa(backend, q, k, v, case):
    def run():
        with sdpa_kernel([backend]):
            return scaled_dot_product_attention(q, k, v, is_causal=case.mask == "causal",
                                                enable_gqa=case.heads != case.kv_heads)

    return run


def _cudnn(case, q, k, v, selection, named):
    _require_plain(case, ("full", "causal"))
    return _sdpa(SDPBackend.CUDNN_ATTENTION, q, k, v, case)


def _fa2(case, q, k, v, selection, named):
    """With its own window argument, which torch's public function lacks; it takes [B, S, H, D]."""
    _require_plain(case, ("full", "causal", "window"))
    if case.mask != "window":
        return _sdpa(SDPBackend.FLASH_ATTENTION, q, k, v, case)
    q, k, v = (x.transpose(1, 2).contiguous() for x in (q, k, v))

    def run():
        return torch.ops.aten._flash_attention_forward(
            q, k, v, None, None, case.length, case.length, 0.0, True, False,
            window_size_left=case.window - 1, window_size_right=0)[0].transpose(1, 2)

    return run


def _flex(case, q, k, v, selection, named):
    from torch.nn.attention.flex_attention import flex_attention

    from .lists import flex_block_mask

    if case.extras or case.documents:
        raise Unsupported("not timed with a sink, softcap, lse or documents")
    if not named and not case.block:
        raise Unsupported("by default for lists only, because every shape is compiled anew; name it in --peers")
    mask = flex_block_mask(case, selection, q.device)
    # Beyond some shapes torch would give up compiling, and materialise the scores.
    torch._dynamo.reset()
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda: compiled(q, k, v, block_mask=mask, enable_gqa=case.heads != case.kv_heads)


def _triton(case, q, k, v, selection, named):
    _require_plain(case, ("full", "causal"))
    if case.dim not in (64, 128):
        raise Unsupported("written for head dimensions 64 and 128")
    from .triton_attention import attention

    return lambda: attention(q, k, v, case.mask == "causal")


PEERS = {"cudnn": ("cuDNN", _cudnn), "fa2": ("FA2", _fa2), "flex": ("Flex", _flex), "triton": ("Triton", _triton)}


def programs(case, q, k, v, selection=None, only=None) -> tuple[dict, dict]:
    """(name to callable returning [B, H, S, D], name to the reason why it is not among these).

    selection: the lists of the case. only: keys of PEERS that are asked for; None: all, where they are usual.
    """
    found, missing = {}, {}
    options = {} if selection is None else {"selection": selection}
    for key in PEERS if only is None else only:
        name, make = PEERS[key]
        try:
            run = make(case, q, k, v, selection, only is not None)
            error = check.error(case, q, k, v, run(), **options)
            if not error <= check.TOLERANCE:
                raise ValueError(f"error {error:.2e} is above {check.TOLERANCE}")
            found[name] = run
        except Exception as problem:  # Whatever a peer does, ours is timed.
            kind = "" if isinstance(problem, Unsupported) else f"{type(problem).__name__}: "
            missing[name] = kind + (str(problem).strip().splitlines() or ["no message"])[0]
    return found, missing
