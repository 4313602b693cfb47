"""Reader of `torch.export` archives (`.pt2`) without torch.

The archive is a zip with the program as JSON under `models/`; the schema is
`torch/_export/serde/schema.py`, major version 8. Attention nodes become
`Attention`, everything else `Extern`, with the data flow kept: a list of
results is several results, a symbolic number is an `index`, and an in-place
update makes new versions of all live values that share the storage.
"""

import re

from . import archive, checked, pt2_attention
from .conventions import Unrepresentable
from .errors import FrontendError
from .graph import INT64_MAX, Extern, Graph, Port, TensorType, Value
from .pt2_aliases import Storages, is_in_place, is_view

SCHEMA_MAJOR = 8
MAX_RANK = 64
MAX_VERSIONS = 1_000_000

# torch/_export/serde/schema.py, ScalarType
DTYPES = {1: "ui8", 2: "i8", 3: "i16", 4: "i32", 5: "i64", 6: "f16", 7: "f32", 8: "f64", 9: "complex<f16>",
          10: "complex<f32>", 11: "complex<f64>", 12: "i1", 13: "bf16", 28: "ui16", 29: "f8E4M3FN", 30: "f8E5M2",
          31: "f8E4M3FNUZ", 32: "f8E5M2FNUZ"}

_ADVICE = "export the model again with torch.export.save of a PyTorch release that writes schema 8 (2.8 to 2.11 at least)"

_SYMBOL = re.compile(r"Symbol\('([A-Za-z0-9_]+)'[^()]*\)")

# Checks that carry no data.
_DROPPED = re.compile(r"torch\.ops\.aten\.(_assert|sym_constrain|_print)")


def read(path, model=None, max_bytes=archive.MAX_PROGRAM_BYTES):
    """Graph of the program in the `.pt2` at `path` (a path or binary file).

    model: name of the program, if the archive holds several. max_bytes: limit
    on its size. Raises FrontendError.
    """
    return from_json(archive.read_program(path, model, max_bytes))


def from_json(data):
    """Graph of a serialised ExportedProgram (the JSON under `models/`)."""
    program = checked.parse(data, "the program", _ADVICE)
    version = program["schema_version"]
    if version["major"].int() != SCHEMA_MAJOR:
        found = f"{version['major'].int()}.{version['minor'].int()}"
        raise FrontendError(f"expected export schema {SCHEMA_MAJOR}.x", found, _ADVICE)
    return _Reader(program).run()


def _size(entry):
    """A SymInt: int, or the text of its expression."""
    kind, value = entry.one_of("as_int", "as_expr")
    if kind == "as_int":
        return value.int(low=0)
    text = value["expr_str"].str()
    match = _SYMBOL.fullmatch(text)
    return match[1] if match else text[:200]


