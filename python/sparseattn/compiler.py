"""The compiler: MLIR in, MLIR or callable code out.

    module = compile_cpu(text)
    out = module("layer_0")(q, k, v)

Everything goes through the C ABI of libSparseAttn.so; calls release the
interpreter lock and may run on several threads at once.
"""

import ctypes
import json
import os
import weakref
from dataclasses import dataclass, field
from typing import Any, Mapping

from . import calling, library
from .calling import Value
from .library import LibraryNotFound

__all__ = [
    "CompilerError",
    "Diagnostic",
    "Function",
    "LibraryNotFound",
    "Module",
    "Value",
    "check_schedule_table",
    "compile_cpu",
    "compile_gpu",
    "compile_to_files",
    "run_pipeline",
    "version",
]

_SEVERITIES = ("error", "warning", "remark", "note")
PathLike = str | os.PathLike


@dataclass(frozen=True)
class Diagnostic:
    """One message of the compiler.

    severity: "error", "warning", "remark" or "note"; location: "file:line:column"
    or "" when unknown; notes: what the compiler adds to it.
    """

    severity: str
    location: str
    message: str
    notes: tuple["Diagnostic", ...] = ()

    def __str__(self) -> str:
        place = f"{self.location}: " if self.location else ""
        return "\n".join([f"{place}{self.severity}: {self.message}", *map(str, self.notes)])


class CompilerError(RuntimeError):
    """The compiler refused its input or failed.

    diagnostics: all messages, warnings and remarks included; reproducer: path of
    a file that repeats the failure (`sparseattn-opt --run-reproducer PATH`), or
    None.
    """

    def __init__(self, diagnostics: list[Diagnostic], reproducer: str | None = None):
        super().__init__("\n".join(map(str, diagnostics)) or "the compiler failed without a reason")
        self.diagnostics = diagnostics
        self.reproducer = reproducer


@dataclass
class _Outcome:
    text: bytes
    diagnostics: list[Diagnostic] = field(default_factory=list)


def version() -> str:
    """Versions of the project and of MLIR."""
    return library.load().sparseattnVersion().decode()


def _take(pointer: int) -> _Outcome:
    """Reads a result of the library and frees it. Raises CompilerError when it failed."""
    lib = library.load()
    try:
        flat = []
        raw = library.RawDiagnostic()
        for index in range(lib.sparseattnResultDiagnosticCount(pointer)):
            lib.sparseattnResultDiagnostic(pointer, index, ctypes.byref(raw))
            entry = Diagnostic(_SEVERITIES[raw.severity], raw.location.decode(), raw.message.decode())
            if entry.severity == "note" and flat:
                owner = flat[-1]
                flat[-1] = Diagnostic(owner.severity, owner.location, owner.message, (*owner.notes, entry))
            else:
                flat.append(entry)
        if not lib.sparseattnResultOk(pointer):
            reproducer = lib.sparseattnResultReproducer(pointer).decode(errors="surrogateescape")
            raise CompilerError(flat, reproducer or None)
        length = ctypes.c_size_t()
        text = lib.sparseattnResultText(pointer, ctypes.byref(length))
        return _Outcome(ctypes.string_at(text, length.value), flat)
    finally:
        lib.sparseattnResultFree(pointer)


