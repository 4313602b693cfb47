"""sparseattn.runtime over the fake driver: artefacts, errors, streams, threads."""

import gc
import json
import os
import shutil
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from support import FAKE_DRIVER, FIXTURES, DLPackTensor, InterfaceTensor, driver, launches, log, make_aligned

from sparseattn import runtime

ARTEFACT = FIXTURES / "scaled_copy"


@pytest.fixture(autouse=True)
def fresh_driver():
    driver.fakeDriverReset()


@pytest.fixture
def kernel():
    return runtime.load(ARTEFACT)("scaled_copy")


def make_operands(shape=(2, 3, 100, 128), **more):
    return [DLPackTensor(make_aligned(shape), **more) for _ in range(2)]


def unpack(code, text):
    return struct.unpack("<" + code, bytes.fromhex(text))[0]


def test_describes_kernels(kernel):
    assert runtime.load(ARTEFACT).names == ("scaled_copy",)
    assert repr(kernel) == (
        "scaled_copy(q: BxHqxNqx128xbf16, o: output BxHqxNqx128xbf16, scale=1.0, head_group=l2_heads)"
    )
    assert kernel.chip == "sm_90a"
    assert kernel.operands[1] == runtime.Operand(
        "o", "output", "bf16", ("batch", "head", "position", "feature"), ("B", "Hq", "Nq", 128)
    )


def test_launches(kernel):
    q, o = make_operands()
    assert kernel(q, o, scale=0.25, head_group=3) is None
    (made,) = launches()
    assert made["grid"] == [2 * 3 * 2, 1, 1]
    assert made["stream"] == 0
    parameters = made["parameters"]
    assert log()["maps"][0]["address"] == q.array.ctypes.data
    assert unpack("Q", parameters[1]) == o.array.ctypes.data
    assert [unpack("q", text) for text in parameters[2:5]] == [38400, 12800, 128]
    assert unpack("f", parameters[8]) == 0.25
    assert unpack("i", parameters[9]) == 3


def test_strides_and_integers_for_floats(kernel):
    wide = [make_aligned((2, 100, 3, 128)).transpose(0, 2, 1, 3) for _ in range(2)]
    kernel(*map(DLPackTensor, wide), scale=2)
    (made,) = launches()
    assert [unpack("q", text) for text in made["parameters"][2:5]] == [38400, 128, 384]
    assert unpack("f", made["parameters"][8]) == 2.0
    assert log()["maps"][0]["strides"] == [768, 128, 256, 76800]


def test_prepare(kernel):
    driver.fakeDriverSet(b"capturing", 1)
    with pytest.raises(ValueError, match="prepare the kernel"):
        kernel(*make_operands())
    assert kernel.prepare(0) == "ptx"
    kernel(*make_operands())
    assert len(launches()) == 1


def test_empty_problem(kernel):
    kernel(*make_operands((2, 3, 0, 128)))
    assert launches() == []


def test_explicit_streams(kernel):
    class Cupy:
        ptr = 0x30

    class Torch:
        cuda_stream = 0x20

    class Protocol:
        def __cuda_stream__(self):
            return (0, 0x40)

    for stream in (0x10, Torch(), Cupy(), Protocol()):
        kernel(*make_operands(), stream=stream)
    assert [made["stream"] for made in launches()] == [0x10, 0x20, 0x30, 0x40]
    with pytest.raises(TypeError, match="expected a stream of torch or cupy"):
        kernel(*make_operands(), stream="0")
    with pytest.raises(ValueError, match="found the number -1"):
        kernel(*make_operands(), stream=-1)
    assert len(launches()) == 4


def test_refused_arguments(kernel):
    q, o = make_operands()
    with pytest.raises(TypeError, match="expected 2 tensors, found 1"):
        kernel(q)
    with pytest.raises(ValueError, match=r"no attribute 'scales'; there are scale, head_group"):
        kernel(q, o, scales=1.0)
    with pytest.raises(TypeError, match="attribute 'scale': expected a number, found str"):
        kernel(q, o, scale="1")
    with pytest.raises(TypeError, match="attribute 'scale': expected a number, found bool"):
        kernel(q, o, scale=True)
    with pytest.raises(ValueError, match="does not fit 64 bits"):
        kernel(q, o, head_group=2**63)
    with pytest.raises(ValueError, match=r"operand 'o' \(argument 1\): axis 'position' has 99"):
        kernel(q, DLPackTensor(make_aligned((2, 3, 99, 128))))
    with pytest.raises(ValueError, match="expected 128 for axis 'feature', found 80"):
        kernel(*make_operands((2, 3, 100, 80)))
    with pytest.raises(ValueError, match="expected bf16, found f16"):
        kernel(*make_operands(dtype=(2, 16, 1)))
    with pytest.raises(ValueError, match="multiple of 16 bytes"):
        kernel(DLPackTensor(make_aligned((2, 3, 100, 136))[..., 4:132]), o)
    assert launches() == []


def test_driver_errors(kernel):
    driver.fakeDriverFail(b"cuLaunchKernel", 2, 0, 1)
    with pytest.raises(runtime.GpuError, match=r"cuLaunchKernel: CUDA_ERROR_OUT_OF_MEMORY \(out of memory\)") as caught:
        kernel(*make_operands())
    assert caught.value.driver_code == 2
    kernel(*make_operands())


