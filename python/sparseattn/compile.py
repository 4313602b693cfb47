"""`sparseattn-compile IN -o DIR`: an exported model to compiled attention layers.

IN is a `.pt2` archive, a HuggingFace `config.json`, an ONNX model or MLIR text.
DIR receives plan.txt, plan.json, model.mlir, manifest.json and, for the CPU,
kernels.o and kernels.so, for a GPU PTX, cubins and a C header
(tools/sparseattn-compile/README.md): all of them or nothing.

Exit status: 0, 1 when the model cannot be compiled, 2 for wrong arguments.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from . import c_header, compiler, gpu_artefact
from .compiler import CompilerError, LibraryNotFound
from .frontend.errors import FrontendError
from .gpu_artefact import PtxasError
from .model import Levels, PlannedModel, plan_model

FORMAT = "sparseattn.artefact"
FORMAT_VERSION = 1
TARGETS = ("cpu", gpu_artefact.TARGET)


class OutputError(Exception):
    """The output folder cannot be used; says what to do."""


class LayersRefused(Exception):
    """Layers that the target has no kernel for, each with its reason."""

    def __init__(self, refusals: list[gpu_artefact.Refusal], hint: str):
        super().__init__("\n".join([*map(str, refusals), hint]))
        self.refusals = refusals


def manifest(description: dict, source: str) -> dict:
    """The manifest of compiled functions, as `compile_to_files` describes them."""
    layers = [
        {
            "layer": function["attributes"]["layer"],
            "symbol": f"sparseattn_packed_{function['name']}",
            "kind": function["attributes"]["kind"],
            "operations": function["attributes"]["operations"],
            "arguments": function["arguments"],
            "results": function["results"],
        }
        for function in description["functions"]
    ]
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "compiler": compiler.version(),
        "source": source,
        "target": "cpu",
        "triple": description["triple"],
        "cpu": description["cpu"],
        "features": [feature for feature in description["features"].split(",") if feature.startswith("+")],
        "files": {"object": "kernels.o", "library": "kernels.so", "model": "model.mlir", "plan": "plan.json"},
        "layers": layers,
    }


def check_output(folder: Path, force: bool) -> None:
    """Refuses to replace what is not an artefact of this program."""
    if not folder.exists() and not folder.is_symlink():
        if not folder.absolute().parent.is_dir():
            raise OutputError(f"the folder {folder.absolute().parent} does not exist: make it first")
        return
    if not folder.is_dir() or folder.is_symlink():
        raise OutputError(f"{folder} exists and is not a folder: name another one")
    if not any(folder.iterdir()):
        return
    try:
        contents = json.loads((folder / "manifest.json").read_text())
        # The GPU runtime's manifest has a schema of its own, and ours below `info`.
        is_artefact = FORMAT in (contents.get("format"), (contents.get("info") or {}).get("format"))
    except (OSError, ValueError, AttributeError):
        is_artefact = False
    if not is_artefact:
        raise OutputError(f"{folder} is not empty and holds no {FORMAT}: name another folder, or empty it")
    if not force:
        raise OutputError(f"{folder} holds an earlier result: name another folder, or give --force to replace it")


def replace_folder(new: Path, folder: Path) -> None:
    """Puts `new` in the place of `folder`, which is missing, empty or an artefact."""
    if not folder.exists():
        new.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old-", dir=folder.absolute().parent))
    folder.rename(old / "replaced")
    try:
        new.rename(folder)
    except OSError:
        (old / "replaced").rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def new_folder(output: str, force: bool):
    """A folder to write to, which takes the place of `output` when nothing was raised."""
    folder = Path(output)
    check_output(folder, force)
    # Beside the output, so that the last step is a rename.
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.absolute().parent))
    try:
        new = scratch / "artefact"
        new.mkdir()
        yield new
        replace_folder(new, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def finish_gpu_folder(folder: Path, entries: list[dict], path: str, files: dict[str, str]) -> dict:
    """Writes the manifest over `entries` and the C header of what was compiled from `path`; returns the manifest.

    files: what else is in `folder`, by what it is.
    """
    prefix, source = c_header.identifier(Path(path).stem), os.path.basename(path)
    header = f"{prefix}.h"
    info = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "target": gpu_artefact.TARGET,
        "source": source,
        "files": {"header": header, **files},
    }
    contents = gpu_artefact.write_manifest(folder, entries, info)
    (folder / header).write_text(c_header.make_header(contents, prefix, source), encoding="utf-8")
    return contents


def write_plan(planned: PlannedModel, folder: Path) -> None:
    (folder / "plan.txt").write_text(planned.plan.table)
    (folder / "plan.json").write_text(json.dumps(planned.plan.document, indent=2) + "\n")
    (folder / "model.mlir").write_text(planned.model, encoding="utf-8")


def compile_model(
    path: str,
    output: str,
    *,
    program: str | None = None,
    length: int | None = None,
    batch: int | None = None,
    cache_dtype: str | None = None,
    cpu: str | None = None,
    features: str | None = None,
    dump_levels: bool = False,
    force: bool = False,
    reproducer: str | None = None,
) -> tuple[dict, str, list[str]]:
    """Compiles the model at `path` for the CPU, to the folder `output`.

    Returns the manifest, the plan as a table, and remarks. Raises FrontendError,
    CompilerError or OutputError; then `output` is as it was.
    """
    with new_folder(output, force) as new:
        levels = Levels(new / "levels" if dump_levels else None)
        planned = plan_model(
            path,
            program=program,
            length=length,
            batch=batch,
            cache_dtype=cache_dtype,
            levels=levels,
            reproducer=reproducer,
        )
        with levels.passes("kernels") as dump:
            description = compiler.compile_to_files(
                planned.kernels,
                new / "kernels.o",
                new / "kernels.so",
                name=path,
                cpu=cpu,
                features=features,
                dump=dump,
                reproducer=reproducer,
            )
        contents = manifest(description, os.path.basename(path))
        write_plan(planned, new)
        (new / "manifest.json").write_text(json.dumps(contents, indent=2) + "\n")
    return contents, planned.plan.table, planned.remarks


def compile_model_gpu(
    path: str,
    output: str,
    *,
    program: str | None = None,
    length: int | None = None,
    batch: int | None = None,
    cache_dtype: str | None = None,
    expected_keys: int | None = None,
    schedule_table: str | None = None,
    ptxas: str | None = None,
    partial: bool = False,
    dump_levels: bool = False,
    force: bool = False,
    reproducer: str | None = None,
) -> tuple[dict, str, list[str]]:
    """Compiles the model at `path` for a Hopper GPU, to the folder `output`, which `sparseattn.runtime.load` opens.

    expected_keys: how many keys to choose schedules for where the model leaves it open; default `length`.
    schedule_table: file with schedules that come before the built-in ones.
    ptxas: path of CUDA's assembler; None writes PTX only. partial: leave out layers that
    no kernel exists for, with a remark for each, instead of refusing the model.

    Returns the manifest, the plan as a table, and remarks. Raises FrontendError,
    CompilerError, LayersRefused or OutputError; then `output` is as it was.
    """
    if schedule_table is not None:
        # Not once for each layer, which --partial would leave out.
        compiler.check_schedule_table(schedule_table)
    with new_folder(output, force) as new:
        levels = Levels(new / "levels" if dump_levels else None)
        planned = plan_model(
            path,
            program=program,
            length=length,
            batch=batch,
            cache_dtype=cache_dtype,
            levels=levels,
            reproducer=reproducer,
        )
        entries, refusals = gpu_artefact.compile_layers(
            planned.kernels,
            new,
            expected_keys=expected_keys or length,
            schedule_table=schedule_table,
            ptxas=ptxas,
            levels=levels,
            reproducer=reproducer,
        )
        if not entries:
            raise LayersRefused(refusals, f"no attention layer of {path} is left: --target=cpu takes every layer")
        if refusals and not partial:
            raise LayersRefused(
                refusals, f"{len(entries)} other layers can be compiled: --partial writes these, --target=cpu takes all"
            )
        contents = finish_gpu_folder(new, entries, path, {"model": "model.mlir", "plan": "plan.json"})
        write_plan(planned, new)
    return contents, planned.plan.table, [*planned.remarks, *map(str, refusals)]


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text}")
    return value


def schedule_table(text: str) -> str:
    try:
        compiler.quote_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sparseattn-compile",
        description="Compile the attention layers of an exported model and plan its KV cache.",
        epilog="DIR receives plan.txt, plan.json, model.mlir and manifest.json; with --target=cpu kernels.o and kernels.so, "
        "with --target=sm_90a NAME.h and, for each layer, PTX and, where CUDA's assembler is found, a cubin: all or nothing. "
        "Exit status: 0, 1 when the model cannot be compiled, 2 for wrong arguments.",
    )
    parser.add_argument("input", metavar="IN", help="a .pt2 archive, a HuggingFace config.json, an ONNX model or MLIR text")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder to make")
    parser.add_argument(
        "--target", choices=TARGETS, default="cpu",
        help="what to compile for: cpu, or sm_90a for Hopper GPUs (H100, H200); default: cpu",
    )
    parser.add_argument("--length", type=positive, metavar="N", help="tokens of each sequence, where the model leaves them open")
    parser.add_argument("--batch", type=positive, metavar="N", help="sequences, where the model leaves them open")
    parser.add_argument("--cache-dtype", metavar="TYPE", help="element type of all caches in the plan, such as bf16 or f8E4M3FN")
    parser.add_argument("--model", metavar="NAME", help="name of the program, for .pt2 archives with several")
    cpu = parser.add_argument_group("--target=cpu")
    cpu.add_argument("--cpu", metavar="NAME", help="CPU of LLVM, such as x86-64-v3 (default: this machine)")
    cpu.add_argument("--features", metavar="LIST", help="CPU features such as +avx2,-fma")
    gpu = parser.add_argument_group("--target=sm_90a")
    gpu.add_argument(
        "--expected-keys", type=positive, metavar="N",
        help="keys to choose schedules for, where the model leaves their number open (default: --length, if given)",
    )
    gpu.add_argument(
        "--schedule-table", type=schedule_table, metavar="FILE",
        help="schedules to choose before the built-in ones; sparseattn-select-schedule describes the rows",
    )
    gpu.add_argument(
        "--ptxas",
        metavar="PATH",
        help="CUDA's assembler (default: the first in PATH, CUDA_HOME, /usr/local/cuda and the package nvidia-cuda-nvcc, if any)",
    )
    gpu.add_argument("--no-ptxas", action="store_true", help="write PTX only; the driver assembles it")
    gpu.add_argument("--partial", action="store_true", help="leave out layers that no kernel exists for, with a remark for each")
    parser.add_argument("--dump-levels", action="store_true", help="keep the IR after every pass in DIR/levels")
    parser.add_argument("--reproducer", metavar="FILE", help="where to write input and pipeline when a pass fails")
    parser.add_argument("--force", action="store_true", help="replace an earlier result in DIR")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument("--version", action="store_true", help=argparse.SUPPRESS)
    return parser


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options; ends the program with status 2 when they do not go together."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    others = {"cpu": ("expected_keys", "schedule_table", "ptxas", "no_ptxas", "partial"), gpu_artefact.TARGET: ("cpu", "features")}[options.target]
    for name in others:
        if getattr(options, name):
            parser.error(f"--{name.replace('_', '-')} does not go with --target={options.target}")
    if options.ptxas and options.no_ptxas:
        parser.error("--ptxas does not go with --no-ptxas")
    return options


def compile_as_asked(options: argparse.Namespace) -> tuple[dict, str, list[str]]:
    common = {
        "program": options.model,
        "length": options.length,
        "batch": options.batch,
        "cache_dtype": options.cache_dtype,
        "dump_levels": options.dump_levels,
        "force": options.force,
        "reproducer": options.reproducer,
    }
    if options.target == "cpu":
        return compile_model(options.input, options.output, cpu=options.cpu, features=options.features, **common)
    ptxas = None if options.no_ptxas else gpu_artefact.find_ptxas(options.ptxas)
    contents, table, remarks = compile_model_gpu(
        options.input,
        options.output,
        expected_keys=options.expected_keys,
        schedule_table=options.schedule_table,
        ptxas=ptxas,
        partial=options.partial,
        **common,
    )
    if not ptxas and not options.no_ptxas:
        places = "PATH, CUDA_HOME, /usr/local/cuda or the package nvidia-cuda-nvcc"
        remarks = [*remarks, f"ptxas was not found in {places}: PTX only, which the driver assembles"]
    return contents, table, remarks


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(compiler.version())
        return 0
    options = parse(arguments)
    try:
        contents, table, remarks = compile_as_asked(options)
    except (FrontendError, OutputError, LibraryNotFound, PtxasError, OSError) as error:
        print(f"sparseattn-compile: error: {error}", file=sys.stderr)
        return 1
    except (CompilerError, LayersRefused) as error:
        print(f"sparseattn-compile: {options.input} cannot be compiled\n{error}", file=sys.stderr)
        for name in ("length", "batch"):
            # The pass speaks of its own option.
            if getattr(options, name) is None and f"option {name}=" in str(error):
                print(f"sparseattn-compile: give --{name} N", file=sys.stderr)
        return 1
    if not options.quiet:
        for remark in remarks:
            print(f"remark: {remark}", file=sys.stderr)
        print(table.rstrip())
        layers = contents.get("layers") or contents["kernels"]
        print(f"\n{len(layers)} attention layers compiled for {contents.get('cpu', options.target)} in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
