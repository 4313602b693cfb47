"""`torch.ops.sparseattn.attention` and its way through export. Runs where torch is installed."""

import io
import re

import numpy as np
import pytest
from support import attend, visible

torch = pytest.importorskip("torch")

from sparseattn.frontend import pt2  # noqa: E402
from sparseattn.frontend.graph import CAUSAL, FULL, window  # noqa: E402
from sparseattn.torch.export_op import attention  # noqa: E402


def tensors(n_q=13, n_k=13, heads=4, kv_heads=2, d=8, dv=8, dtype=torch.float64):
    torch.manual_seed(0)
    make = lambda h, n, size: torch.randn(2, h, n, size, dtype=dtype)
    return make(heads, n_q, d), make(kv_heads, n_k, d), make(kv_heads, n_k, dv), torch.randn(heads)


@pytest.mark.parametrize("w, causal, keys", [(-1, True, CAUSAL), (-1, False, FULL), (1, True, window(1)), (5, True, window(5))])
@pytest.mark.parametrize("shape", [{}, {"n_q": 1}, {"n_q": 5, "n_k": 9}, {"n_q": 9, "n_k": 5}, {"kv_heads": 1, "dv": 3}])
@pytest.mark.parametrize("with_sink, softcap", [(False, 0.0), (True, 2.0)])
def test_values(w, causal, keys, shape, with_sink, softcap):
    q, k, v, sink = tensors(**shape)
    out = attention(q, k, v, 0.7, w, causal, 0, 0, sink if with_sink else None, softcap)
    expected = attend(q.numpy(), k.numpy(), v.numpy(), visible(keys, q.shape[2], k.shape[2]), 0.7,
                      sink.double().numpy() if with_sink else None, softcap)
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("change, message", [
    (lambda q, k, v, s: attention(q[0], k, v, 1.0, -1, True, 0, 0), "rank 4"),
    (lambda q, k, v, s: attention(q.float(), k, v, 1.0, -1, True, 0, 0), "one floating-point dtype"),
    (lambda q, k, v, s: attention(q, k, v, 1.0, 0, True, 0, 0), "window >= 1, or -1 for none"),
    (lambda q, k, v, s: attention(q, k, v, 1.0, 3, False, 0, 0), "a window without causality"),
    (lambda q, k, v, s: attention(q[:, :3], k, v, 1.0, -1, True, 0, 0), "3 query heads cannot be grouped"),
    (lambda q, k, v, s: attention(q, k, v[:, :, :4], 1.0, -1, True, 0, 0), "differ in batch, heads or tokens"),
    (lambda q, k, v, s: attention(q, k, v, 1.0, -1, True, 0, 0, s[:1]), "sink of shape [4]"),
    (lambda q, k, v, s: attention(q, k, v, 1.0, -1, True, 0, 0, None, -1.0), "softcap >= 0"),
])
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        change(*tensors())


def test_export_and_import():
    class Layers(torch.nn.Module):
        def forward(self, q, k, v, sink):
            a = attention(q, k, v, 0.5, 4, True, 0, 0, sink)
            return attention(a, k.to(q.device), v.to(q.device), 0.5, -1, True, 1, 0, softcap=3.0)

    program = torch.export.export(Layers(), tensors(dtype=torch.bfloat16))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    first, second = pt2.read(buffer).attentions
    assert (first.keys, first.sink.name, first.softcap, first.layer) == (window(4), "sink", None, 0)
    assert (second.keys, second.sink, second.softcap, second.kv_source) == (CAUSAL, None, 3.0, 0)
    assert second.query is first.result and first.query.type.element == "bf16"
