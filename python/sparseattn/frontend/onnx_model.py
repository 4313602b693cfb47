"""Reader of ONNX models through the `onnx` package.

Attention nodes become `Attention`, everything else `Extern` named
`onnx.<operator>` (or `<domain>.<operator>`), with the data flow kept. External
data is not loaded: weights are arguments of the function.
"""

from . import checked, onnx_attention
from .conventions import Unrepresentable
from .errors import FrontendError
from .graph import INT64_MAX, Extern, Graph, Port, TensorType, Value

MAX_BYTES = 2**31 - 1
"""Protocol buffers end at 2 GiB; larger models keep their weights outside."""

_ADVICE = "check the model with onnx.checker, and export it again"

# onnx.TensorProto.DataType
ELEMENTS = {1: "f32", 2: "ui8", 3: "i8", 4: "ui16", 5: "i16", 6: "i32", 7: "i64", 9: "i1", 10: "f16", 11: "f64", 12: "ui32",
            13: "ui64", 14: "complex<f32>", 15: "complex<f64>", 16: "bf16", 17: "f8E4M3FN", 18: "f8E4M3FNUZ", 19: "f8E5M2",
            20: "f8E5M2FNUZ"}

OPAQUE = "none"
"""Type of values that are not tensors of a known element type."""


def _onnx():
    try:
        import onnx
        import onnx.inliner
        import onnx.shape_inference
    except ImportError as error:
        raise FrontendError("expected the onnx package, to read ONNX models", "no module named 'onnx'",
                            "install it: pip install onnx") from error
    return onnx


def read(path, max_bytes=MAX_BYTES):
    """Graph of the ONNX model at `path`. Raises FrontendError."""
    return from_bytes(checked.read_file(path, "an ONNX model", max_bytes, "save its weights as external data"))


