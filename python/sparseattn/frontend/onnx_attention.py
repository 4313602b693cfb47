"""Attention operators of ONNX graphs.

`ai.onnx Attention` (opsets 23 to 25) and `com.microsoft GroupQueryAttention`
become `Attention` with the data movement around them as `Extern`; what cannot
be expressed raises Unrepresentable. Attributes are read from the node, never
inferred from the opset: the window attributes were added to an already
numbered Attention-25.
"""

from .conventions import Unrepresentable, left_right, visible_keys
from .graph import FULL, Attention, TensorType, surely_equal

CAPTURE = "export with is_causal and window attributes instead (torch.onnx.export(dynamo=True, opset_version=25)), or to .pt2"

UNREAD = {
    ("ai.onnx.preview", "FlexAttention"): "its score and mask functions are not read",
    ("", "LinearAttention"): "linear attention has no softmax",
    ("com.microsoft", "Attention"): "this operator contains projections and masks",
    ("com.microsoft", "MultiHeadAttention"): "its masks are not read",
    ("com.microsoft", "PagedAttention"): "paged caches are not read",
    ("com.microsoft", "SparseAttention"): "its block masks are not read",
}
"""Attention operators that are left to the framework, and why."""

DOUBLE = 11


def is_attention(domain, op_type):
    return (domain, op_type) in (("", "Attention"), ("com.microsoft", "GroupQueryAttention"))


class Call:
    """One attention node: `value(i)` is input i or None, `used(i)` whether
    output i is asked for, `number`, `integer` read attributes; `extern(name,
    operands, type)` adds a data movement and returns its value, `result(i,
    type)` defines output i."""

    def __init__(self, reader, node, attributes):
        self.reader, self.node, self.attributes = reader, node, attributes
        self.fx = reader.node_name(node)

    def value(self, i):
        inputs = self.node.input
        return self.reader.lookup(inputs[i], self.node) if i < len(inputs) and inputs[i] else None

    def used(self, i):
        return i < len(self.node.output) and bool(self.node.output[i])

    def declared(self, i):
        """The type that the model declares for output i, or None."""
        return self.reader.types.get(self.node.output[i]) if self.used(i) else None

    def _attribute(self, name, default, kind):
        value = self.attributes.get(name, default)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            raise Unrepresentable(f"attribute {name} is {type(value).__name__}, expected {kind}", "export the model again")
        return value

    def integer(self, name, default=None):
        return self._attribute(name, default, int)

    def number(self, name, default=None):
        value = self._attribute(name, default, (int, float))
        return None if value is None else float(value)

    def tensor(self, i, name):
        value = self.value(i)
        if value is None or not isinstance(value.type, TensorType):
            found = "nothing" if value is None else value.type
            raise Unrepresentable(f"expected {name} to be a tensor of known rank, found {found}",
                                  "run onnx.shape_inference on the model, or export it with shapes")
        return value

    def refuse_inputs(self, names):
        for i, (name, advice) in names.items():
            if self.value(i) is not None:
                raise Unrepresentable(f"input {name} is given", advice)


