"""What every reader produces: values, nodes, and ports, ready to be written as MLIR.

A graph is in SSA form: each `Value` is defined once, by an input port or by a
node, before its uses. Readers build it; `emit` writes it.
"""

import math
from dataclasses import dataclass, field

from .errors import Remark

ATTENTION_ELEMENTS = ("f16", "bf16", "f32")
"""Element types that `sparseattn.attention` takes."""

INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class TensorType:
    """A ranked tensor. A dimension is an int, or a string that names a
    symbolic size; equal strings mean equal sizes."""

    dims: tuple
    element: str

    @property
    def rank(self):
        return len(self.dims)

    def __str__(self):
        sizes = "".join(("?" if isinstance(d, str) else str(d)) + "x" for d in self.dims)
        return f"tensor<{sizes}{self.element}>"


class Value:
    """One SSA value: `name` is a hint for printing, `type` a TensorType or the
    text of a scalar type such as "index"."""

    __slots__ = ("name", "type")

    def __init__(self, name, type):
        self.name, self.type = name, type


@dataclass(frozen=True)
class KeyPattern:
    """Which keys a query sees: "full", "causal", "window" with `size` keys, the
    query's own included (implies causal), or "head_table" with one pattern for
    each key/value head in `heads`."""

    kind: str
    size: int = 0
    heads: tuple = ()

    def __str__(self):
        if self.kind == "window":
            return f"#sparseattn.window<{self.size}>"
        if self.kind == "head_table":
            return f"#sparseattn.head_table<[{', '.join(map(str, self.heads))}]>"
        return f"#sparseattn.{self.kind}"


FULL = KeyPattern("full")
CAUSAL = KeyPattern("causal")


def window(size):
    return KeyPattern("window", size)


def float_text(x):
    """A finite float as MLIR reads it: shortest form, always with a point."""
    text = repr(float(x))
    mantissa, exponent, power = text.partition("e")
    return (mantissa if "." in mantissa else mantissa + ".0") + exponent + power


@dataclass
class Op:
    """Any operation of the dialect. `text` is the part between mnemonic and
    attribute dictionary, with `{0}`, `{1}`, ... for the operands, which are in
    the order of the operation's definition."""

    mnemonic: str
    operands: list
    results: list
    text: str
    attributes: dict = field(default_factory=dict)


@dataclass
class Extern:
    """A framework operation that is not attention: `target` is its name there,
    `fx` the name of its node."""

    target: str
    operands: list
    results: list
    fx: str


@dataclass
class Attention:
    """One attention layer. q, k, v, result follow `layout`; sink is f32 [Hq];
    softcap None means none; layer and kv_source None mean unknown."""

    query: Value
    key: Value
    value: Value
    result: Value
    keys: KeyPattern
    scale: float
    fx: str
    sink: Value = None
    softcap: float = None
    layer: int = None
    kv_source: int = None
    layout: str = "bhsd"

    def problem(self):
        """Why `sparseattn.attention` cannot express this record, or None. The
        rules are those of the operation's verifier."""
        types = [self.query.type, self.key.type, self.value.type]
        if not all(isinstance(t, TensorType) and t.rank == 4 for t in types):
            return f"expected q, k and v of rank 4, found {', '.join(map(str, types))}"
        q, k, v = types
        if not q.element == k.element == v.element or q.element not in ATTENTION_ELEMENTS:
            return (f"expected one element type of {', '.join(ATTENTION_ELEMENTS)} for q, k and v, found "
                    f"{q.element}, {k.element}, {v.element}")
        heads, tokens = (1, 2) if self.layout == "bhsd" else (2, 1)
        if any(_differ(q.dims[0], t.dims[0]) for t in (k, v)):
            return f"q, k and v have batch sizes {q.dims[0]}, {k.dims[0]}, {v.dims[0]}"
        if _differ(k.dims[heads], v.dims[heads]) or _differ(k.dims[tokens], v.dims[tokens]):
            return f"k {k} and v {v} differ in heads or tokens"
        if _differ(q.dims[3], k.dims[3]):
            return f"q has head dimension {q.dims[3]}, k has {k.dims[3]}"
        for name, size in (("query heads", q.dims[heads]), ("key/value heads", k.dims[heads]),
                           ("head dimension", q.dims[3]), ("head dimension of v", v.dims[3])):
            if not isinstance(size, int) or size < 1:
                return f"expected a static number of {name} of at least 1, found {size}"
        if max(q.dims[3], v.dims[3]) > 1024:
            return f"expected head dimensions up to 1024, found {max(q.dims[3], v.dims[3])}"
        if q.dims[heads] % k.dims[heads]:
            return f"the {q.dims[heads]} query heads cannot be grouped over {k.dims[heads]} key/value heads"
        if not math.isfinite(self.scale):
            return f"expected a finite scale, found {self.scale}"
        if self.softcap is not None and not (math.isfinite(self.softcap) and self.softcap > 0):
            return f"expected a positive finite softcap, found {self.softcap}"
        if self.keys.kind == "head_table" and len(self.keys.heads) != k.dims[heads]:
            return f"the table has {len(self.keys.heads)} patterns for {k.dims[heads]} key/value heads"
        if self.keys.kind == "window" and not 1 <= self.keys.size <= INT64_MAX:
            return f"expected a window of at least 1 key, found {self.keys.size}"
        if self.sink is not None and self.sink.type != TensorType((q.dims[heads],), "f32"):
            return f"expected a sink of type tensor<{q.dims[heads]}xf32>, found {self.sink.type}"
        if self.kv_source is not None and (self.layer is None or not 0 <= self.kv_source <= self.layer):
            return f"layer {self.layer} cannot take K and V from layer {self.kv_source}: the producer comes first"
        if self.layer is not None and not 0 <= self.layer <= INT64_MAX:
            return f"expected a layer index of at least 0, found {self.layer}"
        return None

    def as_op(self):
        """The operation that expresses this record."""
        operands = [self.query, self.key, self.value]
        text = f"{{0}}, {{1}}, {{2}} keys({self.keys}) scale {float_text(self.scale)}"
        if self.softcap is not None:
            text += f" score(#sparseattn.softcap<{float_text(self.softcap)}>)"
        if self.sink is not None:
            text += " sink({3})"
            operands.append(self.sink)
        text += f" layout({self.layout})"
        attributes = {"fx": self.fx}
        if self.layer is not None:
            attributes["layer"] = self.layer
            if self.kv_source is not None:
                attributes["kv_source"] = self.kv_source
        return Op("attention", operands, [self.result], text, attributes)


def _differ(a, b):
    """Two sizes that cannot be equal. Symbolic sizes may turn out equal."""
    return isinstance(a, int) and isinstance(b, int) and a != b


def surely_equal(a, b):
    """Two sizes that are known to be equal."""
    return a == b


@dataclass(frozen=True)
class Port:
    """An input or output of the function: `name` in the framework, `role` one
    of input, parameter, buffer, constant, output."""

    value: Value
    name: str
    role: str


@dataclass
class Graph:
    """One imported function. `source` says what wrote it; `ranges` maps a
    symbolic size to (smallest, largest)."""

    source: str
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    nodes: list = field(default_factory=list)
    ranges: dict = field(default_factory=dict)
    remarks: list = field(default_factory=list)
    name: str = "main"

    def remark(self, node, reason, advice=""):
        self.remarks.append(Remark(node, reason, advice))

    @property
    def attentions(self):
        return [n for n in self.nodes if isinstance(n, Attention)]
