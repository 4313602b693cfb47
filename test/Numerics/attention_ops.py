"""The attention family twice: as IR for the compiler and as a call of the reference.

An ``Attention`` is what is fixed when a function is compiled. Its tensors have dynamic batch and lengths unless
``sizes`` is given, so that one function serves many tests; ``check`` runs both sides on one set of inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from compare import DTYPES, assert_matches
from harness import type_asm
from sparseattn import reference as ref
from sparseattn.compiler import compile_cpu


@lru_cache(maxsize=None)
def compile_function(text, opt_level=0, pipeline=None):
    """The function ``f`` of a module. Equal texts are compiled once."""
    return compile_cpu(text, opt_level=opt_level, pipeline=pipeline)("f")


def pattern_asm(keys) -> str:
    """The dialect's spelling of a key pattern of the reference."""
    match keys:
        case ref.Full():
            return "#sparseattn.full"
        case ref.Causal():
            return "#sparseattn.causal"
        case ref.Window(w):
            return f"#sparseattn.window<{w}>"
        case ref.PrefixLM(prefix):
            return f"#sparseattn.prefix_lm<{prefix}>"
        case ref.CompleteBlocks(block, stride):
            return f"#sparseattn.complete_blocks<block = {block}, stride = {stride}>"
        case ref.HeadTable(patterns):
            return f"#sparseattn.head_table<[{', '.join(map(pattern_asm, patterns))}]>"
    raise ValueError(f"no spelling for {keys!r}")


def top_k_asm(select: ref.TopK) -> str:
    return (f"<k = {select.k}, block = {select.block}, force_first = {select.force_first}, "
            f"force_local = {select.force_local}, count_forced = {str(select.count_forced).lower()}>")


