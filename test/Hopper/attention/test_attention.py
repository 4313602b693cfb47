"""Compiled attention on a Hopper GPU against float32, with poisoned outputs: set SPARSEATTN_TEST_HOPPER=1.

Where no compiler is at hand, SPARSEATTN_KERNELS names a folder of kernels that this file, run as a program, made:
`python test_attention.py FOLDER`.
"""

import os
import pathlib
import sys

import pytest

from sparseattn.bench.cases import Case, variants

MAY_USE_GPU = os.environ.get("SPARSEATTN_TEST_HOPPER") == "1"
pytestmark = pytest.mark.skipif(not MAY_USE_GPU, reason="SPARSEATTN_TEST_HOPPER is not 1: no Hopper GPU may be used")
if MAY_USE_GPU:
    import torch

    from sparseattn.bench import check, kernels

LENGTHS = [1, 63, 64, 65, 127, 128, 129, 200, 1000, 4096]
CASES = [
    *[Case("test", 2, 4, 2, length, dim, mask) for dim in (64, 128, 256) for mask in ("full", "causal") for length in LENGTHS],
    *[Case("test", 1, 4, 2, length, 128, "window", window=size)
      for size in (128, 512, 1024, 4096) for length in (1, 100, 1000, 5001)],
    *[Case("test", 1, heads, kv_heads, 777, 128, "causal") for heads, kv_heads in ((16, 1), (3, 1), (3, 3), (48, 16))],
    *[Case("test", 1, 4, 4, length, 128, "causal", extras=("sink", "softcap", "lse")) for length in (1, 100, 1000, 4096)],
    *variants(),
    # Few queries over many keys.
    *[Case("test", 2, 4, 2, length, 128, mask, keys=keys, layout=layout, dtype=dtype, extras=("lse",))
      for mask, lengths in (("full", (2048, 2127, 10001)), ("causal", (4096, 4175, 20001))) for keys in lengths
      for length, layout, dtype in ((1, "bhsd", "bf16"), (191, "bshd", "f16"), (193, "bhsd", "bf16"), (1000, "bhsd", "bf16"))],
    *[Case("test", 1, 2, 1, length, 128, mask, extras=("sink", "softcap", "lse")) for mask, length in (("full", 2200), ("causal", 4500))],
    *[Case("test", 1, 2, 1, 17000, 128, mask, documents=1, layout=layout, extras=("lse",))
      for mask in ("full", "causal") for layout in ("bhsd", "thd")],
    *[Case("test", 2, 4, 2, length, 128, mask, block=block, list_heads=heads, keys=keys, extras=("lse",))
      for block in (128, 64) for mask in ("causal", "full")
      for length, keys, heads in ((1, 0, 1), (129, 0, 2), (1000, 0, 4), (1000, 1777, 1), (500, 100, 2), (4096, 0, 1))],
    *[Case("test", 1, 4, 2, 2000, dim, "causal", block=128, density=density) for dim in (64, 128, 256) for density in (0.0, 1.0)],
    Case("test", 1, 4, 2, 1500, 128, "causal", block=64, extras=("sink", "softcap", "lse")),
    *[Case("test", 2, 4, 2, length, 128, mask, window=window, documents=documents, layout=layout, extras=("lse",))
      for mask, window in (("causal", 0), ("full", 0), ("window", 100)) for layout in ("bhsd", "bshd")
      for length, documents in ((1, 1), (130, 3), (1000, 1), (1000, 7), (3000, 40))],
    *[Case("test", 1, 4, 2, length, 128, mask, window=window, documents=documents, layout="thd", keys=keys, extras=("lse",))
      for mask, window in (("causal", 0), ("full", 0), ("window", 100))
      for length, keys, documents in ((1, 0, 1), (130, 0, 3), (1000, 0, 1), (1000, 0, 7), (3000, 0, 40), (1000, 3000, 7),
                                      (1000, 300, 7), (128, 128, 1))],
    *[Case("test", 1, 4, 2, 1000, dim, "causal", documents=5, layout=layout, extras=extras)
      for dim, extras in ((64, ()), (256, ()), (128, ("sink", "softcap", "lse"))) for layout in ("bhsd", "thd")],
    # Feature blocks of 64 that are not full, and values narrower than keys.
    *[Case("test", 2, 4, 2, length, dim, mask, values_dim=values, layout=layout, extras=("lse",))
      for dim, values in ((96, 0), (192, 128), (192, 0), (32, 0), (160, 0), (96, 64)) for mask in ("full", "causal")
      for length, layout in ((1, "bhsd"), (129, "bshd"), (1000, "bhsd"))],
    Case("test", 1, 4, 2, 1000, 96, "window", window=100, dtype="f16"),
    Case("test", 1, 4, 2, 1000, 96, "causal", block=64, extras=("sink", "softcap", "lse")),
    Case("test", 1, 4, 2, 1000, 96, "causal", documents=5, layout="thd"),
    Case("test", 1, 4, 2, 1000, 192, "causal", values_dim=128, documents=5, layout="thd"),
    # More than 65535 tiles, and more than 2^31 elements.
    Case("test", 2056, 32, 32, 128, 64, "causal"),
    Case("test", 1, 40, 1, 1 << 20, 64, "window", window=128),
]
GUARD = 4096