def _heads(call, value, name, count):
    """[B, S, H*d] as (B, S, H, d)."""
    b, n, hidden = value.type.dims
    if not isinstance(hidden, int) or count < 1 or hidden % count:
        raise Unrepresentable(f"{name} {value.type} cannot be split into {count} heads", "check the head counts of the node")
    return (b, n, count, hidden // count)


def _split(call, value, name, count, bhsd):
    """A 3-D input as BSHD (a reshape), or BHSD (a reshape and a transpose)."""
    dims, element = _heads(call, value, name, count), value.type.element
    value = call.reader.extern("onnx.Reshape", [value], TensorType(dims, element), f"{call.fx}_{name}")
    if not bhsd:
        return value
    b, n, h, d = dims
    return call.reader.extern("onnx.Transpose", [value], TensorType((b, h, n, d), element), f"{call.fx}_{name}_t")


def _sum(a, b):
    return a + b if isinstance(a, int) and isinstance(b, int) else f"{a}+{b}"


def _fixed(length, declared):
    """The declared length, if it is surely not `length`."""
    n = declared.dims[2]
    return (n,) if isinstance(n, int) and isinstance(length, int) and n != length else ()


def _append(call, past, new, name, present):
    """Cache and new tokens, [B, Hkv, past, d] and [B, Hkv, n, d], as one."""
    if not isinstance(past.type, TensorType) or past.type.rank != 4 or new.type.rank != 4:
        raise Unrepresentable(f"expected {name} and its past of rank 4, found {new.type} and {past.type}",
                              "run onnx.shape_inference on the model")
    b, h, n, d = new.type.dims
    length, held = _sum(past.type.dims[2], n), past.type.dims[2]
    declared = call.declared(present)
    if isinstance(declared, TensorType) and declared.rank == 4 and declared.dims[2] in (held, *_fixed(length, declared)):
        raise Unrepresentable(f"past {name} holds {held} tokens and present {name} {declared.dims[2]}: the cache is a buffer "
                              "of fixed size, part of which is unused", "export with a cache that grows by concatenation")
    dims = (b, h, length, d)
    value = call.reader.extern("onnx.Concat", [past, new], TensorType(dims, new.type.element), f"{call.fx}_present_{name}")
    if call.used(present):
        call.reader.bind(call.node.output[present], value)
    return value


def _finish(call, record, flat):
    """Define output 0, [B, S, Hq*dv] if `flat`."""
    if reason := record.problem():
        raise Unrepresentable(reason, CAPTURE)
    call.reader.graph.nodes.append(record)
    out = record.result
    if flat:
        if record.layout == "bhsd":
            b, h, n, d = out.type.dims
            out = call.reader.extern("onnx.Transpose", [out], TensorType((b, n, h, d), out.type.element), f"{call.fx}_out_t")
        b, n, h, d = out.type.dims
        out = call.reader.extern("onnx.Reshape", [out], TensorType((b, n, h * d), out.type.element), f"{call.fx}_out")
    call.reader.bind(call.node.output[0], out)


def _record(call, q, k, v, keys, scale, softcap, layout, sink=None):
    d = q.type.dims[3]
    if scale is None:
        if not isinstance(d, int) or d < 1:
            raise Unrepresentable(f"the default scale needs a static head dimension, found {d}", "give the scale attribute")
        scale = d**-0.5
    dims = (*q.type.dims[:3], v.type.dims[3])
    result = call.reader.fresh(f"{call.fx}_attention", TensorType(dims, q.type.element))
    return Attention(q, k, v, result, keys, scale, call.fx, sink, softcap or None, layout=layout)


def attention(call):
    """`ai.onnx Attention`: causality is aligned at the last key if there is a
    past, and at the first otherwise."""
    call.refuse_inputs({3: ("attn_mask", CAPTURE),
                        6: ("nonpad_kv_seqlen", "pass caches without padding, through past_key and past_value")})
    if call.used(3):
        raise Unrepresentable("output qk_matmul_output is asked for", "drop that output")
    q, k, v = call.tensor(0, "Q"), call.tensor(1, "K"), call.tensor(2, "V")
    past_k, past_v = call.value(4), call.value(5)
    if (past_k is None) != (past_v is None):
        raise Unrepresentable("past_key and past_value must come together", "check how the model was exported")
    causal = call.integer("is_causal", 0) != 0
    keys = left_right(call.integer("left_window_size", -1), call.integer("right_window_size", -1), causal,
                      "(left_window_size, right_window_size)")
    flat = q.type.rank == 3
    if any(t.type.rank != q.type.rank for t in (k, v)) or q.type.rank not in (3, 4):
        raise Unrepresentable(f"expected Q, K, V all of rank 3 or all of rank 4, found {q.type}, {k.type}, {v.type}", CAPTURE)
    tokens = 1 if flat else 2
    n_q, n_k = q.type.dims[tokens], k.type.dims[tokens]
    if keys != FULL and not surely_equal(n_q, n_k):
        raise Unrepresentable(f"causality with {n_q} queries and {n_k} new keys is aligned at the first key",
                              "pass the earlier keys as past_key and past_value, so that queries and new keys are as many")
    if call.integer("softmax_precision") == DOUBLE:
        call.reader.graph.remark(call.fx, "softmax_precision is double; it will be computed in f32")
    # What follows adds nodes, so every other reason to refuse comes first.
    bhsd = not flat or past_k is not None
    if flat:
        counts = {n: call.integer(n) for n in ("q_num_heads", "kv_num_heads")}
        if None in counts.values():
            raise Unrepresentable("3-D inputs without q_num_heads and kv_num_heads", "check how the model was exported")
        q = _split(call, q, "Q", counts["q_num_heads"], bhsd)
        k = _split(call, k, "K", counts["kv_num_heads"], bhsd)
        v = _split(call, v, "V", counts["kv_num_heads"], bhsd)
    if past_k is not None:
        k, v = _append(call, past_k, k, "key", 1), _append(call, past_v, v, "value", 2)
    else:
        for i, value in ((1, k), (2, v)):
            if call.used(i):
                call.reader.bind(call.node.output[i], value)
    record = _record(call, q, k, v, keys, call.number("scale"), call.number("softcap", 0.0), "bhsd" if bhsd else "bshd")
    _finish(call, record, flat)


def group_query_attention(call):
    """`com.microsoft GroupQueryAttention`, always causal; lengths of single
    sequences (`seqlens_k`) are not read, so only batch 1 is taken."""
    call.refuse_inputs({9: ("position_ids", "apply rotary embedding outside the node"),
                        10: ("attention_bias", CAPTURE), 12: ("k_scale", "dequantise the cache first"),
                        13: ("v_scale", "dequantise the cache first")})
    if call.integer("do_rotary", 0):
        raise Unrepresentable("do_rotary is set: keys are rotated inside the node", "apply rotary embedding outside the node")
    if call.integer("smooth_softmax", 0) > 0:
        raise Unrepresentable("smooth_softmax is set", "pass head_sink instead")
    if call.value(1) is None or call.value(2) is None:
        raise Unrepresentable("Q, K and V are packed into one input", "split them before the node")
    q, k, v = call.tensor(0, "query"), call.tensor(1, "key"), call.tensor(2, "value")
    if not q.type.rank == k.type.rank == v.type.rank == 3:
        raise Unrepresentable(f"expected 3-D query, key and value, found {q.type}, {k.type}, {v.type}", CAPTURE)
    if q.type.dims[0] != 1:
        raise Unrepresentable(f"batch {q.type.dims[0]}: sequences may be padded (seqlens_k), which cannot be expressed",
                              "export with batch 1")
    if not surely_equal(q.type.dims[1], k.type.dims[1]):
        raise Unrepresentable(f"{q.type.dims[1]} queries and {k.type.dims[1]} new keys", "pass as many queries as new keys")
    heads, kv_heads = call.integer("num_heads"), call.integer("kv_num_heads")
    if heads is None or kv_heads is None:
        raise Unrepresentable("num_heads and kv_num_heads are required", "check how the model was exported")
    past_k, past_v = call.value(3), call.value(4)
    if (past_k is None) != (past_v is None):
        raise Unrepresentable("past_key and past_value must come together", "check how the model was exported")
    size = call.integer("local_window_size", -1)
    keys = visible_keys(size, causal=True, unlimited=(-1,), name="local_window_size")
    sink = call.value(11)
    if sink is not None and not (isinstance(sink.type, TensorType) and sink.type.rank == 1):
        raise Unrepresentable(f"expected head_sink of rank 1, found {sink.type}", CAPTURE)
    remark = call.reader.graph.remark
    remark(call.fx, "seqlens_k is not read; the sequence is taken to be unpadded")
    if keys.kind == "window":
        remark(call.fx, f"local_window_size {size} is read as {size} visible keys, the query's own included",
               "older CPU versions of ONNX Runtime show one more: compare a short run")
    bhsd = past_k is not None
    q, k, v = (_split(call, x, n, c, bhsd) for x, n, c in ((q, "Q", heads), (k, "K", kv_heads), (v, "V", kv_heads)))
    if bhsd:
        k, v = _append(call, past_k, k, "key", 1), _append(call, past_v, v, "value", 2)
    elif call.used(1) or call.used(2):
        for i, value in ((1, k), (2, v)):
            if call.used(i):
                b, n, h, d = value.type.dims
                present = call.reader.extern("onnx.Transpose", [value], TensorType((b, h, n, d), value.type.element),
                                             f"{call.fx}_present{i}")
                call.reader.bind(call.node.output[i], present)
    if sink is not None and sink.type.element != "f32":
        sink = call.reader.extern("onnx.Cast", [sink], TensorType(sink.type.dims, "f32"), f"{call.fx}_sink")
    scale = call.number("scale", 0.0)
    record = _record(call, q, k, v, keys, scale or None, call.number("softcap", 0.0), "bhsd" if bhsd else "bshd", sink)
    _finish(call, record, flat=True)


def read(call):
    """Add the nodes of one attention call to the graph, or raise Unrepresentable."""
    (group_query_attention if call.node.domain == "com.microsoft" else attention)(call)
