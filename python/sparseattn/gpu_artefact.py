"""Attention layers to kernels for a GPU: the folder that `sparseattn-compile --target=sm_90a` writes.

Layers that differ only in name and number share their code. Each layer is compiled
for itself, so that one that no kernel exists for is named together with its reason.
"""

import glob
import json
import os
import re
import shutil
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import compiler
from .attention_spec import AttentionSpec
from .compiler import CompilerError, Diagnostic
from .model import Levels

TARGET = "sm_90a"

# Between the name of a kernel and the keys it was compiled for, in the name of its sub-folder.
_KEYS = "-keys"
_FUNCTION = re.compile(r"^  func\.func @(\w+)\(.*?^  }\n", re.M | re.S)
_LAYER = re.compile(r"sparseattn\.layer = (\d+) : i64")
_KIND = re.compile(r'sparseattn\.kind = "([^"]*)"')
# What tells apart two layers that compute the same: names of nodes and numbers of layers.
_IDENTITY = re.compile(r'\b(?:(?:sparseattn\.layer|layer|kv_source) = \d+ : i64|fx = "(?:[^"\\]|\\.)*")(?:, )?')


class PtxasError(Exception):
    """The path that was given for ptxas cannot be used; says what to do."""


@dataclass(frozen=True)
class Refusal:
    """Layers that compute the same and cannot be kernels. reason: the compiler's messages."""

    layers: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{', '.join(self.layers)} cannot be compiled for {TARGET}: {self.reason}"


@dataclass(frozen=True)
class _Layer:
    name: str
    number: int | None
    kind: str
    # The module with this function alone.
    module: str
    # Equal for layers that compute the same.
    identity: str


def find_ptxas(path: str | os.PathLike | None = None) -> str | None:
    """CUDA's assembler: `path` if given, else the first of PATH, CUDA_HOME, /usr/local/cuda and the Python package
    nvidia-cuda-nvcc (whose ptxas has to be made executable); None without one.

    Raises PtxasError when `path` is no program.
    """
    if path is not None:
        found = shutil.which(path)
        if found is None:
            raise PtxasError(f"expected CUDA's assembler at {path}, found no program there; leave --ptxas out to "
                             "search for it, or write PTX only with --no-ptxas")
        return found
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    homes += sorted(glob.glob(os.path.join(sysconfig.get_path("purelib"), "nvidia", "cu*")), reverse=True)
    folders = [os.environ.get("PATH", ""), *(os.path.join(home, "bin") for home in homes if home)]
    return shutil.which("ptxas", path=os.pathsep.join(folders))


def split_layers(kernels: str) -> list[_Layer]:
    """The functions of `PlannedModel.kernels`, each as a module of its own."""
    functions = list(_FUNCTION.finditer(kernels))
    if not functions:
        return []
    before, after = kernels[: functions[0].start()], kernels[functions[-1].end() :]
    layers = []
    for function in functions:
        name, text = function[1], function[0]
        number, kind = _LAYER.search(text), _KIND.search(text)
        identity = _IDENTITY.sub("", text).replace(f"@{name}(", "@(", 1)
        layers.append(_Layer(name, number and int(number[1]), kind[1] if kind else "", before + text + after, identity))
    return layers


def compile_layers(
    kernels: str,
    folder: Path,
    *,
    expected_keys: int | None = None,
    schedule_table: str | None = None,
    ptxas: str | None = None,
    levels: Levels | None = None,
    reproducer: str | None = None,
) -> tuple[list[dict], list[Refusal]]:
    """Compiles the layers of the module `kernels` into the existing `folder`: PTX and, with `ptxas`, cubins.
    expected_keys, schedule_table: as for `compiler.compile_gpu`.

    Returns the manifest's entries (lib/Runtime/README.md), one for each layer that has a
    kernel and named like it, with `info` saying `layer` and `kind`; and the other layers.
    manifest.json is the caller's to write: `write_manifest`.
    """
    levels = levels or Levels(None)
    entries, known, refused = [], {}, {}
    for layer in split_layers(kernels):
        if layer.identity not in known:
            try:
                with levels.passes(layer.name) as dump:
                    known[layer.identity] = compile_function(
                        layer.module,
                        layer.name,
                        folder,
                        expected_keys=expected_keys,
                        schedule_table=schedule_table,
                        ptxas=ptxas,
                        dump=dump,
                        reproducer=reproducer,
                    )
            except CompilerError as error:
                known[layer.identity] = str(error)
        found = known[layer.identity]
        if isinstance(found, str):
            refused.setdefault(layer.identity, []).append(layer.name)
        else:
            entries.append(make_entry(found, layer.name, layer.number, layer.kind))
    return entries, [Refusal(tuple(names), known[identity]) for identity, names in refused.items()]


