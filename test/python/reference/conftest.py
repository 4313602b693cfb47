"""Puts the repository's python/ on the path, so that the tests need no installation."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "python"))
