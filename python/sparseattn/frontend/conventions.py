"""Window and causality conventions of the sources, normalised to ours.

Ours (`KeyPattern`): a window counts the visible keys, the query's own
included, and stands on causality aligned at the last key.

| source | their number | keys seen | ours |
|---|---|---|---|
| HuggingFace `sliding_window = W` | key > query - W | W | W |
| `torch.ops.sparseattn.attention`, `sparseattn.jax.attention` | visible keys | W | W |
| FlashAttention, vLLM `window_size = (l, r)` | query - l <= key <= query + r; -1 unbounded | l + 1 (r = 0) | l + 1 |
| JAX `local_window_size = (l, r)`; one int means (w, w) | the same, without -1 | l + 1 (r = 0 or causal) | l + 1 |
| cuDNN `sliding_window_length` | query - length < key <= query | that number | the same |
| ONNX Attention `left_window_size`, `right_window_size` | query - l <= key <= query + r; -1 unbounded | l + 1 | l + 1 |
| ONNX Runtime `local_window_size` of GroupQueryAttention | the last w keys (older CPU code: w + 1); -1 unbounded | w | w, with a remark |

Causality: HuggingFace, FlashAttention >= 2.1, ONNX with a cache and our
operators align at the last key (query i of Nq sees key j <= i + Nk - Nq).
PyTorch's `is_causal`, JAX's default implementation, cuDNN through JAX
(measured: `test/Import/fixtures/cudnn_alignment.json`) and ONNX without a
cache align at the first (j <= i). They agree only for Nq = Nk.
"""

from .graph import CAUSAL, FULL, window


class Unrepresentable(Exception):
    """Keys that no pattern of ours describes. `reason` and `advice` are text."""

    def __init__(self, reason, advice):
        self.reason, self.advice = reason, advice
        super().__init__(reason)


def _integer(value, name):
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unrepresentable(f"expected {name} to be an integer, found {value!r}", "check how the model was exported")
    return value


def visible_keys(number, causal, unlimited=(None, -1), name="window"):
    """Sources whose number is the count of visible keys (HuggingFace, cuDNN,
    our operators, ONNX Runtime). `unlimited`: values that mean no window."""
    if any(number is u or (u is not None and number == u and not isinstance(number, bool)) for u in unlimited):
        return CAUSAL if causal else FULL
    if _integer(number, name) < 1:
        raise Unrepresentable(f"expected {name} of at least 1 key, found {number}", "check how the model was exported")
    if not causal:
        raise Unrepresentable(f"a window of {number} keys without causality", "only causal windows are supported")
    return window(number)


def left_right(left, right, causal, name="window"):
    """Sources with inclusive bounds query - left <= key <= query + right, -1
    for unbounded (FlashAttention, ONNX)."""
    for bound in (left, right):
        if _integer(bound, name) < -1:
            raise Unrepresentable(f"expected bounds of {name} of at least -1, found ({left}, {right})",
                                  "check how the model was exported")
    if not causal and right > 0:
        raise Unrepresentable(f"{name} ({left}, {right}) shows keys after the query", "only causal windows are supported")
    if not causal and right == -1:
        if left == -1:
            return FULL
        raise Unrepresentable(f"{name} ({left}, -1) is bounded on the left only", "only causal windows are supported")
    return CAUSAL if left == -1 else window(left + 1)


def jax_local_window(size, causal):
    """JAX `local_window_size`: None, one int for both sides, or (left, right)."""
    if size is None:
        return CAUSAL if causal else FULL
    left, right = (size, size) if isinstance(size, int) else size
    if left < 0 or right < 0:
        raise Unrepresentable(f"expected bounds of at least 0, found ({left}, {right})",
                              "leave local_window_size out for no window")
    return left_right(left, right, causal, "local_window_size")
