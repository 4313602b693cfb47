"""The README's example runs as printed."""

import pathlib
import textwrap

import sparseattn.reference


def test_readme_example_runs():
    readme = pathlib.Path(sparseattn.reference.__file__).with_name("README.md").read_text()
    code = [line for line in readme.splitlines() if line.startswith("    ")]
    names = {}
    exec(textwrap.dedent("\n".join(code)), names)
    assert names["out"].shape == names["sparse"].shape == (1, 8, 100, 16)
    assert names["indices"].shape == (1, 2, 100, 3)
