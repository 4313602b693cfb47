"""HuggingFace model families: from a config to the attention of each layer.

One function a family, named like its `model_type`. What a config leaves out
takes the default of the family's configuration class in transformers 5.17;
the ground truth of `test/Import/fixtures/hf_layers.json` checks every family
against transformers itself.
"""

from dataclasses import dataclass, replace

from .conventions import Unrepresentable, visible_keys
from .errors import FrontendError
from .graph import CAUSAL, KeyPattern

MAX_LAYERS = 10_000
MAX_SIZE = 1 << 20

SLIDING, FULL_ATTENTION = "sliding_attention", "full_attention"
LAYER_TYPES = (FULL_ATTENTION, SLIDING)


@dataclass(frozen=True)
class Layer:
    """Attention of one layer. kv_source: the layer that owns K and V (itself,
    unless shared). softcap None means none."""

    index: int
    heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int
    scale: float
    keys: KeyPattern
    kv_source: int
    softcap: float = None
    sink: bool = False


class Config:
    """A family's fields with defaults; every default used is remembered."""

    def __init__(self, checked, defaults):
        self.checked, self.defaults, self.defaulted = checked, defaults, {}

    def _field(self, name, read):
        if name in self.checked.raw:
            value = self.checked.get(name)
            return None if value is None else read(value)
        if name in self.defaults:
            self.defaulted[name] = self.defaults[name]
            return self.defaults[name]
        return None

    def size(self, name, high=MAX_SIZE):
        """A required integer of at least 1."""
        value = self._field(name, lambda v: v.int(1, high))
        return self.checked[name].int(1, high) if value is None else value

    def optional_size(self, name):
        return self._field(name, lambda v: v.int(1, 2**62))

    def count(self, name):
        """An integer of at least 0; absent means 0."""
        return self._field(name, lambda v: v.int(0, MAX_LAYERS)) or 0

    def number(self, name):
        return self._field(name, lambda v: v.float())

    def flag(self, name):
        return bool(self._field(name, lambda v: v.bool()))

    def layers(self):
        return self.size("num_hidden_layers", MAX_LAYERS)

    def head_dim(self):
        given = self.optional_size("head_dim")
        if given is not None:
            return given
        hidden, heads = self.size("hidden_size"), self.size("num_attention_heads")
        if hidden % heads:
            raise FrontendError("expected hidden_size to be a multiple of num_attention_heads where head_dim is absent",
                                f"{hidden} and {heads}", self.checked.advice)
        return hidden // heads

    def layer_types(self, otherwise):
        """`layer_types`, or `otherwise(i)` for each layer."""
        n = self.layers()
        given = self.checked.get("layer_types")
        if given is None:
            return [otherwise(i) for i in range(n)]
        types = given.list()
        if len(types) != n:
            given.fail(f"a list of {n} layer types (num_hidden_layers)", f"{len(types)} entries")
        for t in types:
            if t.str() not in LAYER_TYPES:
                t.fail(f"one of the supported layer types: {', '.join(LAYER_TYPES)}")
        return [t.str() for t in types]


def _keys(config, kind, name="sliding_window"):
    if kind == FULL_ATTENTION:
        return CAUSAL
    size = config.optional_size(name)
    if size is None:
        raise FrontendError(f"expected {config.checked.path}.{name} for layers of type {SLIDING}", "nothing",
                            config.checked.advice)
    try:
        return visible_keys(size, causal=True)
    except Unrepresentable as refusal:
        raise FrontendError(refusal.reason, f"{name} = {size}", refusal.advice) from None


def _layers(config, types, scale=None, softcap=None, sink=False):
    """Layers of one shape, each with the pattern of its type."""
    heads, d = config.size("num_attention_heads"), config.head_dim()
    kv_heads = config.optional_size("num_key_value_heads") or heads
    scale = d**-0.5 if scale is None else scale
    return [Layer(i, heads, kv_heads, d, d, scale, _keys(config, t), i, softcap, sink) for i, t in enumerate(types)]