def test_other_device(kernel):
    driver.fakeDriverSet(b"major", 8)
    with pytest.raises(runtime.GpuError, match="runs on compute capability 9.0 only") as caught:
        kernel(*make_operands())
    assert caught.value.driver_code == 0


def test_bad_artefacts(tmp_path):
    with pytest.raises(runtime.ArtefactError, match="manifest.json: cannot be opened"):
        runtime.load(tmp_path)
    folder = tmp_path / "copy"
    shutil.copytree(ARTEFACT, folder)
    with (folder / "scaled_copy.ptx").open("a") as file:
        file.write(" ")
    with pytest.raises(runtime.ArtefactError, match="truncated or replaced"):
        runtime.load(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(runtime.ArtefactError, match="not valid JSON"):
        runtime.load(folder)


def test_unknown_kernel():
    with pytest.raises(KeyError, match="no kernel 'x'; the artefact has scaled_copy"):
        runtime.load(ARTEFACT)("x")


def test_a_kernel_keeps_its_artefact():
    gc.collect()
    before = driver.fakeDriverModules()
    kernel = runtime.load(ARTEFACT)("scaled_copy")
    gc.collect()
    kernel(*make_operands())
    assert driver.fakeDriverModules() == before + 1
    del kernel
    gc.collect()
    assert driver.fakeDriverModules() == before


def test_threads(kernel):
    driver.fakeDriverSet(b"load_milliseconds", 20)
    failures = []

    def work(index):
        try:
            for _ in range(20):
                kernel(*make_operands((1, 1, 64 * (index + 1), 128)))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert driver.fakeDriverCalls(b"cuModuleLoadDataEx") == 1
    grids = sorted(made["grid"][0] for made in launches())
    assert grids == sorted(list(range(1, 9)) * 20)


def run_alone(driver_path, settings=""):
    """The first launch of a process with this driver; its error as text."""
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from support import DLPackTensor, make_aligned
import os
os.environ["SPARSEATTN_LIBCUDA"] = sys.argv[3]
from sparseattn import runtime
kernel = runtime.load(sys.argv[2])("scaled_copy")
for attempt in range(2):
    try:
        kernel(*(DLPackTensor(make_aligned((1, 1, 64, 128))) for _ in range(2)))
        print("launched")
    except runtime.GpuError as error:
        print(error)
"""
    here = os.path.dirname(os.path.abspath(__file__))
    result = subprocess.run(
        [sys.executable, "-c", program, here, str(ARTEFACT), str(driver_path)],
        env=dict(os.environ, SPARSEATTN_FAKE_DRIVER=settings), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_without_a_usable_driver():
    for line in run_alone("/nonexistent/libcuda.so.1"):
        assert line.startswith("cannot load the CUDA driver: /nonexistent/libcuda.so.1: cannot open")
        assert "set SPARSEATTN_LIBCUDA" in line
    for line in run_alone(FAKE_DRIVER.with_name("libSparseAttnOldDriver.so")):
        assert "(CUDA 11.8) has no cuDeviceGet: a driver for CUDA 12.0 or later is needed" in line
    for line in run_alone(FAKE_DRIVER, "cuInit=100"):
        assert line == "cuInit: CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)"
    assert run_alone(FAKE_DRIVER) == ["launched", "launched"]


def test_readme_manifest(tmp_path):
    """The manifest that lib/Runtime/README.md shows is valid, but for the file it does not show."""
    readme = (FIXTURES.parents[2] / "lib" / "Runtime" / "README.md").read_text()
    manifest = json.loads(readme.split("```json\n")[1].split("```")[0])
    (kernel,) = manifest["kernels"]
    other = json.loads((ARTEFACT / "manifest.json").read_text())["kernels"][0]
    kernel["ptx"] = other["ptx"]
    shutil.copy(ARTEFACT / other["ptx"]["file"], tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert runtime.load(tmp_path).names == ("attention_causal_d128",)


def test_interface_streams(kernel, tmp_path):
    """A kernel over f16 takes __cuda_array_interface__, and waits for its streams."""
    manifest = json.loads((ARTEFACT / "manifest.json").read_text())
    for operand in manifest["kernels"][0]["operands"]:
        operand["dtype"] = "f16"
    shutil.copy(ARTEFACT / "scaled_copy.ptx", tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    kernel = runtime.load(tmp_path)("scaled_copy")
    arrays = [make_aligned((1, 1, 64, 128), np.float16) for _ in range(2)]

    kernel(*map(InterfaceTensor, arrays))
    kernel(InterfaceTensor(arrays[0], stream=0x11), InterfaceTensor(arrays[1]))
    kernel(InterfaceTensor(arrays[0], stream=1), InterfaceTensor(arrays[1], stream=None), stream=0)
    assert [made["stream"] for made in launches()] == [0, 0x11, 0]
    assert log()["events"] == []
    device = DLPackTensor(arrays[1], dtype=(2, 16, 1))
    kernel(InterfaceTensor(arrays[0], stream=0x11), device, stream=0x12)
    assert launches()[3]["stream"] == 0x12
    assert log()["events"] == ["record 17", "wait 18"]
    with pytest.raises(runtime.GpuError, match="is no memory of a CUDA device"):
        kernel(*(InterfaceTensor(make_aligned((1, 1, 64, 128), np.float16), known=False) for _ in range(2)))
