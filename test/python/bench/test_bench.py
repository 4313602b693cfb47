"""The benchmark where neither a GPU nor torch is needed."""

import argparse
import re

import pytest

from sparseattn import runtime
from sparseattn.bench import __main__ as program
from sparseattn.bench import kernels, report
from sparseattn.bench.cases import SUITES, Case, listed_blocks


def test_names_are_distinct():
    for make in SUITES.values():
        names = [case.name for case in make()]
        assert len(set(names)) == len(names)


def test_prepare_leaves_out_what_cannot_be_compiled(tmp_path, capsys):
    cases = [Case("test", 1, 4, 2, 512, 80, "causal"), Case("test", 1, 4, 2, 512, 64, "causal")]
    assert kernels.prepare(tmp_path, cases) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("d80_causal: skipped, because it cannot be compiled: ") and "80" in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["d64_causal"]
    assert runtime.load(tmp_path / "d64_causal").names == ("d64_causal",)
    library = kernels.Library(tmp_path)
    with pytest.raises(ValueError, match="no kernel d80_causal in"):
        library.program(cases[0], None, None, None)


def test_prepares_the_lists(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench", "--prepare", str(tmp_path), "--suite", "blocks", "--only", "s16384.*blocks"])
    assert program.main() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["d128_causal_blocks128x128"]


def test_a_kernel_for_each_length_class(tmp_path, capsys):
    cases = [Case("test", 1, 4, 2, length, 128, "mixed", window=64) for length in (512, 32767, 32768, 65536, 131072)]
    assert kernels.prepare(tmp_path, cases) == 0
    names = [f"d128_table_1xcausal_1xwindow64{suffix}" for suffix in ("", "-keys32768")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names and len(capsys.readouterr().out.splitlines()) == 2
    assert [kernels.Library(tmp_path).place(case).name for case in cases] == [names[0]] * 2 + [names[1]] * 3
    library = kernels.Library(None)
    assert [library.place(case).name for case in reversed(cases)] == [names[1]] * 3 + [names[0]] * 2
    # It is the documents that are long or short.
    documents = Case("test", 1, 4, 2, 32768, 128, "mixed", window=64, documents=32, layout="thd")
    assert library.place(documents).name == f"{names[0]}_thd"


def test_options(monkeypatch, capsys):
    assert program.peer_names("fa2,triton") == ["fa2", "triton"] and program.peer_names("") == []
    with pytest.raises(argparse.ArgumentTypeError, match="expected some of cudnn,fa2,flex,triton, found fa3"):
        program.peer_names("fa2,fa3")
    options = argparse.Namespace(suite=["gqa", "window"], only=re.compile("s16384d128-(causal|window512)$"))
    assert [case.name for _, _, case in program.selected(options)] == [
        "b1h32/8s16384d128-causal", "b1h32/2s16384d128-causal", "b1h32/8s16384d128-window512"]


@pytest.mark.parametrize("case", SUITES["blocks"](), ids=lambda case: case.name)
def test_lists_have_the_share_they_promise(case):
    tiles = case.length // 128
    total = 0
    for tile in range(tiles):
        first, seen, count = listed_blocks(case, tile)
        assert (first, seen) == (tile, tile + 1) and 1 <= count <= seen and count - case.density * seen < 1
        total += count
    assert total / (tiles * (tiles + 1) / 2) == pytest.approx(case.density, rel=0.08)
    assert case.pairs / (case.length**2 / 2) == pytest.approx(case.density, rel=0.01)


def test_missing_peers_are_dashes():
    times = {"burst": [1e-3], "sustained": [2e-3]}
    rows = [{"case": "a", "group": "g", "flops": 1e12, "error": 1e-3, "times": {"ours": times, "FA2": times}},
            {"case": "b", "group": "g", "flops": 1e12, "error": 1e-3, "times": {"ours": times}, "missing": {"FA2": "no"}}]
    table = report.table(rows, ["FA2", "Flex"]).splitlines()
    assert table[2].split(" | ")[3:] == ["1000/500", "–", "1.00/1.00 |"]
    assert table[3].split(" | ")[3:] == ["–", "–", "– |"]
