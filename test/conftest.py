"""Puts the repository's python/ on the path, and makes the property-based tests try the same examples every time."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))

try:
    from hypothesis import HealthCheck, settings
except ImportError:
    pass  # The tests that need it say so themselves.
else:
    settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("suite")
