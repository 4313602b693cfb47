"""Compiled attention for `sparseattn.torch.attention`: found, or compiled once, then kept.

A GPU kernel comes from a folder of artefacts made before (`prepare`), else from the
compiler. Functions for the CPU come from the compiler.
"""

import os
import pathlib
import tempfile
import threading

from .. import compiler, gpu_artefact, runtime
from ..attention_spec import AttentionSpec
from ..compiler import CompilerError, LibraryNotFound

FOLDER_VARIABLE = "SPARSEATTN_KERNELS"


class _Cache:
    """Values by key, each made once, by the thread that needs it first. Failures are not kept."""

    def __init__(self):
        self._values = {}
        self._locks = {}
        self._lock = threading.Lock()

    def get(self, key, make):
        try:
            return self._values[key]
        except KeyError:
            pass
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._values:
                self._values[key] = make()
            return self._values[key]


_gpu = _Cache()
_cpu = _Cache()


def gpu_kernel(spec: AttentionSpec, folder: str | None) -> runtime.Kernel:
    """The kernel of `spec`: `folder` (default: $SPARSEATTN_KERNELS) has it, or the compiler makes it.

    Raises ValueError when there is no such kernel, with the compiler's reason, LibraryNotFound
    when a library is missing, and ArtefactError for a damaged folder.
    """
    folder = folder or os.environ.get(FOLDER_VARIABLE) or None
    return _gpu.get((spec, folder), lambda: _load(spec, folder))


def cpu_function(spec: AttentionSpec) -> compiler.Function:
    """The function of `spec` for this machine's CPU. Raises ValueError and LibraryNotFound as `gpu_kernel`."""
    return _cpu.get(spec, lambda: _compile_cpu(spec))


def _load(spec: AttentionSpec, folder: str | None) -> runtime.Kernel:
    if folder is not None:
        for place in (pathlib.Path(folder) / spec.name, pathlib.Path(folder)):
            if (place / "manifest.json").is_file():
                artefact = runtime.load(place)
                if spec.name in artefact.names:
                    return artefact(spec.name)
    # The runtime reads an artefact's files when it opens it.
    with tempfile.TemporaryDirectory() as scratch:
        try:
            prepare_spec(spec, scratch)
        except LibraryNotFound as error:
            where = f"{folder} has none of that name" if folder else f"{FOLDER_VARIABLE} is not set"
            raise LibraryNotFound(
                f"no kernel {spec.name}: {where}, and the compiler is not there to make it ({error}); make it by "
                "sparseattn.torch.prepare where the compiler is"
            ) from error
        return runtime.load(os.path.join(scratch, spec.name))(spec.name)


def prepare_spec(spec: AttentionSpec, folder: str | os.PathLike) -> None:
    """Compiles the kernel of `spec` into the sub-folder `spec.name` of `folder`."""
    try:
        gpu_artefact.compile_spec(spec, pathlib.Path(folder), ptxas=gpu_artefact.find_ptxas())
    except CompilerError as error:
        raise ValueError(f"there is no GPU kernel for {spec.name}: {error}") from error


def _compile_cpu(spec: AttentionSpec) -> compiler.Function:
    try:
        return compiler.compile_cpu(spec.text(), name=spec.name)(spec.name)
    except CompilerError as error:
        raise ValueError(f"{spec.name} cannot be compiled for the CPU: {error}") from error