def _share(config, types, layers):
    """`num_kv_shared_layers`: the last n layers take K and V from the last
    layer before them of the same type."""
    first = len(layers) - config.count("num_kv_shared_layers")
    if not 0 < first < len(layers):
        if first == len(layers):
            return layers
        raise FrontendError(f"expected num_kv_shared_layers below the number of layers, {len(layers)}",
                            f"{len(layers) - first}", config.checked.advice)
    last = {t: i for i, t in enumerate(types[:first])}
    shared = []
    for layer, kind in zip(layers[first:], types[first:]):
        if kind not in last:
            raise FrontendError(f"expected a layer of type {kind} before layer {first}, from which layer {layer.index} "
                                "takes K and V", "none", config.checked.advice)
        source = layers[last[kind]]
        shared.append(replace(layer, kv_source=source.index, kv_heads=source.kv_heads))
    return layers[:first] + shared


def _alternating(period):
    """Full attention on every `period`-th layer."""
    return lambda i: FULL_ATTENTION if (i + 1) % period == 0 else SLIDING


def _gemma_scale(config):
    """Gemma 2 and 3 divide by the root of a number of their own, not of d."""
    scalar = config.number("query_pre_attn_scalar")
    if scalar is None or scalar <= 0.0:
        raise FrontendError(f"expected {config.checked.path}.query_pre_attn_scalar to be a positive number", f"{scalar}",
                            config.checked.advice)
    return scalar**-0.5


def _refuse_bidirectional(config):
    if config.checked.get("use_bidirectional_attention") and config.checked["use_bidirectional_attention"].raw in (True, "all"):
        config.checked["use_bidirectional_attention"].fail("absent or false: only causal attention is supported")


def llama(config):
    return _layers(config, [FULL_ATTENTION] * config.layers())


def mistral(config):
    kind = FULL_ATTENTION if config.optional_size("sliding_window") is None else SLIDING
    return _layers(config, [kind] * config.layers())


def qwen(config):
    """Qwen 2 and 3: with `use_sliding_window`, layers from `max_window_layers` on."""
    windowed = config.flag("use_sliding_window") and config.optional_size("sliding_window") is not None
    first = config.count("max_window_layers") if windowed else config.layers()
    return _layers(config, config.layer_types(lambda i: SLIDING if i >= first else FULL_ATTENTION))


def gemma2(config):
    _refuse_bidirectional(config)
    return _layers(config, config.layer_types(_alternating(2)), _gemma_scale(config),
                   config.number("attn_logit_softcapping") or None)


def gemma3(config):
    """transformers keeps `attn_logit_softcapping` in the config and does not apply it."""
    _refuse_bidirectional(config)
    types = config.layer_types(lambda i: _alternating(config.size("sliding_window_pattern"))(i))
    return _layers(config, types, _gemma_scale(config))


def gemma3n(config):
    types = config.layer_types(_alternating(5))
    return _share(config, types, _layers(config, types, scale=1.0))


def gemma4(config):
    """Full layers have their own head dimension and, with `attention_k_eq_v`,
    their own number of key/value heads: given by name, or layer by layer in
    `per_layer_config`, as transformers saves it. The last layer is always full."""
    _refuse_bidirectional(config)
    types = config.layer_types(_alternating(6))
    types[-1] = FULL_ATTENTION
    layers = _layers(config, types, scale=1.0)
    overrides = config.checked.get("per_layer_config")
    if overrides is None:
        d = config.size("global_head_dim")
        kv_heads = config.optional_size("num_global_key_value_heads") if config.flag("attention_k_eq_v") else None
        shapes = {i: (d, kv_heads) for i, t in enumerate(types) if t == FULL_ATTENTION}
    else:
        shapes = {}
        for key, entry in overrides.items():
            if not key.isdecimal() or int(key) >= len(layers):
                overrides.fail(f"an object keyed by layers 0 to {len(layers) - 1}", f"key '{key[:20]}'")
            own = Config(entry, {})
            shapes[int(key)] = (own.optional_size("head_dim"), own.optional_size("num_key_value_heads"))
    for i, (d, kv_heads) in shapes.items():
        d = d or layers[i].head_dim
        layers[i] = replace(layers[i], head_dim=d, v_head_dim=d, kv_heads=kv_heads or layers[i].kv_heads)
    return _share(config, types, layers)


