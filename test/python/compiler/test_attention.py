"""The default pipeline: attention on arrays, with sizes decided by the call."""

import ml_dtypes
import numpy as np
import pytest

from sparseattn import reference
from sparseattn.compiler import CompilerError, compile_cpu

ATTENTION = """
func.func @layer(%q: tensor<?x4x?x16x{t}>, %k: tensor<?x2x?x16x{t}>, %v: tensor<?x2x?x16x{t}>) -> tensor<?x4x?x16x{t}> {{
  %o = sparseattn.attention %q, %k, %v keys(#sparseattn.window<5>)
    : (tensor<?x4x?x16x{t}>, tensor<?x2x?x16x{t}>, tensor<?x2x?x16x{t}>) -> tensor<?x4x?x16x{t}>
  return %o : tensor<?x4x?x16x{t}>
}}
"""
# One rounding to the output's format on values of order 1, plus f32 sums.
TOLERANCE = {"f32": 2e-6, "f16": 1e-3, "bf16": 8e-3}
DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


@pytest.fixture(scope="module", params=DTYPES)
def layer(request):
    return request.param, compile_cpu(ATTENTION.format(t=request.param))("layer")


def make(dtype, queries, keys, batch=2):
    rng = np.random.default_rng(queries * 100 + keys)
    sizes = [(batch, 4, queries, 16), (batch, 2, keys, 16), (batch, 2, keys, 16)]
    return [rng.standard_normal(size).astype(DTYPES[dtype]) for size in sizes]


@pytest.mark.parametrize("queries, keys", [(7, 7), (1, 9), (3, 12), (1, 1)])
def test_agrees_with_the_reference(layer, queries, keys):
    dtype, function = layer
    q, k, v = make(dtype, queries, keys)
    expected = reference.attention(
        *(x.astype(np.float64) for x in (q, k, v)), keys=reference.Window(5), scale=0.25
    )
    expected = expected[0] if isinstance(expected, tuple) else expected
    np.testing.assert_allclose(function(q, k, v).astype(np.float64), expected, atol=TOLERANCE[dtype], rtol=0)


def test_sizes_must_fit_together(layer):
    dtype, function = layer
    q, k, v = make(dtype, 4, 6)
    with pytest.raises(CompilerError, match="C4.*same heads and length"):
        function(q, k, v[:, :, :5])
    with pytest.raises(CompilerError, match="C3.*one batch size"):
        function(q[:1], k, v)
