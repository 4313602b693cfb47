"""`sparseattn.torch.attention` without a GPU. Runs where torch is installed; test/Hopper/torch is for the GPU."""

import re
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sparseattn.torch as st  # noqa: E402
from sparseattn import compiler, reference as ref, runtime  # noqa: E402
from sparseattn.attention_spec import AttentionSpec  # noqa: E402
from sparseattn.compiler import LibraryNotFound  # noqa: E402
from sparseattn.torch import kernels  # noqa: E402
from sparseattn.torch.fused_attention import fused_attention  # noqa: E402

TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def tensors(heads=4, kv_heads=2, n_q=13, n_k=17, d=16, dv=16, batch=2, dtype=torch.float32, layout="bhsd"):
    torch.manual_seed(0)
    make = lambda h, n, size: torch.randn((batch, h, n, size) if layout == "bhsd" else (batch, n, h, size)).to(dtype)
    return make(heads, n_q, d), make(kv_heads, n_k, d), make(kv_heads, n_k, dv)


def expect(q, k, v, keys, layout="bhsd", **options):
    """float64, from the values as they were rounded."""
    wide = [x.detach().double().numpy() for x in (q, k, v)]
    sink = options.pop("sink", None)
    softcap = options.pop("softcap", None)
    return ref.attention(*wide, keys=keys, sink=None if sink is None else sink.double().numpy(), layout=layout, return_lse=True,
                         score_mod=None if softcap is None else ref.SoftCap(softcap), **options)


def check(found, expected, dtype=torch.float32):
    assert found[0].dtype == dtype and found[0].is_contiguous() and found[1].dtype == torch.float32
    np.testing.assert_allclose(found[0].double().numpy(), expected[0], atol=TOLERANCE[dtype])
    np.testing.assert_allclose(found[1].numpy(), expected[1], atol=2e-5, rtol=1e-5)


PATTERNS = [
    ({}, ref.Full()),
    ({"causal": True}, ref.Causal()),
    ({"causal": True, "window": 5}, ref.Window(5)),
    ({"causal": True, "prefix": 7}, ref.PrefixLM(7)),
    ({"causal": True, "window": [None, 3]}, ref.HeadTable((ref.Causal(), ref.Window(3)))),
    ({"causal": True, "window": [4, 4]}, ref.Window(4)),
]


@pytest.mark.parametrize("options, keys", PATTERNS, ids=lambda x: str(x) if isinstance(x, dict) else None)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
def test_patterns(options, keys, dtype, layout):
    q, k, v = tensors(dtype=dtype, layout=layout)
    found = st.attention(q, k, v, layout=layout, return_lse=True, **options)
    check(found, expect(q, k, v, keys, layout), dtype)


@pytest.mark.parametrize("shape", [{"n_q": 1}, {"n_q": 20, "n_k": 6}, {"kv_heads": 1, "heads": 3}, {"dv": 8}, {"n_k": 0},
                                   {"n_q": 0}, {"batch": 1, "d": 80, "dv": 80}], ids=str)
def test_shapes(shape):
    q, k, v = tensors(**shape)
    check(st.attention(q, k, v, causal=True, return_lse=True), expect(q, k, v, ref.Causal()))


def test_options():
    q, k, v = tensors()
    sink = torch.randn(4)
    found = st.attention(q, k, v, causal=True, sink=sink, softcap=3, scale=1e-1, return_lse=True)
    check(found, expect(q, k, v, ref.Causal(), sink=sink, softcap=3.0, scale=0.1))
    out = st.attention(q, k, v, causal=True, sink=sink, softcap=3.0, scale=0.1)
    assert isinstance(out, torch.Tensor) and torch.equal(out, found[0])


def random_lists(batch, heads, rows, blocks, entries):
    """Distinct blocks in any order, the last entry of each row -1."""
    lists = torch.rand(batch, heads, rows, blocks).argsort(-1)[..., :entries].int()
    lists[..., -1] = -1
    return lists


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
@pytest.mark.parametrize("causal", [False, True])
def test_lists_of_blocks(heads, layout, causal):
    q, k, v = tensors(n_q=13, n_k=17, layout=layout)
    lists = random_lists(2, heads, 4, 5, 3)
    found = st.attention(q, k, v, causal=causal, selection=lists, block=4, query_block=4, layout=layout, return_lse=True)
    wide = [x.double().numpy() for x in (q, k, v)]
    check(found, ref.sparse_attention(*wide, lists.numpy(), block=4, query_block=4, layout=layout, return_lse=True,
                                      keys=ref.Causal() if causal else ref.Full()))