@dataclass(frozen=True)
class Attention:
    """``attention``, or ``sparse_attention`` if ``format`` is given. ``takes`` names the optional operands."""

    keys: ref.KeyPattern = ref.Causal()
    heads: tuple = (4, 2)               # Hq, Hkv
    dims: tuple = (16, 16)              # d, dv
    dtype: str = "f32"
    layout: str = "bhsd"
    sizes: tuple | None = None          # B, Nq, Nk; None: `?`
    static_heads: bool = True           # False: `?` for the numbers of heads
    scale: float | None = None
    score_mod: ref.SoftCap | None = None
    takes: tuple = ()                   # of sink, valid_range, q_offset
    block_score: ref.BlockScore | None = None
    selection: ref.TopK | None = None
    # Of sparse_attention.
    format: str | None = None
    block: int = 16
    query_block: int = 1
    selection_heads: int = 2
    origin: str = "absolute"
    bias: bool = False
    # Of LLVM, whose optimiser takes four times as long as all else: tests of the lowering do without.
    opt_level: int = 0
    # None: `sparseattn-to-cpu`, straight from L0.
    pipeline: str | None = None
    # The value of attribute `schedule`.
    schedule: str | None = None

    # ---- shapes

    def shape(self, heads, length, *rest, batch=None):
        """A head-major tensor: [B,heads,length,rest], without B for thd."""
        batch = () if self.layout == "thd" else (batch,)
        return (*batch, heads, length, *rest)

    def tensor_shape(self, batch, heads, length, dim):
        return {"bhsd": (batch, heads, length, dim), "bshd": (batch, length, heads, dim),
                "thd": (length, heads, dim)}[self.layout]

    def head_types(self):
        return self.heads if self.static_heads else ("?", "?")

    def operand_types(self) -> dict:
        """Names (those of the reference) and types of all operands, in the order of the function's arguments."""
        batch, nq, nk = self.sizes or ("?", "?", "?")
        (hq, hkv), (d, dv) = self.head_types(), self.dims
        tensors = {"query": (hq, nq, d), "key": (hkv, nk, d), "value": (hkv, nk, dv)}
        types = {name: type_asm(self.tensor_shape(batch, *shape), self.dtype) for name, shape in tensors.items()}
        blocks = "?" if nk == "?" else -(-nk // self.block)
        rows = nq if nq == "?" else -(-nq // self.query_block)
        shared = self.selection_heads if self.static_heads else "?"
        if self.format == "index":
            types["selection"] = type_asm(self.shape(shared, rows, "?", batch=batch), "i32")
        elif self.format == "bitmask":
            words = "?" if nk == "?" else -(-blocks // 32)
            types["selection"] = type_asm(self.shape(shared, rows, words, batch=batch), "i32")
        if self.bias:
            columns = "?" if self.format == "index" else blocks
            types["bias"] = type_asm(self.shape(hkv, rows, columns, batch=batch), "f32")
        if "sink" in self.takes:
            types["sink"] = type_asm((hq,), "f32")
        if "valid_range" in self.takes:
            types["valid_range"] = type_asm((batch, nq, 2), "i32")
        if "q_offset" in self.takes:
            types["q_offset"] = "index"
        if self.layout == "thd":
            types["cu_seqlens_q"] = types["cu_seqlens_k"] = type_asm(("?",), "i32")
        return types

    def result_types(self) -> dict:
        batch, nq, nk = self.sizes or ("?", "?", "?")
        hq, hkv = self.head_types()
        types = {"out": type_asm(self.tensor_shape(batch, hq, nq, self.dims[1]), self.dtype),
                 "lse": type_asm(self.shape(hq, nq, batch=batch), "f32")}
        if self.block_score:
            heads = hq if self.block_score.group == "none" else hkv
            columns = "?" if nk == "?" else -(-nk // self.block_score.block)
            if self.selection:
                types["indices"] = type_asm(self.shape(heads, nq, self.selection.width, batch=batch), "i32")
            else:
                types["score"] = type_asm(self.shape(heads, nq, columns, batch=batch), "f32")
        return types

    # ---- both sides

    def asm(self) -> str:
        """A module with the function ``f``."""
        operands, results = self.operand_types(), self.result_types()
        words = [f"sparseattn.{'sparse_attention' if self.format else 'attention'} %query, %key, %value"]
        if self.format:
            words += [f"selection(%selection) block {self.block} query_block {self.query_block} format({self.format}) origin({self.origin})"]
        words.append(f"keys({pattern_asm(self.keys)})")
        if self.scale is not None:
            words.append(f"scale {self.scale:e}")
        if self.score_mod:
            words.append(f"score(#sparseattn.softcap<{self.score_mod.cap:e}>)")
        words += [f"{name}(%{name})" for name in ("bias", "sink", "valid_range", "q_offset") if name in operands]
        if self.layout == "thd":
            words.append("cu_seqlens(%cu_seqlens_q, %cu_seqlens_k)")
        if self.block_score:
            score = self.block_score
            words.append(f"emit(#sparseattn.block_score<block = {score.block}, kind = {score.kind}, "
                         f"group = {score.group}, origin = {score.origin}>)")
        if self.selection:
            words.append(f"select {top_k_asm(self.selection)}")
        words.append(f"return_lse layout({self.layout})")
        if self.schedule:
            words.append(f"{{schedule = #sparseattn.schedule{self.schedule}}}")
        arguments = ", ".join(f"%{name}: {type}" for name, type in operands.items())
        taken, given = ", ".join(operands.values()), ", ".join(results.values())
        values = ", ".join(f"%{name}" for name in results)
        return (f"func.func @f({arguments}) -> ({given}) {{\n  {values} = {' '.join(words)}\n"
                f"    : ({taken}) -> ({given})\n  return {values} : {given}\n}}\n")

    def compile(self):
        return compile_function(self.asm(), self.opt_level, self.pipeline)

    def run(self, inputs) -> dict:
        results = self.compile()(*(inputs[name] for name in self.operand_types()))
        return dict(zip(self.result_types(), results))

    def reference(self, inputs) -> dict:
        common = dict(keys=self.keys, scale=self.scale, score_mod=self.score_mod, layout=self.layout, return_lse=True)
        if self.format:
            results = ref.sparse_attention(**inputs, **common, block=self.block, query_block=self.query_block,
                                           format=self.format, origin=self.origin)
        else:
            results = ref.attention(**inputs, **common, block_score=self.block_score, selection=self.selection)
        return dict(zip(self.result_types(), results))

    def check(self, inputs, **tolerance) -> dict:
        """Compares the compiled function with the reference and returns the results of both: (got, want)."""
        got, want = self.run(inputs), self.reference(inputs)
        for name in want:
            assert_matches(name, got[name], want[name], **tolerance)
        return got, want

    # ---- inputs

    def inputs(self, seed=0, *, batch=1, nq=None, nk=None, spread=1.0, **given) -> dict:
        """Random operands of the types, rounded to the dtype; ``given`` sets operands by name.

        ``spread`` widens the logits. Sinks and biases are random; valid_range, q_offset, selection and
        cu_seqlens have no sensible random value and must be given.
        """
        rng = np.random.default_rng(seed)
        if self.sizes:
            batch, nq, nk = self.sizes
        if self.layout == "thd":
            nq, nk = given["cu_seqlens_q"][-1], given["cu_seqlens_k"][-1]
        (hq, hkv), (d, dv) = self.heads, self.dims
        dtype = DTYPES[self.dtype]

        def normal(*shape):
            return rng.normal(size=shape).astype(np.float32)

        result = {"query": spread * normal(*self.tensor_shape(batch, hq, nq, d)),
                  "key": normal(*self.tensor_shape(batch, hkv, nk, d)),
                  "value": normal(*self.tensor_shape(batch, hkv, nk, dv))}
        result = {name: x.astype(dtype) for name, x in result.items()}
        if "sink" in self.takes:
            result["sink"] = normal(hq)
        if self.bias:
            columns = given["selection"].shape[-1] if self.format == "index" else -(-nk // self.block)
            result["bias"] = normal(*self.shape(hkv, -(-nq // self.query_block), columns, batch=batch))
        result.update({name: x if name == "q_offset" else np.asarray(x, np.float32 if name in ("sink", "bias") else
                                                                     np.int32) for name, x in given.items()})
        missing = self.operand_types().keys() - result.keys()
        if missing:
            raise ValueError(f"give the operands {sorted(missing)}")
        return result


def random_selection(rng, *shape, blocks, entries):
    """[*shape, entries] i32: distinct blocks in any order; -1 and blocks past the last one in between."""
    rows = rng.random((*shape, max(entries, blocks + 2))).argsort(axis=-1)[..., :entries].astype(np.int32)
    return np.where(rng.random(rows.shape) < 0.2, -1, rows).astype(np.int32)


def random_mask(rng, *shape, blocks, density=0.4):
    """[*shape, ceil(blocks/32)] i32, with bits past the last block set at random, too."""
    words = -(-blocks // 32)
    bits = rng.random((*shape, 32 * words)) < density
    return ref.pack_bits(bits)
