"""The runtime on a Hopper GPU, with torch's tensors: set SPARSEATTN_TEST_HOPPER=1."""

import os
import pathlib

import pytest

from sparseattn import runtime

MAY_USE_GPU = os.environ.get("SPARSEATTN_TEST_HOPPER") == "1"
pytestmark = pytest.mark.skipif(not MAY_USE_GPU, reason="SPARSEATTN_TEST_HOPPER is not 1: no Hopper GPU may be used")
if MAY_USE_GPU:
    import torch

ARTEFACT = pathlib.Path(__file__).resolve().parents[2] / "Runtime" / "fixtures" / "scaled_copy"


@pytest.fixture(scope="module")
def kernel():
    return runtime.load(ARTEFACT)("scaled_copy")


def make(shape, fill=None):
    make_values = torch.randn if fill is None else lambda *a, **k: torch.full(*a, fill, **k)
    return make_values(shape, device="cuda", dtype=torch.bfloat16)


@pytest.mark.parametrize("positions", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("transposed", [False, True])
def test_values(kernel, positions, transposed):
    shape = (2, positions, 3, 128) if transposed else (2, 3, positions, 128)
    q, o = make(shape), make(shape, float("nan"))
    views = [x.transpose(1, 2) if transposed else x for x in (q, o)]
    kernel(*views, scale=0.5)
    torch.cuda.synchronize()
    assert torch.equal(o, q * 0.5)


def test_size_one_and_expanded(kernel):
    q, o = make((1, 1, 128)).expand(2, 3, 70, 128), make((2, 3, 70, 128), float("nan"))
    kernel(q, o)
    torch.cuda.synchronize()
    assert torch.equal(o, q)


def test_other_stream(kernel):
    q, o = make((2, 3, 100, 128)), make((2, 3, 100, 128), float("nan"))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        kernel(q, o, scale=2.0)
    stream.synchronize()
    assert torch.equal(o, q * 2)


def test_graph(kernel):
    q, o = make((2, 3, 100, 128)), make((2, 3, 100, 128), float("nan"))
    kernel.prepare(0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel(q, o, scale=2.0)
    for _ in range(2):
        q.copy_(make(q.shape))
        o.fill_(float("nan"))
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(o, q * 2)


def test_dlpack(kernel):
    class Foreign:
        """Hides that the tensor is torch's."""

        def __init__(self, tensor):
            self.__dlpack__ = tensor.__dlpack__
            self.__dlpack_device__ = tensor.__dlpack_device__

    q, o = make((2, 3, 100, 128)), make((2, 3, 100, 128), float("nan"))
    kernel(Foreign(q), Foreign(o), scale=2.0)
    torch.cuda.synchronize()
    assert torch.equal(o, q * 2)


def test_refusals(kernel):
    q, o = make((2, 3, 100, 128)), make((2, 3, 100, 128))
    with pytest.raises(ValueError, match="expected bf16, found f16"):
        kernel(q.half(), o)
    with pytest.raises(ValueError, match="expected a tensor in GPU memory"):
        kernel(q.cpu(), o)
    with pytest.raises(ValueError, match="makes different elements share memory"):
        kernel(q, o[:, :1].expand(2, 3, 100, 128))
