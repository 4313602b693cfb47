"""run_pipeline: text and bytecode, diagnostics, reproducers, dumps."""

import os
import subprocess
from pathlib import Path

import pytest

from sparseattn import compiler, library
from sparseattn.compiler import CompilerError, run_pipeline

MODULE = """
func.func @f() -> i32 {
  %0 = arith.constant 1 : i32
  %1 = arith.constant 2 : i32
  %2 = arith.addi %0, %1 : i32
  return %2 : i32
}
"""
EXTERN = """
func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = sparseattn.extern "aten.relu"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""


def test_version_names_both():
    assert "MLIR 22." in compiler.version()


@pytest.mark.parametrize("pipeline", ["canonicalize", "builtin.module(canonicalize)", "func.func(canonicalize)"])
def test_runs_passes(pipeline):
    assert "constant 3 : i32" in run_pipeline(MODULE, pipeline)


def test_bytecode_round_trip():
    bytecode = run_pipeline(MODULE, bytecode=True)
    assert bytecode.startswith(b"ML\xefR")
    assert run_pipeline(bytecode, "canonicalize") == run_pipeline(MODULE, "canonicalize")


def test_error_carries_every_diagnostic():
    with pytest.raises(CompilerError) as caught:
        run_pipeline("func.func @f() {\n  return %x : i32\n}", name="model.mlir")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.severity, diagnostic.location) == ("error", "model.mlir:2:10")
    assert "undeclared SSA value" in diagnostic.message
    assert str(caught.value) == f"model.mlir:2:10: error: {diagnostic.message}"
    assert caught.value.reproducer is None


def test_failing_pass_is_named_and_leaves_a_reproducer(tmp_path):
    path = tmp_path / "repro.mlir"
    with pytest.raises(CompilerError, match="pass 'convert-sparseattn-to-scf' failed") as caught:
        run_pipeline(EXTERN, "sparseattn-to-cpu", reproducer=path)
    assert caught.value.reproducer == str(path)
    assert caught.value.diagnostics[-1].notes[0].message.endswith(str(path))
    opt = Path(os.environ["SPARSEATTN_TOOLS"]) / "sparseattn-opt"
    again = subprocess.run([opt, "--run-reproducer", path], capture_output=True, text=True)
    assert again.returncode != 0 and "aten.relu" in again.stderr


def test_success_leaves_no_reproducer(tmp_path):
    run_pipeline(MODULE, "cse", reproducer=tmp_path / "repro.mlir")
    assert not list(tmp_path.iterdir())


def test_dump_numbers_every_pass(tmp_path):
    run_pipeline(MODULE, "func.func(canonicalize),cse", dump=tmp_path / "levels")
    names = sorted(path.name for path in (tmp_path / "levels").iterdir())
    assert names == ["00-input.mlir", "01-canonicalize-f.mlir", "02-cse.mlir"]
    assert "constant 3" in (tmp_path / "levels" / names[1]).read_text()


def test_warnings_reach_the_caller(tmp_path):
    (tmp_path / "file").write_text("")
    found = []
    run_pipeline(MODULE, "cse", dump=tmp_path / "file" / "below", diagnostics=found)
    assert [diagnostic.severity for diagnostic in found] == ["warning"]


def test_unregistered_dialects_on_request():
    ir = '"stablehlo.add"() : () -> ()'
    assert ir in run_pipeline(ir, allow_unregistered=True)
    with pytest.raises(CompilerError, match="unregistered"):
        run_pipeline(ir)


@pytest.mark.parametrize(
    "ir, pipeline",
    [("(", ""), (MODULE, "no-such-pass"), (MODULE, "builtin.module(cse"), ("[" * 100000, ""), ("\ud800", ""), (b"\xff\x00", "")],
)
def test_bad_input_is_an_error(ir, pipeline):
    with pytest.raises(CompilerError):
        run_pipeline(ir, pipeline)


def test_wrong_type_is_a_type_error():
    with pytest.raises(TypeError, match="expected MLIR as str or bytes, found int"):
        run_pipeline(7)


def test_same_text_as_the_driver():
    """The library and the driver see one set of traits: folding depends on them."""
    path = Path(os.environ["SPARSEATTN_TOOLS"]) / "sparseattn-opt"
    driver = subprocess.run(
        [path, "--pass-pipeline=builtin.module(sparseattn-to-cpu)"], input=ATTENTION, capture_output=True, text=True
    )
    assert driver.returncode == 0, driver.stderr
    assert run_pipeline(ATTENTION, "sparseattn-to-cpu").strip() == driver.stdout.strip()


ATTENTION = """
func.func @layer_0(%q: tensor<1x2x8x16xf32>, %k: tensor<1x1x8x16xf32>, %v: tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32> {
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.window<4>)
    : (tensor<1x2x8x16xf32>, tensor<1x1x8x16xf32>, tensor<1x1x8x16xf32>) -> tensor<1x2x8x16xf32>
  return %o : tensor<1x2x8x16xf32>
}
"""


def test_library_shows_nothing_but_the_c_abi_and_trait_ids():
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", library.load()._name], capture_output=True, text=True, check=True
    ).stdout
    symbols = [line.split()[-2:] for line in listing.splitlines()]
    assert all(kind != "u" for kind, _ in symbols), "a unique symbol is shared by all libraries of a process"
    allowed = ("sparseattn", "_ZZN4mlir6detail14TypeIDResolver", "_ZGVZN4mlir6detail14TypeIDResolver")
    assert [name for _, name in symbols if not name.startswith(allowed)] == []
    assert sum(name.startswith("sparseattn") for _, name in symbols) == 16


def test_missing_library_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARSEATTN_LIBRARY", str(tmp_path / "nowhere.so"))
    with pytest.raises(library.LibraryNotFound, match="nowhere.so: build the project"):
        library.load.__wrapped__()
    (tmp_path / "nowhere.so").write_text("not a library")
    with pytest.raises(library.LibraryNotFound, match="cannot use .*nowhere.so"):
        library.load.__wrapped__()


def test_library_is_found_in_the_build_tree(monkeypatch):
    monkeypatch.delenv("SPARSEATTN_LIBRARY")
    source = Path(library.__file__).resolve().parents[2]
    folders = [path.parent for path in library.candidates()]
    assert folders[:2] == [source / "python" / "sparseattn", source / "python" / "sparseattn" / "lib"]
    assert all(folder.parent.parent == source for folder in folders[2:])
