"""The oracle is usable: a 32-head, 4096-token causal layer takes at most 3 times NumPy's own matmul and softmax.

Typical on two cores: half of NumPy's time, both on all cores.
"""

import time

import numpy as np
from attention_ops import Attention

HEADS, TOKENS, DIM = 32, 4096, 128
LIMIT = 3.0
# A busy machine can slow either side down; the best of a few runs is what the code can do.
ATTEMPTS = 3


def numpy_layer(query, key, value):
    """One head at a time, in place, float32: the fastest plain NumPy we know."""
    out = np.empty_like(query)
    hidden = np.triu(np.full((TOKENS, TOKENS), -np.inf, np.float32), 1)
    for h in range(HEADS):
        scores = query[0, h] @ key[0, h].T
        scores *= np.float32(DIM ** -0.5)
        scores += hidden
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        np.matmul(scores, value[0, h], out=out[0, h])
    return out


def timed(function, *arguments):
    begin = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - begin, result


def test_causal_layer():
    op = Attention(heads=(HEADS, HEADS), dims=(DIM, DIM), sizes=(1, TOKENS, TOKENS), opt_level=3)
    inputs = op.inputs()
    op.compile()
    ours, numpys = [], []
    for _ in range(ATTEMPTS):
        seconds, got = timed(op.run, inputs)
        ours.append(seconds)
        seconds, want = timed(numpy_layer, *inputs.values())
        numpys.append(seconds)
        np.testing.assert_allclose(got["out"], want, atol=2e-5, rtol=1e-4)
        if min(ours) <= LIMIT * min(numpys):
            break
    ratio = min(ours) / min(numpys)
    print(f"compiled {min(ours):.2f} s, NumPy {min(numpys):.2f} s, ratio {ratio:.2f}")
    assert ratio <= LIMIT, f"compiled {ours} s, NumPy {numpys} s: expected a ratio of at most {LIMIT}, found {ratio:.2f}"
