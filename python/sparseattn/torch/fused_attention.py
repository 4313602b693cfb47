"""`sparseattn.torch.attention`: compiled attention, as the operator `sparseattn::fused_attention`.

It is opaque to `torch.compile`, which sees shapes and dtypes only (the fake kernel), and
may be captured into a CUDA graph. It has no gradient.
"""

import math
import os
from collections.abc import Sequence
from typing import Optional

import torch

from ..attention_spec import AttentionSpec
from . import kernels as compiled

_DTYPES = {torch.bfloat16: "bf16", torch.float16: "f16", torch.float32: "f32"}
_GPU_DTYPES = (torch.bfloat16, torch.float16)
# Which dimension is the batch, the heads and the tokens; the last is the head dimension.
_LAYOUTS = {"bhsd": (0, 1, 2), "bshd": (0, 2, 1), "thd": (None, 1, 0)}
_ORDERS = {"bhsd": "[batch, heads, tokens, dim]", "bshd": "[batch, tokens, heads, dim]", "thd": "[tokens, heads, dim]"}


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = False,
    window: int | Sequence[int | None] | None = None,
    prefix: int | None = None,
    sink: torch.Tensor | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    return_lse: bool = False,
    layout: str = "bhsd",
    selection: torch.Tensor | None = None,
    block: int | None = None,
    query_block: int = 128,
    valid_range: torch.Tensor | None = None,
    cu_seqlens: torch.Tensor | tuple[torch.Tensor, torch.Tensor] | None = None,
    kernels: str | os.PathLike | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Softmax attention by compiled code.

    q [B,Hq,Nq,D], k [B,Hkv,Nk,D], v [B,Hkv,Nk,Dv] for layout "bhsd"; "bshd" exchanges heads
    and tokens; "thd" has no batch: [T,H,D]. One dtype: bf16 or f16 on a GPU, also f32 on the
    CPU. One device. Any strides that are multiples of 16 bytes, but a stride of 1 in the last
    dimension. Query head h reads KV head h div (Hq/Hkv). Query i stands at position p = i + Nk - Nq.

        z_ij = softcap(scale * <q_i, k_j>)     out_i = sum_j exp(z_ij - lse_i) v_j
        lse_i = log(sum_j exp(z_ij) [+ exp(sink_h)])

    causal: query i sees keys j <= p; without it, all. window (with causal): only the last
    `window` of these, p's own included; a sequence has one entry for each KV head, None for
    heads without a window. prefix (with causal): the first `prefix` keys are seen by all.
    sink [Hq] f32: a logit that takes part in the sum only. softcap c: c * tanh(s / c).
    scale: default 1/sqrt(D). return_lse: also return lse [B,Hq,Nq] f32 (thd: [Hq,T]), natural
    logarithm. A query that sees no key yields 0, and an lse of -inf, or of its sink.

    Restrictions besides, by operands i32:
    selection [B, 1|Hkv|Hq, ceil(Nq/query_block), K] lists blocks of `block` keys, which
    `query_block` consecutive queries share; entries are distinct, those below 0 or past the
    last block are skipped. On a GPU query_block is 128, and block 128 or 64.
    valid_range [B,Nq,2]: query i sees keys [begin, end) only, as in a sequence of documents.
    cu_seqlens (with layout "thd", and only there) [S+1]: where the S documents that are packed
    one behind the other begin and end; a pair has one for queries, one for keys. They begin with
    0, do not decrease and end with T; on a GPU that is not checked, for the host does not read
    them. A document's queries see its own keys, and are the last of its positions.

    kernels: a folder that `prepare` or `tools/bench --prepare` made; default
    $SPARSEATTN_KERNELS. A kernel that is not there is compiled at its first use, which takes
    about a second, and kept; that needs the compiler library. Kernels are kept by pattern,
    dtype, D, Dv and options: batch, lengths and numbers of heads may change from call to call.
    Nk chooses among kernels where the schedule table has length classes (sparseattn-select-schedule).
    Calls from several threads are safe.

    CUDA tensors: launched on torch's current stream of their device, a Hopper GPU. Call once
    with the same Nk before capturing into a CUDA graph, because loading a kernel cannot be captured. CPU
    tensors: the CPU lowering computes, which needs the compiler library, is the reference for
    the GPU, and copies tensors that are not contiguous.

    Returns out, q's shape with Dv and contiguous in `layout`, or (out, lse).

    Raises ValueError or TypeError for arguments that do not fit or that no kernel exists for,
    sparseattn.runtime.GpuError for what device or driver refuses, and
    sparseattn.compiler.LibraryNotFound; nothing is launched then.
    """
    _require((selection is None) == (block is None), "expected selection and block together, or neither")
    starts = cu_seqlens if isinstance(cu_seqlens, Sequence) else (cu_seqlens, cu_seqlens)
    _require(len(starts) == 2, f"expected one cu_seqlens, or one for queries and one for keys, found {len(starts)}")
    out, lse = fused_attention(
        q, k, v, sink, _keys(causal, window, prefix), softcap, scale, return_lse, layout,
        None if kernels is None else os.fspath(kernels), selection,
        0 if block is None else _integer("block", block, 1), _integer("query_block", query_block, 1), valid_range, *starts,
    )
    return (out, lse) if return_lse else out


def prepare(
    folder: str | os.PathLike,
    *,
    dtype: torch.dtype = torch.bfloat16,
    dim: int,
    value_dim: int | None = None,
    causal: bool = False,
    window: int | Sequence[int | None] | None = None,
    prefix: int | None = None,
    sink: bool = False,
    softcap: float | None = None,
    scale: float | None = None,
    return_lse: bool = False,
    layout: str = "bhsd",
    block: int | None = None,
    query_block: int = 128,
    valid_range: bool = False,
    expected_keys: int | None = None,
    schedule_table: str | os.PathLike | None = None,
) -> str:
    """Compiles the GPU kernel that `attention` with these options needs, into a sub-folder of `folder`.

    Needs no GPU. dim, value_dim: D and Dv; sink, valid_range: whether there is one; the others as
    for `attention`. One kernel serves the layouts "bhsd" and "bshd". Returns the kernel's name.

    expected_keys: the Nk to choose a schedule for; default: a schedule for all lengths. Where the
    schedule table has a length class, prepare a kernel for an Nk in it and one without: `attention`
    takes that of its own Nk's class. With one of them it takes that: each is right for every Nk.

    schedule_table: a file with schedules that come before the built-in ones (`sparseattn-select-schedule`
    describes its rows).

    Raises ValueError, TypeError, and sparseattn.compiler.LibraryNotFound.
    """
    _require(dtype in _GPU_DTYPES, f"expected bfloat16 or float16, found {dtype}", TypeError)
    _check_numbers(softcap, scale)
    _check_restrictions(layout, block is not None, valid_range)
    spec = _make_spec(
        _keys(causal, window, prefix), dtype, dim, value_dim or dim, sink, softcap, scale, return_lse, layout,
        0 if block is None else _integer("block", block, 1), _integer("query_block", query_block, 1), valid_range,
    )
    if expected_keys is not None:
        _integer("expected_keys", expected_keys, 1)
    compiled.prepare_spec(spec, folder, expected_keys, schedule_table)
    return spec.name


def _require(condition, text, error=ValueError):
    if not condition:
        raise error(f"sparseattn.torch.attention: {text}")


def _keys(causal, window, prefix) -> str:
    """The pattern as the dialect spells it: one, or one for each KV head, separated by blanks."""
    _require(causal or window is None, "a window is of the last keys that a query sees: pass causal=True")
    _require(causal or prefix is None, "a prefix is what is seen besides the causal keys: pass causal=True")
    _require(window is None or prefix is None, "expected a window or a prefix, found both")
    if prefix is not None:
        return f"prefix_lm<{_integer('prefix', prefix, 0)}>"
    if window is None:
        return "causal" if causal else "full"
    heads = window if isinstance(window, Sequence) else [window]
    _require(len(heads) > 0, "expected a window for each KV head, found none")
    keys = ["causal" if size is None else f"window<{_integer('window', size, 1)}>" for size in heads]
    return " ".join(keys)


def _integer(name, value, least) -> int:
    _require(isinstance(value, int) and not isinstance(value, bool), f"expected {name} as an int, found {value!r}", TypeError)
    _require(least <= value < 2**63, f"expected {name} of at least {least}, found {value}")
    return value


def _make_spec(keys, dtype, dim, value_dim, sink, softcap, scale, lse, layout, block, query_block, ranges) -> AttentionSpec:
    heads = tuple(keys.split())
    return AttentionSpec(
        # A table of equal entries is that entry: one pattern makes the simpler kernel.
        keys=heads if len(set(heads)) > 1 else heads[0],
        dtype=_DTYPES[dtype],
        dim=int(dim),
        value_dim=None if value_dim == dim else int(value_dim),
        sink=bool(sink),
        softcap=softcap,
        scale=scale,
        lse=lse,
        # One kernel serves both layouts with a batch: heads and tokens differ by their strides.
        layout="thd" if layout == "thd" else "bhsd",
        blocks=(query_block, block) if block else None,
        documents=bool(ranges),
    )


def _check_restrictions(layout, lists, ranges) -> None:
    _require(layout in _LAYOUTS, f"expected layout 'bhsd', 'bshd' or 'thd', found '{layout}'")
    _require(layout != "thd" or not (lists or ranges),
             "documents of layout 'thd' are given by cu_seqlens; selection and valid_range go with 'bhsd' and 'bshd'")


def _check(q, k, v, sink, keys, softcap, scale, layout, selection, block, query_block, valid_range, starts, key_starts) -> None:
    """What all forms of the operator demand. Sizes may be symbolic."""
    _check_restrictions(layout, selection is not None, valid_range is not None)
    batch, head, token = _LAYOUTS[layout]
    rank = len(_ORDERS[layout].split())
    _require(q.dim() == k.dim() == v.dim() == rank,
             f"expected q, k and v of rank {rank}, {_ORDERS[layout]}, found ranks {q.dim()}, {k.dim()} and {v.dim()}")
    _require(q.dtype == k.dtype == v.dtype,
             f"expected one dtype for q, k and v, found {q.dtype}, {k.dtype} and {v.dtype}", TypeError)
    if q.device.type == "cpu":
        _require(q.dtype in _DTYPES, f"expected bfloat16, float16 or float32, found {q.dtype}", TypeError)
    else:
        _require(q.dtype in _GPU_DTYPES, f"expected bfloat16 or float16 on a GPU, found {q.dtype}", TypeError)
    _require(q.device == k.device == v.device,
             f"expected one device for q, k and v, found {q.device}, {k.device} and {v.device}")
    if batch is not None:
        _require(q.shape[batch] == k.shape[batch] and k.shape[batch] == v.shape[batch],
                 f"expected one batch size for q, k and v, found {q.shape[batch]}, {k.shape[batch]} and {v.shape[batch]}")
    _require(k.shape[head] == v.shape[head] and k.shape[token] == v.shape[token],
             f"expected the same heads and tokens in k and v, found shapes {tuple(k.shape)} and {tuple(v.shape)}")
    _require(q.shape[-1] == k.shape[-1], f"expected one head dimension in q and k, found {q.shape[-1]} and {k.shape[-1]}")
    _require(k.shape[head] >= 1 and q.shape[head] % k.shape[head] == 0,
             f"the {q.shape[head]} query heads cannot be grouped over {k.shape[head]} key/value heads")
    patterns = len(keys.split())
    _require(patterns == 1 or patterns == k.shape[head],
             f"expected a window for each of the {k.shape[head]} KV heads, found {patterns}")
    if sink is not None:
        _check_operand("sink", sink, q, (q.shape[head],), torch.float32)
    _require((selection is None) == (block == 0), "expected selection and block together, or neither")
    if selection is not None:
        rows = (q.shape[token] + query_block - 1) // query_block
        _require(selection.dim() == 4 and (selection.shape[1] == 1 or selection.shape[1] in (k.shape[head], q.shape[head])),
                 f"expected selection of shape [batch, heads, tokens/{query_block}, entries] with 1, {k.shape[head]} or "
                 f"{q.shape[head]} heads, found shape {list(selection.shape)}")
        _check_operand("selection", selection, q, (q.shape[batch], selection.shape[1], rows, selection.shape[3]), torch.int32)
    if valid_range is not None:
        _check_operand("valid_range", valid_range, q, (q.shape[batch], q.shape[token], 2), torch.int32)
    _require((layout == "thd") == (starts is not None) == (key_starts is not None),
             "expected cu_seqlens with layout 'thd', and only there")
    if starts is not None:
        _require(starts.dim() == 1 and starts.shape[0] >= 1, f"expected cu_seqlens of rank 1, found shape {list(starts.shape)}")
        _check_operand("cu_seqlens of queries", starts, q, tuple(starts.shape), torch.int32)
        _check_operand("cu_seqlens of keys", key_starts, q, tuple(starts.shape), torch.int32)
    _check_numbers(softcap, scale)


def _check_operand(name, tensor, q, shape, dtype) -> None:
    _require(tuple(tensor.shape) == tuple(shape) and tensor.dtype == dtype,
             f"expected {name} of shape {list(shape)} and dtype {str(dtype).removeprefix('torch.')}, found {list(tensor.shape)} "
             f"{tensor.dtype}")
    _require(tensor.device == q.device, f"expected {name} on {q.device}, found it on {tensor.device}")


def _check_starts(name, starts, tokens) -> None:
    if starts is None:
        return
    numbers = starts.tolist()
    _require(numbers[0] == 0 and numbers[-1] == tokens and numbers == sorted(numbers),
             f"expected cu_seqlens of {name} that begin with 0, do not decrease and end with {tokens}, found {numbers}")


def _check_numbers(softcap, scale) -> None:
    _require(softcap is None or (math.isfinite(softcap) and softcap > 0), f"expected a positive finite softcap, found {softcap}")
    _require(scale is None or math.isfinite(scale), f"expected a finite scale, found {scale}")


def _make_results(q, k, v, return_lse, layout):
    """out as the caller sees it, and lse, or an empty tensor where there is none."""
    out = q.new_empty((*q.shape[:-1], v.shape[-1]))
    shape = [q.shape[dim] for dim in _LAYOUTS[layout] if dim is not None]
    return out, q.new_empty(shape if return_lse else (0,), dtype=torch.float32)


@torch.library.custom_op("sparseattn::fused_attention", mutates_args=())
def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    sink: Optional[torch.Tensor],
    keys: str,
    softcap: Optional[float],
    scale: Optional[float],
    return_lse: bool,
    layout: str,
    kernels: Optional[str],
    selection: Optional[torch.Tensor] = None,
    block: int = 0,
    query_block: int = 128,
    valid_range: Optional[torch.Tensor] = None,
    cu_seqlens_q: Optional[torch.Tensor] = None,
    cu_seqlens_k: Optional[torch.Tensor] = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The operator behind `attention`.

    keys: the pattern in the words of the dialect, or one for each KV head, separated by
    blanks. block: 0 without selection. The second result is empty without `return_lse`.
    """
    _check(q, k, v, sink, keys, softcap, scale, layout, selection, block, query_block, valid_range, cu_seqlens_q, cu_seqlens_k)
    spec = _make_spec(keys, q.dtype, q.shape[-1], v.shape[-1], sink is not None, softcap, scale, return_lse, layout, block,
                      query_block, valid_range is not None)
    out, lse = _make_results(q, k, v, return_lse, layout)
    *views, out_view = (x.transpose(1, 2) if layout == "bshd" else x for x in (q, k, v, out))
    operands = (selection, sink, valid_range, cu_seqlens_q, cu_seqlens_k)
    inputs = views + [operand for operand in operands if operand is not None]
    if q.device.type == "cpu":
        for name, starts, tokens in (("queries", cu_seqlens_q, q.shape[0]), ("keys", cu_seqlens_k, k.shape[0])):
            _check_starts(name, starts, tokens)
        _run_on_cpu(spec, inputs, out_view, lse)
        return out, lse
    _require(q.device.type == "cuda", f"expected tensors on a CUDA device or the CPU, found {q.device}")
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        _require(tensor.stride(-1) == 1 or tensor.shape[-1] <= 1,
                 f"expected a stride of 1 in the last dimension of {name}, found {tensor.stride(-1)}; use .contiguous()")
    kernel = compiled.gpu_kernel(spec, kernels, k.shape[_LAYOUTS[layout][2]])
    kernel(*inputs, out_view, *([lse] if return_lse else []))
    return out, lse


@fused_attention.register_fake
def _(q, k, v, sink, keys, softcap, scale, return_lse, layout, kernels, selection=None, block=0, query_block=128,
      valid_range=None, cu_seqlens_q=None, cu_seqlens_k=None):
    _check(q, k, v, sink, keys, softcap, scale, layout, selection, block, query_block, valid_range, cu_seqlens_q, cu_seqlens_k)
    return _make_results(q, k, v, return_lse, layout)


def _to_numpy(tensor):
    """Values as the compiled function takes them; bfloat16 as its bits."""
    tensor = tensor.detach()
    return (tensor.view(torch.int16).numpy().view("uint16") if tensor.dtype == torch.bfloat16 else tensor.numpy())


def _from_numpy(array, dtype):
    if dtype == torch.bfloat16:
        return torch.from_numpy(array.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(array)


def _run_on_cpu(spec, inputs, out, lse) -> None:
    results = compiled.cpu_function(spec)(*map(_to_numpy, inputs))
    results = results if spec.lse else (results,)
    out.copy_(_from_numpy(results[0], out.dtype))
    if spec.lse:
        lse.copy_(_from_numpy(results[1], torch.float32))
