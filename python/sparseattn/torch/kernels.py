"""Compiled attention for `sparseattn.torch.attention`: found, or compiled once, then kept.

A GPU kernel comes from a folder of artefacts made before (`prepare`), else from the
compiler. Functions for the CPU come from the compiler.
"""

import contextlib
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


# Which kernel of _gpu serves a spec, a folder and a power of two of keys.
_chosen = _Cache()
# By spec, and its artefact or its length class.
_gpu = _Cache()
_cpu = _Cache()


def gpu_kernel(spec: AttentionSpec, folder: str | None, keys: int) -> runtime.Kernel:
    """The kernel of `spec` for so many keys: `folder` (default: $SPARSEATTN_KERNELS) has it, or the compiler makes it.

    Numbers of keys that have the same schedule share a kernel.

    Raises ValueError when there is no such kernel, with the compiler's reason, LibraryNotFound
    when a library is missing, and ArtefactError for a damaged folder.
    """
    folder = folder or os.environ.get(FOLDER_VARIABLE) or None
    expected = gpu_artefact.round_keys(keys)
    return _chosen.get((spec, folder, expected), lambda: _load(spec, folder, expected))


def cpu_function(spec: AttentionSpec) -> compiler.Function:
    """The function of `spec` for this machine's CPU. Raises ValueError and LibraryNotFound as `gpu_kernel`."""
    return _cpu.get(spec, lambda: _compile_cpu(spec))


def _load(spec: AttentionSpec, folder: str | None, expected: int) -> runtime.Kernel:
    if folder is not None:
        for place in (gpu_artefact.find_spec(spec, pathlib.Path(folder), expected), pathlib.Path(folder)):
            if place and (place / "manifest.json").is_file():
                artefact = runtime.load(place)
                if spec.name in artefact.names:
                    return _gpu.get((spec, place), lambda: artefact(spec.name))
    with _reasons(spec, folder):
        length_class = gpu_artefact.length_class(spec, expected)
    return _gpu.get((spec, length_class), lambda: _compile_gpu(spec, folder, length_class))


def _compile_gpu(spec: AttentionSpec, folder: str | None, length_class: int | None) -> runtime.Kernel:
    # The runtime reads an artefact's files when it opens it.
    with tempfile.TemporaryDirectory() as scratch:
        with _reasons(spec, folder):
            place = gpu_artefact.compile_spec(
                spec, pathlib.Path(scratch), expected_keys=length_class, ptxas=gpu_artefact.find_ptxas()
            )
        return runtime.load(place)(spec.name)


@contextlib.contextmanager
def _reasons(spec: AttentionSpec, folder: str | None):
    """Says of failures of the compiler why it was asked."""
    try:
        yield
    except CompilerError as error:
        raise _refuse(spec, error) from error
    except LibraryNotFound as error:
        where = f"{folder} has none of that name" if folder else f"{FOLDER_VARIABLE} is not set"
        raise LibraryNotFound(
            f"no kernel {spec.name}: {where}, and the compiler is not there to make it ({error}); make it by "
            "sparseattn.torch.prepare where the compiler is"
        ) from error


def prepare_spec(
    spec: AttentionSpec,
    folder: str | os.PathLike,
    expected_keys: int | None = None,
    schedule_table: str | os.PathLike | None = None,
) -> pathlib.Path:
    """Compiles the kernel of `spec` for so many keys into a sub-folder of `folder` (`gpu_artefact.compile_spec`)."""
    try:
        length_class = expected_keys and gpu_artefact.length_class(spec, expected_keys, schedule_table)
        return gpu_artefact.compile_spec(
            spec,
            pathlib.Path(folder),
            expected_keys=length_class,
            schedule_table=schedule_table,
            ptxas=gpu_artefact.find_ptxas(),
        )
    except CompilerError as error:
        raise _refuse(spec, error) from error


def _refuse(spec: AttentionSpec, error: CompilerError) -> ValueError:
    return ValueError(f"there is no GPU kernel for {spec.name}: {error}")


def _compile_cpu(spec: AttentionSpec) -> compiler.Function:
    try:
        return compiler.compile_cpu(spec.text(), name=spec.name)(spec.name)
    except CompilerError as error:
        raise ValueError(f"{spec.name} cannot be compiled for the CPU: {error}") from error
