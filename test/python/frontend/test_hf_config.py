"""The config reader against transformers itself, and on bad configs."""

import copy
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import FIXTURES

from sparseattn.frontend import hf_config
from sparseattn.frontend.emit import emit
from sparseattn.frontend.errors import FrontendError
from sparseattn.frontend.graph import Attention, Op
from sparseattn.frontend.hf_families import FAMILIES

CONFIGS = sorted((FIXTURES / "configs").glob("*.json"))
TRUTH = json.loads((FIXTURES / "hf_layers.json").read_text())


def config(name):
    return json.loads((FIXTURES / "configs" / f"{name}.json").read_text())


def read(content, **options):
    return hf_config.from_json(json.dumps(content).encode(), **options)


def row(a):
    return {"layer": a.layer, "kv_source": a.kv_source, "scale": a.scale, "causal": True, "softcap": a.softcap or 0.0,
            "window": a.keys.size if a.keys.kind == "window" else -1, "sink": a.sink is not None,
            "heads": a.query.type.dims[1], "kv_heads": a.key.type.dims[1], "head_dim": a.query.type.dims[3],
            "v_head_dim": a.value.type.dims[3]}


@pytest.mark.parametrize("name", [n for n in TRUTH if n != "transformers"])
def test_layers_are_those_of_transformers(name):
    assert [row(a) for a in hf_config.read(FIXTURES / "configs" / f"{name}.json").attentions] == TRUTH[name]


@pytest.mark.parametrize("golden", sorted((FIXTURES / "golden").glob("*.json.mlir")), ids=lambda p: p.name)
def test_golden_text(golden):
    assert emit(hf_config.read(FIXTURES / "configs" / golden.name.removesuffix(".mlir"))) == golden.read_text()


def test_every_family_has_a_config():
    types = {c.get("text_config", c)["model_type"] for c in map(json.loads, (p.read_text() for p in CONFIGS))}
    assert types | {"gemma3", "gemma3n", "gemma4", "mimo_v2"} == set(FAMILIES)
    assert {p.stem for p in CONFIGS} - set(TRUTH) == {"minicpm4-8b", "hysparse-80b", "consa-0.6b", "dash-minicpm4-8b"}


def test_shared_layers_use_the_same_values():
    records = hf_config.read(FIXTURES / "configs" / "gemma3n-e4b.json").attentions
    for record in records:
        source = records[record.kv_source]
        assert record.key is source.key and record.value is source.value
    assert [p.name for p in hf_config.read(FIXTURES / "configs" / "gemma3n-e4b.json").inputs].count("k20") == 0
    assert records[34].kv_source == 19 and records[33].kv_source == 18


def test_length_and_batch():
    text = emit(read(config("llama-3-8b"), length=77, batch=3))
    assert "%q0: tensor<3x32x77x128xbf16>" in text and "?" not in text
    assert "%q0: tensor<1x32x?x128xbf16>" in emit(read(config("llama-3-8b")))


def test_defaults_are_remarked():
    remarks = [str(r) for r in read(config("gemma3-4b")).remarks]
    assert "config: num_attention_heads is not given; transformers' default 8 is used" in remarks
    assert not read(config("gemma3-12b")).remarks
    bare = {k: v for k, v in config("llama-3-8b").items() if k != "torch_dtype"}
    assert [str(r) for r in read(bare).remarks] == ["config: no dtype is given; bfloat16 is assumed"]


# Sparse methods


