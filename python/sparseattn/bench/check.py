"""Outputs against a float32 reference, on fresh random data, with poisoned outputs."""

from __future__ import annotations

import math

import torch

from .cases import LIST_QUERIES

TOLERANCE = 4e-3
"""Largest relative error (norm of the difference over norm of the reference) of a 16-bit kernel."""
ROWS = 512
"""Query rows that the reference computes at once."""


def visible(case, kv_head: int, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Boolean mask of a chunk of rows; positions are those of the keys."""
    p, j = rows[:, None], columns[None, :]
    if case.mask == "full":
        return torch.ones(rows.numel(), columns.numel(), dtype=torch.bool, device=rows.device)
    mask = j <= p
    if case.mask == "prefix":
        mask |= j < case.window
    if case.mask == "window" or (case.mask == "mixed" and kv_head >= case.kv_heads // 2):
        mask &= p - j < case.window
    return mask


def listed(case, selection, batch: int, head: int, begin: int, end: int) -> torch.Tensor:
    """Boolean mask of query rows [begin, end): the keys of the blocks in their lists."""
    heads = selection.shape[1]
    lists = selection[batch, {1: 0, case.heads: head}.get(heads, head // (case.heads // case.kv_heads))].long()
    blocks = -(-case.key_length // case.block)
    # Entries that name no block are marked behind the last one.
    named = torch.zeros(lists.shape[0], blocks + 1, dtype=torch.bool, device=lists.device)
    named.scatter_(1, torch.where((lists >= 0) & (lists < blocks), lists, blocks), True)
    rows = torch.arange(begin, end, device=lists.device) // LIST_QUERIES
    columns = torch.arange(case.key_length, device=lists.device) // case.block
    return named[rows][:, columns]


def reference(case, q, k, v, batch: int, head: int, begin: int, end: int, sink=None, softcap=None, selection=None,
              documents=None):
    """(out, lse) of query rows [begin, end) of one head, float32. `documents` [B, length, 3]: for each query the first
    key and the end of its document, and its position."""
    kv_head = head // (case.heads // case.kv_heads)
    scores = (q[batch, head, begin:end].float() @ k[batch, kv_head].float().T) / math.sqrt(case.dim)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    columns = torch.arange(case.key_length, device=q.device)
    rows = torch.arange(begin, end, device=q.device) + case.key_length - case.length
    if documents is not None:
        first, last, rows = documents[batch, begin:end].T
    scores.masked_fill_(~visible(case, kv_head, rows, columns), -math.inf)
    if selection is not None:
        scores.masked_fill_(~listed(case, selection, batch, head, begin, end), -math.inf)
    if documents is not None:
        scores.masked_fill_((columns < first[:, None]) | (columns >= last[:, None]), -math.inf)
    joined = scores if sink is None else torch.cat([scores, sink[head].expand(end - begin, 1)], 1)
    lse = torch.logsumexp(joined, 1)
    weights = torch.exp(scores - torch.where(lse.isfinite(), lse, 0.0)[:, None])
    return weights @ v[batch, kv_head].float(), lse


def error(case, q, k, v, out, samples: int = 6, **options) -> float:
    """Relative error of `out` over the first and last rows of some heads and some rows between. NaN if any of the
    output, not only the samples, was not written."""
    if torch.isnan(out).any():
        return math.nan
    generator = torch.Generator().manual_seed(0)
    difference = norm = 0.0
    last = max(0, case.length - ROWS)
    for sample in range(samples):
        batch = int(torch.randint(case.batch, (1,), generator=generator))
        head = int(torch.randint(case.heads, (1,), generator=generator))
        begin = (0, last)[sample] if sample < 2 else int(torch.randint(last + 1, (1,), generator=generator))
        end = min(begin + ROWS, case.length)
        expected, _ = reference(case, q, k, v, batch, head, begin, end, **options)
        difference += float((out[batch, head, begin:end].float() - expected).square().sum())
        norm += float(expected.square().sum())
    # Where no row sees a key, all is 0.
    return math.sqrt(difference / norm) if norm else math.sqrt(difference)
