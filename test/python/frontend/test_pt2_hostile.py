"""Malformed and hostile `.pt2` files: one clear error each, never anything else."""

import copy
import io
import json
import struct
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import FIXTURES, attention_program, custom_program, fixture, pt2_bytes

from sparseattn.frontend import archive, pt2
from sparseattn.frontend.emit import emit
from sparseattn.frontend.errors import FrontendError


def error(data, **options):
    """The message for an archive's bytes."""
    with pytest.raises(FrontendError) as caught:
        pt2.read(io.BytesIO(data), **options)
    assert caught.value.expected and caught.value.found and caught.value.advice
    return str(caught.value)


def program_error(content):
    return error(pt2_bytes(content))


GOOD = custom_program()


def changed(*path, **replace):
    """GOOD with the entry at `path` replaced by `value`, or removed."""
    content = json.loads(json.dumps(GOOD))
    place = content
    for step in path[:-1]:
        place = place[step]
    if "value" in replace:
        place[path[-1]] = replace["value"]
    else:
        del place[path[-1]]
    return content


GRAPH = ("graph_module", "graph")
NODE = (*GRAPH, "nodes", 0)


def test_the_good_program_is_good():
    assert len(pt2.read(io.BytesIO(pt2_bytes(GOOD))).attentions) == 1


# Archives


def test_no_such_file(tmp_path):
    with pytest.raises(FrontendError, match="expected a file; found: no file"):
        pt2.read(tmp_path / "none.pt2")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a zip", b"PK\x05\x06" + bytes(10)])
def test_not_a_zip(data):
    assert "to be a zip archive" in error(data)


def test_save_failed():
    with pytest.raises(FrontendError) as caught:
        pt2.read(FIXTURES / "save_failed.pt2")
    assert caught.value.found == "no model in the archive" and "flex_attention cannot be saved" in caught.value.advice


def test_other_torch_archives_are_named():
    message = error(pt2_bytes(b"", member="archive/data.pkl"))
    assert "TorchScript archive or a torch.save checkpoint" in message and "torch.export.save" in message


def test_several_programs():
    data = pt2_bytes(GOOD, extra=[("archive/models/other.json", b"{}")])
    assert "expected one program" in error(data) and "--model" in error(data)
    assert len(pt2.read(io.BytesIO(data), model="model").attentions) == 1
    assert "to hold a program 'third'" in error(data, model="third")


def test_too_large_is_refused_before_reading():
    data = pt2_bytes(GOOD)
    assert "at most 100 bytes" in error(data, max_bytes=100)


def test_zip_bomb():
    data = pt2_bytes(b" " * (64 * 2**20), compression=zipfile.ZIP_DEFLATED)
    assert len(data) < 2**17
    tracemalloc.start()
    try:
        message = error(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert f"compressed at most {archive.MAX_RATIO} times" in message
    assert peak < 4 * 2**20, "the member was decompressed before the check"


def test_a_size_that_lies_is_noticed():
    """The central directory says 50 bytes; the data goes on."""
    data = bytearray(pt2_bytes(b"[" * 100_000, compression=zipfile.ZIP_DEFLATED))
    entry = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, 50)
    assert "to be intact" in error(bytes(data))


def test_damaged_data():
    data = bytearray(pt2_bytes(GOOD))
    data[data.index(b"schema_version")] ^= 1
    assert "to be intact" in error(bytes(data)) and "CRC" in error(bytes(data))


def test_encrypted_member():
    data = bytearray(pt2_bytes(GOOD))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(signature) + offset] |= 1
    assert "an encrypted member" in error(bytes(data))


def test_other_compression():
    assert "stored or deflated" in error(pt2_bytes(GOOD, compression=zipfile.ZIP_LZMA))


