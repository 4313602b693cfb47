"""One attention function, described apart from its sizes: its name and its text in the dialect.

What `sparseattn.torch`, `sparseattn.bench` and `sparseattn.quickstart` compile when they need a kernel.
"""

import hashlib
import itertools
import re
from dataclasses import dataclass

from .frontend.graph import float_text


@dataclass(frozen=True)
class AttentionSpec:
    """Softmax attention whose batch, lengths and numbers of heads are left to the call.

    keys: the pattern as the dialect spells it, without `#sparseattn.`: "full", "causal",
    "window<128>", "prefix_lm<64>"; a tuple has one for each KV head. dtype: of query, key,
    value and out, as in MLIR. dim: of query and key; value_dim: of value and out, default
    `dim`. scale: default 1/sqrt(dim). softcap: None for none. sink, lse: whether there is
    the operand `[Hq]` f32, and the result `[B,Hq,Nq]` f32. blocks: (n, m) when the keys are
    further restricted to blocks of m keys, listed for every n consecutive queries in an
    operand `[B,1|Hkv|Hq,ceil(Nq/n),K]` i32, which is padded with -1. documents: whether
    there are several in a sequence; an operand `[B,Nq,2]` i32 is each query's range of keys.

    layout: "bhsd", "bshd", or "thd", without a batch: then two operands `[S+1]` i32 are where
    the documents of the queries and of the keys begin and end.

    Operands are query, key, value, then the lists, the sink, the ranges and the offsets.
    """

    keys: str | tuple[str, ...] = "full"
    dtype: str = "bf16"
    dim: int = 128
    value_dim: int | None = None
    layout: str = "bhsd"
    scale: float | None = None
    softcap: float | None = None
    sink: bool = False
    lse: bool = False
    blocks: tuple[int, int] | None = None
    documents: bool = False

    @property
    def name(self) -> str:
        """An identifier; specs that differ have different names."""
        parts = [f"d{self.dim}"]
        if self.value_dim not in (None, self.dim):
            parts.append(f"v{self.value_dim}")
        if isinstance(self.keys, str):
            parts.append(_word(self.keys))
        else:
            parts.append("table")
            parts += [f"{len(list(run))}x{_word(key)}" for key, run in itertools.groupby(self.keys)]
        if self.blocks:
            parts.append("blocks{}x{}".format(*self.blocks))
        parts += ["documents"] if self.has_ranges else []
        parts += ["sink"] if self.sink else []
        parts += [f"softcap{_number(self.softcap)}"] if self.softcap is not None else []
        parts += ["lse"] if self.lse else []
        parts += [f"scale{_number(self.scale)}"] if self.scale is not None else []
        parts += [value for value, usual in ((self.dtype, "bf16"), (self.layout, "bhsd")) if value != usual]
        name = "_".join(parts)
        # The runtime takes names of up to 128 characters; long tables of heads need more.
        return name if len(name) <= 100 else f"d{self.dim}_{hashlib.sha256(name.encode()).hexdigest()[:32]}"

    @property
    def has_ranges(self) -> bool:
        return self.documents and self.layout != "thd"

    @property
    def pattern(self) -> str:
        """The attribute of the dialect."""
        if isinstance(self.keys, str):
            return f"#sparseattn.{self.keys}"
        return f"#sparseattn.head_table<[{', '.join(f'#sparseattn.{key}' for key in self.keys)}]>"

    def text(self) -> str:
        """A module with one function, `name`."""
        batch = "" if self.layout == "thd" else "?x"
        query = f"tensor<{batch}?x?x{self.dim}x{self.dtype}>"
        value = f"tensor<{batch}?x?x{self.value_dim or self.dim}x{self.dtype}>"
        lse = f"tensor<{batch}?x?xf32>"
        arguments = {"%query": query, "%key": query, "%value": value}
        operation = "attention %query, %key, %value"
        if self.blocks:
            arguments["%selection"] = "tensor<?x?x?x?xi32>"
            queries, keys = self.blocks
            operation = f"sparse_attention %query, %key, %value selection(%selection) block {keys} query_block {queries}"
        operation += f" keys({self.pattern})"
        if self.scale is not None:
            operation += f" scale {float_text(self.scale)}"
        if self.softcap is not None:
            operation += f" score(#sparseattn.softcap<{float_text(self.softcap)}>)"
        if self.sink:
            arguments["%sink"] = "tensor<?xf32>"
            operation += " sink(%sink)"
        if self.has_ranges:
            arguments["%range"] = "tensor<?x?x2xi32>"
            operation += " valid_range(%range)"
        if self.layout == "thd":
            arguments |= {"%starts": "tensor<?xi32>", "%key_starts": "tensor<?xi32>"}
            operation += " cu_seqlens(%starts, %key_starts)"
        if self.lse:
            operation += " return_lse"
        results = [value] + ([lse] if self.lse else [])
        types = ", ".join(results)
        names = ", ".join(["%out", "%lse"][: len(results)])
        signature = ", ".join(f"{name}: {type_}" for name, type_ in arguments.items())
        return (
            f"func.func @{self.name}({signature}) -> ({types}) {{\n"
            f"  {names} = sparseattn.{operation} layout({self.layout})\n"
            f"    : ({', '.join(arguments.values())}) -> ({types})\n"
            f"  return {names} : {types}\n}}\n"
        )


def _word(key: str) -> str:
    return re.sub(r"\W", "", key)


def _number(value: float) -> str:
    """A float in full precision, of the characters of an identifier."""
    return repr(float(value)).removesuffix(".0").replace(".", "p").replace("-", "m").replace("+", "")
