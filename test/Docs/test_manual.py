"""Every operation, attribute, type and pass has its entry in the manual that the build generates."""

import os
import pathlib
import re
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["SPARSEATTN_BUILD"])
MANUAL = {path.name: path.read_text() for path in sorted((BUILD / "docs").glob("*.md"))}

DEFINITION = re.compile(r"^def \w+ ?:(.*?)^}", re.MULTILINE | re.DOTALL)
OPERATION = re.compile(r'^\s*(SparseAttn(?:NV)?_\w*Op<"[\w.]+)"')
PASS = re.compile(r'Pass<"([\w-]+)"')


def definitions(pattern):
    names = []
    for path in sorted((SOURCE / "include").rglob("*.td")):
        for definition in DEFINITION.findall(path.read_text()):
            names.extend(pattern.findall(definition)[:1])
    return names


def entry(heading):
    """The text below a heading, up to the next one of any level."""
    for text in MANUAL.values():
        found = re.search(rf"^### {heading}[^\n]*\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
        if found:
            return found.group(1)
    raise AssertionError(f"no entry {heading} in {BUILD}/docs")


def check_entry(heading):
    text = entry(heading)
    summary = re.search(r"^_(.+)_$", text, re.MULTILINE)
    assert summary, f"{heading} has no summary"
    prose = re.sub(r"```.*?```", "", text[summary.end():], flags=re.DOTALL)
    assert len(prose.split()) >= 10, f"{heading} has no description"


@pytest.mark.parametrize("definition", definitions(OPERATION))
def test_operation(definition):
    base, name = definition.split('<"')
    dialect = "sparseattn_nv" if base.startswith("SparseAttnNV_") else "sparseattn"
    check_entry(rf"`{dialect}\.{re.escape(name)}`")


@pytest.mark.parametrize("name", definitions(PASS))
def test_pass(name):
    check_entry(rf"`-{re.escape(name)}`")


def test_attributes_and_types_are_listed():
    dialect = MANUAL["SparseAttnDialect.md"]
    mnemonics = re.findall(r'def SparseAttn_\w+Attr : SparseAttn_(?:Attr|KeyPattern)<"(\w+)"', "".join(
        path.read_text() for path in (SOURCE / "include").rglob("SparseAttnAttrs.td")))
    assert len(mnemonics) > 10
    for name in mnemonics:
        assert re.search(rf"^### {name}Attr$", dialect, re.MULTILINE), f"no entry for {name}Attr"
    assert re.search(r"^### KVCacheType$", dialect, re.MULTILINE)
    for name in ("AccAttr", "OperandAttr", "RowAttr", "RowPartialAttr", "ChannelType", "PendingType", "TensorMapType",
                 "TileType"):
        assert re.search(rf"^### {name}$", MANUAL["SparseAttnNVDialect.md"], re.MULTILINE), f"no entry for {name}"


def test_the_tool_registers_what_the_manual_describes():
    """--help of sparseattn-opt and the manual name the same passes."""
    tool = pathlib.Path(os.environ["SPARSEATTN_TOOLS"]) / "sparseattn-opt"
    text = subprocess.run([tool, "--help"], check=True, capture_output=True, text=True).stdout
    options = set(re.findall(r"^\s+--([\w-]+)", text, re.MULTILINE))
    assert options >= set(definitions(PASS))
    listed = {name for name in options if "sparseattn" in name}
    # Pipelines are described where they are registered.
    pipelines = set(re.findall(r'"(sparseattn-[\w-]+)"', (SOURCE / "lib/Pipelines/Pipelines.cpp").read_text()))
    assert pipelines <= listed
    for name in listed - pipelines:
        check_entry(rf"`-{re.escape(name)}`")
