"""`sparseattn-compile IN -o DIR`: an exported model to compiled attention layers.

IN is a `.pt2` archive, a HuggingFace `config.json`, an ONNX model or MLIR text.
DIR receives plan.txt, plan.json, model.mlir, kernels.o, kernels.so and
manifest.json (tools/sparseattn-compile/README.md), all of them or nothing.

Exit status: 0, 1 when the model cannot be compiled, 2 for wrong arguments.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from . import compiler
from .compiler import CompilerError, LibraryNotFound
from .frontend.errors import FrontendError
from .model import Levels, plan_model

FORMAT = "sparseattn.artefact"
FORMAT_VERSION = 1


class OutputError(Exception):
    """The output folder cannot be used; says what to do."""


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
        is_artefact = json.loads((folder / "manifest.json").read_text())["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
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
    """Compiles the model at `path` to the folder `output`.

    Returns the manifest, the plan as a table, and remarks. Raises FrontendError,
    CompilerError or OutputError; then `output` is as it was.
    """
    folder = Path(output)
    check_output(folder, force)
    # Beside the output, so that the last step is a rename.
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.absolute().parent))
    try:
        new = scratch / "artefact"
        new.mkdir()
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
        (new / "plan.txt").write_text(planned.plan.table)
        (new / "plan.json").write_text(json.dumps(planned.plan.document, indent=2) + "\n")
        (new / "model.mlir").write_text(planned.model, encoding="utf-8")
        (new / "manifest.json").write_text(json.dumps(contents, indent=2) + "\n")
        replace_folder(new, folder)
        return contents, planned.plan.table, planned.remarks
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text}")
    return value


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sparseattn-compile",
        description="Compile the attention layers of an exported model and plan its KV cache.",
        epilog="DIR receives plan.txt, plan.json, model.mlir, kernels.o, kernels.so and manifest.json: all or nothing. "
        "Exit status: 0, 1 when the model cannot be compiled, 2 for wrong arguments.",
    )
    parser.add_argument("input", metavar="IN", help="a .pt2 archive, a HuggingFace config.json, an ONNX model or MLIR text")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder to make")
    parser.add_argument("--target", choices=["cpu"], default="cpu", help="what to compile for (default: cpu)")
    parser.add_argument("--length", type=positive, metavar="N", help="tokens of each sequence, where the model leaves them open")
    parser.add_argument("--batch", type=positive, metavar="N", help="sequences, where the model leaves them open")
    parser.add_argument("--cache-dtype", metavar="TYPE", help="element type of all caches in the plan, such as bf16 or f8E4M3FN")
    parser.add_argument("--model", metavar="NAME", help="name of the program, for .pt2 archives with several")
    parser.add_argument("--cpu", metavar="NAME", help="CPU of LLVM, such as x86-64-v3 (default: this machine)")
    parser.add_argument("--features", metavar="LIST", help="CPU features such as +avx2,-fma")
    parser.add_argument("--dump-levels", action="store_true", help="keep the IR after every pass in DIR/levels")
    parser.add_argument("--reproducer", metavar="FILE", help="where to write input and pipeline when a pass fails")
    parser.add_argument("--force", action="store_true", help="replace an earlier result in DIR")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument("--version", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(compiler.version())
        return 0
    options = make_parser().parse_args(arguments)
    try:
        contents, table, remarks = compile_model(
            options.input,
            options.output,
            program=options.model,
            length=options.length,
            batch=options.batch,
            cache_dtype=options.cache_dtype,
            cpu=options.cpu,
            features=options.features,
            dump_levels=options.dump_levels,
            force=options.force,
            reproducer=options.reproducer,
        )
    except (FrontendError, OutputError, LibraryNotFound, OSError) as error:
        print(f"sparseattn-compile: error: {error}", file=sys.stderr)
        return 1
    except CompilerError as error:
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
        print(f"\n{len(contents['layers'])} attention layers compiled for {contents['cpu']} in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