class _Reader:
    def __init__(self, program):
        self.program = program
        self.module = program["graph_module"]
        self.root = self.module["graph"]
        version = program.get("torch_version")
        self.graph = Graph(source=f"torch.export, PyTorch {version.str()}" if version else "torch.export")
        self.values = {}  # framework name -> current Value
        self.original = {}  # framework name -> Value it was defined with
        self.storages = Storages()
        self.tensors = self.root["tensor_values"]
        self.last_use = {}
        self.versions = 0  # values made by in-place updates so far

    # Types and definitions

    def tensor_type(self, name):
        meta = self.tensors.get(name)
        if meta is None:
            raise FrontendError(f"expected tensor_values to describe '{name[:60]}'", "no such entry", _ADVICE)
        dtype = meta["dtype"].int()
        if dtype not in DTYPES:
            meta["dtype"].fail(f"one of {', '.join(map(str, DTYPES))}")
        sizes = meta["sizes"].list()
        if len(sizes) > MAX_RANK:
            meta["sizes"].fail(f"a list of at most {MAX_RANK} sizes", f"{len(sizes)}")
        return TensorType(tuple(map(_size, sizes)), DTYPES[dtype])

    def define(self, name, type_, like=None):
        value = Value(name, type_)
        self.values[name] = self.original[name] = value
        self.storages.add(name, like)
        return value

    def lookup(self, entry):
        name = entry.str()
        if name not in self.values:
            entry.fail("the name of an earlier value", f"'{name[:60]}', which nothing before defines")
        return self.values[name]

    # Arguments

    def operand_names(self, argument):
        """Checked names of all values an Argument mentions, in order."""
        kind, value = argument.one_of()
        if kind == "as_tensor":
            return [value["name"]]
        if kind == "as_tensors":
            return [t["name"] for t in value.list()]
        if kind in ("as_optional_tensor", "as_sym_int", "as_sym_bool", "as_sym_float"):
            return self._optional(value)
        if kind in ("as_optional_tensors", "as_sym_ints", "as_sym_bools", "as_sym_floats"):
            return [n for v in value.list() for n in self._optional(v)]
        if kind == "as_nested_tensors":
            return [t["name"] for row in value.list() for t in row.list()]
        return []

    @staticmethod
    def _optional(value):
        kind, inner = value.one_of()
        return [inner["name"]] if kind == "as_tensor" else [inner] if kind == "as_name" else []

    def plain(self, argument):
        """An Argument as a Value or a Python number, bool or None; other kinds
        as their raw JSON."""
        kind, value = argument.one_of()
        names = self.operand_names(argument)
        if len(names) == 1 and kind in ("as_tensor", "as_optional_tensor", "as_sym_int", "as_sym_bool", "as_sym_float"):
            return self.lookup(names[0])
        if kind == "as_none":
            return None
        if kind in ("as_sym_int", "as_sym_bool", "as_sym_float", "as_optional_tensor"):
            inner_kind, inner = value.one_of()
            return None if inner_kind == "as_none" else inner.raw
        return value.raw

    def define_outputs(self, arguments, like=None):
        """New values for the output Arguments of a node."""
        results = []
        for argument in arguments:
            kind, value = argument.one_of()
            if kind in ("as_tensor", "as_tensors"):
                for entry in [value] if kind == "as_tensor" else value.list():
                    name = entry["name"].str()
                    results.append(self.define(name, self.tensor_type(name), like))
            elif kind == "as_optional_tensors":
                for name in self.operand_names(argument):
                    results.append(self.define(name.str(), self.tensor_type(name.str()), like))
            elif kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
                type_ = {"as_sym_int": "index", "as_sym_bool": "i1", "as_sym_float": "f64"}[kind]
                results += [self.define(n.str(), type_) for n in self._optional(value)]
        return results

    # Ports

    def roles(self):
        """Framework name -> (role, name to show) from the signature."""
        roles = {}
        for spec in self.module["signature"]["input_specs"].list():
            kind, body = spec.one_of()
            if kind in ("parameter", "buffer", "tensor_constant"):
                role = "constant" if kind == "tensor_constant" else kind
                roles[body["arg"]["name"].str()] = (role, body[f"{kind}_name"].str())
        return roles

    def read_inputs(self):
        """User inputs first, then parameters, buffers and constants."""
        roles, user, rest = self.roles(), [], []
        for argument in self.root["inputs"].list():
            for value in self.define_outputs([argument]):
                role, shown = roles.get(value.name, ("input", value.name))
                (user if role == "input" else rest).append(Port(value, shown, role))
        self.graph.inputs = user + rest

    def read_outputs(self):
        """Outputs first, then updated buffers."""
        specs = self.module["signature"]["output_specs"].list()
        for i, argument in enumerate(self.root["outputs"].list()):
            kind, body = specs[i].one_of() if i < len(specs) else ("user_output", None)
            for name in self.operand_names(argument):
                role, label = "output", name.str()
                if kind in ("buffer_mutation", "parameter_mutation"):
                    role, label = "buffer", body["buffer_name" if kind == "buffer_mutation" else "parameter_name"].str()
                elif kind == "user_input_mutation":
                    role, label = "buffer", body["user_input_name"].str()
                self.graph.outputs.append(Port(self.lookup(name), label, role))
        # Inputs that the program updates in place leave the function as well.
        for port in self.graph.inputs:
            current = self.values[port.value.name]
            if current is not self.original[port.value.name]:
                self.graph.outputs.append(Port(current, port.name, "buffer"))
        self.graph.outputs.sort(key=lambda p: p.role != "output")

    # Nodes

    def scan_uses(self):
        """Last use of every name, so that in-place updates renew live values only."""
        for i, node in enumerate(self.root["nodes"].list()):
            for entry in node["inputs"].list():
                for name in self.operand_names(entry["arg"]):
                    self.last_use[name.str()] = i
        end = len(self.root["nodes"].list())
        for argument in self.root["outputs"].list():
            for name in self.operand_names(argument):
                self.last_use[name.str()] = end
        for port in self.graph.inputs:
            self.last_use[port.value.name] = end

    def read_node(self, index, node):
        target = node["target"].str()
        if _DROPPED.match(target):
            return
        inputs = [(e["name"].str(), e["arg"]) for e in node["inputs"].list()]
        outputs = node["outputs"].list()
        name = node.get("name")
        names = [n for _, argument in inputs for n in self.operand_names(argument)]
        operands = [self.lookup(n) for n in names]
        fx = name.str() if name else self._first_output(outputs) or f"node_{index}"
        if pt2_attention.is_attention(target):
            if self.read_attention(target, fx, inputs, outputs):
                return
        elif unread := pt2_attention.unread_attention(target):
            self.graph.remark(fx, f"left to the framework: {unread[0]}", unread[1])
        elif any(argument.one_of()[0] == "as_graph" for _, argument in inputs):
            self.remark_subgraphs(fx, inputs)
        first = names[0].str() if names else None
        if first is not None and is_in_place(target):
            self.update_in_place(index, target, fx, first, operands, outputs)
            return
        results = self.define_outputs(outputs, like=first if is_view(target) else None)
        if results:
            self.graph.nodes.append(Extern(target.removeprefix("torch.ops."), operands, results, fx))

    def _first_output(self, outputs):
        names = [n.str() for o in outputs for n in self.operand_names(o)]
        return names[0] if names else None

    def read_attention(self, target, fx, inputs, outputs):
        """True if the node became an `Attention`."""
        given = {n: self.plain(a) for n, a in inputs}
        names = [n for o in outputs for n in self.operand_names(o)]
        if len(names) != 1:
            raise FrontendError(f"expected attention node {fx} to have one output", f"{len(names)}", _ADVICE)
        name = names[0].str()
        result = Value(name, self.tensor_type(name))
        try:
            record = pt2_attention.recognise(target, fx, given, result, _ADVICE)
        except Unrepresentable as refusal:
            self.graph.remark(fx, f"attention left to the framework: {refusal.reason}", refusal.advice)
            return False
        if record.key is record.value:
            self.graph.remark(fx, f"keys and values are one value, %{record.key.name}",
                              "if the model has separate ones, export with distinct example tensors: "
                              "torch merges inputs that are one object")
        self.values[name] = self.original[name] = result
        self.storages.add(name)
        self.graph.nodes.append(record)
        return True

    def update_in_place(self, index, target, fx, first, operands, outputs):
        """`first` is updated: new versions of it and of what shares its storage."""
        live = self.storages.others(first, lambda n: self.last_use.get(n, -1) > index)
        self.versions += len(live)
        if self.versions > MAX_VERSIONS:
            raise FrontendError(f"expected in-place updates to touch at most {MAX_VERSIONS} views", "more",
                                "functionalise the program first (run_decompositions)")
        present = set(map(id, operands))
        operands = operands + [self.values[n] for n in live if id(self.values[n]) not in present]
        results = self.define_outputs(outputs, like=first)
        if results:
            self.values[first] = results[0]
        else:
            live.insert(0, first)
        for name in live:
            self.values[name] = Value(name, self.values[name].type)
            results.append(self.values[name])
        self.graph.nodes.append(Extern(target.removeprefix("torch.ops."), operands, results, fx))

    def remark_subgraphs(self, fx, inputs):
        """Attention inside the branches of a higher-order operator is not imported."""
        pending = [a for _, a in inputs]
        while pending:
            kind, value = pending.pop().one_of()
            if kind != "as_graph":
                continue
            for node in value["graph"]["nodes"].list():
                target = node["target"].str()
                if pt2_attention.is_attention(target) or pt2_attention.unread_attention(target):
                    self.graph.remark(fx, f"{target} inside a branch or loop is left to the framework",
                                      "export the model without data-dependent control flow around attention")
                pending += [e["arg"] for e in node["inputs"].list()]

    def read_ranges(self):
        constraints = self.program.get("range_constraints")
        for symbol, bounds in constraints.items() if constraints else ():
            if not re.fullmatch(r"[A-Za-z_]\w{0,200}", symbol, re.ASCII):
                constraints.fail("an object keyed by symbols", f"key '{symbol[:40]}'")
            low, high = bounds.get("min_val"), bounds.get("max_val")
            self.graph.ranges[symbol] = (low.int() if low else 0, high.int() if high else INT64_MAX)

    def run(self):
        self.read_ranges()
        self.read_inputs()
        self.scan_uses()
        for index, node in enumerate(self.root["nodes"].list()):
            self.read_node(index, node)
        self.read_outputs()
        if not self.graph.attentions:
            self.graph.remark("module", "no attention was recognised", pt2_attention.CAPTURE)
        return self.graph
