"""Window and causality conventions: for each source, the mask built by the
source's own rule against the mask of our pattern."""

import json
import re

import numpy as np
import pytest
from support import FIXTURES, attend, recording, visible

from sparseattn.frontend import conventions
from sparseattn.frontend.conventions import Unrepresentable, jax_local_window, left_right, visible_keys
from sparseattn.frontend.graph import CAUSAL, FULL, window

N = 13
Q, K = np.arange(N)[:, None], np.arange(N)[None, :]
SIZES = [1, 2, 5, N - 1, N, N + 4]


def assert_same(keys, mask):
    np.testing.assert_array_equal(visible(keys, N, N), mask)


@pytest.mark.parametrize("w", SIZES)
def test_huggingface(w):
    # masking_utils: sliding_window_overlay kv > q - W, and causal.
    assert_same(visible_keys(w, causal=True), (K > Q - w) & (K <= Q))


@pytest.mark.parametrize("w", SIZES)
def test_our_operators(w):
    # Number of keys of the last query that has enough of them.
    keys = visible_keys(w, causal=True, unlimited=(-1,))
    assert visible(keys, N, N).sum(1).tolist() == [min(i + 1, w) for i in range(N)]


@pytest.mark.parametrize("left", [0, 1, 4, N, N + 3])
@pytest.mark.parametrize("right, causal", [(0, False), (0, True), (-1, True), (3, True)])
def test_flash_attention_and_onnx(left, right, causal):
    mask = K >= Q - left
    if right != -1:
        mask = mask & (K <= Q + right)
    if causal:
        mask = mask & (K <= Q)
    assert_same(left_right(left, right, causal), mask)


@pytest.mark.parametrize("right, causal, keys", [(0, False, CAUSAL), (-1, True, CAUSAL), (-1, False, FULL), (2, True, CAUSAL)])
def test_unbounded_left(right, causal, keys):
    assert left_right(-1, right, causal) == keys


@pytest.mark.parametrize("left, right", [(3, 1), (-1, 2), (3, -1), (-2, 0), (0, -3)])
def test_windows_without_causality_are_refused(left, right):
    with pytest.raises(Unrepresentable):
        left_right(left, right, causal=False)


@pytest.mark.parametrize("size", [(0, 0), (4, 0), 4, 0, (2, 7)])
def test_jax_rule(size):
    l, r = (size, size) if isinstance(size, int) else size
    assert_same(jax_local_window(size, causal=True), (K >= Q - l) & (K <= Q + r) & (K <= Q))


def test_jax_window_on_both_sides_is_refused():
    with pytest.raises(Unrepresentable, match="after the query"):
        jax_local_window(4, causal=False)
    assert jax_local_window((4, 0), causal=False) == window(5)


@pytest.mark.parametrize("size", [(3, 0), 3])
def test_jax_runs_it(size):
    """What JAX itself computes, against our pattern for the same argument."""
    jax = pytest.importorskip("jax")
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, N, 2, 8)).astype(np.float32)
    theirs = jax.nn.dot_product_attention(q, k, v, is_causal=True, local_window_size=size)
    bhsd = [x.astype(np.float64).transpose(0, 2, 1, 3) for x in (q, k, v)]
    ours = attend(*bhsd, visible(jax_local_window(size, causal=True), N, N), 8**-0.5)
    np.testing.assert_allclose(np.asarray(theirs), ours.transpose(0, 2, 1, 3), atol=1e-5)


@pytest.mark.parametrize("left, right, causal", [(0, 0, 0), (3, 0, 0), (-1, 0, 0), (2, -1, 1), (-1, -1, 1), (-1, -1, 0), (4, 2, 1)])
def test_onnx_reference_runs_it(left, right, causal):
    """What ONNX's reference implementation computes, against our pattern."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if "left_window_size" not in onnx.defs.get_schema("Attention", 25).attributes:
        pytest.skip("this onnx has no window attributes")
    info = lambda names: [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 2, N, 8]) for n in names]
    node = helper.make_node("Attention", list("qkv"), ["y"], left_window_size=left, right_window_size=right, is_causal=causal)
    model = helper.make_model(helper.make_graph([node], "g", info("qkv"), info("y")), opset_imports=[helper.make_opsetid("", 25)])
    q, k, v = np.random.default_rng(1).standard_normal((3, 1, 2, N, 8)).astype(np.float32)
    theirs = ReferenceEvaluator(model).run(None, {"q": q, "k": k, "v": v})[0]
    ours = attend(*(x.astype(np.float64) for x in (q, k, v)), visible(left_right(left, right, bool(causal)), N, N), 8**-0.5)
    np.testing.assert_allclose(theirs, ours, atol=1e-5)


@pytest.mark.parametrize("name", ["jax_cudnn_window", "jax_cudnn_causal"])
def test_cudnn(name):
    """`sliding_window_length` of the exported call, against what cuDNN computed."""
    text = (FIXTURES / f"{name}.mlir").read_text()
    config = re.search(r'backend_config = "(.*?)", call_target_name', text)[1].replace("\\22", '"')
    fmha = json.loads(config)["cudnn_fmha_backend_config"]
    length = fmha["sliding_window_length"] or None
    keys = visible_keys(length, causal=fmha["mask_type"] == "CAUSAL", name="sliding_window_length")
    assert keys == (window(48) if name.endswith("window") else CAUSAL)
    _, arrays = recording(name)
    q, k, v, out = (arrays[n].transpose(0, 2, 1, 3) for n in ("in0", "in1", "in2", "out0"))
    # Rows around the edge of the window; bfloat16 rounds the output to 2^-8 of values up to 4.
    rows = slice(40, 60)
    mask = visible(keys, q.shape[2], k.shape[2])[rows]
    np.testing.assert_allclose(attend(q[:, :, rows], k, v, mask, fmha["fmha_scale"]), out[:, :, rows], atol=0.02)


def test_cudnn_aligns_at_the_first_key():
    seen = json.loads((FIXTURES / "cudnn_alignment.json").read_text())
    queries = range(seen["queries"])
    assert seen["causal"]["visible_keys"] == [i + 1 for i in queries]
    assert seen["window_32"]["first_visible_key"] == [max(0, i - 31) for i in queries]


@pytest.mark.parametrize("w", [1, 4, N])
def test_onnx_runtime_group_query_attention(w):
    # The last w keys, in newer code.
    assert_same(visible_keys(w, causal=True, unlimited=(-1,), name="local_window_size"), (K <= Q) & (Q - K < w))


@pytest.mark.parametrize("number", [0, -2, True, 2.5, "8"])
def test_bad_windows_are_refused(number):
    with pytest.raises(Unrepresentable):
        visible_keys(number, causal=True)


def test_window_without_causality_is_refused():
    with pytest.raises(Unrepresentable, match="without causality"):
        visible_keys(4, causal=False)


def test_every_source_is_in_the_table():
    for source in ("HuggingFace", "FlashAttention", "JAX", "cuDNN", "ONNX Attention", "ONNX Runtime"):
        assert f"| {source}" in conventions.__doc__
