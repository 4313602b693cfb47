"""Reading one member of a `.pt2` archive that may be hostile.

Nothing is ever written to disk, only the program is decompressed, and its size
is checked before and while reading.
"""

import re
import zipfile
import zlib

from .errors import FrontendError

MAX_MEMBERS = 200_000
MAX_PROGRAM_BYTES = 128 * 2**20
"""A program of 50,000 nodes is about 80 MB of JSON; parsed, hostile JSON takes
twenty times its size."""

MAX_RATIO = 300
"""Uncompressed over compressed size. Stored members, as torch writes them, have
1; exported programs deflate to about 1/40."""

_MODEL = re.compile(r"(?:[^/]+/)?models/([^/]+)\.json")
_ADVICE = "export the model again with torch.export.save"


def _open(path):
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise FrontendError("expected a file", f"no file {path}", "check the path") from None
    except OSError as error:
        raise FrontendError(f"expected to be able to read {path}", str(error), "check the path and its permissions") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OverflowError) as error:
        raise FrontendError(f"expected {path} to be a zip archive", str(error), _ADVICE) from None


def _pick(names, path, model):
    models = {}
    for name in names:
        if match := _MODEL.fullmatch(name):
            models[match[1]] = name
    if not models:
        if any(n.endswith("/data.pkl") or n == "data.pkl" for n in names):
            raise FrontendError(f"expected {path} to hold a program of torch.export",
                                "a TorchScript archive or a torch.save checkpoint",
                                "use torch.export.save(torch.export.export(model, args), path)")
        raise FrontendError(f"expected {path} to hold a program under models/", "no model in the archive",
                            "torch.export.save leaves such a file behind when it fails (flex_attention cannot be saved): "
                            "look at its error, and capture attention with sparseattn.torch instead")
    if model is None and len(models) > 1:
        raise FrontendError(f"expected one program in {path}", f"{len(models)}: {', '.join(sorted(models)[:20])}",
                            "name one with --model")
    if model is not None and model not in models:
        raise FrontendError(f"expected {path} to hold a program '{model}'", f"only {', '.join(sorted(models)[:20])}",
                            "name one of these with --model")
    return models[model] if model is not None else next(iter(models.values()))


def read_program(path, model=None, max_bytes=MAX_PROGRAM_BYTES):
    """JSON bytes of the program `model` (may be None if there is only one) in
    the archive at `path` (a path or a binary file).

    Raises FrontendError for anything that is not such an archive, and for
    members larger than `max_bytes` or compressed more than MAX_RATIO.
    """
    with _open(path) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise FrontendError(f"expected at most {MAX_MEMBERS} members in {path}", str(len(members)), _ADVICE)
        name = _pick([m.filename for m in members], path, model)
        info = archive.getinfo(name)
        if info.flag_bits & 0x1:
            raise FrontendError(f"expected {name} to be readable", "an encrypted member", _ADVICE)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FrontendError(f"expected {name} to be stored or deflated", f"compression {info.compress_type}", _ADVICE)
        if info.file_size > max_bytes:
            raise FrontendError(f"expected {name} to have at most {max_bytes} bytes", f"{info.file_size}",
                                "if the program is really that large, raise the limit with --max-bytes")
        if info.file_size > MAX_RATIO * max(info.compress_size, 1):
            raise FrontendError(f"expected {name} to be compressed at most {MAX_RATIO} times",
                                f"{info.compress_size} bytes for {info.file_size}", _ADVICE)
        try:
            with archive.open(info) as stream:
                data = stream.read(max_bytes + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError, OverflowError) as error:
            raise FrontendError(f"expected {name} to be intact", str(error) or type(error).__name__, _ADVICE) from None
        if len(data) > max_bytes:
            raise FrontendError(f"expected {name} to have at most {max_bytes} bytes", "more", _ADVICE)
        return data