def from_bytes(data):
    """Graph of a serialised ModelProto."""
    onnx = _onnx()
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise FrontendError("expected a serialised ONNX model", str(error) or type(error).__name__, _ADVICE) from None
    if not model.ir_version or not model.HasField("graph"):
        raise FrontendError("expected a serialised ONNX model", "no graph in it", _ADVICE)
    _check_text(model.graph)
    problems = []
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # the inliner raises types of its own C++ code
        problems.append(("functions of the model could not be inlined", error))
    try:
        model = onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # likewise
        problems.append(("shapes could not be inferred", error))
    reader = _Reader(onnx, model)
    for what, error in problems:
        reader.graph.remark("model", f"{what}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    return reader.run()


def _check_text(graph):
    """Protocol buffers hand out strings that are not UTF-8 as bytes; refuse
    them once, so that every name is text from here on."""
    pending = [graph]
    while pending:
        graph = pending.pop()
        infos = (*graph.value_info, *graph.input, *graph.output)
        names = [i.name for i in (*infos, *graph.initializer)] + [s.values.name for s in graph.sparse_initializer]
        names += [d.dim_param for i in infos for d in i.type.tensor_type.shape.dim]
        for node in graph.node:
            names += [node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
            pending += [g for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]
        if bad := next((n for n in names if isinstance(n, bytes)), None):
            raise FrontendError("expected the names of the model to be UTF-8", f"{bad[:40]!r}", _ADVICE)


class _Reader:
    def __init__(self, onnx, model):
        self.onnx, self.model = onnx, model
        opsets = {o.domain or "ai.onnx": o.version for o in model.opset_import}
        producer = f" by {model.producer_name[:60]}" if isinstance(model.producer_name, str) and model.producer_name else ""
        self.graph = Graph(source=f"ONNX opset {opsets.get('ai.onnx', 'unknown')}{producer}")
        self.values, self.unknown = {}, 0
        self.types = {}
        for info in (*model.graph.value_info, *model.graph.input, *model.graph.output):
            self.types[info.name] = self.type_of(info.type)

    # Types and values

    def size(self, dim):
        if dim.HasField("dim_value"):
            if not 0 <= dim.dim_value <= INT64_MAX:
                raise FrontendError("expected sizes of at least 0", f"{dim.dim_value}", _ADVICE)
            return dim.dim_value
        if dim.dim_param:
            return dim.dim_param[:200]
        self.unknown += 1
        return f"unknown{self.unknown}"

    def type_of(self, type_proto):
        tensor = type_proto.tensor_type
        if not type_proto.HasField("tensor_type") or tensor.elem_type not in ELEMENTS:
            return OPAQUE
        element = ELEMENTS[tensor.elem_type]
        if not tensor.HasField("shape"):
            return f"tensor<*x{element}>"
        return TensorType(tuple(map(self.size, tensor.shape.dim)), element)

    def fresh(self, name, type_):
        return Value(name, type_)

    def bind(self, name, value):
        """`name` now means `value`."""
        self.values[name] = value
        return value

    def define(self, name):
        return self.bind(name, Value(name, self.types.get(name, OPAQUE)))

    def lookup(self, name, node):
        if name not in self.values:
            raise FrontendError(f"expected input '{name[:60]}' of node {self.node_name(node)} to be defined before it",
                                "nothing defines it", _ADVICE)
        return self.values[name]

    def extern(self, target, operands, type_, name):
        """Add a data movement of ours and return its result."""
        value = Value(name, type_)
        self.graph.nodes.append(Extern(target, operands, [value], name))
        return value

    @staticmethod
    def node_name(node):
        return node.name or next((o for o in node.output if o), node.op_type or "unnamed")

    # Ports and nodes

    def read_inputs(self):
        initializers = [(i.name, i.data_type, i.dims) for i in self.model.graph.initializer]
        sparse = [s.values.name for s in self.model.graph.sparse_initializer]
        names = {n for n, _, _ in initializers} | set(sparse)
        for info in self.model.graph.input:
            if info.name not in names:
                self.graph.inputs.append(Port(self.define(info.name), info.name, "input"))
        for name, data_type, dims in initializers:
            if any(d < 0 for d in dims):
                raise FrontendError(f"expected initializer '{name[:60]}' to have sizes of at least 0", f"{list(dims)[:8]}", _ADVICE)
            type_ = TensorType(tuple(dims), ELEMENTS[data_type]) if data_type in ELEMENTS else OPAQUE
            self.graph.inputs.append(Port(self.bind(name, Value(name, type_)), name, "parameter"))
        for name in sparse:
            self.graph.inputs.append(Port(self.bind(name, Value(name, OPAQUE)), name, "parameter"))

    def attributes(self, node):
        """Scalar attributes as Python numbers; others by name only."""
        kinds = self.onnx.AttributeProto
        read = {kinds.INT: lambda a: a.i, kinds.FLOAT: lambda a: a.f}
        return {a.name: read.get(a.type, lambda a: f"an attribute of type {a.type}")(a) for a in node.attribute}

    def outer_names(self, node):
        """Values of this graph that the node's subgraphs (If, Loop, Scan) use,
        and whether there is attention inside."""
        names, attention = [], False
        pending = [g for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]
        while pending:
            graph = pending.pop()
            inner = {i.name for i in graph.input} | {i.name for i in graph.initializer}
            for child in graph.node:
                attention |= onnx_attention.is_attention(_domain(child), child.op_type)
                names += [n for n in child.input if n and n not in inner and n in self.values]
                inner |= set(child.output)
                pending += [g for a in child.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]
            names += [o.name for o in graph.output if o.name not in inner and o.name in self.values]
        return list(dict.fromkeys(names)), attention

    def read_node(self, node):
        domain = _domain(node)
        name = self.node_name(node)
        if onnx_attention.is_attention(domain, node.op_type):
            nodes, remarks, bound = len(self.graph.nodes), len(self.graph.remarks), dict(self.values)
            try:
                onnx_attention.read(onnx_attention.Call(self, node, self.attributes(node)))
                return
            except Unrepresentable as refusal:
                # What was added before the refusal goes with it.
                del self.graph.nodes[nodes:], self.graph.remarks[remarks:]
                self.values = bound
                self.graph.remark(name, f"attention left to the framework: {refusal.reason}", refusal.advice)
        elif (domain, node.op_type) in onnx_attention.UNREAD:
            reason = onnx_attention.UNREAD[domain, node.op_type]
            self.graph.remark(name, f"{node.op_type} left to the framework: {reason}", onnx_attention.CAPTURE)
        operands = [self.lookup(i, node) for i in node.input if i]
        outer, attention = self.outer_names(node)
        if attention:
            self.graph.remark(name, "attention inside a branch or loop is left to the framework")
        operands += [self.values[n] for n in outer]
        results = [self.define(o) for o in node.output if o]
        if results:
            target = f"{domain or 'onnx'}.{node.op_type or 'unnamed'}"
            self.graph.nodes.append(Extern(target, operands, results, name))

    def run(self):
        self.read_inputs()
        for node in self.model.graph.node:
            self.read_node(node)
        for info in self.model.graph.output:
            if info.name not in self.values:
                raise FrontendError(f"expected output '{info.name[:60]}' to be defined", "nothing defines it", _ADVICE)
            self.graph.outputs.append(Port(self.values[info.name], info.name, "output"))
        if not self.graph.attentions:
            self.graph.remark("model", "no attention was recognised", onnx_attention.CAPTURE)
        return self.graph


def _domain(node):
    return "" if node.domain == "ai.onnx" else node.domain
