"""Top-k selection of blocks or tokens."""

from __future__ import annotations

import numpy as np

from .attributes import ORIGINS, TopK, one_of
from .layout import as_float, check_shape, query_rows


def select_topk(score, *, select, q_offset=None, valid_range=None, origin="absolute", return_count=False):
    """The best columns of each row, ascending, padded with -1; operator 6 of specification §9.

    score [B,H,Nq,M]; select: a TopK; p_i = q_offset + i (default offset 0). Column c is eligible by position if

        origin absolute:     c*block <= p, and with valid_range also block c meets [bos, eos)
        origin range_begin:  bos + c*block < eos

    Forced are the first ``force_first`` and the last ``force_local`` columns eligible by position (the last
    one is the query's own), whatever their score. The others compete if their score is neither -inf nor NaN;
    equal scores: the lower index wins. Specification §2.1, §2.5 (5), §10 (1, 5).

    Returns indices [B,H,Nq,select.width] int32, and count [B,H,Nq] int32 if ``return_count``. Raises
    ValueError on shapes or attributes that do not fit.
    """
    if not isinstance(select, TopK):
        raise ValueError(f"select must be a TopK(k, block, ...), found {select!r}")
    score = as_float(score)
    check_shape(score, (None, None, None, None), "score")
    batch, _, num_queries, _ = score.shape
    # The number of keys is unknown here and limits nothing: columns end where the score ends.
    rows = query_rows(batch, num_queries, np.iinfo(np.int64).max, default_offset=0, q_offset=q_offset,
                      valid_range=valid_range)
    indices, count = choose_columns(score, rows, select, origin)
    return (indices, count) if return_count else indices


def choose_columns(score, rows, select, origin):
    """``select_topk`` on rows whose positions and ranges are known: (indices, count)."""
    one_of("origin", origin, ORIGINS)
    begins = np.arange(score.shape[-1]) * select.block + rows.block_begin(origin)[..., None]
    eligible = begins < rows.end[..., None]
    if origin == "absolute":
        eligible &= (begins + select.block > rows.begin[..., None]) & (begins <= rows.position[..., None])
        eligible &= (rows.begin < rows.end)[..., None]
    indices = np.full((*score.shape[:3], select.width), -1, dtype=np.int32)
    count = np.zeros(score.shape[:3], dtype=np.int32)
    for b, h, i in np.ndindex(*score.shape[:3]):
        kept = _choose(score[b, h, i], np.flatnonzero(eligible[b, i]), select)
        indices[b, h, i, :len(kept)] = kept
        count[b, h, i] = len(kept)
    return indices, count


def _choose(score, columns, select):
    forced = set(columns[:select.force_first]) | set(columns[max(0, len(columns) - select.force_local):])
    room = select.k - len(forced) if select.count_forced else select.k
    rivals = [c for c in columns if c not in forced and score[c] > -np.inf]
    return sorted(forced | set(sorted(rivals, key=lambda c: (-score[c], c))[:room]))
