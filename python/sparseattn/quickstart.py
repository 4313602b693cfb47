"""The main job on the shipped example: `python -m sparseattn.quickstart`.

A Gemma-3n-like model, exported from PyTorch, is imported; its KV-cache plan is
printed; every attention layer is compiled, run on the activations that the
framework recorded, and compared with the framework's own output. Then every layer
becomes PTX for Hopper GPUs, and runs there if one is found (`quickstart_gpu`).

Exit status: 0 when all layers agree, 1 when one does not or cannot be run, 2
for wrong arguments.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import quickstart_gpu
from .calling import DTYPES
from .compile import OutputError
from .compiler import CompilerError, Function, LibraryNotFound, Module, compile_cpu
from .frontend.errors import FrontendError
from .model import plan_model

EXAMPLE = Path(__file__).resolve().parent / "examples" / "gemma3n"

# Largest |ours - recorded| that counts as agreement, for outputs of order 1. Both sides round the output
# once to its dtype (half a unit in the last place: 2^-11 for f16, 2^-8 for bf16, relative to values in
# [1, 2)), and sum the same products in another order in f32, where the framework may itself keep the
# probabilities in the narrow dtype: one more rounding, averaged over the keys. Twice the unit covers both.
# f32: sums over some hundred keys, unit 2^-24, with headroom for the different exponential functions.
TOLERANCE = {"f16": 2e-3, "bf16": 1.6e-2, "f32": 2e-5}


def softmax_attention(q, k, v, *, scale, causal, window, softcap, sink):
    """The layer as plain NumPy float32 matmul and softmax over the whole score matrix.

    q [B,Hq,Nq,d], k, v [B,Hkv,Nk,d]; window None for none. The yardstick of the
    time column, and the form that a NumPy user would write.
    """
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = q @ k.swapaxes(-1, -2) * np.float32(scale)
    if softcap:
        scores = np.float32(softcap) * np.tanh(scores / np.float32(softcap))
    position = np.arange(q.shape[2])[:, None] + (k.shape[2] - q.shape[2])
    key = np.arange(k.shape[2])[None, :]
    visible = np.ones((q.shape[2], k.shape[2]), bool)
    if causal:
        visible &= key <= position
    if window is not None:
        visible &= key > position - window
    scores = np.where(visible, scores, np.float32(-np.inf))
    peak = scores.max(-1, keepdims=True)
    if sink is not None:
        peak = np.maximum(peak, sink[None, :, None, None])
    weights = np.exp(scores - peak)
    total = weights.sum(-1, keepdims=True)
    if sink is not None:
        total = total + np.exp(sink[None, :, None, None] - peak)
    return weights @ v / total


def best_time(call, repetitions=5):
    """Seconds of the fastest of some calls, after one that does not count."""
    call()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@dataclass(frozen=True)
class Outcome:
    """One layer: error against the recorded output, and times in seconds."""

    layer: int
    kind: str
    source: int
    shape: tuple[int, ...]
    dtype: str
    error: float
    compiled: float
    numpy: float

    @property
    def agrees(self) -> bool:
        # Not `error > tolerance`: NaN agrees with nothing.
        return self.error <= TOLERANCE[self.dtype]


class RecordingError(Exception):
    """The recorded activations do not fit the model."""


def read_operands(function: Function, record: dict, recording) -> dict[str, np.ndarray]:
    """The recorded activations of a layer, by the names of its function's arguments."""
    values = {
        role: recording[record["members"][member]]
        for role, member in {"query": "q", "key": "k", "value": "v", "sink": "sink"}.items()
        if member in record["members"]
    }
    missing = [value.name for value in function.arguments if value.name not in values]
    if missing:
        raise RecordingError(f"{function!r}: the recording has no {', '.join(missing)}")
    return values


def run_layer(module: Module, record: dict, recording) -> Outcome:
    """Runs layer `record["layer"]` on its recorded activations."""
    function = module(f"layer_{record['layer']}")
    values = read_operands(function, record, recording)
    arguments = [values[value.name] for value in function.arguments]
    expected = recording[record["members"]["out"]]
    dtype = function.results[0].dtype
    if expected.dtype == np.uint16:
        expected = expected.view(DTYPES["bf16"])

    def widen(array):
        return (array.view(DTYPES["bf16"]) if array.dtype == np.uint16 else array).astype(np.float32)

    out = function(*arguments)
    if out.shape != expected.shape:
        raise RecordingError(f"{function!r}: the recorded output has shape {expected.shape}")
    q, k, v = (widen(values[role]) for role in ("query", "key", "value"))
    yardstick = {
        "scale": record["scale"],
        "causal": record["causal"],
        "window": None if record["window"] < 0 else record["window"],
        "softcap": record["softcap"],
        "sink": widen(values["sink"]) if "sink" in values else None,
    }
    return Outcome(
        layer=record["layer"],
        kind=function.attributes["kind"],
        source=function.attributes["operations"][0].get("kv_source", record["layer"]),
        shape=out.shape,
        dtype=dtype,
        error=float(np.max(np.abs(out.astype(np.float64) - expected.astype(np.float64)), initial=0.0)),
        compiled=best_time(lambda: function(*arguments)),
        numpy=best_time(lambda: softmax_attention(q, k, v, **yardstick)),
    )


