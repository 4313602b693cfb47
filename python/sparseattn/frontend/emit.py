"""The one place that writes MLIR text."""

import re

from .graph import Attention, Extern, TensorType

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$.\-]*\Z")


def string(text):
    """`text` as an MLIR string literal; everything but plain ASCII is escaped."""
    out = []
    for byte in text.encode("utf-8", "surrogatepass"):
        char = chr(byte)
        out.append(char if 32 <= byte < 127 and char not in '"\\' else f"\\{byte:02X}")
    return '"' + "".join(out) + '"'


def _attribute(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value} : i64"
    if isinstance(value, str):
        return string(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{string(k)} = {_attribute(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        return f"array<i64: {', '.join(map(str, value))}>"
    return "[" + ", ".join(map(_attribute, value)) + "]"


def _dictionary(attributes):
    if not attributes:
        return ""
    # Keys are ours, except inside nested dictionaries.
    return "{" + ", ".join(f"{k} = {_attribute(v)}" for k, v in attributes.items()) + "}"


def _types(values):
    return "(" + ", ".join(str(v.type) for v in values) + ")"


class _Names:
    """SSA names: the value's own name where MLIR can read it, made unique."""

    def __init__(self):
        self.names, self.used, self.counts = {}, set(), {}

    def define(self, value):
        hint = name = value.name if _PLAIN.match(value.name) else "v"
        while name in self.used:
            self.counts[hint] = self.counts.get(hint, 0) + 1
            name = f"{hint}_{self.counts[hint]}"
        self.used.add(name)
        self.names[id(value)] = "%" + name
        return self.names[id(value)]

    def __getitem__(self, value):
        return self.names[id(value)]


def _node(node, names):
    operands = [names[v] for v in node.operands]
    results = ", ".join(names.define(r) for r in node.results)
    head = f"{results} = " if results else ""
    signature = f": {_types(node.operands)} -> {_types(node.results)}"
    if isinstance(node, Extern):
        return (f"{head}sparseattn.extern {string(node.target)}({', '.join(operands)}) "
                f"{_dictionary({'fx': node.fx})} {signature}")
    body = re.sub(r"\{(\d+)\}", lambda m: operands[int(m[1])], node.text)
    parts = [f"{head}sparseattn.{node.mnemonic} {body}", _dictionary(node.attributes), signature]
    return " ".join(p for p in parts if p)


def _port_attributes(port):
    attributes = {"sparseattn.name": port.name, "sparseattn.role": port.role}
    if isinstance(port.value.type, TensorType) and any(isinstance(d, str) for d in port.value.type.dims):
        # Which range of the module a dynamic dimension belongs to.
        attributes["sparseattn.sizes"] = [str(d) for d in port.value.type.dims]
    return _dictionary(attributes)


def emit(graph):
    """MLIR text of `graph`: one module with one function."""
    names = _Names()
    inputs = ",\n    ".join(f"{names.define(p.value)}: {p.value.type} {_port_attributes(p)}" for p in graph.inputs)
    lines = [_node(n.as_op() if isinstance(n, Attention) else n, names) for n in graph.nodes]
    results = ",\n    ".join(f"{p.value.type} {_port_attributes(p)}" for p in graph.outputs)
    attributes = {"sparseattn.source": graph.source}
    if graph.ranges:
        attributes["sparseattn.ranges"] = graph.ranges
    values = ", ".join(names[p.value] for p in graph.outputs)
    types = ", ".join(str(p.value.type) for p in graph.outputs)
    lines.append(f"return {values} : {types}" if graph.outputs else "return")
    body = "".join(f"    {line}\n" for line in lines)
    arrow = f" -> (\n    {results})" if graph.outputs else ""
    return (f"module attributes {_dictionary(attributes)} {{\n"
            f"  func.func @{graph.name}(\n    {inputs}){arrow} {{\n{body}  }}\n}}\n")