@pytest.fixture(scope="module")
def library():
    folder = os.environ.get("SPARSEATTN_KERNELS")
    return kernels.Library(pathlib.Path(folder) if folder else None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values(case, library):
    """Right, the same bits twice, and nothing written beside the output."""
    torch.manual_seed(len(case.name) + case.length)
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}[case.dtype]
    q, k, v = (torch.randn(case.batch, heads, length, dim, device="cuda", dtype=dtype)
               for heads, length, dim in ((case.heads, case.length, case.dim), (case.kv_heads, case.key_length, case.dim),
                                          (case.kv_heads, case.key_length, case.value_dim)))
    program = library.program(case, q, k, v)
    buffer = torch.full((program.out.numel() + 2 * GUARD,), float("nan"), device="cuda", dtype=dtype)
    program.use_output(buffer[GUARD:-GUARD].view(program.operands[program.inputs].shape))
    program()
    torch.cuda.synchronize()
    if program.lse is not None:
        for batch, head in ((0, 0), (case.batch - 1, case.heads - 1)):
            _, lse = check.reference(case, q, k, v, batch, head, 0, case.length, **program.reference_options)
            torch.testing.assert_close(program.lse[batch, head], lse, rtol=0, atol=2e-3)
    assert check.error(case, q, k, v, program.out, **program.reference_options) <= check.TOLERANCE
    assert torch.isnan(buffer[:GUARD]).all() and torch.isnan(buffer[-GUARD:]).all()
    first = program.out.clone()
    program.out.fill_(float("nan"))
    program()
    torch.cuda.synchronize()
    assert torch.equal(first, program.out)


GROWING = {
    "sharp": lambda q, k, n: q.mul_(30),
    "earlier keys larger": lambda q, k, n: k[:, :, : n // 3].mul_(20),
    "earlier keys much larger": lambda q, k, n: k[:, :, : n // 3].mul_(1000),
    "one key": lambda q, k, n: k[:, :, n // 4].copy_(40 * q[:, ::2, n // 2]),
    "all far below 0": lambda q, k, n: (k.abs_().mul_(10), q.abs_().neg_()),
}


KEYS = {
    "full": {"mask": "full"}, "causal": {"mask": "causal"}, "window": {"mask": "window", "window": 1024},
    "lists": {"mask": "causal", "block": 128, "density": 0.5}, "documents": {"mask": "causal", "documents": 3},
}


@pytest.mark.parametrize("growth", GROWING)
@pytest.mark.parametrize("length", [80, 500, 2500])
@pytest.mark.parametrize("dim,keys,dtype", [(64, "full", "bf16"), (64, "causal", "bf16"), (128, "full", "bf16"), (128, "causal", "bf16"),
                                            (128, "window", "bf16"), (256, "full", "bf16"), (256, "causal", "bf16"),
                                            (64, "full", "f16"), (128, "causal", "f16"),
                                            *[(dim, "lists", "bf16") for dim in (64, 128, 256)],
                                            *[(dim, "documents", "bf16") for dim in (64, 256)]])
def test_scores_that_grow(dim, keys, dtype, length, growth, library):
    """Blocks are visited from the last: scores far above those of later keys leave the range of the weights."""
    case = Case("test", 1, 4, 2, length, dim, dtype=dtype, **KEYS[keys])
    torch.manual_seed(length + dim)
    q, k, v = (torch.randn(1, heads, length, dim, device="cuda", dtype=getattr(torch, {"bf16": "bfloat16", "f16": "float16"}[dtype]))
               for heads in (4, 2, 2))
    GROWING[growth](q, k, length)
    program = library.program(case, q, k, v)
    program.out.fill_(float("nan"))
    program()
    torch.cuda.synchronize()
    # Single weights decide, whose errors do not average out.
    assert check.error(case, q, k, v, program.out, **program.reference_options) <= 2 * check.TOLERANCE
    first = program.out.clone()
    program()
    torch.cuda.synchronize()
    assert torch.equal(first, program.out)


if __name__ == "__main__":
    from sparseattn.bench import kernels

    sys.exit(kernels.prepare(pathlib.Path(sys.argv[1]), CASES))