@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
def test_documents_as_ranges(layout):
    q, k, v = tensors(n_q=17, n_k=17, layout=layout)
    begin = torch.tensor([[0] * 6 + [6] * 11, [0] * 17])
    end = torch.tensor([[6] * 6 + [17] * 11, [0] * 3 + [17] * 14])
    ranges = torch.stack([begin, end], -1).int()
    found = st.attention(q, k, v, causal=True, valid_range=ranges, layout=layout, return_lse=True)
    check(found, expect(q, k, v, ref.Causal(), layout, valid_range=ranges.numpy()))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("apart", [False, True])
def test_packed_documents(dtype, apart):
    q, k, v = (x[0] for x in tensors(n_q=17, n_k=20 if apart else 17, layout="bshd", batch=1, dtype=dtype))
    starts = torch.tensor([0, 5, 5, 17]).int()
    key_starts = torch.tensor([0, 9, 12, 20]).int() if apart else starts
    found = st.attention(q, k, v, causal=True, window=4, layout="thd", cu_seqlens=(starts, key_starts) if apart else starts,
                         return_lse=True)
    assert found[1].shape == (4, 17)
    check(found, expect(q, k, v, ref.Window(4), "thd", cu_seqlens_q=starts.numpy(), cu_seqlens_k=key_starts.numpy()), dtype)


def test_strides():
    q, k, v = tensors(d=32, dv=32)
    wide = torch.randn(2, 17, 2, 64)
    k = wide[..., ::2].transpose(1, 2)
    check(st.attention(q, k, v.flip(2), return_lse=True), expect(q, k, v.flip(2), ref.Full()))


def test_no_gradient():
    q, k, v = tensors()
    q.requires_grad_()
    out = st.attention(q, k, v)
    with pytest.raises(RuntimeError, match="fused_attention"):
        out.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
@pytest.mark.parametrize("lse", [False, True])
def test_operator(dtype, layout, lse):
    """torch's own checks: schema, no hidden aliases or writes, the fake form agrees with the real one."""
    q, k, v = tensors(dtype=dtype, layout=layout, dv=8)
    torch.library.opcheck(fused_attention, (q, k, v, torch.randn(4), "causal window<3>", 2.0, 0.5, lse, layout, None))


def test_operator_with_restrictions():
    q, k, v = tensors()
    rest = ("causal", None, None, True)
    lists, ranges = random_lists(2, 1, 4, 5, 2), torch.tensor([0, 9]).int().expand(2, 13, 2).contiguous()
    torch.library.opcheck(fused_attention, (q, k, v, None, *rest, "bhsd", None, lists, 4, 4))
    torch.library.opcheck(fused_attention, (q, k, v, None, *rest, "bhsd", None, None, 0, 128, ranges))
    q, k, v = (x.transpose(1, 2).reshape(-1, x.shape[1], 16) for x in tensors(n_q=17))
    starts = torch.tensor([0, 20, 34]).int()
    torch.library.opcheck(fused_attention, (q, k, v, None, *rest, "thd", None, None, 0, 128, None, starts, starts))


def test_fake_tensors():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        q, k, v = (torch.empty(2, 100, h, 128, dtype=torch.bfloat16, device="cuda") for h in (8, 2, 2))
        out, lse = st.attention(q, k, v, causal=True, return_lse=True, layout="bshd")
        assert out.shape == q.shape and out.device == q.device and lse.shape == (2, 8, 100) and lse.dtype == torch.float32
        starts = torch.empty(3, dtype=torch.int32, device="cuda")
        out, lse = st.attention(q[0], k[0], v[0], layout="thd", cu_seqlens=starts, return_lse=True)
        assert out.shape == (100, 8, 128) and lse.shape == (8, 100)
        with pytest.raises(TypeError, match="expected bfloat16 or float16 on a GPU"):
            st.attention(q.float(), k.float(), v.float())