def test_nothing_is_extracted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    escape = [("../evil", b"x"), ("/tmp/../evil", b"x"), ("a/../../evil", b"x")]
    path = tmp_path / "in" / "m.pt2"
    path.parent.mkdir()
    path.write_bytes(pt2_bytes(GOOD, extra=escape))
    pt2.read(path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["in", "in/m.pt2"]


@pytest.mark.parametrize("member", ["models/sub/model.json", "a/b/models/model.json", "archive/models/.json/x", "archive/xmodels/m.json"])
def test_models_elsewhere_are_not_taken(member):
    assert "no model in the archive" in error(pt2_bytes(GOOD, member=member))


# Programs


@pytest.mark.parametrize("content, message", [
    (b"", "to be JSON"),
    (b"{", "to be JSON"),
    (b"\xff\xfe{}", "to be JSON"),
    (b"[" * 200_000, "nesting too deep"),
    (b'{"a":' * 100_000, "nesting too deep"),
    (b"1" * 5000, "to be JSON"),
    (b"[]", "the program to be an object; found: a list"),
    (b"{}", "the program to have 'schema_version'; found: nothing"),
    (b'{"schema_version": 8}', "the program.schema_version to be an object; found: an integer (8)"),
    (b'{"schema_version": {"major": "8"}}', "schema_version.major to be an integer; found: a string (8)"),
    (b'{"schema_version": {"major": 9, "minor": 1}}', "expected export schema 8.x; found: 9.1"),
    (b'{"schema_version": {"major": 8}}', "the program to have 'graph_module'"),
])
def test_json(content, message):
    assert message in program_error(content)


@pytest.mark.parametrize("content, message", [
    (changed(*GRAPH), "graph_module to have 'graph'; found: only signature"),
    (changed(*GRAPH, "nodes", value={}), "graph.nodes to be a list; found: an object"),
    (changed(*NODE, "target", value=7), "nodes[0].target to be a string; found: an integer (7)"),
    (changed(*NODE, "inputs", 0, "arg", value={}), "inputs[0].arg to be an object with exactly one member; found: nothing"),
    (changed(*NODE, "inputs", 0, "arg", value={"as_int": 1, "as_none": True}), "exactly one member; found: as_int, as_none"),
    (changed(*NODE, "inputs", 0, "arg", "as_tensor", "name", value="nowhere"), "'nowhere', which nothing before defines"),
    (changed(*NODE, "inputs", 3), "expected node attn to have argument 'scale'"),
    (changed(*NODE, "outputs", value=[]), "expected attention node attn to have one output; found: 0"),
    (changed(*GRAPH, "tensor_values", "q"), "expected tensor_values to describe 'q'; found: no such entry"),
    (changed(*GRAPH, "tensor_values", "q", "dtype", value=99), "tensor_values.q.dtype to be one of 1, 2"),
    (changed(*GRAPH, "tensor_values", "q", "sizes", 0, value={"as_int": -1}), "sizes[0].as_int to be an integer in [0,"),
    (changed(*GRAPH, "tensor_values", "q", "sizes", 0, value={"as_int": 2**70}), "to be an integer in [0, 9223372036854775807]"),
    (changed(*GRAPH, "tensor_values", "q", "sizes", value=[{"as_int": 1}] * 65), "a list of at most 64 sizes; found: 65"),
    (changed(*GRAPH, "outputs", 0, "as_tensor", "name", value="p"), "outputs[0].as_tensor.name to be the name of an earlier value"),
    (changed("graph_module", "signature", "input_specs"), "signature to have 'input_specs'"),
    (changed("range_constraints", value={"s0": {"min_val": "2"}}), "range_constraints.s0.min_val to be an integer"),
])
def test_fields(content, message):
    assert message in program_error(content)


def test_updates_without_end_are_refused(monkeypatch):
    from support import node, program, tensor

    monkeypatch.setattr(pt2, "MAX_VERSIONS", 50)
    names = [f"v{i}" for i in range(20)]
    nodes = [node("torch.ops.aten.view.default", [n], self="x") for n in names]
    nodes += [node("torch.ops.aten.add_.Tensor", [f"u{i}"], self="x", other="x") for i in range(20)]
    tensors = {n: tensor(4) for n in ["x", *names, *(f"u{i}" for i in range(20))]}
    assert "touch at most 50 views" in program_error(program(tensors, ["x"], nodes, names))


# Mutations: only FrontendError may come out


def attempt(data):
    try:
        return emit(pt2.read(io.BytesIO(data)))
    except FrontendError as caught:
        assert caught.expected and caught.found and caught.advice
        return None


SMALL = [fixture("buffer_cache").read_bytes(), fixture("causal").read_bytes(), pt2_bytes(GOOD), pt2_bytes(attention_program())]


@settings(max_examples=300)
@given(st.sampled_from(SMALL), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6), st.integers(0, 10**6))
def test_bytes_flipped_and_cut(data, flips, cut):
    data = bytearray(data)
    for position, value in flips:
        data[position % len(data)] = value
    attempt(bytes(data[:len(data) - cut % len(data)] if cut % 3 == 0 else data))


JUNK = st.one_of(st.none(), st.booleans(), st.integers(-2**65, 2**65), st.floats(), st.text(max_size=6), st.just([]), st.just({}),
                 st.sampled_from(["q", "attn", "as_tensor", {"as_int": 3}, {"as_tensor": {"name": "q"}}, [{"name": "k"}]])).map(copy.deepcopy)  # A mutation may change what an earlier one put in place.


@st.composite
def mutated(draw, content):
    """`content` with up to three places dropped, replaced, renamed or copied."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        place = content
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.integers(0, 3)):
                place = place[key]
                continue
            change = draw(st.integers(0, 3))
            if change == 0:
                del place[key]
            elif change == 1:
                place[key] = draw(JUNK)
            elif change == 2 and isinstance(place, dict):
                place[draw(st.text(max_size=5))] = place.pop(key)
            elif isinstance(place, list):
                place.insert(0, copy.deepcopy(place[key]))
            break
    return content


PROGRAMS = [GOOD, attention_program(is_causal=True),
            json.loads(zipfile.ZipFile(io.BytesIO(SMALL[0])).read("archive/models/model.json"))]


@settings(max_examples=400)
@given(st.sampled_from(PROGRAMS).flatmap(mutated))
def test_program_mutated(content):
    attempt(pt2_bytes(json.dumps(content).encode()))