def _path(path: PathLike | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def _text(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def quote_path(path: PathLike) -> str:
    """`path` as the value of an option in a pipeline, which has quotes but no escapes.

    Raises ValueError when it cannot be one.
    """
    text = os.fsdecode(path)
    if not text or text != text.strip() or not text.isprintable() or set('{}"') & set(text):
        raise ValueError(
            "expected a path without braces, double quotes, spaces around it and what cannot be printed, which a "
            f"pipeline cannot name, found {text!r}: rename or copy the file"
        )
    return f'"{text}"'


def check_schedule_table(path: PathLike) -> None:
    """Reads a file of schedules as `compile_gpu` does. Raises CompilerError or ValueError when it cannot be used."""
    run_pipeline("module {}", f"sparseattn-select-schedule{{table={quote_path(path)}}}", name=os.fsdecode(path))


def _source(ir: str | bytes) -> bytes:
    if isinstance(ir, str):
        # Lone surrogates cannot be in MLIR; let the parser say so instead of the codec.
        return ir.encode(errors="backslashreplace")
    if isinstance(ir, (bytes, bytearray, memoryview)):
        return bytes(ir)
    raise TypeError(f"expected MLIR as str or bytes, found {type(ir).__name__}")


def _options(
    name: str, verify: bool = True, reproducer: PathLike | None = None, dump: PathLike | None = None, **others: Any
) -> library.Options:
    return library.Options(
        size=ctypes.sizeof(library.Options),
        input_name=name.encode(errors="replace"),
        no_verify=not verify,
        reproducer_path=_path(reproducer),
        dump_folder=_path(dump),
        **others,
    )


def run_pipeline(
    ir: str | bytes,
    pipeline: str = "",
    *,
    name: str = "input",
    verify: bool = True,
    allow_unregistered: bool = False,
    bytecode: bool = False,
    locations: bool = False,
    reproducer: PathLike | None = None,
    dump: PathLike | None = None,
    diagnostics: list[Diagnostic] | None = None,
) -> str | bytes:
    """Runs a pass pipeline on a module and returns the module.

    ir: MLIR text, or bytecode as bytes. pipeline: as for mlir-opt, with or
    without `builtin.module(...)` around it; "" only parses and verifies. name: of
    the input, in locations. verify: after each pass. allow_unregistered: accept
    operations of unknown dialects. bytecode: return bytecode. locations: print
    them. reproducer: file to write when the pipeline fails. dump: folder for a
    numbered file after each pass. diagnostics: receives warnings and remarks.

    Raises CompilerError.
    """
    options = _options(
        name,
        verify,
        reproducer,
        dump,
        allow_unregistered=allow_unregistered,
        emit_bytecode=bytecode,
        print_locations=locations,
    )
    source = _source(ir)
    outcome = _take(
        library.load().sparseattnRunPipeline(source, len(source), pipeline.encode(), ctypes.byref(options))
    )
    if diagnostics is not None:
        diagnostics.extend(outcome.diagnostics)
    return outcome.text if bytecode else outcome.text.decode()


class _Engine:
    """An engine of the library; freed when no function needs it any more."""

    def __init__(self, pointer: int):
        self.pointer = pointer
        weakref.finalize(self, library.load().sparseattnEngineFree, pointer).atexit = False


class Function:
    """A compiled function; call it with one value for each argument.

    Tensors are NumPy arrays of the signature's dtype and shape: bf16 as
    `ml_dtypes.bfloat16` or as the bits in uint16, i1 as bool, index as int64.
    Scalars are Python or NumPy numbers. Arrays that are not C-contiguous are
    copied. Returns None, one result, or a tuple; result arrays own their memory.

    Raises TypeError or ValueError for arguments that do not fit the signature,
    and CompilerError when their sizes do not fit together.
    """

    def __init__(self, engine: _Engine, description: dict):
        self._engine = engine
        self.name: str = description["name"]
        self.attributes: Mapping[str, Any] = description["attributes"]
        self.arguments = tuple(map(Value.from_json, description["arguments"]))
        self.results = tuple(map(Value.from_json, description["results"]))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{value.name}: {value}" for value in self.arguments)
        return f"{self.name}({arguments}) -> ({', '.join(map(str, self.results))})"

    def __call__(self, *values: Any) -> Any:
        if len(values) != len(self.arguments):
            raise TypeError(f"{self!r}: expected {len(self.arguments)} arguments, found {len(values)}")
        lib = library.load()
        alive = []
        pointers = []
        for index, (expected, value) in enumerate(zip(self.arguments, values)):
            place = f"argument {index} ('{expected.name}') of {self.name}"
            pointer, kept = calling.pack_argument(expected, value, place)
            pointers.append(pointer)
            alive.append(kept)
        holders = []
        for expected in self.results:
            pointer, holder = calling.make_result(expected)
            pointers.append(pointer)
            holders.append(holder)
        owned = ctypes.create_string_buffer(max(len(self.results), 1))
        array = (ctypes.c_void_p * max(len(pointers), 1))(*pointers)
        _take(
            lib.sparseattnEngineInvoke(self._engine.pointer, self.name.encode(), array, len(pointers), owned)
        )
        # In order: a result that is copied may live in the memory of an earlier one.
        results = [
            calling.unpack_result(expected, holder, owned.raw[index] != 0, lib.sparseattnBufferFree)
            for index, (expected, holder) in enumerate(zip(self.results, holders))
        ]
        del alive
        if not results:
            return None
        return results[0] if len(results) == 1 else tuple(results)


class Module:
    """Compiled functions. `module("f")` is the function `f`."""

    def __init__(self, engine: _Engine, signature: dict):
        self.functions = {entry["name"]: Function(engine, entry) for entry in signature["functions"]}

    def __call__(self, name: str) -> Function:
        try:
            return self.functions[name]
        except KeyError:
            raise KeyError(f"no function '{name}'; the module has {', '.join(self.functions)}") from None


def compile_cpu(
    ir: str | bytes,
    *,
    pipeline: str | None = None,
    name: str = "input",
    cpu: str | None = None,
    features: str | None = None,
    opt_level: int = 3,
    openmp: PathLike | None = None,
    verify: bool = True,
    reproducer: PathLike | None = None,
    dump: PathLike | None = None,
) -> Module:
    """Compiles every public function of a module for this process.

    pipeline: lowers the module to the LLVM dialect, default `sparseattn-to-cpu`;
    `sparseattn-tiles-to-cpu` takes attention through level L1, which other targets share.
    cpu, features: of LLVM, as "x86-64-v3" and "+avx2,-fma"; default this machine.
    opt_level: 0 to 3. openmp: path of libomp.so.5. Others as for `run_pipeline`;
    the dump folder also receives LLVM IR.

    Raises CompilerError.
    """
    options = _code_options(name, cpu, features, opt_level, verify, reproducer, dump, openmp=openmp)
    source = _source(ir)
    engine = ctypes.c_void_p()
    outcome = _take(
        library.load().sparseattnEngineCreate(
            source, len(source), _text(pipeline), ctypes.byref(options), ctypes.byref(engine)
        )
    )
    return Module(_Engine(engine.value), json.loads(outcome.text))


def compile_to_files(
    ir: str | bytes,
    object_path: PathLike,
    library_path: PathLike | None = None,
    *,
    pipeline: str | None = None,
    name: str = "input",
    cpu: str | None = None,
    features: str | None = None,
    opt_level: int = 3,
    openmp: PathLike | None = None,
    linker: PathLike | None = None,
    verify: bool = True,
    reproducer: PathLike | None = None,
    dump: PathLike | None = None,
) -> dict:
    """Compiles to an object file and, if asked, links it to a shared library.

    For each function `f` they export `void sparseattn_packed_f(void **values)`
    (include/sparseattn-c/SparseAttn.h). linker: path of ld.lld. Returns `triple`,
    `cpu`, `features` and the `functions` with their signatures.

    Raises CompilerError; then neither file is left behind.
    """
    options = _code_options(name, cpu, features, opt_level, verify, reproducer, dump, openmp=openmp, linker=linker)
    source = _source(ir)
    outcome = _take(
        library.load().sparseattnCompileToFiles(
            source, len(source), _text(pipeline), ctypes.byref(options), _path(object_path), _path(library_path)
        )
    )
    return json.loads(outcome.text)


def compile_gpu(
    ir: str | bytes,
    folder: PathLike,
    *,
    pipeline: str | None = None,
    name: str = "input",
    expected_keys: int | None = None,
    schedule_table: PathLike | None = None,
    ptxas: PathLike | None = None,
    verify: bool = True,
    reproducer: PathLike | None = None,
    dump: PathLike | None = None,
) -> dict:
    """Compiles attention functions to kernels for Hopper GPUs, into an existing folder.

    It receives manifest.json, PTX and, with `ptxas`, the path of CUDA's assembler, cubins;
    `sparseattn.runtime.load` opens it. Returns the manifest.

    expected_keys: how many keys to choose schedules for where the types leave it open (option
    `expected-keys` of `sparseattn-to-nvvm`, so not with another `pipeline`); the kernels are
    right for any number. schedule_table: file with schedules that come before the built-in ones
    (its option `schedule-table`; `sparseattn-select-schedule` describes the rows).

    Raises CompilerError; then no file is left behind. Raises ValueError for a path that a
    pipeline cannot name: with braces, double quotes, what cannot be printed, or spaces around it.
    """
    chosen = []
    if expected_keys is not None:
        chosen.append(("expected_keys", f"expected-keys={expected_keys}"))
    if schedule_table is not None:
        chosen.append(("schedule_table", f"schedule-table={quote_path(schedule_table)}"))
    if chosen:
        if pipeline is not None:
            name = chosen[0][0]
            raise ValueError(f"expected a pipeline or {name}, found both: {name} is of sparseattn-to-nvvm")
        pipeline = f"sparseattn-to-nvvm{{{' '.join(text for _, text in chosen)}}}"
    options = _options(name, verify, reproducer, dump)
    source = _source(ir)
    outcome = _take(
        library.load().sparseattnCompileForGpu(
            source, len(source), _text(pipeline), ctypes.byref(options), _path(ptxas), _path(folder)
        )
    )
    return json.loads(outcome.text)


def _code_options(
    name: str,
    cpu: str | None,
    features: str | None,
    opt_level: int,
    verify: bool,
    reproducer: PathLike | None,
    dump: PathLike | None,
    openmp: PathLike | None = None,
    linker: PathLike | None = None,
) -> library.Options:
    if opt_level not in range(4):
        raise ValueError(f"expected an optimisation level from 0 to 3, found {opt_level}")
    return _options(
        name,
        verify,
        reproducer,
        dump,
        cpu=_text(cpu),
        features=_text(features),
        # 0 is the default of the C ABI, not a level.
        opt_level=opt_level or -1,
        openmp_library=_path(openmp),
        linker=_path(linker),
    )
