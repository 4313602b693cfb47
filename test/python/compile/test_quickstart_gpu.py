"""The quickstart's kernels for a GPU, and device memory, over the driver that records instead of running."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparseattn import runtime
from sparseattn.compile import OutputError
from sparseattn.compiler import compile_cpu
from sparseattn.quickstart import TOLERANCE
from sparseattn.quickstart_gpu import compile_layers, make_layer

FAKE_DRIVER = Path(os.environ["SPARSEATTN_BUILD"]) / "test" / "Runtime" / "libSparseAttnFakeDriver.so"
FIXTURES = Path(__file__).resolve().parents[2] / "Import" / "fixtures"


def run(*arguments, driver="/nonexistent/libcuda.so.1", settings=""):
    environment = {**os.environ, "SPARSEATTN_LIBCUDA": str(driver), "SPARSEATTN_FAKE_DRIVER": settings}
    return subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True)


def test_without_a_gpu(tmp_path):
    done = run("-m", "sparseattn.quickstart", "--kernels", tmp_path / "kernels")
    assert done.returncode == 0, done.stderr
    *_, compiled, last = done.stdout.splitlines()
    assert compiled == f"8 attention layers compiled to PTX for Hopper GPUs (f16, head dimension 32), in {tmp_path / 'kernels'}"
    assert last.startswith("No Hopper GPU was found (no CUDA driver: /nonexistent/libcuda.so.1")
    artefact = runtime.load(tmp_path / "kernels")
    assert artefact.names == tuple(f"layer_{number}" for number in range(8))


@pytest.mark.parametrize("settings, reason", [("major=8", "found Fake GPU (8.0)"), ("devices=0", "found none"),
                                              ("cuInit=100", "cuInit: CUDA_ERROR_NO_DEVICE")])
def test_other_gpus(settings, reason):
    program = "from sparseattn import device_memory\ntry: device_memory.HopperGpu()\nexcept device_memory.NoHopperGpu as reason: print(reason)"
    done = run("-c", program, driver=FAKE_DRIVER, settings=settings)
    assert done.returncode == 0 and reason in done.stdout, done.stderr


def test_a_kernel_that_writes_nothing_disagrees():
    """The driver of the tests launches nothing, so that outputs stay as they were poisoned."""
    done = run("-m", "sparseattn.quickstart", "--model", FIXTURES / "gpt_oss.pt2", driver=FAKE_DRIVER)
    assert done.returncode == 1, done.stderr
    assert "not kept" in done.stdout and "On Fake GPU, against the CPU:" in done.stdout
    assert done.stdout.count("max error nan !") == 4
    assert done.stdout.splitlines()[-1] == "Layers that disagree with the CPU: layer_0, layer_1, layer_2, layer_3"


def test_driver_errors():
    done = run("-m", "sparseattn.quickstart", "--model", FIXTURES / "gpt_oss.pt2", driver=FAKE_DRIVER, settings="cuLaunchKernel=2")
    assert done.returncode == 1 and "The GPU failed: " in done.stdout and "CUDA_ERROR_OUT_OF_MEMORY" in done.stdout


def make(dtype="f32", dim=40, sink=True):
    text = f"""
    !q = tensor<1x4x30x{dim}x{dtype}>
    !k = tensor<1x2x30x{dim}x{dtype}>
    func.func @layer_3(%q: !q {{sparseattn.name = "query"}}, %k: !k {{sparseattn.name = "key"}}, %v: !k {{sparseattn.name = "value"}},
                       %s: tensor<4xf32> {{sparseattn.name = "sink"}}) -> !q
        attributes {{sparseattn.kind = "window", sparseattn.layer = 3 : i64, sparseattn.operations = [{{keys = ["window<9>"]}}]}} {{
      %o = sparseattn.attention %q, %k, %v keys(#sparseattn.window<9>) scale 0.4 score(#sparseattn.softcap<2.0>) sink(%s)
        : (!q, !k, !k, tensor<4xf32>) -> !q
      return %o : !q
    }}"""
    function = compile_cpu(text)("layer_3")
    generator = np.random.default_rng(0)
    element = np.float32 if dtype == "f32" else np.float16
    operands = {name: generator.standard_normal((1, heads, 30, dim)).astype(element) for name, heads in (("query", 4), ("key", 2), ("value", 2))}
    operands["sink"] = generator.standard_normal(4).astype(np.float32)
    return function, operands, make_layer(function, {"layer": 3, "scale": 0.4, "softcap": 2.0}, operands)


def test_layers_compute_the_same(tmp_path):
    """Rounded to f16 and padded, on the CPU."""
    function, operands, layer = make()
    assert layer.spec.name == "d64_window9_sink_softcap2_scale0p4_f16" and layer.features == 40
    expected = function(*operands.values())
    found = compile_cpu(layer.spec.text())(layer.spec.name)(*layer.operands)
    assert not found[..., 40:].any()
    # Scores are rounded with their factors here.
    np.testing.assert_allclose(found[..., :40].astype(np.float32), expected, atol=5 * TOLERANCE["f16"])
    artefact, refused = compile_layers([layer], tmp_path / "out", "my model.pt2")
    assert refused == [] and artefact.names == ("layer_3",)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["kernels"][0]["info"] == {"layer": 3, "kind": "window"} and (tmp_path / "out" / "my_model.h").exists()


def test_the_folder_is_replaced_or_left_alone(tmp_path):
    layer = make()[2]
    for _ in range(2):
        compile_layers([layer], tmp_path / "out", "x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("")
    with pytest.raises(OutputError, match="name another folder"):
        compile_layers([layer], tmp_path / "mine", "x")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["text"]


def test_layers_without_a_kernel(tmp_path):
    artefact, refused = compile_layers([make(dim=600)[2]], tmp_path / "out", "x")
    assert artefact is None and len(refused) == 1 and refused[0].startswith("layer_3 has no GPU kernel: ")


MEMORY = """
import gc, sys
import numpy as np
from sparseattn import device_memory
gpu = device_memory.HopperGpu()
for dtype in device_memory.DTYPES.values():
    if dtype != np.int64:
        array = (np.arange(6) % 2).reshape(2, 3).astype(dtype)
        copy = gpu.to_device(array.T)
        assert copy.numpy().dtype == dtype and (copy.numpy() == array.T).all() and copy.sizes == (3, 2) and copy.device == 0
assert np.isnan(gpu.empty((2, 2), np.float16).numpy()).all()
assert gpu.empty((0, 3), np.float32).numpy().shape == (0, 3)
for make, error in ((lambda: gpu.empty((1 << 40,), np.float32), MemoryError), (lambda: gpu.empty((1,), np.complex64), TypeError)):
    try:
        make()
    except error as problem:
        print(problem)
"""


def test_device_memory():
    done = run("-c", MEMORY, driver=FAKE_DRIVER)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY"
    assert done.stdout.splitlines()[1].startswith("no kernel takes complex64; expected one of ")
