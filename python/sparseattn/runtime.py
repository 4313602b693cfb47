"""Launching compiled kernels on a GPU.

    kernels = load("artefact")
    kernels("attention")(q, k, v, o, lse, scale_log2=0.18)

Tensors of torch, cupy and jax, and whatever speaks DLPack or
`__cuda_array_interface__`. Everything goes through libSparseAttnRuntime.so
(lib/Runtime), which needs neither the compiler nor a CUDA toolkit. Kernels may be
called from several threads at once.
"""

import ctypes
import functools
import json
import numbers
import os
import weakref
from dataclasses import dataclass
from typing import Any

from . import device_tensors, library
from .library import LibraryNotFound

__all__ = ["Artefact", "ArtefactError", "GpuError", "Kernel", "LibraryNotFound", "Operand", "load"]

_LIBRARY_NAME = "libSparseAttnRuntime.so"
_OK, _INVALID_ARGUMENT, _INVALID_ARTEFACT, _OUT_OF_MEMORY = 0, 1, 2, 6
_IMAGES = {1: "cubin", 2: "ptx"}


class ArtefactError(ValueError):
    """The artefact is missing, damaged, or of another version."""


class GpuError(RuntimeError):
    """The device, the driver, or a call of it. driver_code: its CUresult, or 0."""

    def __init__(self, message: str, driver_code: int):
        super().__init__(message)
        self.driver_code = driver_code


class _Tensor(ctypes.Structure):
    """`SparseAttnTensor`."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("sizes", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
    ]


class _Attribute(ctypes.Structure):
    """`SparseAttnAttribute`."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("is_integer", ctypes.c_int),
        ("integer", ctypes.c_int64),
        ("number", ctypes.c_double),
    ]


_HANDLE = ctypes.c_void_p
_PROTOTYPES = {
    "sparseattnRuntimeError": (ctypes.c_char_p, []),
    "sparseattnRuntimeDriverError": (ctypes.c_int, []),
    "sparseattnRuntimeStreamWait": (ctypes.c_int, [ctypes.c_int, _HANDLE, _HANDLE]),
    "sparseattnArtefactOpen": (ctypes.c_int, [ctypes.c_char_p, ctypes.POINTER(_HANDLE)]),
    "sparseattnArtefactManifest": (ctypes.c_char_p, [_HANDLE]),
    "sparseattnArtefactKernel": (_HANDLE, [_HANDLE, ctypes.c_size_t]),
    "sparseattnArtefactFree": (None, [_HANDLE]),
    "sparseattnKernelPrepare": (ctypes.c_int, [_HANDLE, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]),
    "sparseattnKernelLaunch": (
        ctypes.c_int,
        [
            _HANDLE,
            ctypes.POINTER(_Tensor),
            ctypes.c_size_t,
            ctypes.POINTER(_Attribute),
            ctypes.c_size_t,
            _HANDLE,
        ],
    ),
}


@functools.cache
def _library() -> ctypes.CDLL:
    return library.open_library(_LIBRARY_NAME, "SPARSEATTN_RUNTIME_LIBRARY", _PROTOTYPES)


def _check(status: int) -> None:
    if status == _OK:
        return
    lib = _library()
    message = lib.sparseattnRuntimeError().decode(errors="replace")
    if status == _INVALID_ARGUMENT:
        raise ValueError(message)
    if status == _INVALID_ARTEFACT:
        raise ArtefactError(message)
    if status == _OUT_OF_MEMORY:
        raise MemoryError(message)
    raise GpuError(message, lib.sparseattnRuntimeDriverError())


@dataclass(frozen=True)
class Operand:
    """A tensor that a kernel takes.

    role: "input", "output" or "workspace". axes: names, in the tensor's order. shape:
    a number for a fixed size, else a name; equal names are equal sizes.
    """

    name: str
    role: str
    dtype: str
    axes: tuple[str, ...]
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        sizes = "".join(f"{size}x" for size in self.shape)
        return f"{self.name}: {'' if self.role == 'input' else self.role + ' '}{sizes}{self.dtype}"


