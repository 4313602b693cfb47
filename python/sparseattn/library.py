"""Finds libSparseAttn.so and declares its functions (include/sparseattn-c/SparseAttn.h)."""

import ctypes
import functools
import os
from pathlib import Path

LIBRARY_NAME = "libSparseAttn.so"


class LibraryNotFound(ImportError):
    """The compiler library is missing or cannot be loaded."""


class Options(ctypes.Structure):
    """`SparseAttnOptions`; members that are not set take their defaults."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("input_name", ctypes.c_char_p),
        ("no_verify", ctypes.c_int),
        ("allow_unregistered", ctypes.c_int),
        ("emit_bytecode", ctypes.c_int),
        ("print_locations", ctypes.c_int),
        ("reproducer_path", ctypes.c_char_p),
        ("dump_folder", ctypes.c_char_p),
        ("cpu", ctypes.c_char_p),
        ("features", ctypes.c_char_p),
        ("opt_level", ctypes.c_int),
        ("openmp_library", ctypes.c_char_p),
        ("linker", ctypes.c_char_p),
    ]


class RawDiagnostic(ctypes.Structure):
    """`SparseAttnDiagnostic`."""

    _fields_ = [
        ("severity", ctypes.c_int),
        ("location", ctypes.c_char_p),
        ("message", ctypes.c_char_p),
    ]


_RESULT = _ENGINE = ctypes.c_void_p
_PROTOTYPES = {
    "sparseattnVersion": (ctypes.c_char_p, []),
    "sparseattnResultOk": (ctypes.c_int, [_RESULT]),
    "sparseattnResultText": (ctypes.c_void_p, [_RESULT, ctypes.POINTER(ctypes.c_size_t)]),
    "sparseattnResultDiagnosticCount": (ctypes.c_size_t, [_RESULT]),
    "sparseattnResultDiagnostic": (ctypes.c_int, [_RESULT, ctypes.c_size_t, ctypes.POINTER(RawDiagnostic)]),
    "sparseattnResultReproducer": (ctypes.c_char_p, [_RESULT]),
    "sparseattnResultFree": (None, [_RESULT]),
    "sparseattnRunPipeline": (
        _RESULT,
        [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.POINTER(Options)],
    ),
    "sparseattnEngineCreate": (
        _RESULT,
        [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.POINTER(Options), ctypes.POINTER(_ENGINE)],
    ),
    "sparseattnEngineInvoke": (
        _RESULT,
        [_ENGINE, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_char_p],
    ),
    "sparseattnEngineFree": (None, [_ENGINE]),
    "sparseattnBufferFree": (None, [ctypes.c_void_p]),
    "sparseattnCompileForGpu": (
        _RESULT,
        [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.POINTER(Options), ctypes.c_char_p, ctypes.c_char_p],
    ),
    "sparseattnCompileToFiles": (
        _RESULT,
        [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.POINTER(Options), ctypes.c_char_p, ctypes.c_char_p],
    ),
}


def candidates(name: str = LIBRARY_NAME, variable: str = "SPARSEATTN_LIBRARY") -> list[Path]:
    """Where the library `name` is looked for, in order.

    The environment variable alone when it is set; else beside the compiler library
    that `SPARSEATTN_LIBRARY` names, the package folder and its `lib`, then `lib` of
    the build folders of the source tree.
    """
    named = os.environ.get(variable)
    if named:
        return [Path(named)]
    package = Path(__file__).resolve().parent
    builds = sorted(package.parents[1].glob("build*"))
    folders = [package, package / "lib", *(build / "lib" for build in builds)]
    if compiler := os.environ.get("SPARSEATTN_LIBRARY"):
        folders.insert(0, Path(compiler).parent)
    return [folder / name for folder in folders]


def open_library(name: str, variable: str, prototypes: dict) -> ctypes.CDLL:
    """A library of the project with its prototypes {name: (result, arguments)}. Raises `LibraryNotFound`."""
    tried = candidates(name, variable)
    path = next((path for path in tried if path.is_file()), None)
    if path is None:
        raise LibraryNotFound(
            f"{name} not found; looked at {', '.join(map(str, tried))}: "
            f"build the project (tools/quickstart does), or set {variable} to the library's path"
        )
    try:
        # RTLD_LOCAL, the default: other libraries of the process may hold an LLVM of their own.
        library = ctypes.CDLL(str(path))
        for function_name, (result, arguments) in prototypes.items():
            function = getattr(library, function_name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        raise LibraryNotFound(f"cannot use {path}: {error}; rebuild the project, or set {variable}") from error
    return library


@functools.cache
def load() -> ctypes.CDLL:
    """The compiler library. Raises `LibraryNotFound`."""
    return open_library(LIBRARY_NAME, "SPARSEATTN_LIBRARY", _PROTOTYPES)
