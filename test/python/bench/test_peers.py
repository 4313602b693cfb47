"""The benchmark's lists and peers on the CPU. Runs where torch is installed."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparseattn.bench import check, lists, peers  # noqa: E402
from sparseattn.bench.cases import Case, listed_blocks  # noqa: E402

LISTS = Case("test", 2, 4, 2, 1100, 16, "causal", block=128, density=0.3, list_heads=4, diagonal=True)


def make(case, dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.randn(case.batch, heads, case.length, case.dim, dtype=dtype) for heads in (case.heads, case.kv_heads, case.kv_heads)]


@pytest.mark.parametrize("changes", [{}, {"block": 64}, {"list_heads": 1, "density": 0.0}, {"density": 1.0}, {"length": 128}], ids=str)
def test_diagonal_lists(changes):
    case = dataclasses.replace(LISTS, **changes)
    selection = lists.diagonal_lists(case, "cpu")
    assert selection.dtype == torch.int32 and selection.shape[:3] == (2, case.list_heads, -(-case.length // 128))
    for tile in range(selection.shape[2]):
        first, seen, count = listed_blocks(case, tile)
        for found in selection[:, :, tile].flatten(0, 1).tolist():
            entries = [entry for entry in found if entry >= 0]
            assert found == sorted(set(entries)) + [-1] * (len(found) - count) and len(entries) == count
            assert set(range(first, seen)) <= set(entries) and max(entries) < seen
    assert changes or len({tuple(found) for found in selection[:, :, -1].flatten(0, 1).tolist()}) > 1


MASKS = [
    LISTS,
    dataclasses.replace(LISTS, list_heads=1),
    dataclasses.replace(LISTS, list_heads=2, mask="window", window=300),
    *[Case("test", 2, 4, 2, length, 16, mask, window=window)
      for length in (128, 300, 900) for mask, window in (("full", 0), ("causal", 0), ("window", 1), ("window", 128), ("window", 300))],
]


@pytest.mark.parametrize("case", MASKS, ids=lambda case: case.name)
def test_flex_block_mask(case):
    """Every visible pair, and no other, is in a full block or passes the mask of a partial one."""
    selection = lists.diagonal_lists(case, "cpu") if case.block else None
    mask = lists.flex_block_mask(case, selection, "cpu")
    rows = columns = torch.arange(case.length)
    shown = torch.zeros(mask.shape[0], mask.shape[1], case.length, case.length, dtype=torch.bool)
    for batch, head in np.ndindex(*shown.shape[:2]):
        for counts, indices, whole in ((mask.kv_num_blocks, mask.kv_indices, False), (mask.full_kv_num_blocks, mask.full_kv_indices, True)):
            for tile, count in enumerate(counts[batch, head].tolist()):
                for block in indices[batch, head, tile, :count].tolist():
                    i, j = rows[tile * 128:][:128], columns[block * 128:][:128]
                    visible = mask.mask_mod(batch, head, i[:, None], j[None, :]) | whole
                    assert visible.any()
                    shown[batch, head, i[:, None], j[None, :]] |= visible
    for batch, head in np.ndindex(case.batch, case.heads):
        expected = check.visible(case, head // 2, rows, columns)
        if case.block:
            expected = expected & check.listed(case, selection, batch, head, 0, case.length)
        assert torch.equal(shown[batch % shown.shape[0], head % shown.shape[1]], expected)


def test_flex_refuses():
    for changes in ({"block": 64}, {"keys": 2000}, {"mask": "prefix", "window": 3}):
        case = dataclasses.replace(LISTS, **changes)
        with pytest.raises(ValueError, match="expected as many keys as queries"):
            lists.flex_block_mask(case, torch.zeros(1), "cpu")


@pytest.mark.parametrize("compiles", [True, False])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex(compiles, monkeypatch):
    """Right when it is compiled; its slow form knows no blocks, and is found wrong."""
    if not compiles:
        monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    selection = lists.diagonal_lists(LISTS, "cpu")
    found, missing = peers.programs(LISTS, *make(LISTS), selection)
    reasons = {name: "not timed with block lists" for name in ("cuDNN", "FA2", "Triton")}
    if compiles:
        assert list(found) == ["Flex"] and missing == reasons
    else:
        assert found == {} and missing.pop("Flex").startswith("ValueError: error ") and missing == reasons


def test_reasons(monkeypatch):
    case = Case("test", 1, 4, 2, 256, 64, "causal")
    tensors = make(case, torch.bfloat16)

    def attend(*arguments):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setitem(peers.PEERS, "fa2", ("FA2", lambda *arguments: attend))
    monkeypatch.setitem(peers.PEERS, "cudnn", ("cuDNN", lambda case, q, k, v, selection, named: lambda: torch.zeros_like(q)))
    found, missing = peers.programs(case, *tensors)
    assert found == {} or "Triton" in found
    assert missing["FA2"] == "RuntimeError: first line"
    assert missing["cuDNN"].startswith("ValueError: error 1.00e+00 is above")
    assert "name it in --peers" in missing["Flex"]
    assert peers.programs(case, *tensors, only=[]) == ({}, {})
    _, missing = peers.programs(dataclasses.replace(case, extras=("sink",)), *tensors, only=["flex", "triton"])
    assert set(missing) == {"Flex", "Triton"} and all("sink" in reason for reason in missing.values())


PROGRAM = """
import torch
from sparseattn.bench.triton_attention import attention
for causal, length, dim in [(True, 1, 64), (True, 100, 64), (True, 128, 128), (True, 150, 64), (False, 100, 128), (False, 128, 64)]:
    q, k, v = (torch.randn(2, heads, length, dim, dtype=torch.float16) for heads in (4, 2, 2))
    expected = torch.nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=causal, enable_gqa=True)
    torch.testing.assert_close(attention(q, k, v, causal, blocks=(64, 32)).float(), expected, rtol=0, atol=4e-3)
for bad in (q[..., :32].contiguous(), q.transpose(1, 2)):
    try:
        attention(bad, bad, bad, True)
    except ValueError:
        continue
    raise AssertionError("accepted")
"""


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.4.0", reason="Triton's interpreter needs NumPy before 2.4")
def test_triton():
    pytest.importorskip("triton")
    done = subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
