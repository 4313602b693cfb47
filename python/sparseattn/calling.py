"""NumPy arrays and Python numbers as arguments and results of compiled code.

A tensor crosses the call as a descriptor of 64-bit words
`base, data, offset, sizes[rank], strides[rank]`, strides in elements.
"""

import ctypes
import numbers
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np

try:
    from ml_dtypes import bfloat16 as _bfloat16

    BFLOAT16 = np.dtype(_bfloat16)
except ImportError:
    # Without ml_dtypes, bf16 values travel as their bits.
    BFLOAT16 = np.dtype(np.uint16)

DTYPES = {
    "f16": np.dtype(np.float16),
    "bf16": BFLOAT16,
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "index": np.dtype(np.int64),
    "i1": np.dtype(np.bool_),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
}
_BASE, _DATA, _OFFSET, _SIZES = 0, 1, 2, 3


@dataclass(frozen=True)
class Value:
    """One argument or result in the signature of a compiled function.

    kind: "tensor" (passed by value: never written), "buffer" (a memref: the
    code may write to the caller's array) or "scalar". dtype: as in MLIR.
    shape: None stands for a size that the call decides; () for scalars.
    attributes: what the module says about the value, for example its layout.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int | None, ...]
    attributes: dict = field(default_factory=dict, compare=False)

    @staticmethod
    def from_json(entry: dict) -> "Value":
        return Value(entry["name"], entry["kind"], entry["dtype"], tuple(entry.get("shape", ())), entry["attributes"])

    def __str__(self) -> str:
        if self.kind == "scalar":
            return self.dtype
        sizes = "".join(f"{'?' if size is None else size}x" for size in self.shape)
        return f"{'memref' if self.kind == 'buffer' else 'tensor'}<{sizes}{self.dtype}>"


def pack_argument(expected: Value, given: Any, place: str) -> tuple[ctypes.c_void_p, list]:
    """A pointer for the call, and what must stay alive until it returns.

    Raises TypeError or ValueError, starting with `place`, when `given` does not
    fit. Tensors that are not C-contiguous are copied; buffers never are.
    """
    if expected.kind == "scalar":
        holder = _pack_scalar(expected, given, place)
        return ctypes.c_void_p(holder.ctypes.data), [holder]
    array = _check_array(expected, given, place)
    words = [array.ctypes.data, array.ctypes.data, 0, *array.shape]
    stride = 1
    strides = []
    for size in reversed(array.shape):
        strides.append(stride)
        stride *= size
    descriptor = (ctypes.c_int64 * (_SIZES + 2 * array.ndim))(*words, *reversed(strides))
    return ctypes.cast(descriptor, ctypes.c_void_p), [array, descriptor]


def _pack_scalar(expected: Value, given: Any, place: str) -> np.ndarray:
    dtype = DTYPES[expected.dtype]
    if isinstance(given, np.ndarray) and given.ndim == 0:
        given = given[()]
    if expected.dtype == "i1":
        if not isinstance(given, (bool, np.bool_)):
            raise TypeError(f"{place}: expected a bool, found {type(given).__name__}")
    elif dtype.kind == "i":
        if isinstance(given, (bool, np.bool_)) or not isinstance(given, numbers.Integral):
            raise TypeError(f"{place}: expected an int for {expected.dtype}, found {type(given).__name__}")
        limits = np.iinfo(dtype)
        if not limits.min <= int(given) <= limits.max:
            raise ValueError(f"{place}: {given} does not fit {expected.dtype}")
    elif isinstance(given, (bool, np.bool_)) or not isinstance(given, (numbers.Real, np.generic)):
        raise TypeError(f"{place}: expected a float for {expected.dtype}, found {type(given).__name__}")
    return np.array(given, dtype=dtype)


def _check_array(expected: Value, given: Any, place: str) -> np.ndarray:
    if not isinstance(given, np.ndarray):
        raise TypeError(f"{place}: expected a NumPy array for {expected}, found {type(given).__name__}; use np.asarray")
    dtype = DTYPES[expected.dtype]
    is_bits = expected.dtype == "bf16" and given.dtype == np.uint16
    if given.dtype != dtype and not is_bits:
        raise TypeError(f"{place}: expected {expected}, found an array of {given.dtype}; use .astype")
    fits = len(given.shape) == len(expected.shape) and all(
        want is None or want == size for want, size in zip(expected.shape, given.shape)
    )
    if not fits:
        raise ValueError(f"{place}: expected {expected}, found shape {given.shape}")
    if expected.kind == "buffer":
        if not (given.flags.c_contiguous and given.flags.writeable):
            raise ValueError(f"{place}: expected a writable C-contiguous array, because {expected} may be written")
        return given
    # Unaligned and byte-swapped arrays are copied too.
    return np.require(given, dtype=given.dtype.newbyteorder("="), requirements=["C", "A"])


def make_result(expected: Value) -> tuple[ctypes.c_void_p, Any]:
    """A pointer for the call to write the result to, and what it points to."""
    if expected.kind == "scalar":
        holder = np.zeros((), DTYPES[expected.dtype])
        return ctypes.c_void_p(holder.ctypes.data), holder
    descriptor = (ctypes.c_int64 * (_SIZES + 2 * len(expected.shape)))()
    return ctypes.cast(descriptor, ctypes.c_void_p), descriptor


class _Memory:
    """Memory at an address as NumPy sees it; freed with the last array over it."""

    def __init__(self, interface: dict, base: int, free: Callable[[int], None] | None):
        self.__array_interface__ = interface
        self._base = base
        self._free = free

    def __del__(self):
        if self._free:
            self._free(self._base)


def unpack_result(expected: Value, holder: Any, owned: bool, free: Callable[[int], None]) -> Any:
    """The result as a NumPy array or Python number.

    With `owned` the array takes the memory over and `free(base)` is called once,
    when nothing refers to it any more. Otherwise an argument, another result or
    the compiled module owns the memory, and the array is a copy.
    """
    if expected.kind == "scalar":
        return holder[()].item() if holder.dtype != BFLOAT16 else holder[()]
    rank = len(expected.shape)
    dtype = DTYPES[expected.dtype]
    shape = tuple(holder[_SIZES : _SIZES + rank])
    interface = {
        "version": 3,
        "shape": shape,
        "strides": tuple(stride * dtype.itemsize for stride in holder[_SIZES + rank : _SIZES + 2 * rank]),
        # The buffer protocol knows no bf16: its bits are viewed as such below.
        "typestr": np.dtype(np.uint16).str if expected.dtype == "bf16" else dtype.str,
        "data": ((holder[_DATA] + holder[_OFFSET] * dtype.itemsize) % 2**64, False),
    }
    base = holder[_BASE] % 2**64
    memory = _Memory(interface, base, free if owned else None)
    if 0 in shape:
        # There may be no memory behind an empty result; `memory` frees what there is.
        return np.empty(shape, dtype)
    array = np.asarray(memory).view(dtype)
    return array if owned else array.copy()
