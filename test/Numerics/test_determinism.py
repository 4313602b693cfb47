"""Results are the same bits on every call and for every number of threads."""

import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
from attention_ops import Attention, random_selection
from sparseattn import reference as ref
from sparseattn.compiler import compile_cpu

OPS = [Attention(heads=(8, 2), dims=(40, 24), takes=("sink",), opt_level=3),
       Attention(heads=(8, 2), block_score=ref.BlockScore(16, "prob_max", "sum"), opt_level=3),
       Attention(format="index", heads=(8, 2), dtype="bf16", opt_level=3)]


def digest(op):
    """A hash of all results for one set of inputs."""
    given = {}
    if op.format:
        given["selection"] = random_selection(np.random.default_rng(1), 2, 2, 70, blocks=9, entries=4)
    results = op.run(op.inputs(batch=2, nq=70, nk=140, **given))
    return hashlib.sha256(b"".join(x.tobytes() for x in results.values())).hexdigest()


def test_repeated_calls():
    for op in OPS:
        assert len({digest(op) for _ in range(3)}) == 1


def test_number_of_threads():
    digests = []
    for threads in ("1", "2", "5"):
        environment = os.environ | {"OMP_NUM_THREADS": threads,
                                    "PYTHONPATH": os.pathsep.join([str(pathlib.Path(__file__).parent), *sys.path])}
        code = "import test_determinism as t; print(*map(t.digest, t.OPS))"
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        digests.append(done.stdout.split())
    assert len(digests[0]) == len(OPS) and digests[0] == digests[1] == digests[2]
    assert digests[0] == [digest(op) for op in OPS]


def test_loops_without_threads():
    """One thread's loop over thousands of tiles frees its scratch; the results are those of the threads."""
    op = Attention(dims=(64, 64), opt_level=3)
    inputs = op.inputs(nq=9000, nk=8)
    serial = compile_cpu(op.asm(), pipeline="sparseattn-to-cpu{parallel=false}")("f")
    for mine, theirs in zip(serial(*inputs.values()), op.run(inputs).values()):
        np.testing.assert_array_equal(mine, theirs)
