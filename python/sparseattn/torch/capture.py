"""Capture a HuggingFace model: export it with our operator, and record what
the framework's own attention computed, layer by layer.

The recording is the ground truth for compiled attention: its outputs come from
the model's own `eager_attention_forward` with the mask that transformers
built, not from code of this project.
"""

import contextlib
import io
import json
import os
import re
import sys
import zipfile

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from . import huggingface

_RECORDER = "sparseattn_recorder"


@contextlib.contextmanager
def _implementation(model, name):
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def record(model, **inputs):
    """Run `model(**inputs)` once with its own eager attention.

    Returns a list with one dictionary per attention call, in call order: the
    arguments of `sparseattn::attention` (`layer`, `scale`, `window`, `causal`,
    `kv_source`, `softcap`) and detached tensors `q` [B, Hq, Nq, d], `k`, `v`
    [B, Hkv, Nk, d], `sink` [Hq] or None, `out` [B, Hq, Nq, dv] of the model's
    dtype. Raises ValueError if the model does something that the operator
    cannot express.
    """
    calls = []

    def recorder(module, query, key, value, attention_mask, **kwargs):
        eager = sys.modules[type(module).__module__].eager_attention_forward
        out, weights = eager(module, query, key, value, attention_mask, **kwargs)
        sink = kwargs.get("s_aux")
        calls.append(huggingface.layer_arguments(module, kwargs) | {
            "q": query.detach(), "k": key.detach(), "v": value.detach(),
            "sink": None if sink is None else sink.detach(),
            "out": out.detach().transpose(1, 2),
        })
        return out, weights

    def mask(**kwargs):
        huggingface.sparseattn_mask(**kwargs)  # refuses what the operator cannot express
        return eager_mask(**kwargs)

    AttentionInterface.register(_RECORDER, recorder)
    AttentionMaskInterface.register(_RECORDER, mask)
    with _implementation(model, _RECORDER), torch.no_grad():
        model(**inputs)
    return calls


def export(model, dynamic_shapes=None, **inputs):
    """`torch.export` of `model(**inputs)` with attention replaced by
    `sparseattn::attention`. Returns the ExportedProgram."""
    with _implementation(model, huggingface.register()), torch.no_grad():
        return torch.export.export(model, (), kwargs=inputs, dynamic_shapes=dynamic_shapes, strict=False)


def _array(tensor):
    """NumPy form of a tensor: bfloat16 as its bits in uint16."""
    tensor = tensor.detach().contiguous().cpu()
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def save_recording(path, calls, about):
    """Write `calls` of `record` as a compressed .npz.

    Members `layer<i>.q`, `.out`, and for layers that own their keys and values
    `.k`, `.v`; `.sink` where there is one. Member `meta` is a zero-dimensional
    string array with JSON: `about` and one entry a layer (layer, kind, dtype,
    scale, window, causal, softcap, kv_source and the member names). A layer
    that shares K and V names the members of its source.
    bfloat16 arrays are stored as uint16 bit patterns; `dtype` says so.
    """
    arrays, layers = {}, []
    by_layer = {c["layer"]: c for c in calls}
    for call in calls:
        layer, source = call["layer"], call["kv_source"]
        if not (torch.equal(call["k"], by_layer[source]["k"]) and torch.equal(call["v"], by_layer[source]["v"])):
            raise ValueError(f"layer {layer}: its K and V are not those of layer {source}, its kv_source")
        members = {"q": f"layer{layer}.q", "k": f"layer{source}.k", "v": f"layer{source}.v", "out": f"layer{layer}.out"}
        if call["sink"] is not None:
            members["sink"] = f"layer{layer}.sink"
        for name, member in members.items():
            if member.startswith(f"layer{layer}."):
                arrays[member] = _array(call[name])
        kind = "sliding" if call["window"] != -1 else "causal" if call["causal"] else "full"
        layers.append({"layer": layer, "kind": kind, "dtype": str(call["q"].dtype).removeprefix("torch."),
                       "shape_q": list(call["q"].shape), "shape_k": list(call["k"].shape), "members": members}
                      | {n: call[n] for n in ("scale", "window", "causal", "softcap", "kv_source")})
    meta = json.dumps({"about": about, "layout": "bhsd", "layers": layers}, indent=1)
    np.savez_compressed(path, meta=np.array(meta), **arrays)


def strip_archive(data):
    """Bytes of a `.pt2` archive without weights, constants, example inputs and
    stack traces (which hold source lines and the paths of the machine).

    Such an archive holds the program and its signature; torch can no longer
    run it, the importer reads it like any other.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            folders = info.filename.split("/")[1:]
            if folders[:2] == ["data", "sample_inputs"] or re.fullmatch(r"(weight|tensor)_\d+", folders[-1]):
                continue
            content = source.read(info)
            if folders[0] == "models":
                program = json.loads(content)
                for node in program["graph_module"]["graph"]["nodes"]:
                    node["metadata"].pop("stack_trace", None)
                content = json.dumps(program, separators=(",", ":")).encode()
            elif folders[:1] == ["data"] and content[:1] == b"{":
                content = b'{"config": {}}'
            # A fixed date keeps the archive reproducible.
            target.writestr(zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def save_stripped(path, program):
    """`torch.export.save` of an ExportedProgram, then `strip_archive`."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    data = strip_archive(buffer.getvalue())
    temporary = f"{path}.part"
    with open(temporary, "wb") as f:
        f.write(data)
    os.replace(temporary, path)
