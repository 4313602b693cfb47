"""From an exported model to planned and extracted attention layers.

The steps that `sparseattn.compile` and `sparseattn.quickstart` share.
"""

import contextlib
import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from .compiler import CompilerError, Diagnostic, run_pipeline
from .frontend.__main__ import import_file
from .frontend.errors import FrontendError

__all__ = ["CompilerError", "FrontendError", "Levels", "Plan", "PlannedModel", "plan_model"]


class Levels:
    """A folder with one numbered file for each level and pass; nothing without a folder."""

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.count = 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, text: str) -> None:
        if self.folder is not None:
            (self.folder / f"{self.count:02d}-{name}").write_text(text, encoding="utf-8", errors="surrogateescape")
            self.count += 1

    @contextlib.contextmanager
    def passes(self, start: str | None = None):
        """A dump folder for one call of the compiler; its files get the next numbers.

        start: name of the module that the call starts from, None when it was written before.
        """
        if self.folder is None:
            yield None
            return
        with tempfile.TemporaryDirectory() as scratch:
            try:
                yield scratch
            finally:
                for path in sorted(Path(scratch).iterdir(), key=lambda path: int(path.name.split("-")[0])):
                    name = path.name.split("-", 1)[1]
                    if name == "input.mlir" and start is None:
                        continue
                    self.add(f"{start}.mlir" if name == "input.mlir" else name, path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Plan:
    """The KV-cache plan: `table` for people, `document` as `sparseattn-plan-kv-cache` writes it."""

    table: str
    document: dict

    @property
    def total_bytes(self) -> int:
        return sum(function["total_bytes"] for function in self.document["functions"])

    @property
    def dense_bytes(self) -> int:
        """Bytes when every layer kept every token."""
        return sum(function["dense_bytes"] for function in self.document["functions"])


@dataclass(frozen=True)
class PlannedModel:
    """model: the whole graph, each attention layer a function that it calls;
    kernels: these functions alone; remarks: what importer and compiler noticed."""

    model: str
    kernels: str
    plan: Plan
    remarks: list[str] = field(default_factory=list)


def plan_model(
    path: str | Path,
    *,
    program: str | None = None,
    length: int | None = None,
    batch: int | None = None,
    cache_dtype: str | None = None,
    levels: Levels | None = None,
    reproducer: str | None = None,
) -> PlannedModel:
    """Imports the model at `path`, plans its caches and extracts its attention layers.

    program: name of the program in an archive with several. length, batch: tokens
    and sequences of the plan, for models that leave them open. cache_dtype:
    element type of all caches, default that of the keys.

    Raises FrontendError when the model cannot be imported, CompilerError otherwise.
    """
    levels = levels or Levels(None)
    text, imported = import_file(str(path), program, length, batch or 1)
    remarks = [str(remark) for remark in imported]
    found: list[Diagnostic] = []
    options = {"name": str(path), "reproducer": reproducer, "diagnostics": found}

    with tempfile.TemporaryDirectory() as scratch, levels.passes("imported") as dump:
        document, table = Path(scratch) / "plan.json", Path(scratch) / "plan.txt"
        planning = [f'json="{document}"', f'table="{table}"']
        planning += [f"{key}={value}" for key, value in (("length", length), ("batch", batch)) if value is not None]
        if cache_dtype is not None:
            if not re.fullmatch(r"\w+", cache_dtype):
                raise FrontendError("expected a cache dtype such as bf16 or f8E4M3FN", repr(cache_dtype), "name one type")
            planning.append(f"dtype={cache_dtype}")
        # StableHLO is not a registered dialect; raising turns its attention into ours.
        is_stablehlo = "stablehlo." in text
        pipeline = ["sparseattn-raise-imported"] if is_stablehlo else []
        pipeline += ["sparseattn-resolve-kv-sharing", f"sparseattn-plan-kv-cache{{{' '.join(planning)}}}"]
        planned = run_pipeline(text, ",".join(pipeline), allow_unregistered=is_stablehlo, dump=dump, **options)
        plan = Plan(table.read_text(), json.loads(document.read_text()))
    remarks += dict.fromkeys(str(diagnostic) for diagnostic in found)
    if not plan.document["functions"]:
        reasons = f" ({'; '.join(remarks)})" if remarks else ""
        raise FrontendError(
            f"expected attention in {path}",
            f"none{reasons}",
            "export it with the attention operator (sparseattn.torch, sparseattn.jax)",
        )
    with levels.passes() as dump:
        model = run_pipeline(
            planned, "sparseattn-extract-layers", allow_unregistered=is_stablehlo, dump=dump, **options
        )
    kernels = run_pipeline(
        model, "sparseattn-extract-layers{kernels-only}", allow_unregistered=is_stablehlo, **options
    )
    # What the first pipeline said is there already.
    remarks += [text for text in dict.fromkeys(map(str, found)) if text not in remarks]
    return PlannedModel(model, kernels, plan, remarks)
