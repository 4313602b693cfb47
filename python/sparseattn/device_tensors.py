"""Tensors in GPU memory, of any framework, as address, dtype, sizes and strides.

Read from torch tensors directly, else by DLPack (https://dmlc.github.io/dlpack)
or `__cuda_array_interface__` (version 3, numba's documentation). Nothing is
copied, and no framework is imported: one that made a tensor is loaded already.
"""

import ctypes
import functools
import sys
from dataclasses import dataclass
from typing import Any

# SparseAttnDType of include/sparseattn-c/Runtime.h.
DTYPES = {"f16": 1, "bf16": 2, "f32": 3, "f64": 4, "i1": 5, "i8": 6, "i16": 7, "i32": 8, "i64": 9}

_TORCH_DTYPES = {
    "torch.float16": "f16",
    "torch.bfloat16": "bf16",
    "torch.float32": "f32",
    "torch.float64": "f64",
    "torch.bool": "i1",
    "torch.int8": "i8",
    "torch.int16": "i16",
    "torch.int32": "i32",
    "torch.int64": "i64",
}
# (DLDataTypeCode, bits)
_DLPACK_DTYPES = {
    (0, 8): "i8",
    (0, 16): "i16",
    (0, 32): "i32",
    (0, 64): "i64",
    (2, 16): "f16",
    (2, 32): "f32",
    (2, 64): "f64",
    (4, 16): "bf16",
    (6, 8): "i1",
}
_INTERFACE_DTYPES = {
    "<f2": "f16",
    "<f4": "f32",
    "<f8": "f64",
    "|b1": "i1",
    "|i1": "i8",
    "<i2": "i16",
    "<i4": "i32",
    "<i8": "i64",
}
# DLDeviceType
_CUDA, _CUDA_MANAGED = 2, 13
_READ_ONLY = 1
# Stream numbers of DLPack and __cuda_array_interface__ that are also the driver's handles.
LEGACY_STREAM = 1