def compile_function(
    text: str,
    name: str,
    folder: Path,
    *,
    expected_keys: int | None = None,
    schedule_table: str | None = None,
    ptxas: str | None = None,
    dump: str | None = None,
    reproducer: str | None = None,
) -> dict:
    """Compiles the module `text` of one function into the existing `folder`, which may hold other kernels.

    name: of the input, in locations. expected_keys, schedule_table: as for `compiler.compile_gpu`. Returns the
    manifest's entry. Raises CompilerError; then `folder` is as it was.
    """
    with tempfile.TemporaryDirectory() as scratch:
        kernels = compiler.compile_gpu(
            text,
            scratch,
            name=name,
            expected_keys=expected_keys,
            schedule_table=schedule_table,
            ptxas=ptxas,
            dump=dump,
            reproducer=reproducer,
        )["kernels"]
        if len(kernels) != 1:
            names = ", ".join(entry["name"] for entry in kernels)
            raise CompilerError([Diagnostic("error", name, f"expected one kernel, found {len(kernels)}: {names}")])
        (entry,) = kernels
        for image in ("ptx", "cubin"):
            if image in entry:
                shutil.copy(os.path.join(scratch, entry[image]["file"]), folder)
        return entry


def round_keys(keys: int) -> int:
    """The power of two at or below `keys`, at least 1: a length class of the schedule table begins at one."""
    return 1 << max(keys.bit_length() - 1, 0)


def length_class(spec: AttentionSpec, keys: int, schedule_table: str | os.PathLike | None = None) -> int | None:
    """The least power of two of keys with the schedule of `keys`; None where that is the schedule for all lengths.

    schedule_table: as for `compiler.compile_gpu`. Raises CompilerError.
    """
    table = "" if schedule_table is None else f" table={compiler.quote_path(schedule_table)}"

    def schedule(expected: int) -> str:
        options = f"expected-keys={expected}{table}"
        return compiler.run_pipeline(spec.text(), f"sparseattn-select-schedule{{{options}}}", name=spec.name)

    keys = round_keys(keys)
    wanted = schedule(keys)
    if wanted == schedule(0):
        return None
    while keys > 1 and schedule(keys // 2) == wanted:
        keys //= 2
    return keys


def spec_folder(spec: AttentionSpec, folder: Path, expected_keys: int | None) -> Path:
    """Where `compile_spec` puts an artefact: `<spec.name>`, or with `expected_keys` `<spec.name>-keys<N>`."""
    return folder / (spec.name if expected_keys is None else f"{spec.name}{_KEYS}{expected_keys}")


def compile_spec(
    spec: AttentionSpec,
    folder: Path,
    *,
    expected_keys: int | None = None,
    schedule_table: str | os.PathLike | None = None,
    ptxas: str | None = None,
) -> Path:
    """Compiles the kernel of `spec` to an artefact of its own, the sub-folder `spec_folder` of `folder`; returns that.

    expected_keys, schedule_table: as for `compiler.compile_gpu`. Raises CompilerError; then there is no such sub-folder.
    """
    target = spec_folder(spec, folder, expected_keys)
    target.mkdir(parents=True, exist_ok=True)
    try:
        compiler.compile_gpu(
            spec.text(), target, name=spec.name, expected_keys=expected_keys, schedule_table=schedule_table, ptxas=ptxas
        )
    except CompilerError:
        target.rmdir()
        raise
    return target


def find_spec(spec: AttentionSpec, folder: Path, keys: int) -> Path | None:
    """Which of the artefacts that `compile_spec` made in `folder` serves `keys` best; None without any.

    It is that for the largest expected number of keys up to `keys`, where none was named counting as 0, else that for
    the smallest: every kernel is right for any number.
    """
    made = {0: folder / spec.name} if (folder / spec.name / "manifest.json").is_file() else {}
    for manifest in folder.glob(f"{spec.name}{_KEYS}*/manifest.json"):
        number = manifest.parent.name.removeprefix(spec.name + _KEYS)
        if number.isdecimal():
            made[int(number)] = manifest.parent
    return made[max((n for n in made if n <= keys), default=min(made))] if made else None


def make_entry(entry: dict, name: str, layer: int | None, kind: str) -> dict:
    """The entry of a layer, which may share its code with others."""
    return {**entry, "name": name, "info": {"layer": layer, "kind": kind}}


def write_manifest(folder: Path, entries: list[dict], info: dict) -> dict:
    """Writes manifest.json over `entries` and returns it. info: for people and other tools."""
    manifest = {
        "schema": "sparseattn-gpu-manifest",
        "version": 1,
        "compiler": compiler.version(),
        "kernels": entries,
        "info": info,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest
