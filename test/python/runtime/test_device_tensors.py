"""Tensors of every protocol, read without a framework."""

import gc
import subprocess
import sys
import types

import numpy as np
import pytest
from support import DLPackTensor, InterfaceTensor, make_aligned

from sparseattn import device_tensors
from sparseattn.device_tensors import current_stream, read


@pytest.mark.parametrize("versioned", [True, False])
def test_dlpack(versioned):
    array = make_aligned((4, 6, 8))[:, 1:4]
    tensor = DLPackTensor(array, device=(2, 3), versioned=versioned, offset=256)
    view = read(tensor, 0x77, "q")
    assert (view.data, view.dtype, view.device) == (array.ctypes.data, "bf16", 3)
    assert (view.sizes, view.strides, view.read_only) == ((4, 3, 8), (48, 8, 1), False)
    # The producer was told the stream, and its memory is released with the view, once.
    assert tensor.streams == [0x77]
    assert tensor.freed == 0
    del view
    gc.collect()
    assert tensor.freed == 1


def test_dlpack_default_stream():
    tensor = DLPackTensor(make_aligned((2,)))
    read(tensor, 0, "q")
    assert tensor.streams == [1]


def test_dlpack_dense_and_read_only():
    view = read(DLPackTensor(make_aligned((2, 4)), dense=True, flags=1), 0, "q")
    assert view.strides is None
    assert view.read_only
    assert not read(DLPackTensor(make_aligned((2, 4)), flags=2), 0, "q").read_only


@pytest.mark.parametrize(
    "dtype, name",
    [((0, 8, 1), "i8"), ((0, 16, 1), "i16"), ((0, 32, 1), "i32"), ((0, 64, 1), "i64"), ((2, 16, 1), "f16")]
    + [((2, 32, 1), "f32"), ((2, 64, 1), "f64"), ((4, 16, 1), "bf16"), ((6, 8, 1), "i1")],
)
def test_dlpack_dtypes(dtype, name):
    assert read(DLPackTensor(make_aligned((2,)), dtype=dtype), 0, "q").dtype == name


def test_dlpack_refusals():
    array = make_aligned((2,))
    for dtype in [(1, 8, 1), (5, 64, 1), (2, 16, 2), (4, 8, 1)]:
        with pytest.raises(TypeError, match=r"q: no kernel takes DLPack dtype \(code"):
            read(DLPackTensor(array, dtype=dtype), 0, "q")
    for device in [(1, 0), (3, 0), (10, 0)]:
        with pytest.raises(ValueError, match="q: expected a tensor in GPU memory, found one on DLPack device type"):
            read(DLPackTensor(array, device=device), 0, "q")
    with pytest.raises(TypeError, match="expected DLPack version 1, found 2.0"):
        read(DLPackTensor(array, major=2), 0, "q")

    class Broken(DLPackTensor):
        def __dlpack__(self, **arguments):
            return object()

    with pytest.raises(TypeError, match="gave no unused DLPack capsule"):
        read(Broken(array), 0, "q")


def test_managed_memory_is_of_any_device():
    assert read(DLPackTensor(make_aligned((2,)), device=(13, 0)), 0, "q").device == -1


def test_numpy_is_not_on_the_gpu():
    with pytest.raises(ValueError, match=r"found one on DLPack device type 1 \(ndarray\)"):
        read(np.zeros(3, np.float32), 0, "q")
    with pytest.raises(TypeError, match="expected a tensor of torch, or one with __dlpack__.*found list"):
        read([1.0], 0, "q")


def test_jax_on_the_cpu():
    jax = pytest.importorskip("jax")
    with pytest.raises(ValueError, match="expected a tensor in GPU memory"):
        read(jax.numpy.zeros(3, jax.numpy.bfloat16), 0, "q")


def test_interface():
    array = make_aligned((4, 6, 8), np.float32)
    view = read(InterfaceTensor(array, stream=5), 0, "q")
    assert (view.data, view.dtype, view.device) == (array.ctypes.data, "f32", -1)
    assert (view.sizes, view.strides, view.producer) == ((4, 6, 8), None, 5)
    view = read(InterfaceTensor(array[:, ::2]), 0, "q")
    assert (view.sizes, view.strides, view.producer) == ((4, 3, 8), (48, 16, 1), None)
    assert read(InterfaceTensor(array, data=(16, True)), 0, "q").read_only


