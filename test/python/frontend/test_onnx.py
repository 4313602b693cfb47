"""The ONNX reader: real nodes with recorded outputs, refusals, bad files."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import FIXTURES, run

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

from sparseattn.frontend import onnx_model  # noqa: E402
from sparseattn.frontend.emit import emit  # noqa: E402
from sparseattn.frontend.errors import FrontendError  # noqa: E402
from sparseattn.frontend.graph import CAUSAL, FULL, window  # noqa: E402

FLOAT = TensorProto.FLOAT
Q4, KV4 = [1, 4, 8, 16], [1, 2, 8, 16]


def path(name):
    return FIXTURES / f"onnx_{name}.onnx"


def info(items):
    return [helper.make_tensor_value_info(n, t, s) for n, t, s in items]


def model(nodes, inputs, outputs, initializers=(), opset=25, functions=()):
    graph = helper.make_graph(nodes, "g", info(inputs), info(outputs), list(initializers))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions).SerializeToString()


def attention(shapes=(Q4, KV4, KV4), extra=(), names=None, op="Attention", domain="", element=FLOAT, out=Q4, **attributes):
    """One attention node on q, k, v; `extra`: more (name, type, shape) inputs."""
    node = helper.make_node(op, names or ["q", "k", "v"], ["y"], name="attn", domain=domain, **attributes)
    inputs = [(n, element, s) for n, s in zip("qkv", shapes)] + list(extra)
    return model([node], inputs, [("y", element, out)])


def read(data):
    return onnx_model.from_bytes(data)


def edges(graph):
    return [f"{','.join(r.name for r in n.results)}<-{n.target}({','.join(o.name for o in n.operands)})"
            for n in graph.nodes if hasattr(n, "target")]


# Recorded


def test_causal():
    (a,) = onnx_model.read(path("attention23")).attentions
    assert a.keys == CAUSAL and a.scale == 0.25 and a.layout == "bhsd" and a.fx == "attn"
    with np.load(path("attention23").with_suffix(".npz")) as z:
        x = {n: z[n].astype(np.float64) for n in z.files}
    np.testing.assert_allclose(run(a, x["q"], x["k"], x["v"]), x["y"], atol=1e-5)


def test_window_and_softcap():
    graph = onnx_model.read(path("attention25_window"))
    (a,) = graph.attentions
    assert a.keys == window(8) and a.softcap == 20.0
    assert edges(graph) == ["q2<-onnx.Add(q,q)", "y<-onnx.Identity(attn_attention)"]
    with np.load(path("attention25_window").with_suffix(".npz")) as z:
        x = {n: z[n].astype(np.float64) for n in z.files}
    np.testing.assert_allclose(run(a, 2 * x["q"], x["k"], x["v"]), x["y"], atol=1e-5)


def test_past_is_appended():
    graph = onnx_model.read(path("attention24_past"))
    (a,) = graph.attentions
    assert a.keys == CAUSAL and a.key.type.dims == (1, 2, 37, 16) and a.query.type.dims == (1, 4, 7, 16)
    assert graph.outputs[1].value is a.key and graph.outputs[2].value is a.value
    with np.load(path("attention24_past").with_suffix(".npz")) as z:
        x = {n: z[n].astype(np.float64) for n in z.files}
    heads = lambda t, h: t.reshape(1, 7, h, 16).transpose(0, 2, 1, 3)
    k, v = (np.concatenate([x[f"past_{n}"], heads(x[n], 2)], 2) for n in "kv")
    np.testing.assert_array_equal(k, x["present_k"])
    out = run(a, heads(x["q"], 4), k, v).transpose(0, 2, 1, 3).reshape(1, 7, 64)
    np.testing.assert_allclose(out, x["y"], atol=1e-5)


def test_three_dimensional_inputs_are_only_reshaped():
    graph = read(attention(([2, 8, 64], [2, 8, 32], [2, 8, 32]), out=[2, 8, 64], q_num_heads=4, kv_num_heads=2, is_causal=1))
    (a,) = graph.attentions
    assert a.layout == "bshd" and a.query.type.dims == (2, 8, 4, 16) and a.key.type.dims == (2, 8, 2, 16)
    assert [e.split("<-")[1].split("(")[0] for e in edges(graph)] == ["onnx.Reshape"] * 4
    assert str(graph.outputs[0].value.type) == "tensor<2x8x64xf32>"


@pytest.mark.parametrize("attributes, keys", [
    ({}, FULL), ({"is_causal": 1}, CAUSAL), ({"right_window_size": 0}, CAUSAL), ({"is_causal": 1, "left_window_size": 0}, window(1)),
    ({"is_causal": 1, "left_window_size": 3, "right_window_size": 5}, window(4)),
])
def test_windows_come_from_the_attributes(attributes, keys):
    assert read(attention(**attributes)).attentions[0].keys == keys


def test_windows_do_not_depend_on_the_opset():
    data = onnx.load_model_from_string(attention(is_causal=1, left_window_size=3))
    data.opset_import[0].version = 24
    assert read(data.SerializeToString()).attentions[0].keys == window(4)


def test_full_attention_of_unequal_lengths():
    assert read(attention(([1, 4, 5, 16], KV4, KV4), out=[1, 4, 5, 16])).attentions[0].keys == FULL


def test_sharing_is_data_flow():
    nodes = [helper.make_node("Attention", ["q", "k", "v"], ["a"], name="first", is_causal=1),
             helper.make_node("Attention", ["a", "k", "v"], ["y"], name="second", is_causal=1)]
    first, second = read(model(nodes, [("q", FLOAT, Q4), ("k", FLOAT, KV4), ("v", FLOAT, KV4)], [("y", FLOAT, Q4)])).attentions
    assert first.key is second.key and first.value is second.value


@pytest.mark.parametrize("golden", sorted((FIXTURES / "golden").glob("*.onnx.mlir")), ids=lambda p: p.name)
def test_golden_text(golden):
    assert emit(onnx_model.read(FIXTURES / golden.name.removesuffix(".mlir"))) == golden.read_text()


# Refused


def refusal(data):
    graph = read(data)
    assert not graph.attentions
    assert graph.nodes[-1].target in ("onnx.Attention", "com.microsoft.GroupQueryAttention")
    assert not [n for n in graph.nodes if n.fx.startswith("attn_")], "data movements of a refused node stayed behind"
    return next(r.reason for r in graph.remarks if r.node == "attn").removeprefix("attention left to the framework: ")


@pytest.mark.parametrize("name, reason", [
    ("attention_mask", "input attn_mask is given"),
    ("attention_unequal", "causality with 5 queries and 37 new keys is aligned at the first key"),
])
def test_refused_fixtures(name, reason):
    assert refusal(path(name).read_bytes()) == reason


@pytest.mark.parametrize("arguments, reason", [
    ({"left_window_size": 3}, "(left_window_size, right_window_size) (3, -1) is bounded on the left only"),
    ({"left_window_size": 3, "right_window_size": 1}, "shows keys after the query"),
    ({"left_window_size": -4, "right_window_size": 0}, "expected bounds"),
    ({"extra": [("len", TensorProto.INT64, [1])], "names": ["q", "k", "v", "", "", "", "len"]}, "input nonpad_kv_seqlen is given"),
    ({"extra": [("pk", FLOAT, KV4)], "names": ["q", "k", "v", "", "pk"]}, "past_key and past_value must come together"),
    ({"element": TensorProto.DOUBLE}, "expected one element type of f16, bf16, f32"),
    ({"softcap": -1.0}, "expected a positive finite softcap"),
    ({"shapes": ([1, 8, 64],) + ([1, 8, 32],) * 2, "out": [1, 8, 64]}, "3-D inputs without q_num_heads and kv_num_heads"),
    ({"shapes": ([1, 8, 64],) + ([1, 8, 32],) * 2, "out": [1, 8, 64], "q_num_heads": 7, "kv_num_heads": 2}, "cannot be split into 7 heads"),
    ({"shapes": ([1, 8, 64], KV4, KV4)}, "expected Q, K, V all of rank 3 or all of rank 4"),
    ({"shapes": ([1, 3, 8, 16], KV4, KV4), "out": [1, 3, 8, 16]}, "the 3 query heads cannot be grouped"),
    ({"shapes": ([1, 4, "n", 16],) + ([1, 2, "m", 16],) * 2, "out": [1, 4, "n", 16], "is_causal": 1}, "n queries and m new keys"),
    ({"is_causal": 1.0}, "attribute is_causal is float"),
])
def test_refused(arguments, reason):
    assert reason in refusal(attention(**arguments))


def test_the_scores_as_output_are_refused():
    node = helper.make_node("Attention", ["q", "k", "v"], ["y", "", "", "s"], name="attn")
    inputs = [("q", FLOAT, Q4), ("k", FLOAT, KV4), ("v", FLOAT, KV4)]
    assert "qk_matmul_output is asked for" in refusal(model([node], inputs, [("y", FLOAT, Q4), ("s", FLOAT, [1, 4, 8, 8])]))


# GroupQueryAttention


def gqa(n=8, batch=1, inputs=None, extra=(), outputs=("y",), declared=(), **attributes):
    names = inputs or ["q", "k", "v", "", "", "lens", "total"]
    node = helper.make_node("GroupQueryAttention", names, list(outputs), name="attn", domain="com.microsoft",
                            **({"num_heads": 4, "kv_num_heads": 2} | attributes))
    ports = [("q", FLOAT, [batch, n, 64]), ("k", FLOAT, [batch, n, 32]), ("v", FLOAT, [batch, n, 32]),
             ("lens", TensorProto.INT32, [batch]), ("total", TensorProto.INT32, []), *extra]
    return model([node], ports, [("y", FLOAT, [batch, n, 64]), *declared])


def test_group_query_attention():
    graph = onnx_model.read(path("gqa_window"))
    (a,) = graph.attentions
    assert a.keys == window(8) and a.sink.name == "sink" and a.scale == 0.25 and a.layout == "bhsd"
    remarks = [str(r) for r in graph.remarks]
    assert remarks[0] == "attn: seqlens_k is not read; the sequence is taken to be unpadded"
    assert "older CPU versions of ONNX Runtime show one more" in remarks[1]


def test_group_query_attention_without_past():
    graph = read(gqa(scale=0.5, softcap=9.0, outputs=("y", "pk", "pv"), declared=[("pk", FLOAT, KV4), ("pv", FLOAT, KV4)]))
    (a,) = graph.attentions
    assert (a.keys, a.scale, a.softcap, a.layout) == (CAUSAL, 0.5, 9.0, "bshd")
    assert str(graph.outputs[1].value.type) == "tensor<1x2x8x16xf32>" and len(graph.remarks) == 1


PAST = [("pk", FLOAT, [1, 2, 32, 16]), ("pv", FLOAT, [1, 2, 32, 16])]
PAST_NAMES = ["q", "k", "v", "pk", "pv", "lens", "total"]


@pytest.mark.parametrize("arguments, reason", [
    ({"batch": 2}, "batch 2: sequences may be padded"),
    ({"do_rotary": 1}, "do_rotary is set"),
    ({"smooth_softmax": 1}, "smooth_softmax is set"),
    ({"local_window_size": 0}, "expected local_window_size of at least 1 key"),
    ({"inputs": ["q", "", "", "", "", "lens", "total"]}, "Q, K and V are packed"),
    ({"num_heads": 5}, "cannot be split into 5 heads"),
    ({"extra": [("b", FLOAT, [1, 1, 8, 8])], "inputs": ["q", "k", "v", "", "", "lens", "total", "", "", "", "b"]},
     "input attention_bias is given"),
    ({"extra": PAST, "inputs": PAST_NAMES, "outputs": ("y", "nk", "nv"),
      "declared": [("nk", FLOAT, [1, 2, 32, 16]), ("nv", FLOAT, [1, 2, 32, 16])]},
     "past key holds 32 tokens and present key 32: the cache is a buffer of fixed size"),
])
def test_group_query_attention_refused(arguments, reason):
    assert reason in refusal(gqa(**arguments))


# Glue


def test_initializers_are_parameters():
    weight = helper.make_tensor("w", FLOAT, [4], [0.0] * 4)
    graph = read(model([helper.make_node("Add", ["x", "w"], ["y"])], [("x", FLOAT, [4])], [("y", FLOAT, [4])], [weight]))
    assert [(p.name, p.role) for p in graph.inputs] == [("x", "input"), ("w", "parameter")]
    assert graph.nodes[0].fx == "y" and graph.remarks[-1].reason == "no attention was recognised"


def test_subgraphs_keep_their_outer_values():
    inner = helper.make_graph([helper.make_node("Attention", ["q", "k", "v"], ["i"])], "then", [], info([("i", FLOAT, Q4)]))
    other = helper.make_graph([helper.make_node("Identity", ["q"], ["j"])], "else", [], info([("j", FLOAT, Q4)]))
    node = helper.make_node("If", ["c"], ["y"], name="branch", then_branch=inner, else_branch=other)
    ports = [("c", TensorProto.BOOL, []), ("q", FLOAT, Q4), ("k", FLOAT, KV4), ("v", FLOAT, KV4)]
    graph = read(model([node], ports, [("y", FLOAT, Q4)]))
    assert sorted(o.name for o in graph.nodes[0].operands) == ["c", "k", "q", "v"]
    assert graph.remarks[0].reason == "attention inside a branch or loop is left to the framework"


def test_local_functions_are_inlined():
    function = helper.make_function("local", "layer", ["a", "b", "c"], ["d"],
                                    [helper.make_node("Attention", ["a", "b", "c"], ["d"])], [helper.make_opsetid("", 25)])
    node = helper.make_node("layer", ["q", "k", "v"], ["y"], domain="local")
    ports = [("q", FLOAT, Q4), ("k", FLOAT, KV4), ("v", FLOAT, KV4)]
    assert len(read(model([node], ports, [("y", FLOAT, Q4)], functions=[function])).attentions) == 1


def test_values_of_unknown_type_are_opaque():
    node = helper.make_node("Mystery", ["q"], ["m"], domain="com.microsoft")
    last = helper.make_node("Riddle", ["m"], ["y"], domain="com.microsoft")
    text = emit(read(model([node, last], [("q", FLOAT, Q4)], [("y", FLOAT, Q4)])))
    assert 'sparseattn.extern "com.microsoft.Mystery"(%q) {fx = "m"} : (tensor<1x4x8x16xf32>) -> (none)' in text


# Bad files


def error(data):
    with pytest.raises(FrontendError) as caught:
        read(data)
    assert caught.value.expected and caught.value.found and caught.value.advice
    return str(caught.value)


def undefined():
    return model([helper.make_node("Add", ["x", "nope"], ["y"], name="sum")], [("x", FLOAT, [4])], [("y", FLOAT, [4])])


@pytest.mark.parametrize("data, message", [
    (b"\x08\x0b\xff\xff", "expected a serialised ONNX model"),
    (b"", "found: no graph in it"),
    (b"\x08\x0b", "found: no graph in it"),
    (undefined(), "expected input 'nope' of node sum to be defined before it; found: nothing defines it"),
    (model([], [], [("y", FLOAT, [4])]), "expected output 'y' to be defined"),
    (model([], [("x", FLOAT, [-3])], []), "expected sizes of at least 0; found: -3"),
])
def test_bad_models(data, message):
    assert message in error(data)


def test_unreadable_files(tmp_path):
    with pytest.raises(FrontendError, match="to be able to read"):
        onnx_model.read(tmp_path / "none.onnx")
    with pytest.raises(FrontendError, match="at most 10 bytes"):
        onnx_model.read(path("attention23"), max_bytes=10)


def test_without_the_onnx_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "install it: pip install onnx" in error(path("attention23").read_bytes())


@settings(max_examples=300)
@given(st.sampled_from(sorted(FIXTURES.glob("*.onnx"))), st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=5))
def test_bytes_flipped(file, flips):
    data = bytearray(file.read_bytes())
    for position, value in flips:
        data[position % len(data)] = value
    try:
        emit(read(bytes(data)))
    except FrontendError as caught:
        assert caught.expected and caught.found and caught.advice
