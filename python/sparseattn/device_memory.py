"""Memory of a Hopper GPU for NumPy arrays: what a program without torch, cupy or jax needs to launch kernels.

    gpu = HopperGpu()
    q, out = gpu.to_device(array), gpu.empty(array.shape, array.dtype)
    kernel(q, out)
    result = out.numpy()

Over the driver alone, by ctypes. Work is queued on the default stream, and copies wait for it.
"""

import ctypes
import functools
import os
import weakref

import numpy as np

from .calling import BFLOAT16, DTYPES
from .device_tensors import DeviceTensor
from .runtime import GpuError

__all__ = ["DeviceArray", "GpuError", "HopperGpu", "NoHopperGpu"]

_CAPABILITY = (9, 0)
# CUdevice_attribute
_MAJOR, _MINOR = 75, 76
_OUT_OF_MEMORY = 2
_POISON = 0xFF

_ADDRESS, _SIZE = ctypes.c_uint64, ctypes.c_size_t
_FUNCTIONS = {
    "cuInit": [ctypes.c_uint],
    "cuDeviceGetCount": [ctypes.POINTER(ctypes.c_int)],
    "cuDeviceGet": [ctypes.POINTER(ctypes.c_int), ctypes.c_int],
    "cuDeviceGetName": [ctypes.c_char_p, ctypes.c_int, ctypes.c_int],
    "cuDeviceGetAttribute": [ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int],
    "cuDevicePrimaryCtxRetain": [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int],
    "cuDevicePrimaryCtxRelease_v2": [ctypes.c_int],
    "cuCtxPushCurrent_v2": [ctypes.c_void_p],
    "cuCtxPopCurrent_v2": [ctypes.POINTER(ctypes.c_void_p)],
    "cuMemAlloc_v2": [ctypes.POINTER(_ADDRESS), _SIZE],
    "cuMemFree_v2": [_ADDRESS],
    "cuMemsetD8_v2": [_ADDRESS, ctypes.c_ubyte, _SIZE],
    "cuMemcpyHtoD_v2": [_ADDRESS, ctypes.c_void_p, _SIZE],
    "cuMemcpyDtoH_v2": [ctypes.c_void_p, _ADDRESS, _SIZE],
    "cuGetErrorName": [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)],
}


class NoHopperGpu(RuntimeError):
    """There is no GPU of compute capability 9.0, or no driver; says what there is."""


@functools.cache
def _driver() -> ctypes.CDLL:
    path = os.environ.get("SPARSEATTN_LIBCUDA") or "libcuda.so.1"
    try:
        driver = ctypes.CDLL(path)
        for name, arguments in _FUNCTIONS.items():
            function = getattr(driver, name)
            function.restype, function.argtypes = ctypes.c_int, arguments
    except (OSError, AttributeError) as error:
        raise NoHopperGpu(f"no CUDA driver: {error}") from error
    return driver


def _call(name: str, *arguments) -> None:
    code = getattr(_driver(), name)(*arguments)
    if code == 0:
        return
    text = ctypes.c_char_p()
    _driver().cuGetErrorName(code, ctypes.byref(text))
    message = f"{name.removesuffix('_v2')}: {(text.value or str(code).encode()).decode()}"
    raise MemoryError(message) if code == _OUT_OF_MEMORY else GpuError(message, code)


def _number(name: str, *arguments) -> int:
    value = ctypes.c_int()
    _call(name, ctypes.byref(value), *arguments)
    return value.value


def _find() -> tuple[int, str]:
    """Ordinal and name of the first Hopper GPU."""
    try:
        _call("cuInit", 0)
        count = _number("cuDeviceGetCount")
    except GpuError as error:
        raise NoHopperGpu(f"no usable CUDA device: {error}") from error
    others = []
    for ordinal in range(count):
        device = _number("cuDeviceGet", ordinal)
        name = ctypes.create_string_buffer(256)
        _call("cuDeviceGetName", name, len(name), device)
        found = tuple(_number("cuDeviceGetAttribute", attribute, device) for attribute in (_MAJOR, _MINOR))
        if found == _CAPABILITY:
            return ordinal, name.value.decode(errors="replace")
        others.append(f"{name.value.decode(errors='replace')} ({found[0]}.{found[1]})")
    raise NoHopperGpu(f"no GPU of compute capability 9.0 (H100, H200); found {', '.join(others) or 'none'}")


class HopperGpu:
    """The first GPU of compute capability 9.0, by its primary context. ordinal, name: the driver's.

    Raises NoHopperGpu when there is none.
    """

    def __init__(self):
        self.ordinal, self.name = _find()
        self._device = _number("cuDeviceGet", self.ordinal)
        self._context = ctypes.c_void_p()
        _call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        weakref.finalize(self, _driver().cuDevicePrimaryCtxRelease_v2, self._device).atexit = False

    def empty(self, shape: tuple[int, ...], dtype) -> "DeviceArray":
        """Memory in which every byte is 0xff, so that floats that nothing wrote to are NaN.

        Raises TypeError for a dtype that no kernel takes, MemoryError, and GpuError.
        """
        return DeviceArray(self, tuple(map(int, shape)), np.dtype(dtype))

    def to_device(self, array: np.ndarray) -> "DeviceArray":
        """A copy of a NumPy array; uint16 stands for the bits of bf16 where NumPy has no such dtype. Raises as `empty`."""
        array = np.ascontiguousarray(array)
        copy = self.empty(array.shape, array.dtype)
        if array.nbytes:
            self._in_context("cuMemcpyHtoD_v2", copy.data, array.ctypes.data, array.nbytes)
        return copy

    def _in_context(self, name: str, *arguments) -> None:
        _call("cuCtxPushCurrent_v2", self._context)
        try:
            _call(name, *arguments)
        finally:
            _call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


class DeviceArray(DeviceTensor):
    """A dense row-major array in GPU memory, for `sparseattn.runtime`; made by a HopperGpu. Freed with the object."""

    def __init__(self, gpu: HopperGpu, shape: tuple[int, ...], dtype: np.dtype):
        names = {known: name for name, known in DTYPES.items() if name != "index"} | {BFLOAT16: "bf16"}
        if dtype not in names:
            raise TypeError(f"no kernel takes {dtype}; expected one of {', '.join(map(str, names))}")
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self._gpu, self._dtype = gpu, dtype
        address = _ADDRESS(0)
        if self.nbytes:
            gpu._in_context("cuMemAlloc_v2", ctypes.byref(address), self.nbytes)
            weakref.finalize(self, gpu._in_context, "cuMemFree_v2", address.value).atexit = False
            gpu._in_context("cuMemsetD8_v2", address.value, _POISON, self.nbytes)
        super().__init__(address.value, names[dtype], gpu.ordinal, shape, None)

    def numpy(self) -> np.ndarray:
        """A copy, after all work of the default stream. Raises GpuError for what that work did wrong."""
        array = np.empty(self.sizes, self._dtype)
        if array.nbytes:
            self._gpu._in_context("cuMemcpyDtoH_v2", array.ctypes.data, self.data, self.nbytes)
        return array
