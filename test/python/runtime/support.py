"""The fake driver, and NumPy arrays that claim to be in GPU memory."""

import ctypes
import json
import os
import pathlib

import numpy as np

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "Runtime" / "fixtures"
FAKE_DRIVER = pathlib.Path(os.environ["SPARSEATTN_BUILD"]) / "test" / "Runtime" / "libSparseAttnFakeDriver.so"
# Before the runtime's first call of the driver.
os.environ["SPARSEATTN_LIBCUDA"] = str(FAKE_DRIVER)

driver = ctypes.CDLL(str(FAKE_DRIVER))
driver.fakeDriverLog.restype = ctypes.c_char_p
driver.fakeDriverAddMemory.argtypes = [ctypes.c_void_p, ctypes.c_int]


def log():
    return json.loads(driver.fakeDriverLog())


def launches():
    return log()["launches"]


def make_aligned(shape, dtype=np.uint16):
    """Elements that begin at a multiple of 256 bytes, as GPU allocators give."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 256, np.uint8)
    begin = -raw.ctypes.data % 256
    return raw[begin : begin + size].view(dtype).reshape(shape)


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class Managed(ctypes.Structure):
    _fields_ = [("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class ManagedVersioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    ]


_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


class DLPackTensor:
    """The DLPack side of a framework. dtype: (code, bits, lanes); by default bf16."""

    def __init__(self, array, dtype=(4, 16, 1), device=(2, 0), versioned=True, flags=0, dense=False, offset=0, major=1):
        self.array = array
        self.dtype = dtype
        self.device = device
        self.versioned = versioned
        self.flags = flags
        self.dense = dense
        self.offset = offset
        self.major = major
        self.streams = []
        self.freed = 0
        # The objects behind capsules that were handed out.
        self._alive = []

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, stream=None, **more):
        if not self.versioned and more:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.streams.append(stream)
        array, words = self.array, ctypes.c_int64 * self.array.ndim
        shape = words(*array.shape)
        strides = words(*(stride // array.itemsize for stride in array.strides))
        managed = ManagedVersioned(major=self.major, flags=self.flags) if self.versioned else Managed()
        managed.tensor = DLTensor(
            array.ctypes.data - self.offset,
            _Device(*self.device),
            array.ndim,
            *self.dtype,
            shape,
            None if self.dense else strides,
            self.offset,
        )

        def free(_):
            self.freed += 1

        destructor = _Destructor(free)
        self._alive.append((managed, shape, strides, destructor))
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return _new_capsule(ctypes.addressof(managed), name, ctypes.cast(destructor, ctypes.c_void_p))


class InterfaceTensor:
    """The `__cuda_array_interface__` side of a framework."""

    def __init__(self, array, known=True, **changes):
        self.array = array
        if known:
            driver.fakeDriverAddMemory(array.ctypes.data, 0)
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "version": 3,
            "strides": None if array.flags.c_contiguous else array.strides,
            **changes,
        }