def print_outcomes(outcomes: list[Outcome]) -> None:
    rows = [("layer", "kind", "KV of", "shape", "dtype", "max error", "ours", "NumPy f32", "ours/NumPy")]
    for outcome in outcomes:
        rows.append(
            (
                str(outcome.layer),
                outcome.kind,
                str(outcome.source),
                "x".join(map(str, outcome.shape)),
                outcome.dtype,
                f"{outcome.error:.1e}" + ("" if outcome.agrees else " !"),
                f"{outcome.compiled * 1e3:.2f} ms",
                f"{outcome.numpy * 1e3:.2f} ms",
                f"{outcome.compiled / outcome.numpy:.2f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def format_bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:.4g} GB"


def run_on_gpu(model: Path, module: Module, records: list[dict], recording, folder: Path, kept: bool) -> int:
    layers = []
    for record in records:
        function = module(f"layer_{record['layer']}")
        layers.append(quickstart_gpu.make_layer(function, record, read_operands(function, record, recording)))
    return quickstart_gpu.run(layers, folder, model.name, TOLERANCE, kept)


def run(model: Path, activations: Path, kernels: Path | None) -> int:
    """The main job; returns the exit status. kernels: where the GPU's go; None: nowhere that lasts."""
    print(f"Model: {model.name}")
    planned = plan_model(model)
    print(f"\nKV cache\n{planned.plan.table.rstrip()}")
    saved = planned.plan.dense_bytes - planned.plan.total_bytes
    print(
        f"KV bytes saved: {format_bytes(saved)} of {format_bytes(planned.plan.dense_bytes)} "
        f"({saved / max(planned.plan.dense_bytes, 1):.0%})"
    )
    start = time.perf_counter()
    module = compile_cpu(planned.kernels, name=model.name)
    print(f"\n{len(module.functions)} attention layers compiled in {time.perf_counter() - start:.1f} s\n")
    with np.load(activations) as archive:
        recording = {name: archive[name] for name in archive.files}
    records = json.loads(str(recording["meta"]))["layers"]
    recorded = {f"layer_{record['layer']}" for record in records}
    if recorded != set(module.functions):
        raise RecordingError(
            f"the recording {activations} has {', '.join(sorted(recorded))}, the model {', '.join(sorted(module.functions))}"
        )
    outcomes = [run_layer(module, record, recording) for record in records]
    print_outcomes(outcomes)
    wrong = [outcome for outcome in outcomes if not outcome.agrees]
    if wrong:
        print(f"\nLayers that disagree with the framework: {', '.join(str(outcome.layer) for outcome in wrong)}")
        return 1
    print(f"\nAll {len(outcomes)} attention layers agree with the framework's recorded outputs.")
    if kernels is not None:
        return run_on_gpu(model, module, records, recording, kernels, kept=True)
    with tempfile.TemporaryDirectory() as scratch:
        return run_on_gpu(model, module, records, recording, Path(scratch) / "kernels", kept=False)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sparseattn.quickstart",
        description="Import, plan, compile and run an exported model, and compare every attention layer with its recording.",
    )
    parser.add_argument("--model", type=Path, default=EXAMPLE / "gemma3n.pt2", help="exported model (default: the shipped example)")
    parser.add_argument("--activations", type=Path, help="recorded activations (default: the .npz beside the model)")
    parser.add_argument("--kernels", type=Path, metavar="DIR", help="folder to make for the GPU kernels (default: not kept)")
    options = parser.parse_args(arguments)
    activations = options.activations or options.model.with_suffix(".npz")
    try:
        return run(options.model, activations, options.kernels)
    except (FrontendError, LibraryNotFound, OutputError, RecordingError, OSError, KeyError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
    except CompilerError as error:
        print(f"error: {options.model} cannot be compiled\n{error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