@pytest.mark.parametrize("dynamic", [False, True])
def test_compile(dynamic):
    def layer(q, k, v, sink):
        out, lse = st.attention(q * 2, k, v, causal=True, window=[None, 3], sink=sink, return_lse=True)
        return out + 1, lse

    fast = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for n_q in (13, 5, 6):
        q, k, v = tensors(n_q=n_q)
        sink = torch.randn(4)
        for found, expected in zip(fast(q, k, v, sink), layer(q, k, v, sink)):
            assert torch.equal(found, expected)


LISTS = torch.zeros(2, 1, 1, 3, dtype=torch.int32)
STARTS = torch.tensor([0, 5, 13]).int()


def packed(q, k, v):
    return (x[0].transpose(0, 1) for x in (q, k, v))


BAD = [
    (lambda q, k, v: st.attention(q[0], k, v), ValueError, "expected q, k and v of rank 4, [batch, heads, tokens, dim], found ranks 3"),
    (lambda q, k, v: st.attention(q, k.half(), v), TypeError, "expected one dtype for q, k and v"),
    (lambda q, k, v: st.attention(q.double(), k.double(), v.double()), TypeError, "expected bfloat16, float16 or float32"),
    (lambda q, k, v: st.attention(q[:1], k, v), ValueError, "expected one batch size"),
    (lambda q, k, v: st.attention(q[:, :3], k, v), ValueError, "the 3 query heads cannot be grouped over 2"),
    (lambda q, k, v: st.attention(q, k, v[:, :, 1:]), ValueError, "the same heads and tokens in k and v"),
    (lambda q, k, v: st.attention(q[..., :8], k, v), ValueError, "one head dimension in q and k, found 8 and 16"),
    (lambda q, k, v: st.attention(q, k, v, window=3), ValueError, "pass causal=True"),
    (lambda q, k, v: st.attention(q, k, v, prefix=3), ValueError, "pass causal=True"),
    (lambda q, k, v: st.attention(q, k, v, causal=True, window=3, prefix=3), ValueError, "a window or a prefix, found both"),
    (lambda q, k, v: st.attention(q, k, v, causal=True, window=0), ValueError, "expected window of at least 1, found 0"),
    (lambda q, k, v: st.attention(q, k, v, causal=True, window=2.0), TypeError, "expected window as an int"),
    (lambda q, k, v: st.attention(q, k, v, causal=True, window=[1, 2, 3]), ValueError, "each of the 2 KV heads, found 3"),
    (lambda q, k, v: st.attention(q, k, v, causal=True, window=[]), ValueError, "found none"),
    (lambda q, k, v: st.attention(q, k, v, sink=torch.zeros(2)), ValueError, "expected sink of shape [4]"),
    (lambda q, k, v: st.attention(q, k, v, sink=torch.zeros(4, dtype=torch.float64)), ValueError, "dtype float32"),
    (lambda q, k, v: st.attention(q, k, v, softcap=0.0), ValueError, "expected a positive finite softcap"),
    (lambda q, k, v: st.attention(q, k, v, scale=float("nan")), ValueError, "expected a finite scale"),
    (lambda q, k, v: st.attention(q, k, v, layout="sbhd"), ValueError, "expected layout 'bhsd', 'bshd' or 'thd', found 'sbhd'"),
    (lambda q, k, v: st.attention(q, k, v, selection=LISTS), ValueError, "expected selection and block together, or neither"),
    (lambda q, k, v: st.attention(q, k, v, block=4), ValueError, "expected selection and block together, or neither"),
    (lambda q, k, v: st.attention(q, k, v, selection=LISTS, block=0), ValueError, "expected block of at least 1, found 0"),
    (lambda q, k, v: st.attention(q, k, v, selection=LISTS, block=4, query_block=4), ValueError,
     "expected selection of shape [2, 1, 4, 3] and dtype int32, found [2, 1, 1, 3]"),
    (lambda q, k, v: st.attention(q, k, v, selection=LISTS.expand(2, 3, 1, 3), block=4), ValueError,
     "with 1, 2 or 4 heads, found shape [2, 3, 1, 3]"),
    (lambda q, k, v: st.attention(q, k, v, selection=LISTS.long(), block=4), ValueError, "dtype int32, found [2, 1, 1, 3] torch.int64"),
    (lambda q, k, v: st.attention(q, k, v, valid_range=LISTS), ValueError, "expected valid_range of shape [2, 13, 2]"),
    (lambda q, k, v: st.attention(q, k, v, cu_seqlens=STARTS), ValueError, "expected cu_seqlens with layout 'thd', and only there"),
    (lambda q, k, v: st.attention(*packed(q, k, v), layout="thd"), ValueError, "expected cu_seqlens with layout 'thd'"),
    (lambda q, k, v: st.attention(q, k, v, layout="thd", cu_seqlens=STARTS), ValueError, "rank 3, [tokens, heads, dim], found ranks 4"),
    (lambda q, k, v: st.attention(*packed(q, k, v), layout="thd", cu_seqlens=STARTS, valid_range=LISTS), ValueError,
     "documents of layout 'thd' are given by cu_seqlens"),
    (lambda q, k, v: st.attention(*packed(q, k, v), layout="thd", cu_seqlens=(STARTS, STARTS[:2])), ValueError,
     "expected cu_seqlens of keys of shape [3] and dtype int32, found [2]"),
    (lambda q, k, v: st.attention(*packed(q, k, v), layout="thd", cu_seqlens=STARTS), ValueError,
     "expected cu_seqlens of keys that begin with 0, do not decrease and end with 17, found [0, 5, 13]"),
    (lambda q, k, v: st.attention(*packed(q, k, v), layout="thd", cu_seqlens=(STARTS[1:], STARTS[1:])), ValueError,
     "expected cu_seqlens of queries that begin with 0, do not decrease and end with 13, found [5, 13]"),
    (lambda q, k, v: st.attention(*packed(q, k, v), layout="thd", cu_seqlens=(STARTS,)), ValueError, "one for keys, found 1"),
    (lambda q, k, v: st.attention(q, k.to("meta"), v), ValueError, "expected one device"),
]


