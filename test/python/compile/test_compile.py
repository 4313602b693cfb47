"""sparseattn-compile and the quickstart on models of every kind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparseattn import compile as driver
from sparseattn import quickstart

FIXTURES = Path(__file__).resolve().parents[2] / "Import" / "fixtures"
GEMMA = quickstart.EXAMPLE / "gemma3n.pt2"
WINDOW = """
func.func @main(%q: tensor<1x4x12x16xf32>, %k: tensor<1x2x12x16xf32>, %v: tensor<1x2x12x16xf32>)
    -> (tensor<1x4x12x16xf32>, tensor<1x4x12x16xf32>) {
  %a = sparseattn.attention %q, %k, %v keys(#sparseattn.window<5>)
    : (tensor<1x4x12x16xf32>, tensor<1x2x12x16xf32>, tensor<1x2x12x16xf32>) -> tensor<1x4x12x16xf32>
  %r = sparseattn.extern "aten.relu"(%a) : (tensor<1x4x12x16xf32>) -> tensor<1x4x12x16xf32>
  %b = sparseattn.attention %r, %k, %v keys(#sparseattn.window<5>)
    : (tensor<1x4x12x16xf32>, tensor<1x2x12x16xf32>, tensor<1x2x12x16xf32>) -> tensor<1x4x12x16xf32>
  return %a, %b : tensor<1x4x12x16xf32>, tensor<1x4x12x16xf32>
}
"""


@pytest.fixture
def window(tmp_path):
    path = tmp_path / "window.mlir"
    path.write_text(WINDOW)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


ARTEFACT = ["kernels.o", "kernels.so", "manifest.json", "model.mlir", "plan.json", "plan.txt"]


def test_mlir(window, tmp_path, capsys):
    out = tmp_path / "out"
    assert driver.main([str(window), "-o", str(out)]) == 0
    assert "alias of 0" in capsys.readouterr().out
    assert names(out) == ARTEFACT and names(tmp_path) == ["out", "window.mlir"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["format"], manifest["version"], manifest["target"]) == ("sparseattn.artefact", 1, "cpu")
    first, second = manifest["layers"]
    assert (first["layer"], first["symbol"], first["kind"]) == (0, "sparseattn_packed_layer_0", "window")
    assert first["operations"] == [
        {"operation": "attention", "keys": ["window<5>"], "window": 5, "scale": 0.25, "layout": "bhsd"}
    ]
    assert second["operations"][0]["kv_source"] == 0
    assert [value["name"] for value in first["arguments"]] == ["query", "key", "value"]
    assert first["arguments"][0] == {
        "name": "query", "kind": "tensor", "dtype": "f32", "shape": [1, 4, 12, 16], "attributes": {"layout": "bhsd"}
    }
    plan = json.loads((out / "plan.json").read_text())
    assert plan["functions"][0]["total_bytes"] == 2 * 5 * (16 + 16) * 4
    model = (out / "model.mlir").read_text()
    assert "call @layer_0" in model and "aten.relu" in model


def test_pt2_with_levels(tmp_path):
    out = tmp_path / "gemma"
    assert driver.main([str(GEMMA), "-o", str(out), "--dump-levels", "--quiet"]) == 0
    assert names(out) == sorted([*ARTEFACT, "levels"])
    levels = names(out / "levels")
    assert [int(name.split("-")[0]) for name in levels] == list(range(len(levels)))
    assert levels[0] == "00-imported.mlir" and levels[-1].endswith("llvm-optimized.ll")
    assert any(name.endswith("kernels.mlir") for name in levels)
    layers = json.loads((out / "manifest.json").read_text())["layers"]
    assert [layer["kind"] for layer in layers] == ["window"] * 3 + ["causal"] + ["window"] * 3 + ["causal"]
    assert [layer["operations"][0].get("kv_source") for layer in layers] == [None] * 5 + [4, 4, 3]


def test_config(tmp_path):
    config = FIXTURES / "configs" / "gemma3n-e2b.json"
    out = tmp_path / "out"
    assert driver.main([str(config), "-o", str(out), "--length", "4096", "--quiet"]) == 0
    layers = json.loads((out / "manifest.json").read_text())["layers"]
    assert len(layers) == 30 and layers[0]["arguments"][0]["dtype"] == "bf16"
    plan = json.loads((out / "plan.json").read_text())["functions"][0]
    assert plan["total_bytes"] < plan["dense_bytes"]


def test_config_without_a_length_says_so(tmp_path, capsys):
    assert driver.main([str(FIXTURES / "configs" / "llama-3-8b.json"), "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith("sparseattn-compile: give --length N\n")
    assert names(tmp_path) == []


def test_refused_attention_says_why(tmp_path, capsys):
    assert driver.main([str(FIXTURES / "refused.pt2"), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "expected attention" in error and "mask" in error


def test_stablehlo(tmp_path):
    out = tmp_path / "out"
    assert driver.main([str(FIXTURES / "jax_sinks.mlir"), "-o", str(out), "--quiet"]) == 0
    (layer,) = json.loads((out / "manifest.json").read_text())["layers"]
    assert layer["operations"][0]["layout"] == "bshd"
    assert [value["name"] for value in layer["arguments"]] == ["query", "key", "value", "sink"]


def test_onnx(tmp_path):
    helper = pytest.importorskip("onnx.helper")
    onnx = pytest.importorskip("onnx")
    tensor = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, heads, 12, 16)) for name, heads in (("q", 4), ("k", 2), ("v", 2), ("y", 4))]
    graph = helper.make_graph([helper.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=1)], "g", tensor[:3], tensor[3:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    onnx.save(model, tmp_path / "model.onnx")
    assert driver.main([str(tmp_path / "model.onnx"), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    (layer,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["layers"]
    assert layer["kind"] == "causal"


def test_compiled_library_runs(window, tmp_path):
    """The shared library alone, through its packed entry."""
    import ctypes

    out = tmp_path / "out"
    assert driver.main([str(window), "-o", str(out), "--quiet"]) == 0
    entry = ctypes.CDLL(str(out / "kernels.so")).sparseattn_packed_layer_0
    q = np.random.default_rng(0).standard_normal((1, 4, 12, 16)).astype(np.float32)
    k, v = (np.random.default_rng(seed).standard_normal((1, 2, 12, 16)).astype(np.float32) for seed in (1, 2))
    descriptors = []
    for array in (q, k, v):
        address = array.ctypes.data
        strides = [stride // 4 for stride in array.strides]
        descriptors.append((ctypes.c_int64 * 11)(address, address, 0, *array.shape, *strides))
    result = (ctypes.c_int64 * 11)()
    descriptors.append(result)
    entry((ctypes.c_void_p * 4)(*(ctypes.addressof(descriptor) for descriptor in descriptors)))
    assert tuple(result[3:7]) == q.shape
    values = (ctypes.c_float * q.size).from_address(result[1] + 4 * result[2])
    expected = quickstart.softmax_attention(q, k, v, scale=0.25, causal=True, window=5, softcap=0, sink=None)
    np.testing.assert_allclose(np.array(values).reshape(q.shape), expected, atol=1e-5)
    ctypes.CDLL(None).free(ctypes.c_void_p(result[0]))


@pytest.mark.parametrize(
    "text, words",
    [
        ("func.func @f( {", "expected"),
        ("func.func @f() { return }", "expected attention"),
        (WINDOW.replace("#sparseattn.window<5>", "#sparseattn.window<0>"), "(A1) expected size"),
        ("", "an empty file"),
    ],
)
def test_failures_leave_nothing(tmp_path, capsys, text, words):
    path = tmp_path / "bad.mlir"
    path.write_text(text)
    assert driver.main([str(path), "-o", str(tmp_path / "out")]) == 1
    assert words in capsys.readouterr().err
    assert names(tmp_path) == ["bad.mlir"]


def test_missing_linker_leaves_nothing(window, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPARSEATTN_LLD", str(tmp_path / "nowhere"))
    assert driver.main([str(window), "-o", str(tmp_path / "out")]) == 1
    assert "is not an executable file" in capsys.readouterr().err
    assert names(tmp_path) == ["window.mlir"]


def test_output_is_never_mixed(window, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert driver.main([str(window), "-o", str(out), "--quiet"]) == 0
    assert driver.main([str(window), "-o", str(out), "--quiet"]) == 1
    assert "--force" in capsys.readouterr().err
    (out / "mine.txt").write_text("kept until force")
    assert driver.main([str(window), "-o", str(out), "--quiet", "--force"]) == 0
    assert names(out) == ARTEFACT and names(tmp_path) == ["out", "window.mlir"]

    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("not an artefact")
    assert driver.main([str(window), "-o", str(other), "--force"]) == 1
    assert "name another folder" in capsys.readouterr().err and names(other) == ["precious.txt"]
    assert driver.main([str(window), "-o", str(window)]) == 1
    assert driver.main([str(window), "-o", str(tmp_path / "no" / "out")]) == 1
    # A failing compilation leaves the earlier result.
    window.write_text("func.func @f(")
    assert driver.main([str(window), "-o", str(out), "--force"]) == 1
    assert names(out) == ARTEFACT


def test_wrong_arguments_exit_with_2(window, tmp_path, capsys):
    for arguments in ([], [str(window)], [str(window), "-o", "x", "--target", "gpu"], [str(window), "-o", "x", "--length", "0"]):
        with pytest.raises(SystemExit) as caught:
            driver.main(arguments)
        assert caught.value.code == 2


def test_launcher(window, tmp_path):
    launcher = Path(os.environ["SPARSEATTN_TOOLS"]) / "sparseattn-compile"
    environment = {**os.environ, "SPARSEATTN_PYTHON": sys.executable}
    out = tmp_path / "out folder"
    done = subprocess.run([launcher, window, "-o", out], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert names(out) == ARTEFACT and "2 attention layers compiled" in done.stdout
    version = subprocess.run([launcher, "--version"], env=environment, capture_output=True, text=True)
    assert "MLIR 22." in version.stdout
    assert subprocess.run([launcher], env=environment, capture_output=True).returncode == 2


def test_quickstart_agrees(capsys):
    assert quickstart.main([]) == 0
    out = capsys.readouterr().out
    assert "\nAll 8 attention layers agree with the framework's recorded outputs.\n" in out
    assert "KV bytes saved: 404 kB of 536.6 kB (75%)" in out


def test_quickstart_with_sinks(capsys):
    assert quickstart.main(["--model", str(FIXTURES / "gpt_oss.pt2")]) == 0
    assert "\nAll 4 attention layers agree with the framework's recorded outputs.\n" in capsys.readouterr().out


def test_quickstart_sees_a_wrong_layer(tmp_path, capsys):
    with np.load(quickstart.EXAMPLE / "gemma3n.npz") as archive:
        recording = {name: archive[name] for name in archive.files}
    recording["layer3.out"] = recording["layer3.out"].copy()
    recording["layer3.out"][0, 1, 2, 3] += 1e-3
    recording["layer6.out"] = np.full_like(recording["layer6.out"], np.nan)
    path = tmp_path / "wrong.npz"
    np.savez(path, **recording)
    assert quickstart.main(["--activations", str(path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "Layers that disagree with the framework: 3, 6"


def test_quickstart_refuses_a_recording_of_another_model(tmp_path, capsys):
    assert quickstart.main(["--activations", str(FIXTURES / "qwen3.npz")]) == 1
    assert "error: the recording" in capsys.readouterr().err
    assert quickstart.main(["--activations", str(tmp_path / "none.npz")]) == 1
    shutil.copy(GEMMA, tmp_path / "x.npz")
    assert quickstart.main(["--activations", str(tmp_path / "x.npz")]) == 1
