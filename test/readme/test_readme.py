"""Runs what the READMEs show.

Every fenced block of a README.md is one of:
  ```mlir    parsed and verified by sparseattn-opt
  ```python  executed in the README's folder
  ```console lines that begin with `$ ` are executed from the root of the repository, with the build's tools
             first in PATH; the lines below a command must appear, in order, in its output (`...` skips lines)
Other languages, and blocks without one, are text. Blocks of one README run in order, in one working folder:
an MLIR block whose first line is a comment `// file.mlir` is written there under that name first, and so is a
C block with the first line `/* file.c */`, for console lines to compile.
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
READMES = [path for path in sorted(ROOT.rglob("README.md"))
           if not any(part.startswith(("build", ".")) for part in path.relative_to(ROOT).parts)]
C_FILE = re.compile(r"/\* (\S+\.c) \*/\n")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(path):
    return [(language, body) for language, body in FENCE.findall(path.read_text())
            if language in ("mlir", "python", "console") or C_FILE.match(body)]


def run(command, folder, **more):
    environment = dict(os.environ, ROOT=str(ROOT),
                       PATH=os.pathsep.join([os.environ["SPARSEATTN_TOOLS"], os.path.dirname(sys.executable),
                                             os.environ["PATH"]]))
    result = subprocess.run(command, cwd=folder, env=environment, text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, **more)
    assert result.returncode == 0, f"{command} failed:\n{result.stdout}"
    return result.stdout


def check_console(body, folder):
    command, expected = None, []

    def finish():
        if command is None:
            return
        output = [line.strip() for line in run(command, folder, shell=True).splitlines()]
        position = 0
        for line in expected:
            if line.strip() in ("", "..."):
                continue
            rest = output[position:]
            assert line.strip() in rest, f"{command}: expected the line {line!r}, found\n" + "\n".join(rest)
            position += rest.index(line.strip()) + 1

    for line in body.splitlines():
        if line.startswith("$ "):
            finish()
            command, expected = line[2:], []
        else:
            expected.append(line)
    finish()


@pytest.mark.parametrize("readme", [p for p in READMES if blocks(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_run(readme, tmp_path):
    for language, body in blocks(readme):
        if language == "mlir":
            name = re.match(r"// (\S+\.mlir)\n", body)
            path = tmp_path / (name.group(1) if name else "block.mlir")
            path.write_text(body)
            run(["sparseattn-opt", str(path)], tmp_path)
        elif language == "python":
            run([sys.executable, "-c", body], readme.parent)
        elif language == "c":
            (tmp_path / C_FILE.match(body).group(1)).write_text(body)
        else:
            check_console(body, tmp_path)


def test_top_readme_has_examples():
    languages = {language for language, _ in blocks(ROOT / "README.md")}
    assert languages >= {"mlir", "console"}


@pytest.mark.parametrize("readme", READMES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(readme):
    for target in re.findall(r"\]\(([^)#:]+)\)", readme.read_text()):
        assert (readme.parent / target).exists(), f"{readme}: {target} does not exist"