@pytest.mark.parametrize("call, error, message", BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments(call, error, message, monkeypatch):
    monkeypatch.setattr(kernels, "cpu_function", None)
    monkeypatch.setattr(kernels, "gpu_kernel", None)
    with pytest.raises(error, match=re.escape(message)):
        call(*tensors())


def test_compiled_once(monkeypatch):
    """By many threads at once; kinds that differ do not wait for each other's result."""
    compiled = []
    real = compiler.compile_cpu
    monkeypatch.setattr(compiler, "compile_cpu", lambda text, **more: compiled.append(text) or real(text, **more))
    q, k, v = tensors()
    results = {}

    def work(index):
        results[index] = st.attention(q, k, v, causal=True, scale=0.123 + index % 2)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and len(compiled) == 2
    assert all(torch.equal(results[index], results[index % 2]) for index in results)


def test_prepared_kernels(tmp_path, monkeypatch):
    options = {"dtype": torch.float16, "dim": 64, "value_dim": 128, "causal": True, "window": [None, 128], "return_lse": True}
    name = st.prepare(tmp_path, **options)
    assert name == "d64_v128_table_1xcausal_1xwindow128_lse_f16"
    assert {path.name for path in tmp_path.iterdir()} == {name}
    more = [st.prepare(tmp_path / "more", dim=64, causal=True, **rest)
            for rest in ({"block": 64}, {"valid_range": True}, {"layout": "thd"}, {"layout": "bshd"})]
    assert more == ["d64_causal_blocks128x64", "d64_causal_documents", "d64_causal_thd", "d64_causal"]
    with pytest.raises(ValueError, match="documents of layout 'thd' are given by cu_seqlens"):
        st.prepare(tmp_path, dim=64, layout="thd", block=64)

    def no_compiler(*arguments, **options):
        raise LibraryNotFound("libSparseAttn.so not found")

    monkeypatch.setattr(compiler, "compile_gpu", no_compiler)
    spec = AttentionSpec(("causal", "window<128>"), "f16", 64, 128, lse=True)
    kernel = kernels.gpu_kernel(spec, str(tmp_path), 100)
    assert kernel.name == name and kernels.gpu_kernel(spec, str(tmp_path), 100) is kernel
    assert kernels.gpu_kernel(spec, str(tmp_path / name), 100).name == name
    monkeypatch.setenv("SPARSEATTN_KERNELS", str(tmp_path))
    assert kernels.gpu_kernel(spec, None, 100) is kernel
    other = AttentionSpec("full", "f16", 64)
    with pytest.raises(LibraryNotFound, match=f"no kernel d64_full_f16: {tmp_path} has none.*libSparseAttn.so not found.*prepare"):
        kernels.gpu_kernel(other, None, 100)
    monkeypatch.delenv("SPARSEATTN_KERNELS")
    with pytest.raises(LibraryNotFound, match="SPARSEATTN_KERNELS is not set"):
        kernels.gpu_kernel(other, None, 100)
    (tmp_path / name / f"{name}.ptx").write_text("")
    with pytest.raises(runtime.ArtefactError):
        kernels.gpu_kernel(spec, f"{tmp_path}/", 100)


def test_kernels_compiled_on_first_use():
    spec = AttentionSpec("causal", dim=64, scale=0.77)
    kernel = kernels.gpu_kernel(spec, None, 100)
    assert kernel.name == "d64_causal_scale0p77" and [operand.name for operand in kernel.operands] == ["query", "key", "value", "out"]


def test_kernels_by_length_class(tmp_path, monkeypatch):
    """Two at most: one compile for each schedule, not for each length."""
    compiled = []
    real = compiler.compile_gpu
    monkeypatch.setattr(compiler, "compile_gpu", lambda *arguments, **more: compiled.append(more["expected_keys"]) or real(*arguments, **more))
    spec = AttentionSpec(("causal", "window<64>"), scale=0.78)
    by_keys = {keys: kernels.gpu_kernel(spec, None, keys) for keys in (0, 1, 1024, 32767, 32768, 90000, 1 << 20)}
    assert compiled == [None, 32768] and by_keys[0] is by_keys[32767] is not by_keys[32768] is by_keys[1 << 20]

    def prepare(folder, *lengths):
        for keys in lengths:
            st.prepare(folder, dim=128, causal=True, window=(None, 64), scale=0.79, expected_keys=keys)
        return sorted(path.name for path in folder.iterdir())

    name = "d128_table_1xcausal_1xwindow64_scale0p79"
    assert prepare(tmp_path / "both", 1024, 32768) == [name, f"{name}-keys32768"]
    assert prepare(tmp_path / "all", None) == [name]
    assert prepare(tmp_path / "long", 40000) == [f"{name}-keys32768"]
    with pytest.raises(ValueError, match="expected expected_keys of at least 1, found 0"):
        prepare(tmp_path / "all", 0)
    compiled.clear()
    spec = AttentionSpec(("causal", "window<64>"), scale=0.79)
    for folder, same in (("both", False), ("all", True), ("long", True)):
        short, long = (kernels.gpu_kernel(spec, str(tmp_path / folder), keys) for keys in (100, 100000))
        assert (short is long) == same and short.name == long.name == name
    assert not compiled


def test_own_schedules(tmp_path):
    """One for all lengths, and from 4096 keys on another."""
    table = tmp_path / "table"
    table.write_text("""
64 64 causal>=4096 #sparseattn.schedule<query_tile = 128, key_tile = 48>
64 64 causal #sparseattn.schedule<query_tile = 128, key_tile = 32>
""")
    options = {"dim": 64, "causal": True, "schedule_table": table}
    for keys in (None, 100, 5000):
        st.prepare(tmp_path / "kernels", expected_keys=keys, **options)
    assert sorted(path.name for path in (tmp_path / "kernels").iterdir()) == ["d64_causal", "d64_causal-keys4096"]
    ptx = [path.read_text() for path in sorted((tmp_path / "kernels").glob("*/*.ptx"))]
    assert ["m64n32k16" in text and "m64n48k16" not in text for text in ptx] == [True, False]
    assert "m64n48k16" in ptx[1]
    with pytest.raises(ValueError, match="there is no GPU kernel for d64_causal: .*absent"):
        st.prepare(tmp_path, dim=64, causal=True, schedule_table=tmp_path / "absent")


def test_no_such_kernel(tmp_path):
    with pytest.raises(ValueError, match="there is no GPU kernel for d80_full: .*80"):
        st.prepare(tmp_path, dim=80)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match="expected bfloat16 or float16, found torch.float32"):
        st.prepare(tmp_path, dim=64, dtype=torch.float32)
    with pytest.raises(ValueError, match="softcap"):
        st.prepare(tmp_path, dim=64, softcap=-1.0)
