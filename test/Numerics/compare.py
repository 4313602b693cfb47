"""What counts as agreement between the compiler and the float64 reference."""

from __future__ import annotations

import ml_dtypes
import numpy as np

DTYPES = {"f32": np.dtype(np.float32), "f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16),
          "i32": np.dtype(np.int32)}
ELEMENT_TYPES = {dtype: name for name, dtype in DTYPES.items()}

# Compiled code computes in float32 and rounds once, to nearest, when it stores a result. A logit of magnitude |z| is
# a sum of d products, wrong by about sqrt(d) * 2^-24 * |z|, and every weight by the same relative amount: 1e-5 is an
# order of magnitude above that for the logits of these tests. Rounding to 11 or 8 significant bits adds half a unit.
ABSOLUTE = 1e-5
RELATIVE = {DTYPES["f32"]: 1e-5, DTYPES["f16"]: 2.0 ** -11 + 1e-5, DTYPES["bf16"]: 2.0 ** -8 + 1e-5}


def assert_matches(name, got, want, *, absolute=ABSOLUTE) -> None:
    """Same shape, integers equal, infinities in the same places, and floats as close as their type allows.

    ``absolute`` replaces the default where logits are larger than a few units.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{name}: expected shape {want.shape}, found {got.shape}"
    if np.issubdtype(want.dtype, np.integer):
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    relative, got = RELATIVE[got.dtype], got.astype(np.float64)
    np.testing.assert_array_equal(np.where(np.isfinite(got), 0, got), np.where(np.isfinite(want), 0, want),
                                  err_msg=f"{name}: infinities")
    finite = np.isfinite(want)
    np.testing.assert_allclose(got[finite], want[finite], rtol=relative, atol=absolute, err_msg=name)


def assert_selects(name, got, want, score, *, gap=1e-5) -> None:
    """Rows of indices that pick columns of equal score (specification §10.5).

    ``got``, ``want`` [...,K] i32; ``score`` [...,M] of the reference. Scores computed in float32 may order two
    columns the other way when they are closer than ``gap`` (relative to 1 + |score|); nothing else may differ.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == np.int32, f"{name}: {got.dtype}{got.shape} for {want.shape}"
    for row in np.argwhere((got != want).any(axis=-1)):
        mine, theirs = got[tuple(row)], want[tuple(row)]
        chosen = mine[mine >= 0]
        where = f"{name}, row {row.tolist()}: found {mine.tolist()}, expected {theirs.tolist()}"
        assert (mine[:len(chosen)] == chosen).all() and (np.diff(chosen) > 0).all(), f"{where}: not ascending"
        assert len(chosen) == (theirs >= 0).sum(), f"{where}: another number of entries"
        columns = score[tuple(row)]
        extra = np.sort(columns[np.setdiff1d(mine, theirs)])
        lost = np.sort(columns[np.setdiff1d(theirs, mine)])
        assert np.isfinite(extra).all() and np.isfinite(lost).all(), f"{where}: a column without a score"
        assert (np.abs(extra - lost) <= gap * (1 + np.abs(lost))).all(), f"{where}: scores {extra} for {lost}"