def mnemonics(graph, layer_count):
    names = [n.mnemonic if isinstance(n, Op) else "attention" for n in graph.nodes]
    assert len(names) % layer_count == 0
    return names[:len(names) // layer_count]


def test_infllm():
    graph = read(config("minicpm4-8b"))
    assert mnemonics(graph, 32) == ["chunk_summarize", "block_logits", "block_softmax", "pool_scores", "select_topk",
                                    "sparse_attention"]
    text = emit(graph)
    assert "<k = 96, block = 64, force_first = 1, force_local = 32>" in text
    assert "kernel 5 stride 4 pad 1 mode(max) ceil_mode" in text
    assert "dense_len = 8192" in graph.remarks[0].reason


@pytest.mark.parametrize("length", [1, 15, 16, 31, 32, 63, 64, 65, 100, 127, 128, 129, 1000])
def test_infllm_has_a_column_for_every_block(length):
    """The query's own block must have a score column, or it could not be selected."""
    (scores,) = [n.results[0] for n in read(config("minicpm4-8b") | {"num_hidden_layers": 1}, length=length).nodes
                 if n.mnemonic == "pool_scores"]
    assert scores.type.dims[3] >= math.ceil(length / 64)


def test_consa():
    graph = read(config("consa-0.6b"))
    assert len(graph.attentions) == 28
    assert str(graph.attentions[0].keys) == "#sparseattn.window<1024>"
    assert str(graph.attentions[27].keys).startswith("#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>, ")


def test_hysparse():
    graph = read(config("hysparse-80b"))
    full = [n for n in graph.nodes if isinstance(n, Op) and n.mnemonic == "attention"]
    sparse = [n for n in graph.nodes if isinstance(n, Op) and n.mnemonic == "sparse_attention"]
    assert [n.attributes["layer"] for n in full] == [0, 12, 24, 36, 48] and len(sparse) == 44
    for node in sparse:
        producer = next(f for f in reversed(full) if f.attributes["layer"] < node.attributes["layer"])
        assert node.attributes["kv_source"] == producer.attributes["layer"]
        assert node.operands[1:4] == [*producer.operands[1:3], producer.results[1]]
    windows = [n for n in graph.nodes if isinstance(n, Attention)]
    assert all(str(w.keys) == "#sparseattn.window<128>" and w.sink is not None and w.kv_source == w.layer for w in windows)


def test_dash():
    graph = read(config("dash-minicpm4-8b"))
    assert mnemonics(graph, 32) == ["chunk_summarize", "block_logits", "entmax_route", "sparse_attention"]
    assert f"scale {128**-0.5 * 0.231!r} visibility(before_own)" in emit(graph)


# Bad configs


def error(content, **options):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(FrontendError) as caught:
        hf_config.from_json(data, **options)
    assert caught.value.expected and caught.value.found and caught.value.advice
    return str(caught.value)


LLAMA = config("llama-3-8b")


@pytest.mark.parametrize("changes, message", [
    ({"model_type": "gpt2"}, "expected model_type to be one of gemma2, gemma3, "),
    ({"model_type": "gpt2"}, "found: 'gpt2'"),
    ({"model_type": 3}, "model_type to be a string; found: an integer (3)"),
    ({"num_hidden_layers": 0}, "num_hidden_layers to be an integer in [1, 10000]"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers to be an integer in [1, 10000]"),
    ({"num_hidden_layers": None}, "num_hidden_layers to be an integer; found: null"),
    ({"num_attention_heads": "32"}, "num_attention_heads to be an integer; found: a string (32)"),
    ({"num_key_value_heads": 5}, "query heads of layer 0 to be a multiple of its key/value heads; found: 32 and 5"),
    ({"hidden_size": 4095}, "expected hidden_size to be a multiple of num_attention_heads"),
    ({"head_dim": 2000}, "expected head dimensions up to 1024, found 2000"),
    ({"torch_dtype": "float8"}, "torch_dtype to be one of bfloat16, float16, float32; found: a string (float8)"),
    ({"model_type": "mistral", "sliding_window": 0}, "sliding_window to be an integer in [1,"),
    ({"model_type": "mistral", "sliding_window": True}, "sliding_window to be an integer; found: true or false"),
    ({"sparse_attention": {"method": "magic"}}, "method to be one of consa, dash, hysparse; found: a string (magic)"),
    ({"sparse_attention": {}}, "sparse_attention to have 'method'"),
    ({"sparse_attention": {"method": "consa", "window": 8, "head_kinds": []}}, "one list for each of the 32 layers"),
    ({"sparse_attention": {"method": "consa", "window": 8, "head_kinds": [["full"] * 7] * 32}}, "each of the 8 key/value heads"),
    ({"sparse_attention": {"method": "consa", "window": 8, "head_kinds": [["half"] * 8] * 32}}, "'full' or 'window'"),
    ({"sparse_attention": {"method": "hysparse", "full_layers": [1], "block": 64, "top_k": 4, "window": 8, "gate": "headwise",
                           "sinks": True}}, "a list that contains layer 0"),
    ({"sparse_attention": {"method": "dash", "chunk": 64, "alpha": 3.0, "routing_scale": 1.0, "prior": "none", "sigma": 1.0}},
     "alpha to be a number in [1, 2]"),
])
def test_bad_fields(changes, message):
    assert message in error(LLAMA | changes)


@pytest.mark.parametrize("name, changes, message", [
    ("gpt-oss-20b", {"layer_types": ["full_attention"] * 3}, "layer_types to be a list of 24 layer types"),
    ("gpt-oss-20b", {"layer_types": ["chunked_attention"] * 24},
     "layer_types[0] to be one of the supported layer types: full_attention, sliding_attention; found: a string (chunked_attention)"),
    ("gpt-oss-20b", {"sliding_window": None}, "sliding_window for layers of type sliding_attention; found: nothing"),
    ("gemma4-shared", {"num_kv_shared_layers": 30}, "num_kv_shared_layers below the number of layers, 30; found: 30"),
    ("gemma4-shared", {"num_kv_shared_layers": 26}, "expected a layer of type full_attention before layer 4"),
    ("gemma4-saved", {"per_layer_config": {"9": {}}}, "an object keyed by layers 0 to 5; found: key '9'"),
    ("gemma4-shared", {"use_bidirectional_attention": "all"}, "only causal attention is supported"),
    ("gemma2-2b", {"use_bidirectional_attention": True}, "only causal attention is supported"),
    ("gemma2-2b", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar to be"),
    ("gemma2-2b", {"query_pre_attn_scalar": "x"}, "query_pre_attn_scalar to be a number"),
    ("mimo-v2-flash", {"hybrid_layer_pattern": [0, 1]}, "hybrid_layer_pattern to be a list of 48 entries"),
    ("mimo-v2-flash", {"hybrid_layer_pattern": [2] * 48}, "hybrid_layer_pattern[0] to be an integer in [0, 1]"),
    ("minicpm4-8b", {"sparse_config": {"block_size": 64}}, "sparse_config to have"),
    ("minicpm4-8b", {"sparse_config": config("minicpm4-8b")["sparse_config"] | {"block_size": 60}}, "block_size a multiple"),
])
def test_bad_families(name, changes, message):
    assert message in error(config(name) | changes)


@pytest.mark.parametrize("data, message", [
    (b"", "the config to be JSON"), (b"[]", "the config to be an object"), (b"{}", "expected the config to have 'model_type'"),
    (b'{"a":' * 100_000, "nesting too deep"), (b'{"model_type": NaN}', "model_type to be a string"),
])
def test_not_a_config(data, message):
    assert message in error(data)


def test_bad_options():
    assert "expected length to be at least 1; found: 0" in error(LLAMA, length=0)
    assert "expected batch to be at least 1; found: -2" in error(LLAMA, batch=-2)


def test_unreadable_files(tmp_path):
    with pytest.raises(FrontendError, match="to be able to read"):
        hf_config.read(tmp_path / "none.json")
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (hf_config.MAX_BYTES + 1))
    with pytest.raises(FrontendError, match="at most 16777216 bytes"):
        hf_config.read(large)


JUNK = st.one_of(st.none(), st.booleans(), st.integers(-2**65, 2**65), st.integers(0, 9), st.floats(), st.text(max_size=6),
                 st.just([]), st.just({}), st.sampled_from(["sliding_attention", [1, 0], ["full_attention"], "gemma3n"])).map(copy.deepcopy)


@st.composite
def mutated(draw):
    content = json.loads(draw(st.sampled_from(CONFIGS)).read_text())
    for _ in range(draw(st.integers(1, 3))):
        place = content
        for nested in ("text_config", "sparse_attention", "sparse_config"):
            if isinstance(place.get(nested), dict) and place[nested] and draw(st.booleans()):
                place = place[nested]
        if place:
            key = draw(st.sampled_from(sorted(place)))
            if draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(JUNK)
    return content


@settings(max_examples=300)
@given(mutated())
def test_mutated(content):
    try:
        emit(read(content))
    except FrontendError as caught:
        assert caught.expected and caught.found and caught.advice
