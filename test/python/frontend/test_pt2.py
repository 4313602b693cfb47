"""The `.pt2` reader on real archives: what it recognises, keeps and refuses."""

import numpy as np
import pytest
from support import FIXTURES, fixture, recording, run

from sparseattn.frontend import pt2
from sparseattn.frontend.emit import emit
from sparseattn.frontend.graph import CAUSAL, Extern, TensorType, window

MODELS = ["gemma3n", "gemma3n_decode", "qwen3", "gpt_oss"]


@pytest.mark.parametrize("name", MODELS)
def test_attributes_are_those_of_the_recording(name):
    meta, _ = recording(name)
    records = pt2.read(fixture(name)).attentions
    assert len(records) == len(meta["layers"])
    for record, layer in zip(records, meta["layers"]):
        assert record.layer == layer["layer"] and record.kv_source == layer["kv_source"]
        assert record.scale == layer["scale"]
        assert record.keys == (CAUSAL if layer["window"] == -1 else window(layer["window"]))
        assert (record.sink is not None) == ("sink" in layer["members"])
        assert [d if isinstance(d, int) else 131 for d in record.query.type.dims] == layer["shape_q"]
        assert record.query.type.element == {"float32": "f32", "bfloat16": "bf16"}[layer["dtype"]]


@pytest.mark.parametrize("name", MODELS)
def test_imported_attention_computes_what_the_framework_did(name):
    meta, arrays = recording(name)
    for record, layer in zip(pt2.read(fixture(name)).attentions, meta["layers"]):
        x = {n: arrays[m] for n, m in layer["members"].items()}
        # bfloat16: the framework rounds probabilities and output to 2^-8; values reach 5.
        bound = 0.04 if layer["dtype"] == "bfloat16" else 1e-5
        np.testing.assert_allclose(run(record, x["q"], x["k"], x["v"], x.get("sink")), x["out"], atol=bound)


@pytest.mark.parametrize("off", [-1, 1])
def test_a_window_off_by_one_would_be_noticed(off):
    meta, arrays = recording("gemma3n")
    record, layer = pt2.read(fixture("gemma3n")).attentions[0], meta["layers"][0]
    record.keys = window(record.keys.size + off)
    x = {n: arrays[m] for n, m in layer["members"].items()}
    assert np.abs(run(record, x["q"], x["k"], x["v"]) - x["out"]).max() > 1e-3


def sources(graph):
    """For each attention, the value that its keys come from, through `aten.to`."""
    made_by = {id(r): n for n in graph.nodes if isinstance(n, Extern) for r in n.results}
    found = []
    for record in graph.attentions:
        value = record.key
        while (node := made_by.get(id(value))) and node.target.startswith("aten.to."):
            value = node.operands[0]
        found.append(value)
    return found


@pytest.mark.parametrize("name", ["gemma3n", "gemma3n_decode"])
def test_sharing_is_data_flow(name):
    keys = sources(pt2.read(fixture(name)))
    assert [next(i for i, k in enumerate(keys) if k is key) for key in keys] == [0, 1, 2, 3, 4, 4, 4, 3]


def test_symbolic_sizes():
    graph = pt2.read(fixture("qwen3"))
    assert graph.ranges == {"s70": (2, 512)}
    q = graph.attentions[0].query.type
    assert q.dims == (1, 4, "s70", 32) and str(q) == "tensor<1x4x?x32xbf16>"
    assert graph.inputs[0].name == "input_ids"
    sizes = [n for n in graph.nodes if isinstance(n, Extern) and n.results[0].type == "index"]
    assert [n.target for n in sizes] == ["aten.sym_size.int"]
    text = emit(graph)
    assert 'sparseattn.ranges = {"s70" = array<i64: 2, 512>}' in text
    assert 'sparseattn.sizes = ["1", "s70"]' in text


@pytest.mark.parametrize("name", ["buffer_cache", "buffer_cache_functional", "weights"])
def test_updated_buffers_leave_the_function(name):
    graph = pt2.read(fixture(name))
    assert [(p.name, p.role) for p in graph.outputs[1:]] == [("k_cache", "buffer"), ("v_cache", "buffer")]
    (record,) = graph.attentions
    assert record.key is graph.outputs[1].value and record.value is graph.outputs[2].value
    assert [(p.name, p.role) for p in graph.inputs] == [
        ("x", "input"), ("position", "input"), ("project.weight", "parameter"), ("k_cache", "buffer"), ("v_cache", "buffer")]


def test_a_list_of_tensors_is_several_results():
    (split,) = [n for n in pt2.read(fixture("buffer_cache")).nodes if "split" in getattr(n, "target", "")]
    assert [r.type for r in split.results] == [TensorType((1, h, 1, 16), "f32") for h in (4, 2, 2)]


def test_schema_defaults():
    first, second = pt2.read(fixture("causal")).attentions
    assert first.keys == CAUSAL and first.scale == 16**-0.5
    assert second.keys.kind == "full" and second.scale == 0.25


def test_keys_and_values_that_are_one_value():
    graph = pt2.read(fixture("sdpa"))
    assert [str(r) for r in graph.remarks] == [
        "scaled_dot_product_attention: keys and values are one value, %v; if the model has separate ones, export with "
        "distinct example tensors: torch merges inputs that are one object"]


def test_refused_attention_stays_with_a_reason():
    graph = pt2.read(fixture("refused"))
    assert not graph.attentions
    assert [n.target for n in graph.nodes if "attention" in n.target] == ["aten.scaled_dot_product_attention.default"] * 2
    mask, unequal, none = graph.remarks
    assert "mask tensor" in mask.reason and "sparseattn.torch" in mask.advice
    assert "5 queries and 37 keys" in unequal.reason and "first key" in unequal.reason
    assert none.reason == "no attention was recognised"


@pytest.mark.parametrize("path", sorted((FIXTURES / "golden").glob("*.pt2.mlir")), ids=lambda p: p.name)
def test_golden_text(path):
    assert emit(pt2.read(fixture(path.name.removesuffix(".pt2.mlir")))) == path.read_text()


def test_there_are_golden_texts():
    assert len(list((FIXTURES / "golden").glob("*.pt2.mlir"))) >= 4
