"""Attention operators in a PyTorch graph.

`recognise` turns the arguments of one node into an `Attention`, or refuses
with a reason; it never guesses.
"""

from .conventions import Unrepresentable, visible_keys
from .errors import FrontendError
from .graph import CAUSAL, FULL, Attention, TensorType, Value, surely_equal

CUSTOM = "torch.ops.sparseattn.attention.default"
SDPA = "torch.ops.aten.scaled_dot_product_attention.default"

CAPTURE = "capture attention with sparseattn.torch (see its huggingface module), which keeps windows, sinks and sharing"

DECOMPOSED = "torch.ops.aten._scaled_dot_product_"
FLEX = "torch.ops.higher_order.flex_attention"

# Schema defaults: torch writes only the arguments that were given.
_CUSTOM_DEFAULTS = {"sink": None, "softcap": 0.0}
_SDPA_DEFAULTS = {"attn_mask": None, "dropout_p": 0.0, "is_causal": False, "scale": None, "enable_gqa": False}


class Arguments:
    """Arguments of one node by name, with the operator's defaults.

    A value is a `Value` for tensors and symbolic numbers, a Python number,
    bool or None otherwise.
    """

    def __init__(self, node, given, defaults, advice):
        self.node, self.given, self.defaults, self.advice = node, given, defaults, advice

    def _get(self, name, what, accept):
        if name not in self.given and name not in self.defaults:
            raise FrontendError(f"expected node {self.node} to have argument '{name}'",
                                f"only {', '.join(sorted(self.given)) or 'none'}", self.advice)
        value = self.given.get(name, self.defaults.get(name))
        if not accept(value):
            found = f"{value.type}" if isinstance(value, Value) else f"{value!r}"
            raise Unrepresentable(f"argument '{name}' is {found}, expected {what}", CAPTURE)
        return value

    def tensor(self, name):
        return self._get(name, "a tensor", lambda v: isinstance(v, Value) and isinstance(v.type, TensorType))

    def optional_tensor(self, name):
        return self._get(name, "a tensor or none",
                         lambda v: v is None or isinstance(v, Value) and isinstance(v.type, TensorType))

    def integer(self, name):
        return self._get(name, "a constant integer", lambda v: isinstance(v, int) and not isinstance(v, bool))

    def boolean(self, name):
        return self._get(name, "true or false", lambda v: isinstance(v, bool))

    def number(self, name):
        return float(self._get(name, "a constant number", lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)))

    def optional_number(self, name):
        return None if self.given.get(name, self.defaults.get(name)) is None else self.number(name)


def _custom(a, result, fx):
    """`sparseattn::attention`; see sparseattn/torch/export_op.py for its schema."""
    layer, kv_source, softcap = a.integer("layer"), a.integer("kv_source"), a.number("softcap")
    return Attention(
        query=a.tensor("q"), key=a.tensor("k"), value=a.tensor("v"), result=result,
        keys=visible_keys(a.integer("window"), a.boolean("causal"), unlimited=(-1,)), scale=a.number("scale"), fx=fx,
        sink=a.optional_tensor("sink"), softcap=None if softcap == 0.0 else softcap,
        layer=None if layer == -1 else layer, kv_source=None if kv_source == -1 or layer == -1 else kv_source)


def _sdpa(a, result, fx):
    """`aten::scaled_dot_product_attention`: causal aligns at the first key."""
    query, key, value = a.tensor("query"), a.tensor("key"), a.tensor("value")
    if a.optional_tensor("attn_mask") is not None:
        raise Unrepresentable("the call has a mask tensor, whose meaning cannot be read from the graph", CAPTURE)
    if a.number("dropout_p") != 0.0:
        raise Unrepresentable(f"dropout_p is {a.number('dropout_p')}", "call model.eval() before exporting")
    for t in (query.type, key.type, value.type):
        if t.rank != 4:
            raise Unrepresentable(f"expected q, k and v of rank 4 [batch, heads, tokens, dim], found {t}",
                                  "add the missing dimensions before the call")
    heads, kv_heads = query.type.dims[1], key.type.dims[1]
    if not a.boolean("enable_gqa") and not surely_equal(heads, kv_heads):
        raise Unrepresentable(f"{heads} query and {kv_heads} key/value heads without enable_gqa", "pass enable_gqa=True")
    causal = a.boolean("is_causal")
    n_q, n_k = query.type.dims[2], key.type.dims[2]
    if causal and not surely_equal(n_q, n_k):
        raise Unrepresentable(
            f"is_causal with {n_q} queries and {n_k} keys: PyTorch aligns at the first key, which shows query i only keys 0..i",
            "if the queries are the last tokens (a cache), pass is_causal only for equal lengths, or " + CAPTURE)
    scale = a.optional_number("scale")
    if scale is None:
        d = query.type.dims[3]
        if not isinstance(d, int) or d < 1:
            raise Unrepresentable(f"the default scale needs a static head dimension, found {d}", "pass scale")
        scale = d**-0.5
    return Attention(query=query, key=key, value=value, result=result, keys=CAUSAL if causal else FULL, scale=scale, fx=fx)


_RECOGNISERS = {CUSTOM: (_custom, _CUSTOM_DEFAULTS), SDPA: (_sdpa, _SDPA_DEFAULTS)}


def is_attention(target):
    return target in _RECOGNISERS


def recognise(target, fx, given, result, advice):
    """`Attention` for one node. Raises Unrepresentable if the dialect cannot
    express it, FrontendError if the node is not as torch writes it."""
    build, defaults = _RECOGNISERS[target]
    record = build(Arguments(fx, given, defaults, advice), result, fx)
    if reason := record.problem():
        raise Unrepresentable(reason, CAPTURE)
    if record.query.type.element != getattr(result.type, "element", None):
        raise Unrepresentable(f"the result has type {result.type}, the query {record.query.type}", CAPTURE)
    return record


def unread_attention(target):
    """Why an operator that is attention too is not read, or None."""
    if target.startswith(DECOMPOSED):
        return ("a decomposed attention operator of one backend",
                "export without run_decompositions, or drop scaled_dot_product_attention from its table")
    if target.startswith(FLEX):
        return "flex_attention, whose mask is a function", CAPTURE
    return None
