"""The command: the reader is picked by content, output is all or nothing."""

import json
import shutil
import subprocess
import sys

import pytest
from support import FIXTURES, GEMMA3N, ROOT, pt2_bytes

from sparseattn.frontend.__main__ import import_file, kind_of, main
from sparseattn.frontend.emit import string
from sparseattn.frontend.errors import FrontendError
from sparseattn.frontend.graph import float_text


@pytest.mark.parametrize("file, kind", [
    (GEMMA3N.with_suffix(".pt2"), "pt2"), (FIXTURES / "configs" / "gpt-oss-20b.json", "config"),
    (FIXTURES / "onnx_attention23.onnx", "onnx"), (FIXTURES / "jax_window.mlir", "mlir")])
def test_content_decides(file, kind, tmp_path):
    renamed = tmp_path / "model.bin"
    shutil.copy(file, renamed)
    assert kind_of(renamed) == kind


@pytest.mark.parametrize("data, message", [
    (b"", "found: an empty file"), (b"\x80\x02}q", "found: a file that begins with"), (b"ML\xefR\x01", "MLIR bytecode"),
    (b"hello", "a .pt2 archive, a HuggingFace config.json, an ONNX model or MLIR text")])
def test_other_files(data, message, tmp_path):
    file = tmp_path / "x"
    file.write_bytes(data)
    with pytest.raises(FrontendError) as caught:
        kind_of(file)
    assert message in str(caught.value)


def test_remarks_and_text(tmp_path, capsys):
    out = tmp_path / "out.mlir"
    assert main([str(FIXTURES / "refused.pt2"), "-o", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("remark: ") == 3
    assert out.read_text() == (FIXTURES / "golden" / "refused.pt2.mlir").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mlir"]


def test_errors_write_nothing(tmp_path, capsys):
    bad = tmp_path / "bad.pt2"
    bad.write_bytes(pt2_bytes(b"{}"))
    assert main([str(bad), "-o", str(tmp_path / "out.mlir")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: expected the program to have 'schema_version'; found: nothing; export")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pt2"]


def test_an_output_that_cannot_be_written(tmp_path, capsys):
    assert main([str(FIXTURES / "causal.pt2"), "-o", str(tmp_path / "no" / "out.mlir")]) == 1
    assert "error: cannot write" in capsys.readouterr().err


def test_a_missing_file(tmp_path, capsys):
    assert main([str(tmp_path / "none.pt2")]) == 1
    assert "error: expected to be able to read" in capsys.readouterr().err


def test_options(capsys):
    config = str(FIXTURES / "configs" / "llama-3-8b.json")
    assert main([config, "--length", "33", "--batch", "2"]) == 0
    assert "tensor<2x32x33x128xbf16>" in capsys.readouterr().out
    assert main([config, "--length", "-1"]) == 1
    assert main([str(FIXTURES / "causal.pt2"), "--max-bytes", "10"]) == 1
    assert "at most 10 bytes" in capsys.readouterr().err


def test_mlir_is_passed_through():
    text, remarks = import_file(FIXTURES / "jax_window.mlir")
    assert text == (FIXTURES / "jax_window.mlir").read_text()
    assert "sparseattn-raise-imported" in remarks[0].advice
    assert import_file(FIXTURES / "golden" / "causal.pt2.mlir")[1] == []


def test_no_framework_is_imported():
    code = ("import sys; from sparseattn.frontend.__main__ import main; main(sys.argv[1:]);"
            "assert not {'torch', 'jax', 'onnx', 'numpy'} & set(sys.modules), sorted(sys.modules)")
    subprocess.run([sys.executable, "-c", code, str(FIXTURES / "causal.pt2"), "-o", "/dev/null"], check=True,
                   cwd=ROOT / "python", capture_output=True)


@pytest.mark.parametrize("value, text", [(1.0, "1.0"), (0.1, "0.1"), (1e-05, "1.0e-05"), (2.5e300, "2.5e+300"), (-3, "-3.0"),
                                         (128**-0.5, "0.08838834764831845")])
def test_float_text(value, text):
    assert float_text(value) == text and float(text) == value


def test_string_literals():
    assert string('a"b\\c\n\x00é') == '"a\\22b\\5Cc\\0A\\00\\C3\\A9"'
    assert json.loads(string("plain text.")) == "plain text."