@pytest.mark.parametrize(
    "typestr, name",
    [("<f2", "f16"), ("<f4", "f32"), ("<f8", "f64"), ("|b1", "i1"), ("|i1", "i8"), ("<i2", "i16"), ("<i4", "i32")]
    + [("<i8", "i64")],
)
def test_interface_dtypes(typestr, name):
    assert read(InterfaceTensor(make_aligned((2,), np.dtype(typestr))), 0, "q").dtype == name


def test_interface_refusals():
    array = make_aligned((2, 4), np.float32)
    with pytest.raises(TypeError, match="type '<V2'; bf16 is only in DLPack"):
        read(InterfaceTensor(array, typestr="<V2"), 0, "q")
    with pytest.raises(TypeError, match="type '>f4'"):
        read(InterfaceTensor(array, typestr=">f4"), 0, "q")
    with pytest.raises(ValueError, match="a masked array is not supported"):
        read(InterfaceTensor(array, mask=object()), 0, "q")
    with pytest.raises(ValueError, match=r"strides of \(18, 4\) bytes are no multiples of the 4-byte elements"):
        read(InterfaceTensor(array, strides=(18, 4)), 0, "q")


def make_torch():
    """The part of torch that is used."""
    torch = types.ModuleType("torch")

    class Tensor:
        def __init__(self, array, dtype, device):
            self.array, self.dtype = array, dtype
            kind, _, index = device.partition(":")
            self.device = types.SimpleNamespace(type=kind, index=int(index or 0))
            self.is_cuda = kind == "cuda"
            self.shape = array.shape

        def data_ptr(self):
            return self.array.ctypes.data

        def stride(self):
            return tuple(stride // self.array.itemsize for stride in self.array.strides)

        def __dlpack__(self, **arguments):
            raise AssertionError("slower than the attributes")

    torch.Tensor = Tensor
    torch.cuda = types.SimpleNamespace(
        current_stream=lambda device: types.SimpleNamespace(cuda_stream=0x100 + device.index))
    return torch


class TorchDtype:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


def test_torch(monkeypatch):
    torch = make_torch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    array = make_aligned((2, 6, 8))[:, ::2]
    tensor = torch.Tensor(array, TorchDtype("torch.bfloat16"), "cuda:1")
    view = read(tensor, 0, "q")
    assert (view.data, view.dtype, view.device) == (array.ctypes.data, "bf16", 1)
    assert (view.sizes, view.strides) == ((2, 3, 8), (48, 16, 1))
    assert current_stream((InterfaceTensor(array, stream=3), tensor)) == 0x101
    with pytest.raises(ValueError, match="expected a tensor in GPU memory"):
        read(torch.Tensor(array, TorchDtype("torch.bfloat16"), "cpu"), 0, "q")
    with pytest.raises(TypeError, match="no kernel takes torch.complex64"):
        read(torch.Tensor(array, TorchDtype("torch.complex64"), "cuda"), 0, "q")
    assert current_stream((torch.Tensor(array, None, "cpu"),)) == 0


def test_cupy_stream(monkeypatch):
    entered = []

    class Device:
        def __enter__(self):
            entered.append(True)

        def __exit__(self, *_):
            entered.append(False)

    cupy = types.ModuleType("cupy")
    cupy.ndarray = type("ndarray", (), {"device": Device()})
    cupy.cuda = types.SimpleNamespace(
        get_current_stream=lambda: types.SimpleNamespace(ptr=0x200 if entered == [True] else 0))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert current_stream((cupy.ndarray(),)) == 0x200
    assert entered == [True, False]


def test_frameworks_are_not_imported():
    program = """
import sys, sparseattn.runtime
print([name for name in ("torch", "cupy", "jax", "numpy") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_stream_handles():
    assert device_tensors.stream_handle(0) == 0
    with pytest.raises(TypeError, match="found bool"):
        device_tensors.stream_handle(True)
