"""Runs the smallest case of every kernel of test_attention.py once, for compute-sanitizer:

    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck --report-api-errors no python smallest.py

and with --tool racecheck and synccheck. SPARSEATTN_KERNELS as for the tests. (The runtime asks the driver for one
parameter more than a kernel has, to see that there is none: an API error that is no fault.)
"""

import os
import pathlib

import torch

from sparseattn.bench import kernels
from test_attention import CASES

LEAST = 100
"""Queries that a case should have: more than one warpgroup's rows."""


def main() -> None:
    folder = os.environ.get("SPARSEATTN_KERNELS")
    library = kernels.Library(pathlib.Path(folder) if folder else None)
    smallest = {}
    for case in sorted(CASES, key=lambda case: (case.length < LEAST, case.batch * case.heads * case.length * case.key_length)):
        smallest.setdefault(library.place(case).name, case)
    for name, case in sorted(smallest.items()):
        dtype = {"bf16": torch.bfloat16, "f16": torch.float16}[case.dtype]
        q, k, v = (torch.randn(case.batch, heads, length, dim, device="cuda", dtype=dtype)
                   for heads, length, dim in ((case.heads, case.length, case.dim), (case.kv_heads, case.key_length, case.dim),
                                              (case.kv_heads, case.key_length, case.value_dim)))
        # Of one head, weights leave their range, so that both ways through a block are taken.
        q[:, 0] *= 30
        library.program(case, q, k, v)()
        torch.cuda.synchronize()
        print(f"{name}: {case.name}", flush=True)
    print(f"{len(smallest)} kernels")


if __name__ == "__main__":
    main()