@dataclass(slots=True)
class DeviceTensor:
    """device: ordinal, or -1 when only the driver knows. strides: in elements, or
    None for a dense row-major tensor. producer: the stream whose work makes the
    data, when the launch has to wait for it. owner: must live until the launch."""

    data: int
    dtype: str
    device: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...] | None
    read_only: bool = False
    producer: int | None = None
    owner: Any = None


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _ManagedVersioned(ctypes.Structure):
    """Before it, `DLManagedTensor` begins with its tensor."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    ]


_is_capsule = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def is_torch(tensor: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(tensor, torch.Tensor)


def is_cupy(tensor: Any) -> bool:
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(tensor, cupy.ndarray)


def current_stream(tensors: tuple) -> int:
    """The stream on which the framework of the tensors puts work now.

    torch's or cupy's current stream on the device of the first tensor of theirs; else
    the stream that a `__cuda_array_interface__` names; else the default stream.
    """
    for tensor in tensors:
        if is_torch(tensor) and tensor.is_cuda:
            return sys.modules["torch"].cuda.current_stream(tensor.device).cuda_stream
        if is_cupy(tensor):
            with tensor.device:
                return sys.modules["cupy"].cuda.get_current_stream().ptr
    for tensor in tensors:
        if not hasattr(tensor, "__dlpack__") and hasattr(tensor, "__cuda_array_interface__"):
            stream = tensor.__cuda_array_interface__.get("stream")
            if stream is not None:
                return stream
    return 0


def stream_handle(stream: Any) -> int:
    """A stream of torch or cupy, an object with `__cuda_stream__`, or the handle itself, as a handle."""
    if isinstance(stream, int) and not isinstance(stream, bool):
        if stream < 0:
            raise ValueError(f"expected a stream, found the number {stream}")
        return stream
    if hasattr(stream, "__cuda_stream__"):
        protocol = stream.__cuda_stream__
        return (protocol() if callable(protocol) else protocol)[1]
    for attribute in ("cuda_stream", "ptr"):
        if hasattr(stream, attribute):
            return getattr(stream, attribute)
    raise TypeError(
        f"expected a stream of torch or cupy, an object with __cuda_stream__, or a CUstream as int, "
        f"found {type(stream).__name__}"
    )


def read(tensor: Any, stream: int, place: str) -> DeviceTensor:
    """The memory of `tensor` for work on `stream`. A DeviceTensor is taken as it is.

    Raises TypeError or ValueError, starting with `place`, for what is no tensor, has
    no dtype that kernels know, or is not in GPU memory.
    """
    if isinstance(tensor, DeviceTensor):
        return tensor
    if is_torch(tensor):
        return _read_torch(tensor, place)
    if hasattr(tensor, "__dlpack__") and hasattr(tensor, "__dlpack_device__"):
        return _read_dlpack(tensor, stream, place)
    if hasattr(tensor, "__cuda_array_interface__"):
        return _read_interface(tensor, place)
    raise TypeError(
        f"{place}: expected a tensor of torch, or one with __dlpack__ or __cuda_array_interface__, "
        f"found {type(tensor).__name__}"
    )


@functools.cache
def _torch_dtype(dtype: Any) -> str | None:
    return _TORCH_DTYPES.get(str(dtype))


def _read_torch(tensor: Any, place: str) -> DeviceTensor:
    if not tensor.is_cuda:
        raise ValueError(f"{place}: expected a tensor in GPU memory, found one on '{tensor.device}'; use .cuda()")
    dtype = _torch_dtype(tensor.dtype)
    if dtype is None:
        raise TypeError(f"{place}: no kernel takes {tensor.dtype}; use .to(...)")
    return DeviceTensor(
        tensor.data_ptr(), dtype, tensor.device.index, tuple(tensor.shape), tuple(tensor.stride()), owner=tensor
    )


def _read_dlpack(tensor: Any, stream: int, place: str) -> DeviceTensor:
    kind, ordinal = tensor.__dlpack_device__()
    if kind not in (_CUDA, _CUDA_MANAGED):
        raise ValueError(
            f"{place}: expected a tensor in GPU memory, found one on DLPack device type {int(kind)} "
            f"({type(tensor).__name__}); move it to the GPU"
        )
    # 0 is ambiguous in DLPack; the driver's default stream is 1 there.
    consumer = stream or LEGACY_STREAM
    try:
        capsule = tensor.__dlpack__(stream=consumer, max_version=(1, 1))
    except TypeError:
        # Producers of before DLPack 1.0 know no versions.
        capsule = tensor.__dlpack__(stream=consumer)
    read_only = False
    if _is_capsule(capsule, b"dltensor_versioned"):
        managed = _ManagedVersioned.from_address(_get_pointer(capsule, b"dltensor_versioned"))
        if managed.major != 1:
            raise TypeError(f"{place}: expected DLPack version 1, found {managed.major}.{managed.minor}")
        read_only = bool(managed.flags & _READ_ONLY)
        raw = managed.tensor
    elif _is_capsule(capsule, b"dltensor"):
        raw = _DLTensor.from_address(_get_pointer(capsule, b"dltensor"))
    else:
        raise TypeError(f"{place}: __dlpack__ gave no unused DLPack capsule")
    dtype = _DLPACK_DTYPES.get((raw.dtype.code, raw.dtype.bits)) if raw.dtype.lanes == 1 else None
    if dtype is None:
        raise TypeError(
            f"{place}: no kernel takes DLPack dtype (code {raw.dtype.code}, {raw.dtype.bits} bits, "
            f"{raw.dtype.lanes} lanes)"
        )
    rank = range(raw.ndim)
    # The capsule was not consumed: its own destructor frees it, after the launch.
    return DeviceTensor(
        (raw.data or 0) + raw.byte_offset,
        dtype,
        ordinal if kind == _CUDA else -1,
        tuple(raw.shape[axis] for axis in rank),
        tuple(raw.strides[axis] for axis in rank) if raw.strides else None,
        read_only,
        owner=capsule,
    )


def _read_interface(tensor: Any, place: str) -> DeviceTensor:
    interface = tensor.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise ValueError(f"{place}: a masked array is not supported")
    dtype = _INTERFACE_DTYPES.get(interface["typestr"])
    if dtype is None:
        raise TypeError(
            f"{place}: no kernel takes __cuda_array_interface__ type {interface['typestr']!r}; "
            "bf16 is only in DLPack (__dlpack__)"
        )
    item = int(interface["typestr"][2:])
    strides = interface.get("strides")
    if strides is not None:
        if any(stride % item for stride in strides):
            raise ValueError(f"{place}: strides of {tuple(strides)} bytes are no multiples of the {item}-byte elements")
        strides = tuple(stride // item for stride in strides)
    address, read_only = interface["data"]
    return DeviceTensor(
        address, dtype, -1, tuple(interface["shape"]), strides, read_only, interface.get("stream"), owner=tensor
    )