class Kernel:
    """A kernel; call it with one tensor for each operand, outputs included, and attributes by name.

    stream: where to queue it; default the current stream of torch or cupy when a
    tensor is theirs, else the stream that a `__cuda_array_interface__` names, else the
    default stream. (jax has no current stream: use its arrays after
    `block_until_ready`, or give the stream of a custom call.) Work that
    produces the tensors and is announced through DLPack or `__cuda_array_interface__`
    is waited for on that stream. Returns as soon as the launch is queued; the
    tensors must live until it has run.

    To capture calls into a CUDA graph, `prepare` the kernel before.

    Raises TypeError or ValueError for tensors and attributes that do not fit, and
    GpuError for what the device or the driver refuses; nothing is launched then.
    """

    def __init__(self, artefact: "Artefact", pointer: int, description: dict):
        self._artefact = artefact
        self._pointer = pointer
        self.name: str = description["name"]
        self.chip: str = description["chip"]
        self.info: Any = description.get("info")
        self.operands = tuple(
            Operand(entry["name"], entry["role"], entry["dtype"], tuple(entry["axes"]), tuple(entry["shape"]))
            for entry in description["operands"]
        )
        # Name to default; "..." where there is none.
        self.attributes = {entry["name"]: entry.get("default", ...) for entry in description.get("attributes", [])}
        # Made once: a call should cost little beside a short kernel.
        self._tensors = _Tensor * len(self.operands)
        self._places = [
            f"kernel '{self.name}': operand '{operand.name}' (argument {index})"
            for index, operand in enumerate(self.operands)
        ]

    def __repr__(self) -> str:
        attributes = "".join(
            f", {name}" if default is ... else f", {name}={default}" for name, default in self.attributes.items()
        )
        return f"{self.name}({', '.join(map(str, self.operands))}{attributes})"

    def prepare(self, device: int = -1) -> str:
        """Loads the kernel on a device, so that no later call does. -1: the device of the current context.

        Returns "cubin" or "ptx", what the driver took. Raises GpuError.
        """
        image = ctypes.c_int()
        _check(_library().sparseattnKernelPrepare(self._pointer, device, ctypes.byref(image)))
        return _IMAGES[image.value]

    def __call__(self, *tensors: Any, stream: Any = None, **attributes: int | float) -> None:
        if len(tensors) != len(self.operands):
            raise TypeError(f"{self!r}: expected {len(self.operands)} tensors, found {len(tensors)}")
        handle = device_tensors.current_stream(tensors) if stream is None else device_tensors.stream_handle(stream)
        views = []
        for operand, place, tensor in zip(self.operands, self._places, tensors):
            view = device_tensors.read(tensor, handle, place)
            if view.read_only and operand.role != "input":
                raise ValueError(f"{place}: it is written to, but the tensor is read-only")
            views.append(view)
        raw = self._tensors(*map(_pack, views))
        packed = _pack_attributes(self.name, attributes) if attributes else None
        if any(view.producer is not None for view in views):
            self._wait_for_producers(views, handle)
        _check(
            _library().sparseattnKernelLaunch(self._pointer, raw, len(views), packed, len(attributes), handle or None)
        )

    @staticmethod
    def _wait_for_producers(views: list, handle: int) -> None:
        producers = {view.producer for view in views} - {None, handle}
        if not handle:
            producers.discard(device_tensors.LEGACY_STREAM)
        device = max(view.device for view in views)
        for producer in sorted(producers):
            _check(_library().sparseattnRuntimeStreamWait(device, handle or None, producer))


@functools.cache
def _words(count: int) -> type:
    return ctypes.c_int64 * count


def _pack(view: device_tensors.DeviceTensor) -> _Tensor:
    rank = len(view.sizes)
    words = _words(rank or 1)
    strides = None if view.strides is None else words(*view.strides)
    return _Tensor(view.data, device_tensors.DTYPES[view.dtype], rank, view.device, words(*view.sizes), strides)


def _pack_attributes(kernel: str, attributes: dict) -> ctypes.Array:
    packed = (_Attribute * len(attributes))()
    for entry, (name, value) in zip(packed, attributes.items()):
        entry.name = name.encode(errors="replace")
        place = f"kernel '{kernel}': attribute '{name}'"
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{place}: expected a number, found {type(value).__name__}")
        if isinstance(value, numbers.Integral):
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"{place}: {value} does not fit 64 bits")
            entry.is_integer, entry.integer = 1, int(value)
        else:
            entry.number = float(value)
    return packed


class Artefact:
    """The kernels of a folder. `artefact("name")` is a kernel.

    It is freed, and its code unloaded, when neither it nor a kernel of it is in use.
    """

    def __init__(self, pointer: int):
        lib = _library()
        weakref.finalize(self, lib.sparseattnArtefactFree, pointer).atexit = False
        self.manifest: dict = json.loads(lib.sparseattnArtefactManifest(pointer))
        # Not Kernel objects: those hold the artefact, and a cycle would delay its end.
        self._kernels = {
            entry["name"]: (lib.sparseattnArtefactKernel(pointer, index), entry)
            for index, entry in enumerate(self.manifest["kernels"])
        }

    def __call__(self, name: str) -> Kernel:
        try:
            pointer, description = self._kernels[name]
        except KeyError:
            raise KeyError(f"no kernel '{name}'; the artefact has {', '.join(self._kernels)}") from None
        return Kernel(self, pointer, description)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._kernels)


def load(folder: str | os.PathLike) -> Artefact:
    """Opens the artefact in `folder`: checks its manifest and its files. Needs no GPU.

    Raises ArtefactError.
    """
    pointer = ctypes.c_void_p()
    _check(_library().sparseattnArtefactOpen(os.fsencode(folder), ctypes.byref(pointer)))
    return Artefact(pointer.value)
