"""The quickstart's second half: the model's attention layers as kernels for Hopper GPUs.

Every layer becomes PTX; where a Hopper GPU is, it runs on the recorded activations, and
is compared with the CPU's result on the same values.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import gpu_artefact, runtime
from .attention_spec import AttentionSpec
from .calling import BFLOAT16, DTYPES
from .compile import finish_gpu_folder, new_folder
from .compiler import CompilerError, Function, compile_cpu
from .device_memory import GpuError, HopperGpu, NoHopperGpu

# Kernels take 16-bit elements and head dimensions that are multiples of 32. The recording's values are
# rounded to f16 where they are f32, and heads padded with zeros, which add nothing to any product.
_NARROW = {"f32": "f16"}
_HEAD_MULTIPLE = 32


@dataclass(frozen=True)
class GpuLayer:
    """A layer of the model: the attention that its kernel computes, and its operands as NumPy arrays."""

    name: str
    number: int
    kind: str
    spec: AttentionSpec
    operands: tuple[np.ndarray, ...]
    # Features of the output that are not padding.
    features: int


def _pad(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    missing = -array.shape[-1] % _HEAD_MULTIPLE
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]).astype(dtype)


def make_layer(function: Function, record: dict, operands: dict[str, np.ndarray]) -> GpuLayer:
    """record: of the recording (frontend fixtures). operands: by the function's names, bf16 as its bits or as such."""
    dtype = _NARROW.get(function.results[0].dtype, function.results[0].dtype)
    element = DTYPES[dtype]
    tensors = []
    for role in ("query", "key", "value"):
        array = operands[role]
        tensors.append(_pad(array.view(element) if array.dtype == np.uint16 else array, element))
    sink = "sink" in operands
    if sink:
        tensors.append(np.ascontiguousarray(operands["sink"], np.float32))
    keys = function.attributes["operations"][0]["keys"][0]
    spec = AttentionSpec(
        keys=keys,
        dtype=dtype,
        dim=tensors[0].shape[-1],
        value_dim=tensors[2].shape[-1],
        # Explicit: its default would follow from the padded dimension.
        scale=record["scale"],
        softcap=record["softcap"] or None,
        sink=sink,
    )
    return GpuLayer(
        function.name, record["layer"], function.attributes["kind"], spec, tuple(tensors), operands["value"].shape[-1]
    )


def compile_layers(layers: list[GpuLayer], folder: Path, source: str) -> tuple[runtime.Artefact | None, list[str]]:
    """Writes PTX for the layers to `folder`, an artefact like those of `sparseattn-compile --target=sm_90a`.

    Layers that compute the same share their code. Returns the artefact, None without any
    kernel, and why layers have none. Raises compile.OutputError when `folder` cannot be used.
    """
    entries, known, refused = [], {}, []
    with new_folder(str(folder), force=True) as new:
        for layer in layers:
            try:
                if layer.spec not in known:
                    known[layer.spec] = gpu_artefact.compile_function(layer.spec.text(), layer.spec.name, new)
                entries.append(gpu_artefact.make_entry(known[layer.spec], layer.name, layer.number, layer.kind))
            except CompilerError as error:
                refused.append(f"{layer.name} has no GPU kernel: {error}")
        if entries:
            finish_gpu_folder(new, entries, source, {})
    return runtime.load(folder) if entries else None, refused


def run_layer(gpu: HopperGpu, kernel: runtime.Kernel, layer: GpuLayer) -> np.ndarray:
    """The layer's output, without the padding. What the kernel does not write is NaN."""
    inputs = [gpu.to_device(array) for array in layer.operands]
    shape = (*layer.operands[0].shape[:3], layer.operands[2].shape[3])
    out = gpu.empty(shape, DTYPES[layer.spec.dtype])
    kernel(*inputs, out)
    result = out.numpy()
    return (result.view(BFLOAT16) if layer.spec.dtype == "bf16" else result)[..., : layer.features]


def compare(gpu: HopperGpu, artefact: runtime.Artefact, layers: list[GpuLayer], tolerance: dict[str, float]) -> list[str]:
    """Runs the layers on GPU and CPU, prints a line for each, and returns the names of those that disagree.

    tolerance: largest difference, by dtype, of values up to 1; it grows with larger ones.
    """
    wrong, functions = [], {}
    for layer in layers:
        if layer.name not in artefact.names:
            continue
        if layer.spec not in functions:
            functions[layer.spec] = compile_cpu(layer.spec.text())(layer.spec.name)
        expected = functions[layer.spec](*layer.operands)[..., : layer.features].astype(np.float64)
        found = run_layer(gpu, artefact(layer.name), layer).astype(np.float64)
        error = float(np.max(np.abs(found - expected), initial=0.0))
        # Not `error > ...`: NaN agrees with nothing.
        agrees = error <= tolerance[layer.spec.dtype] * max(1.0, float(np.max(np.abs(expected), initial=0.0)))
        print(f"  {layer.name}  {layer.spec.name}  max error {error:.1e}{'' if agrees else ' !'}")
        wrong += [] if agrees else [layer.name]
    return wrong


def run(layers: list[GpuLayer], folder: Path, source: str, tolerance: dict[str, float], kept: bool) -> int:
    """Compiles the layers, runs them if there is a GPU to run them on; returns the exit status.

    kept: whether `folder` outlives the program.
    """
    artefact, refused = compile_layers(layers, folder, source)
    for reason in refused:
        print(reason)
    if artefact is None:
        return 0
    place = f"in {folder}" if kept else "not kept (--kernels DIR keeps them)"
    types = ", ".join(dict.fromkeys(f"{layer.spec.dtype}, head dimension {layer.spec.dim}" for layer in layers))
    print(f"\n{len(artefact.names)} attention layers compiled to PTX for Hopper GPUs ({types}), {place}")
    try:
        gpu = HopperGpu()
    except NoHopperGpu as reason:
        print(f"No Hopper GPU was found ({reason}): the kernels were compiled, not run.")
        return 0
    print(f"On {gpu.name}, against the CPU:")
    try:
        wrong = compare(gpu, artefact, layers, tolerance)
    except (GpuError, MemoryError) as error:
        print(f"The GPU failed: {error}")
        return 1
    if wrong:
        print(f"Layers that disagree with the CPU: {', '.join(wrong)}")
        return 1
    print(f"All {len(artefact.names)} attention layers on the GPU agree with the CPU.")
    return 0
