"""Reader of HuggingFace `config.json`: a plan of all attention layers with no
tracing and no weights.

The function it makes has, for every layer, arguments `q<i>`, and `k<i>`, `v<i>`
where the layer owns them, of batch `batch` and a dynamic or given length, and
one attention per layer on them. Layers that share K and V use the same SSA
values.
"""

from . import checked, hf_methods
from .errors import FrontendError
from .graph import Attention, Graph, Port, TensorType, Value
from .hf_families import FAMILIES, Config

_ADVICE = "check that this is the config.json of a HuggingFace model"

MAX_BYTES = 16 * 2**20

DTYPES = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}


def read(path, length=None, batch=1):
    """Graph of the config at `path`. length: tokens of a prefill, None for
    dynamic. Raises FrontendError."""
    return from_json(checked.read_file(path, "a config", MAX_BYTES, _ADVICE), length, batch)


def from_json(data, length=None, batch=1):
    """Graph of the config in the JSON bytes `data`; see `read`."""
    for name, value in (("length", length), ("batch", batch)):
        if value is not None and not 1 <= value < 2**31:
            raise FrontendError(f"expected {name} to be at least 1", f"{value}", f"give another --{name}")
    root = checked.parse(data, "the config", _ADVICE)
    if root.get("model_type") is None:
        raise FrontendError("expected the config to have 'model_type'", "none", _ADVICE)
    nested = root.get("text_config")
    text = root if nested is None else nested
    model_type = (text.get("model_type") or root["model_type"]).str()
    if model_type not in FAMILIES:
        raise FrontendError(f"expected model_type to be one of {', '.join(FAMILIES)}", f"'{model_type[:60]}'",
                            "add a family to sparseattn/frontend/hf_families.py, or export the model to .pt2")
    family, defaults = FAMILIES[model_type]
    config = Config(text, defaults)
    layers = family(config)
    graph = Graph(source=f"HuggingFace config, model_type {model_type}")
    for name, value in config.defaulted.items():
        graph.remark("config", f"{name} is not given; transformers' default {value} is used")
    builder = Builder(graph, _element(root, text, graph), length, batch)
    _check_shapes(layers, text)
    _build(builder, layers, text)
    return graph


def _element(root, text, graph):
    for place in (text, root):
        for name in ("dtype", "torch_dtype"):
            given = place.get(name)
            if given is not None:
                if given.str() not in DTYPES:
                    given.fail(f"one of {', '.join(DTYPES)}")
                return DTYPES[given.str()]
    graph.remark("config", "no dtype is given; bfloat16 is assumed")
    return "bf16"


def _check_shapes(layers, text):
    for layer in layers:
        if layer.heads % layer.kv_heads:
            raise FrontendError(f"expected the query heads of layer {layer.index} to be a multiple of its key/value heads",
                                f"{layer.heads} and {layer.kv_heads}", text.advice)
        source = layers[layer.kv_source]
        if (source.kv_heads, source.head_dim, source.v_head_dim) != (layer.kv_heads, layer.head_dim, layer.v_head_dim):
            raise FrontendError(f"expected layer {layer.index} to have the key/value shape of layer {source.index}, whose "
                                "K and V it takes", f"{layer} and {source}", text.advice)


def _build(builder, layers, text):
    plan = hf_methods.Plan(builder)
    own, sparse = text.get("sparse_attention"), text.get("sparse_config")
    if own is not None:
        method = own["method"].str()
        if method not in hf_methods.METHODS:
            own["method"].fail(f"one of {', '.join(hf_methods.METHODS)}")
        getattr(plan, method)(layers, own)
    elif sparse is not None:
        plan.infllm(layers, sparse)
    else:
        for layer in layers:
            builder.attention(layer, layer.keys)


class Builder:
    """Creates the arguments, values and results of the function. Shapes are
    given without the batch dimension."""

    def __init__(self, graph, element, length, batch):
        self.graph, self.element, self.batch = graph, element, batch
        self.length = "tokens" if length is None else length
        self.owned = {}  # layer -> (k, v)

    def value(self, name, shape, element):
        """A result; element is a text, or a value whose element type to take."""
        element = element.type.element if isinstance(element, Value) else element
        return Value(name, TensorType((self.batch, *shape), element))

    def plain_input(self, name, type_):
        value = Value(name, type_)
        self.graph.inputs.append(Port(value, name, "input"))
        return value

    def input(self, name, shape, element):
        return self.plain_input(name, self.value(name, shape, element).type)

    def qkv(self, layer):
        """q of the layer, and K, V of the layer that owns them."""
        i = layer.index
        q = self.input(f"q{i}", (layer.heads, self.length, layer.head_dim), self.element)
        if layer.kv_source == i:
            self.owned[i] = (self.input(f"k{i}", (layer.kv_heads, self.length, layer.head_dim), self.element),
                             self.input(f"v{i}", (layer.kv_heads, self.length, layer.v_head_dim), self.element))
        return (q, *self.owned[layer.kv_source])

    def sink(self, layer, branch=""):
        name = f"sink_{branch}{layer.index}" if branch else f"sink{layer.index}"
        return self.plain_input(name, TensorType((layer.heads,), "f32"))

    def attention(self, layer, keys):
        """One plain attention, its result an output of the function."""
        q, k, v = self.qkv(layer)
        i = layer.index
        out = self.value(f"out{i}", (layer.heads, self.length, layer.v_head_dim), self.element)
        record = Attention(q, k, v, out, keys, layer.scale, f"layer{i}", self.sink(layer) if layer.sink else None,
                           layer.softcap, i, layer.kv_source)
        if reason := record.problem():
            raise FrontendError(f"expected layer {i} to be an attention that can be expressed", reason, _ADVICE)
        self.graph.nodes.append(record)
        self.output(out, i)

    def output(self, value, layer):
        self.graph.outputs.append(Port(value, f"layer{layer}", "output"))