def gpt_oss(config):
    return _layers(config, config.layer_types(_alternating(2)), sink=True)


def mimo_v2_flash(config):
    """Field names of the model's own config (`hybrid_layer_pattern`, `swa_*`)
    and of transformers (`layer_types`; sliding layers have twice the key/value
    heads). The scale of the values is glue, not attention."""
    n = config.layers()
    pattern = config.checked.get("hybrid_layer_pattern")
    if pattern is not None:
        entries = [e.int(0, 1) for e in pattern.list()]
        if len(entries) != n:
            pattern.fail(f"a list of {n} entries (num_hidden_layers)", f"{len(entries)}")
        types = [SLIDING if e else FULL_ATTENTION for e in entries]
    else:
        types = config.layer_types(lambda i: FULL_ATTENTION if i == 0 or (i + 1) % 6 == 0 else SLIDING)
    heads, kv_heads = config.size("num_attention_heads"), config.size("num_key_value_heads")
    d, dv = config.size("head_dim"), config.size("v_head_dim")
    shapes = {
        FULL_ATTENTION: (heads, kv_heads, d, dv, config.flag("add_full_attention_sink_bias")),
        SLIDING: (config.optional_size("swa_num_attention_heads") or heads,
                  config.optional_size("swa_num_key_value_heads") or 2 * kv_heads,
                  config.optional_size("swa_head_dim") or d, config.optional_size("swa_v_head_dim") or dv,
                  config.flag("add_swa_attention_sink_bias")),
    }
    return [Layer(i, *shapes[t][:4], shapes[t][2]**-0.5, _keys(config, t), i, None, shapes[t][4])
            for i, t in enumerate(types)]


_QWEN = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_GEMMA3 = {"num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
           "query_pre_attn_scalar": 256.0, "sliding_window": 4096, "sliding_window_pattern": 6}
_GEMMA3N = {"num_hidden_layers": 35, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256,
            "sliding_window": 512, "num_kv_shared_layers": 15}
_GEMMA4 = {"num_hidden_layers": 30, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
           "global_head_dim": 512, "sliding_window": 512}
_MIMO = {"num_hidden_layers": 48, "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 192, "v_head_dim": 128,
         "sliding_window": 128, "add_swa_attention_sink_bias": True}

FAMILIES = {
    "gemma2": (gemma2, {"num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
                        "query_pre_attn_scalar": 256.0, "sliding_window": 4096, "attn_logit_softcapping": 50.0}),
    "gemma3": (gemma3, _GEMMA3), "gemma3_text": (gemma3, _GEMMA3),
    "gemma3n": (gemma3n, _GEMMA3N), "gemma3n_text": (gemma3n, _GEMMA3N),
    "gemma4": (gemma4, _GEMMA4), "gemma4_text": (gemma4, _GEMMA4),
    "gpt_oss": (gpt_oss, {"num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
                          "sliding_window": 128}),
    "llama": (llama, {}),
    "mimo_v2_flash": (mimo_v2_flash, _MIMO), "mimo_v2": (mimo_v2_flash, _MIMO),
    "minicpm": (llama, {}),
    "mistral": (mistral, {"num_key_value_heads": 8, "sliding_window": 4096}),
    "qwen2": (qwen, _QWEN),
    "qwen3": (qwen, _QWEN | {"head_dim": 128}),
}
"""model_type -> (function, defaults of transformers' configuration class)."""
