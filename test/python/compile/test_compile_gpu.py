"""sparseattn-compile --target=sm_90a; no GPU is needed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sparseattn import c_header, gpu_artefact, runtime
from sparseattn import compile as driver

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ["SPARSEATTN_BUILD"])
CONFIGS = ROOT / "test" / "Import" / "fixtures" / "configs"
PTXAS = gpu_artefact.find_ptxas()
# The first and the last layer compute the same; the second has sizes that the call decides.
MODEL = """
!q = tensor<1x4x300x128xbf16>
!k = tensor<1x2x300x128xbf16>
!o = tensor<?x?x?x64xf16>
!l = tensor<?x3x?x64xf16>
func.func @main(%q: !q, %k: !k, %v: !k, %r: !o, %l: !l, %w: !l, %sink: tensor<?xf32>, %at: index) -> (!q, !o, tensor<?x?x?xf32>, !q) {
  %a = sparseattn.attention %q, %k, %v keys(#sparseattn.window<100>) {layer = 0 : i64} : (!q, !k, !k) -> !q
  %b, %lse = sparseattn.attention %r, %l, %w keys(#sparseattn.causal) sink(%sink) q_offset(%at) return_lse {layer = 1 : i64}
    : (!o, !l, !l, tensor<?xf32>, index) -> (!o, tensor<?x?x?xf32>)
  %c = sparseattn.attention %a, %k, %v keys(#sparseattn.window<100>) {layer = 2 : i64, kv_source = 0 : i64} : (!q, !k, !k) -> !q
  return %a, %b, %lse, %c : !q, !o, tensor<?x?x?xf32>, !q
}
"""
NARROW = """
func.func @main(%q: tensor<1x4x300x128xbf16>, %r: tensor<1x4x300x80xbf16>) -> (tensor<1x4x300x128xbf16>, tensor<1x4x300x80xbf16>) {
  %k, %v = sparseattn.extern "project"(%q) : (tensor<1x4x300x128xbf16>) -> (tensor<1x4x300x128xbf16>, tensor<1x4x300x128xbf16>)
  %l, %w = sparseattn.extern "project"(%r) : (tensor<1x4x300x80xbf16>) -> (tensor<1x4x300x80xbf16>, tensor<1x4x300x80xbf16>)
  %a = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) {layer = 0 : i64}
    : (tensor<1x4x300x128xbf16>, tensor<1x4x300x128xbf16>, tensor<1x4x300x128xbf16>) -> tensor<1x4x300x128xbf16>
  %b = sparseattn.attention %r, %l, %w keys(#sparseattn.causal) {layer = 1 : i64}
    : (tensor<1x4x300x80xbf16>, tensor<1x4x300x80xbf16>, tensor<1x4x300x80xbf16>) -> tensor<1x4x300x80xbf16>
  return %a, %b : tensor<1x4x300x128xbf16>, tensor<1x4x300x80xbf16>
}
"""
PLAN = ["model.mlir", "plan.json", "plan.txt"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def run(text, folder, *arguments):
    source = folder / "my-model.mlir"
    source.write_text(text)
    return driver.main([str(source), "-o", str(folder / "out"), "--target=sm_90a", "--length", "300", "--batch", "1", *arguments])


def test_artefact(tmp_path, capsys):
    assert run(MODEL, tmp_path) == 0
    out = tmp_path / "out"
    images = ["ptx"] + ["cubin"] * (PTXAS is not None)
    assert names(out) == sorted([*PLAN, "manifest.json", "my_model.h", *(f"layer_{i}.{image}" for i in (0, 1) for image in images)])
    assert names(tmp_path) == ["my-model.mlir", "out"]
    output = capsys.readouterr()
    assert output.out.endswith(f"3 attention layers compiled for sm_90a in {out}\n")
    assert ("PTX only" in output.err) == (PTXAS is None)
    artefact = runtime.load(out)
    assert artefact.names == ("layer_0", "layer_1", "layer_2")
    assert artefact.manifest["info"]["files"]["header"] == "my_model.h"
    assert [entry["info"] for entry in artefact.manifest["kernels"]] == [
        {"layer": 0, "kind": "window"}, {"layer": 1, "kind": "causal"}, {"layer": 2, "kind": "window"}]
    assert [operand.shape for operand in artefact("layer_2").operands] == [
        (1, 4, 300, 128), (1, 2, 300, 128), (1, 2, 300, 128), (1, 4, 300, 128)]
    assert artefact("layer_1").operands[1].shape == ("B", 3, "Nk", 64)


def test_config_without_ptxas(tmp_path, capsys):
    arguments = [str(CONFIGS / "gpt-oss-20b.json"), "--length", "4096", "--target=sm_90a", "--no-ptxas"]
    assert driver.main([*arguments, "-o", str(tmp_path / "out")]) == 0
    assert names(tmp_path / "out") == sorted([*PLAN, "gpt_oss_20b.h", "layer_0.ptx", "layer_1.ptx", "manifest.json"])
    assert len(runtime.load(tmp_path / "out").names) == 24
    assert "ptxas" not in capsys.readouterr().err


PROGRAM = r"""
#include "out/my_model.h"
#include "FakeDriver.h"
#include <stdio.h>

/* Addresses for the driver of the tests, which runs nothing. */
static void *address(int64_t number) { return (void *)(number << 24); }

int main(int argc, char **argv) {
  SparseAttnArtefact *artefact;
  SparseAttnKernel *fixed, *open;
  if (argc != 2 || sparseattnArtefactOpen(argv[1], &artefact) != SPARSEATTN_OK ||
      my_model_layer_2_find(artefact, &fixed) != SPARSEATTN_OK || my_model_layer_1_find(artefact, &open) != SPARSEATTN_OK)
    return 2;
  SparseAttnStatus status = my_model_layer_2(fixed, 0, address(1), address(2), address(3), address(4), address(0x77));
  if (status == SPARSEATTN_OK)
    status = my_model_layer_1(open, 0, 2, 6, 333, 500, address(1), address(2), address(3), address(4), address(5),
                              address(6), 167, NULL);
  if (status == SPARSEATTN_OK) {
    /* Every second query of a longer tensor. */
    const int64_t sizes[] = {1, 4, 300, 128}, strides[] = {307200, 76800, 256, 1}, keys[] = {1, 2, 300, 128};
    my_model_layer_2_operands operands = {{address(1), SPARSEATTN_BF16, 4, 0, sizes, strides},
                                          {address(2), SPARSEATTN_BF16, 4, 0, keys, NULL},
                                          {address(3), SPARSEATTN_BF16, 4, 0, keys, NULL},
                                          {address(4), SPARSEATTN_BF16, 4, 0, sizes, NULL}};
    status = my_model_layer_2_launch(fixed, &operands, NULL);
    if (status == SPARSEATTN_OK) {
      operands.key.dtype = SPARSEATTN_F16;
      if (my_model_layer_2_launch(fixed, &operands, NULL) == SPARSEATTN_OK)
        return 3;
      fprintf(stderr, "%s\n", sparseattnRuntimeError());
    }
  }
  if (status != SPARSEATTN_OK)
    fprintf(stderr, "%s\n", sparseattnRuntimeError());
  puts(fakeDriverLog());
  sparseattnArtefactFree(artefact);
  return status != SPARSEATTN_OK;
}
"""


@pytest.mark.parametrize("language", [["cc", "-x", "c", "-std=c11"], ["c++", "-x", "c++", "-std=c++17"]], ids=["C11", "C++17"])
def test_header(language, tmp_path):
    """A program over the header alone, against the driver that records launches."""
    if shutil.which(language[0]) is None:
        pytest.skip(f"no {language[0]}")
    assert run(MODEL, tmp_path, "--no-ptxas", "--quiet") == 0
    (tmp_path / "program.c").write_text(PROGRAM)
    fake = BUILD / "test" / "Runtime"
    libraries = [f"-L{BUILD / 'lib'}", f"-Wl,-rpath,{BUILD / 'lib'}", "-lSparseAttnRuntime",
                 f"-L{fake}", f"-Wl,-rpath,{fake}", "-lSparseAttnFakeDriver"]
    subprocess.run([*language, "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}", f"-I{ROOT / 'test' / 'Runtime'}",
                    "program.c", "-o", "program", *libraries], cwd=tmp_path, check=True)
    environment = {**os.environ, "SPARSEATTN_LIBCUDA": str(fake / "libSparseAttnFakeDriver.so")}
    done = subprocess.run([tmp_path / "program", "out"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "operand 'key' (argument 1): expected bf16, found f16" in done.stderr
    log = json.loads(done.stdout)
    assert [(entry["symbol"], entry["stream"]) for entry in log["launches"]] == [
        ("layer_0", 0x77 << 24), ("layer_1", 0), ("layer_0", 0)]
    assert [entry["address"] >> 24 for entry in log["maps"][:6]] == [1, 2, 3, 1, 2, 3]
    # Lengths and heads of the second launch, innermost dimension first; positions are the second.
    assert [entry["dims"][1] for entry in log["maps"][3:6]] == [333, 500, 500]
    assert [entry["dims"][3:] for entry in log["maps"][3:6]] == [[6, 2], [3, 2], [3, 2]]
    assert log["maps"][6]["strides"][0] == 512


def test_header_names_are_identifiers(tmp_path):
    assert c_header.identifier("gpt-oss 20b") == "gpt_oss_20b"
    assert c_header.identifier("2x") == "m2x" and c_header.identifier("ÄÖ") == "kernels"
    operand = {"name": "double", "role": "output", "dtype": "f32", "axes": ["a"], "shape": ["int"]}
    kernel = {"name": "k", "chip": "sm_90a", "operands": [operand], "info": {"kind": "a */ int x;"},
              "attributes": [{"name": "class", "type": "f32"}, {"name": "stream", "type": "i64"}, {"name": "n", "type": "i32", "default": 3}]}
    (tmp_path / "h.c").write_text(c_header.make_header({"kernels": [kernel]}, "p", "*/ int y;"))
    for language in (["cc", "-x", "c", "-std=c11"], ["c++", "-x", "c++", "-std=c++17"]):
        if shutil.which(language[0]):
            subprocess.run([*language, "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}", "-c", "h.c", "-o", "h.o"],
                           cwd=tmp_path, check=True)


@pytest.mark.parametrize("options, threads", [
    (["--length", "300"], 384), (["--length", "40000"], 512), (["--length", "300", "--expected-keys", "40000"], 512),
    (["--length", "40000", "--expected-keys", "300"], 384)], ids=str)
def test_length_class(options, threads, tmp_path):
    """The model leaves the number of keys open; the command says how many to expect."""
    source = tmp_path / "open.mlir"
    source.write_text("""
!q = tensor<1x2x?x128xbf16>
func.func @main(%q: !q, %k: !q, %v: !q) -> !q {
  %a = sparseattn.attention %q, %k, %v keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<64>]>)
    {layer = 0 : i64} : (!q, !q, !q) -> !q
  return %a : !q
}
""")
    arguments = [str(source), "-o", str(tmp_path / "out"), "--target=sm_90a", "--no-ptxas", "--quiet", *options]
    assert driver.main(arguments) == 0
    assert runtime.load(tmp_path / "out").manifest["kernels"][0]["block_threads"] == threads


def test_schedule_table(tmp_path, capsys):
    table = tmp_path / "my, table"
    table.write_text("128 128 window #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>\n")
    assert run(MODEL, tmp_path, "--no-ptxas", "--quiet", "--schedule-table", str(table)) == 0
    entries = runtime.load(tmp_path / "out").manifest["kernels"]
    assert [entry["block_threads"] for entry in entries] == [256, 512, 256]
    capsys.readouterr()
    # The table is at fault, not the layers.
    table.write_text("128 128 window>0 #sparseattn.schedule<query_tile = 64>\n")
    for path, message in ((table, "my, table:1: expected a length class such as window>=8192"), (tmp_path / "none", "cannot read '")):
        assert run(MODEL, tmp_path, "--no-ptxas", "--partial", "--force", "--schedule-table", str(path)) == 1
        error = capsys.readouterr().err
        assert message in error and "layer_" not in error
    assert [entry["block_threads"] for entry in runtime.load(tmp_path / "out").manifest["kernels"]] == [256, 512, 256]


def test_layers_without_a_kernel(tmp_path, capsys):
    assert run(NARROW, tmp_path) == 1
    error = capsys.readouterr().err
    assert "layer_1 cannot be compiled for sm_90a: layer_1:" in error and "80" in error and "--partial" in error
    assert names(tmp_path) == ["my-model.mlir"]
    assert run(NARROW, tmp_path, "--partial", "--no-ptxas") == 0
    output = capsys.readouterr()
    assert "remark: layer_1 cannot be compiled" in output.err and "1 attention layers compiled" in output.out
    assert runtime.load(tmp_path / "out").names == ("layer_0",)
    assert names(tmp_path / "out") == sorted([*PLAN, "layer_0.ptx", "manifest.json", "my_model.h"])


def test_nothing_left_when_all_are_refused(tmp_path, capsys):
    assert run(MODEL.replace("bf16", "f32").replace("xf16", "xf32"), tmp_path, "--partial") == 1
    error = capsys.readouterr().err
    assert "layer_0, layer_2 cannot be compiled" in error and "--target=cpu takes every layer" in error
    assert names(tmp_path) == ["my-model.mlir"]


def test_ptxas(tmp_path, capsys, monkeypatch):
    assert run(MODEL, tmp_path, "--ptxas", str(tmp_path / "none")) == 1
    assert f"expected CUDA's assembler at {tmp_path / 'none'}" in capsys.readouterr().err
    broken = tmp_path / "bin" / "ptxas"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho wrong version\nexit 3\n")
    broken.chmod(0o755)
    assert run(MODEL, tmp_path, "--ptxas", str(broken)) == 1
    assert "wrong version" in capsys.readouterr().err
    assert names(tmp_path) == ["bin", "my-model.mlir"]
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert gpu_artefact.find_ptxas() == str(broken)


def test_force_and_levels(tmp_path, capsys):
    assert run(MODEL, tmp_path, "--no-ptxas", "--quiet", "--dump-levels") == 0
    levels = names(tmp_path / "out" / "levels")
    assert levels[0] == "00-imported.mlir" and any(name.endswith("-layer_1.mlir") for name in levels)
    assert run(MODEL, tmp_path, "--no-ptxas") == 1 and "--force" in capsys.readouterr().err
    assert run(MODEL, tmp_path, "--no-ptxas", "--force", "--quiet") == 0
    assert "levels" not in names(tmp_path / "out")
    # From a target to another.
    source = tmp_path / "my-model.mlir"
    arguments = [str(source), "-o", str(tmp_path / "out"), "--length", "300", "--batch", "1", "--quiet", "--force"]
    assert driver.main(arguments) == 0 and "kernels.so" in names(tmp_path / "out")
    assert run(MODEL, tmp_path, "--no-ptxas", "--force", "--quiet") == 0 and "kernels.so" not in names(tmp_path / "out")


@pytest.mark.parametrize("arguments, words", [
    (["--target=sm_90"], "choose from 'cpu', 'sm_90a'"),
    (["--target=sm_90a", "--cpu", "x86-64-v3"], "--cpu does not go with --target=sm_90a"),
    (["--target=cpu", "--partial"], "--partial does not go with --target=cpu"),
    (["--target=cpu", "--expected-keys", "8"], "--expected-keys does not go with --target=cpu"),
    (["--target=sm_90a", "--expected-keys", "0"], "expected a number of at least 1, found 0"),
    (["--target=cpu", "--schedule-table", "x"], "--schedule-table does not go with --target=cpu"),
    (["--target=sm_90a", "--schedule-table", "a{b"], "argument --schedule-table: expected a path without braces"),
    (["--no-ptxas"], "--no-ptxas does not go with --target=cpu"),
    (["--target=sm_90a", "--no-ptxas", "--ptxas", "x"], "--ptxas does not go with --no-ptxas"),
])
def test_wrong_arguments(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        driver.main(["in.mlir", "-o", "out", *arguments])
    assert caught.value.code == 2 and words in capsys.readouterr().err.replace("(choose from cpu, sm_90a)", "choose from 'cpu', 'sm_90a'")
