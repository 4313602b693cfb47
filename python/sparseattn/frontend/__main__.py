"""`python -m sparseattn.frontend FILE [-o out.mlir]`: an exported model as MLIR.

FILE is a `.pt2` archive, a HuggingFace `config.json`, an ONNX model or MLIR
text; its content decides, not its name. Remarks go to standard error. Exit
status 1, and nothing written, if the model cannot be imported.
"""

import argparse
import os
import sys

from . import archive, hf_config, onnx_model, pt2
from .emit import emit
from .errors import FrontendError, Remark

_ACCEPTED = "a .pt2 archive, a HuggingFace config.json, an ONNX model or MLIR text"


def kind_of(path):
    """"pt2", "config", "mlir" or "onnx", by the first bytes of the file."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise FrontendError(f"expected to be able to read {path}", str(error), "check the path") from None
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "pt2"
    if text[:1] == b"{":
        return "config"
    if head[:4] == b"ML\xefR":
        raise FrontendError("expected MLIR as text", "MLIR bytecode (VHLO?)",
                            "for JAX, write the text of sparseattn.frontend.jax_export.stablehlo_text")
    if text.startswith((b"module", b"func", b"#", b"!", b"//", b'"builtin.module"')):
        return "mlir"
    # A serialised ONNX model begins with field 1, its version: 0x08.
    if head[:1] == b"\x08":
        return "onnx"
    found = "an empty file" if not head else f"a file that begins with {head[:8]!r}"
    raise FrontendError(f"expected {path} to be {_ACCEPTED}", found, "export the model to one of these")


def import_file(path, model=None, length=None, batch=1, max_bytes=None):
    """(MLIR text, remarks) of the model at `path`. Raises FrontendError."""
    kind = kind_of(path)
    if kind == "mlir":
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        remarks = []
        if "stablehlo." in text:
            remarks.append(Remark("module", "MLIR is passed through", "run sparseattn-opt --sparseattn-raise-imported on it"))
        return text, remarks
    if kind == "pt2":
        graph = pt2.read(path, model, max_bytes or archive.MAX_PROGRAM_BYTES)
    elif kind == "config":
        graph = hf_config.read(path, length, batch)
    else:
        graph = onnx_model.read(path, max_bytes or onnx_model.MAX_BYTES)
    return emit(graph), graph.remarks


def _write(path, text):
    """All of `text` or nothing: a partial file never has the final name."""
    temporary = f"{path}.part{os.getpid()}"
    try:
        with open(temporary, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m sparseattn.frontend", description=f"Import {_ACCEPTED} as MLIR.")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("-o", "--output", metavar="FILE", help="write here instead of standard output")
    parser.add_argument("--model", help="name of the program, for .pt2 archives with several")
    parser.add_argument("--length", type=int, help="tokens of the prefill, for a config.json (default: dynamic)")
    parser.add_argument("--batch", type=int, default=1, help="batch size, for a config.json (default: 1)")
    parser.add_argument("--max-bytes", type=int, help="largest program to read")
    options = parser.parse_args(arguments)
    try:
        text, remarks = import_file(options.file, options.model, options.length, options.batch, options.max_bytes)
        for remark in remarks:
            print(f"remark: {remark}", file=sys.stderr)
        if options.output:
            _write(options.output, text)
        else:
            sys.stdout.write(text)
    except FrontendError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot write {options.output or 'standard output'}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
