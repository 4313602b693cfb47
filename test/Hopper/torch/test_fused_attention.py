"""`sparseattn.torch.attention` on a Hopper GPU: set SPARSEATTN_TEST_HOPPER=1.

Kernels come from the folder SPARSEATTN_KERNELS, which `tools/bench --prepare` made, or from the compiler.
"""

import os

import pytest

from sparseattn.compiler import LibraryNotFound

MAY_USE_GPU = os.environ.get("SPARSEATTN_TEST_HOPPER") == "1"
pytestmark = pytest.mark.skipif(not MAY_USE_GPU, reason="SPARSEATTN_TEST_HOPPER is not 1: no Hopper GPU may be used")
if MAY_USE_GPU:
    import torch

    import sparseattn.torch as st

TOLERANCE = 4e-3
"""Relative error (norm of the difference over norm of the reference), as tools/bench allows."""


def make(heads=4, kv_heads=2, n_q=333, n_k=333, dim=128, batch=2, dtype=None, layout="bhsd"):
    def values(h, n):
        return torch.randn((batch, h, n, dim) if layout == "bhsd" else (batch, n, h, dim), device="cuda", dtype=dtype or torch.bfloat16)

    return values(heads, n_q), values(kv_heads, n_k), values(kv_heads, n_k)


def reference(q, k, v, *, causal=False, window=None, prefix=None, sink=None, softcap=None, scale=None, layout="bhsd", seen=None):
    """float32, [B,H,S,D] inside. `seen` [B,H|1,Nq,Nk]: which keys may be seen besides."""
    if layout == "bshd":
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    group, n_q, n_k = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
    windows = window if isinstance(window, list) else [window] * k.shape[1]
    k, v = (x.float().repeat_interleave(group, 1) for x in (k, v))
    scores = q.float() @ k.transpose(2, 3) * (scale or q.shape[3] ** -0.5)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    p = torch.arange(n_q, device=q.device)[:, None] + n_k - n_q
    j = torch.arange(n_k, device=q.device)[None, :]
    for head in range(q.shape[1]):
        visible = torch.ones(n_q, n_k, dtype=torch.bool, device=q.device)
        if causal:
            visible = j <= p
        if prefix:
            visible = visible | (j < prefix)
        if windows[head // group] is not None:
            visible = visible & (p - j < windows[head // group])
        scores[:, head].masked_fill_(~visible, -torch.inf)
    if seen is not None:
        scores.masked_fill_(~seen, -torch.inf)
    extra = [] if sink is None else [sink.reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)]
    lse = torch.logsumexp(torch.cat([scores, *extra], 3), 3)
    out = torch.exp(scores - torch.where(lse.isfinite(), lse, 0.0)[..., None]) @ v
    return (out if layout == "bhsd" else out.transpose(1, 2)), lse


def check(out, expected, lse=None, expected_lse=None):
    assert not torch.isnan(out).any()
    assert float((out.float() - expected).norm() / expected.norm()) <= TOLERANCE
    if lse is not None:
        torch.testing.assert_close(lse, expected_lse, rtol=0, atol=2e-3)


# With the kernels that tools/bench --prepare makes.
CASES = [
    ({}, {"causal": True}),
    ({"n_k": 1000}, {}),
    ({"n_q": 1, "n_k": 777}, {"causal": True}),
    ({"n_k": 9000}, {}),
    ({"n_k": 17000, "layout": "bshd"}, {"causal": True}),
    ({"heads": 6, "kv_heads": 3, "layout": "bshd"}, {"causal": True}),
    ({"dtype": "float16"}, {"causal": True}),
    ({"dtype": "float16", "dim": 64}, {}),
    ({"dim": 64, "n_q": 1000, "n_k": 1000}, {"causal": True}),
    ({"dim": 256}, {"causal": True}),
    ({"heads": 32, "kv_heads": 8, "n_q": 1500, "n_k": 1500}, {"causal": True, "window": 512}),
    ({}, {"causal": True, "prefix": 150}),
    ({"heads": 6}, {"causal": True, "window": [None, 100]}),
    ({"n_q": 500, "n_k": 300}, {"causal": True, "return_lse": True}),
    ({}, {"causal": True, "sink": True, "softcap": 30.0, "return_lse": True}),
]


@pytest.mark.parametrize("shape, options", CASES, ids=str)
def test_values(shape, options):
    torch.manual_seed(1)
    shape, options = dict(shape), dict(options)
    shape["dtype"] = getattr(torch, shape.get("dtype", "bfloat16"))
    layout = shape.get("layout", "bhsd")
    q, k, v = make(**shape)
    if options.get("sink"):
        options["sink"] = torch.randn(q.shape[1], device="cuda")
    found = st.attention(q, k, v, layout=layout, **options)
    wants_lse = options.pop("return_lse", False)
    out, lse = found if wants_lse else (found, None)
    assert out.is_contiguous() and out.dtype == q.dtype
    expected, expected_lse = reference(q, k, v, layout=layout, **options)
    check(out, expected, lse, expected_lse)
    again = st.attention(q, k, v, layout=layout, **options)
    if not wants_lse:
        assert torch.equal(out, again)


@pytest.mark.parametrize("block", [128, 64])
@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
def test_lists_of_blocks(block, layout):
    torch.manual_seed(2)
    q, k, v = make(layout=layout)
    blocks = -(-333 // block)
    lists = torch.rand(2, 4, 3, blocks, device="cuda").argsort(-1)[..., : blocks - 1].int()
    lists[:, 0, :, 0] = -1
    listed = (lists[..., None] == torch.arange(blocks, device="cuda")).any(-2)
    seen = listed.repeat_interleave(128, 2)[:, :, :333].repeat_interleave(block, 3)[..., :333]
    lse = block == 64
    found = st.attention(q, k, v, causal=True, selection=lists, block=block, layout=layout, return_lse=lse)
    expected, expected_lse = reference(q, k, v, causal=True, layout=layout, seen=seen)
    check(found[0] if lse else found, expected, found[1] if lse else None, expected_lse)


def test_documents_as_ranges():
    q, k, v = make()
    starts = torch.tensor([0, 100, 101, 333], device="cuda")
    document = torch.searchsorted(starts[1:], torch.arange(333, device="cuda"), right=True)
    ranges = torch.stack([starts[document], starts[document + 1]], 1).int().expand(2, 333, 2).contiguous()
    seen = (document[:, None] == document[None, :])[None, None]
    out, lse = st.attention(q, k, v, causal=True, valid_range=ranges, return_lse=True)
    expected, expected_lse = reference(q, k, v, causal=True, seen=seen)
    check(out, expected, lse, expected_lse)


def test_packed_documents():
    q, k, v = make(batch=1, layout="bshd")
    starts = torch.tensor([0, 100, 100, 333], device="cuda", dtype=torch.int32)
    out, lse = st.attention(q[0], k[0], v[0], causal=True, layout="thd", cu_seqlens=starts, return_lse=True)
    for begin, end in ((0, 100), (100, 333)):
        part = [x[:, begin:end] for x in (q, k, v)]
        expected, expected_lse = reference(*part, causal=True, layout="bshd")
        check(out[None, begin:end], expected, lse[None, :, begin:end], expected_lse)


@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
def test_the_number_of_keys_chooses_the_kernel(layout, monkeypatch):
    from sparseattn.torch import kernels

    asked, real = [], kernels.gpu_kernel
    monkeypatch.setattr(kernels, "gpu_kernel", lambda spec, folder, keys: asked.append(keys) or real(spec, folder, keys))
    st.attention(*make(n_q=100, n_k=9000, layout=layout), layout=layout)
    assert asked == [9000]


def test_strides():
    """Views that a tensor map can describe: heads and tokens exchanged, and a slice of a fused projection."""
    fused = torch.randn(2, 333, 4 + 2 + 2, 128, device="cuda", dtype=torch.bfloat16)
    q, k, v = (x.transpose(1, 2) for x in fused.split([4, 2, 2], 2))
    check(st.attention(q, k, v, causal=True), reference(q, k, v, causal=True)[0])


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compile(mode):
    def layer(q, k, v):
        return st.attention(q * 2, k, v, causal=True) + 1

    fast = torch.compile(layer, fullgraph=True, mode=mode)
    for seed in range(4):
        torch.manual_seed(seed)
        q, k, v = make()
        assert torch.equal(fast(q, k, v).clone(), layer(q, k, v))
    torch._dynamo.reset()


def test_operator():
    q, k, v = make()
    from sparseattn.torch.fused_attention import fused_attention

    torch.library.opcheck(fused_attention, (q, k, v, None, "causal", None, None, True, "bhsd", None))


def test_graph():
    q, k, v = make()
    st.attention(q, k, v, causal=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = st.attention(q, k, v, causal=True)
    for _ in range(3):
        for tensor in (q, k, v):
            tensor.copy_(torch.randn_like(tensor))
        out.fill_(float("nan"))
        graph.replay()
        torch.cuda.synchronize()
        check(out, reference(q, k, v, causal=True)[0])


def test_side_stream():
    """The launch waits for what the side stream did before, and for nothing else."""
    q, k, v = make(n_q=4000, n_k=4000)
    expected = reference(q * 2, k, v, causal=True)[0]
    st.attention(q, k, v, causal=True)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        q.mul_(2)
        out = st.attention(q, k, v, causal=True)
    stream.synchronize()
    check(out, expected)


def test_prepared_artefact(tmp_path):
    folder = os.environ.get("SPARSEATTN_KERNELS")
    if folder is None:
        folder = tmp_path
        st.prepare(folder, dim=128, causal=True)
    q, k, v = make()
    check(st.attention(q, k, v, causal=True, kernels=folder), reference(q, k, v, causal=True)[0])


def test_compiled_on_first_use():
    q, k, v = make()
    try:
        out = st.attention(q, k, v, causal=True, scale=0.0625)
    except LibraryNotFound as error:
        pytest.skip(f"no compiler here: {error}")
    check(out, reference(q, k, v, causal=True, scale=0.0625)[0])


def test_empty():
    q, k, v = make(n_q=0)
    assert st.attention(q, k, v, causal=True).shape == (2, 4, 0, 128)
    q, k, v = make(n_k=0)
    assert not st.attention(q, k, v, causal=True).any()


def refused(error, message, call):
    with pytest.raises(error, match=message):
        call()
    torch.cuda.synchronize()


def test_refusals():
    q, k, v = make()
    wide = torch.randn(2, 2, 333, 256, device="cuda", dtype=torch.bfloat16)
    odd = torch.randn(2 * 2 * 333 * 128 + 1, device="cuda", dtype=torch.bfloat16)[1:].view(2, 2, 333, 128)
    refused(TypeError, "one dtype", lambda: st.attention(q, k.half(), v))
    refused(TypeError, "bfloat16 or float16 on a GPU", lambda: st.attention(q.float(), k.float(), v.float()))
    refused(ValueError, "one device", lambda: st.attention(q, k.cpu(), v))
    refused(ValueError, "cannot be grouped", lambda: st.attention(q[:, :3], k, v))
    refused(ValueError, "stride of 1 in the last dimension of k, found 2", lambda: st.attention(q, wide[..., ::2], v))
    refused(ValueError, "multiple of 16 bytes", lambda: st.attention(q, odd, v, causal=True))
    refused((ValueError, LibraryNotFound), "d80_full", lambda: st.attention(q[..., :80], k[..., :80], v[..., :80]))


@pytest.mark.skipif(MAY_USE_GPU and torch.cuda.device_count() < 2, reason="one GPU")
def test_other_device():
    q, k, v = (x.to("cuda:1") for x in make())
    out = st.attention(q, k, v, causal=True)
    assert out.device == q.device
    check(out, reference(q, k, v, causal=True)[0])


def test_in_many_threads():
    import threading

    q, k, v = make()
    expected = st.attention(q, k, v, causal=True)
    wrong = []

    def work():
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
            for _ in range(20):
                if not torch.equal(st.attention(q, k, v, causal=True), expected):
                    wrong.append(True)

    torch.cuda.synchronize()
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
