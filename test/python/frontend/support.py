"""Paths of the fixtures, hand-made archives, and attention in float64."""

import io
import json
import pathlib
import zipfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "test" / "Import" / "fixtures"
GEMMA3N = ROOT / "python" / "sparseattn" / "examples" / "gemma3n" / "gemma3n"

SDPA = "torch.ops.aten.scaled_dot_product_attention.default"
CUSTOM = "torch.ops.sparseattn.attention.default"


def fixture(name):
    return GEMMA3N.with_suffix(".pt2") if name == "gemma3n" else FIXTURES / f"{name}.pt2"


def recording(name):
    """(meta, arrays as float64 by member name) of a recording."""
    path = GEMMA3N.with_suffix(".npz") if name == "gemma3n" else FIXTURES / f"{name}.npz"
    with np.load(path) as z:
        meta = json.loads(str(z["meta"])) if "meta" in z else {}
        arrays = {n: z[n] for n in z.files if n != "meta"}
    return meta, {n: widen(a) for n, a in arrays.items()}


def widen(array):
    """float64 of float32, or of bfloat16 bits in uint16."""
    if array.dtype == np.uint16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def visible(keys, n_q, n_k):
    """[n_q, n_k] mask of a KeyPattern, by the definition of the dialect."""
    p = np.arange(n_q)[:, None] + (n_k - n_q)
    j = np.arange(n_k)[None, :]
    if keys.kind == "full":
        return np.ones((n_q, n_k), bool)
    if keys.kind == "causal":
        return j <= p
    assert keys.kind == "window"
    return (j <= p) & (j > p - keys.size)


def attend(q, k, v, mask, scale, sink=None, softcap=None):
    """Attention [B, H, N, d] in float64 by its formula, one row at a time."""
    group = q.shape[1] // k.shape[1]
    out = np.zeros((*q.shape[:3], v.shape[-1]))
    for b, h, i in np.ndindex(q.shape[:3]):
        seen = mask[i]
        z = k[b, h // group][seen] @ q[b, h, i] * scale
        if softcap:
            z = softcap * np.tanh(z / softcap)
        s = -np.inf if sink is None else sink[h]
        top = max(s, z.max(initial=-np.inf))
        if np.isfinite(top):
            e = np.exp(z - top)
            out[b, h, i] = e @ v[b, h // group][seen] / (e.sum() + np.exp(s - top))
    return out


def run(record, q, k, v, sink=None):
    """`attend` with the attributes of an imported attention."""
    return attend(q, k, v, visible(record.keys, q.shape[2], k.shape[2]), record.scale, sink, record.softcap)


# Hand-made programs


def tensor(*sizes, dtype=7):
    entries = [{"as_int": s} if isinstance(s, int) else {"as_expr": {"expr_str": f"Symbol('{s}', integer=True)"}} for s in sizes]
    return {"dtype": dtype, "sizes": entries}


def argument(value):
    """A Python value as an Argument; a string is the name of a tensor."""
    if value is None:
        return {"as_none": True}
    if isinstance(value, bool):
        return {"as_bool": value}
    if isinstance(value, str):
        return {"as_tensor": {"name": value}}
    if isinstance(value, dict):
        return value
    return {"as_int": value} if isinstance(value, int) else {"as_float": value}


def node(target, outputs, name=None, **inputs):
    outputs = [{"as_tensor": {"name": o}} if isinstance(o, str) else o for o in outputs]
    return {"target": target, "inputs": [{"name": n, "arg": argument(v), "kind": 1} for n, v in inputs.items()],
            "outputs": outputs, "metadata": {}, "name": name}


def program(tensors, inputs, nodes, outputs, buffers=(), **more):
    spec = lambda n: ({"buffer": {"arg": {"name": n}, "buffer_name": n, "persistent": True}} if n in buffers
                      else {"user_input": {"arg": {"as_tensor": {"name": n}}}})
    return {"schema_version": {"major": 8, "minor": 17}, "torch_version": "2.11.0", "range_constraints": {}, **more,
            "graph_module": {
                "graph": {"inputs": [argument(i) for i in inputs], "outputs": [argument(o) for o in outputs],
                          "nodes": nodes, "tensor_values": tensors, "sym_int_values": {}},
                "signature": {"input_specs": [spec(i) for i in inputs],
                              "output_specs": [{"user_output": {"arg": argument(o)}} for o in outputs]}}}


def attention_program(target=SDPA, shapes=((1, 4, 8, 16), (1, 2, 8, 16), (1, 2, 8, 16)), dtype=7, extra=(), **arguments):
    """One attention node on three inputs; `extra`: further named tensors."""
    tensors = {n: tensor(*s, dtype=dtype) for n, s in zip("qkv", shapes)} | dict(extra)
    tensors["o"] = tensor(*shapes[0][:-1], shapes[2][-1], dtype=dtype)
    names = ("q", "k", "v") if target == CUSTOM else ("query", "key", "value")
    inputs = dict(zip(names, "qkv")) | arguments
    return program(tensors, ["q", "k", "v", *dict(extra)], [node(target, ["o"], "attn", **inputs)], ["o"])


def custom_program(**changes):
    arguments = {"scale": 0.25, "window": -1, "causal": True, "layer": 0, "kv_source": 0}
    others = {n: changes.pop(n) for n in ("shapes", "dtype", "extra") if n in changes}
    return attention_program(CUSTOM, **others, **(arguments | changes))


def pt2_bytes(content, member="archive/models/model.json", compression=zipfile.ZIP_STORED, extra=()):
    """A `.pt2` archive that holds `content` (bytes, or JSON-like) as its program."""
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as z:
        for name, data in extra:
            z.writestr(name, data)
        z.writestr(member, content)
    return out.getvalue()
