"""sparseattn.concat_kv_attention, compiled, against the reference (specification §6.4, operator 18)."""

from dataclasses import dataclass

import numpy as np
import pytest
from attention_ops import compile_function, pattern_asm, random_selection
from compare import DTYPES, assert_matches
from harness import type_asm
from sparseattn import reference as ref


@dataclass(frozen=True)
class Concat:
    """``sources``: a pattern for each; ``shared``: heads of each source's selection, None without one."""

    sources: tuple = (ref.Window(9), ref.CompleteBlocks(4))
    shared: tuple = (None, None)
    heads: tuple = (4, 1)
    dims: tuple = (16, 16)
    dtype: str = "f32"
    layout: str = "bhsd"
    sizes: tuple | None = None          # B, Nq, (N_1, ..., N_n)
    takes: tuple = ("sink",)
    score_mod: ref.SoftCap | None = None

    def tensor(self, batch, heads, length, dim):
        return (batch, heads, length, dim) if self.layout == "bhsd" else (batch, length, heads, dim)

    def operand_types(self):
        batch, nq, lengths = self.sizes or ("?", "?", ["?"] * len(self.sources))
        (hq, hkv), (d, dv) = self.heads, self.dims
        types = {"query": type_asm(self.tensor(batch, hq, nq, d), self.dtype)}
        types |= {f"key{i}": type_asm(self.tensor(batch, hkv, n, d), self.dtype) for i, n in enumerate(lengths)}
        types |= {f"value{i}": type_asm(self.tensor(batch, hkv, n, dv), self.dtype) for i, n in enumerate(lengths)}
        types |= {f"selection{i}": type_asm((batch, h, nq, "?"), "i32") for i, h in enumerate(self.shared) if h}
        if "sink" in self.takes:
            types["sink"] = type_asm((hq,), "f32")
        if "q_offset" in self.takes:
            types["q_offset"] = "index"
        return types

    def asm(self):
        batch, nq, _ = self.sizes or ("?", "?", None)
        types = self.operand_types()
        given = [type_asm(self.tensor(batch, self.heads[0], nq, self.dims[1]), self.dtype),
                 type_asm((batch, self.heads[0], nq), "f32")]

        def names(prefix):
            return ", ".join(f"%{name}" for name in types if name.startswith(prefix))

        words = [f"sparseattn.concat_kv_attention %query, [{names('key')}], [{names('value')}]",
                 f"keys([{', '.join(map(pattern_asm, self.sources))}])",
                 f"selected [{', '.join('true' if h else 'false' for h in self.shared)}]"]
        if any(self.shared):
            words.append(f"selections({names('selection')})")
        if self.score_mod:
            words.append(f"score(#sparseattn.softcap<{self.score_mod.cap:e}>)")
        words += [f"{name}(%{name})" for name in ("sink", "q_offset") if name in types]
        words.append(f"return_lse layout({self.layout})")
        arguments = ", ".join(f"%{name}: {type}" for name, type in types.items())
        return (f"func.func @f({arguments}) -> ({', '.join(given)}) {{\n  %out, %lse = {' '.join(words)}\n"
                f"    : ({', '.join(types.values())}) -> ({', '.join(given)})\n"
                f"  return %out, %lse : {', '.join(given)}\n}}\n")

    def check(self, seed=0, *, batch=2, nq=21, lengths=(21, 5), entries=3, **given):
        rng = np.random.default_rng(seed)
        if self.sizes:
            batch, nq, lengths = self.sizes
        (hq, hkv), (d, dv), dtype = self.heads, self.dims, DTYPES[self.dtype]

        def normal(*shape):
            return rng.normal(size=shape).astype(dtype)

        query = normal(*self.tensor(batch, hq, nq, d))
        keys = [normal(*self.tensor(batch, hkv, n, d)) for n in lengths]
        values = [normal(*self.tensor(batch, hkv, n, dv)) for n in lengths]
        selections = [h and random_selection(rng, batch, h, nq, blocks=n, entries=entries)
                      for h, n in zip(self.shared, lengths)]
        rest = {"sink": normal(hq).astype(np.float32)} if "sink" in self.takes else {}
        rest |= given
        got = compile_function(self.asm())(
            query, *keys, *values, *(s for s in selections if s is not None), *rest.values())
        want = ref.concat_kv_attention(query, keys, values, patterns=self.sources, selections=selections, **rest,
                                       score_mod=self.score_mod, layout=self.layout, return_lse=True)
        for name, mine, theirs in zip(("out", "lse"), got, want):
            assert_matches(name, mine, theirs)
        return got


def test_window_beside_compressed_keys():
    """DeepSeek-V4's HCA; also more queries than keys, a single query, sources without keys."""
    op = Concat()
    for nq, lengths in [(21, (21, 5)), (1, (70, 17)), (9, (4, 2)), (5, (5, 0)), (3, (0, 4)), (0, (3, 3))]:
        op.check(nq=nq, lengths=lengths)


@pytest.mark.parametrize("shared", [(None, 1), (None, 4), (1, None), (4, 1)], ids=str)
@pytest.mark.parametrize("sizes", [None, (1, 1, (40, 10))], ids=str)
def test_selected_entries(shared, sizes):
    Concat(shared=shared, sizes=sizes).check(lengths=(30, 7))


@pytest.mark.parametrize("heads", [(6, 2), (3, 3), (16, 1)], ids=str)
@pytest.mark.parametrize("sizes", [None, (1, 2, (40, 10))], ids=str)
def test_head_groups(heads, sizes):
    Concat(heads=heads, sizes=sizes, shared=(None, heads[1])).check()


def test_one_source_is_plain_attention():
    Concat(sources=(ref.Causal(),), shared=(None,), takes=()).check(lengths=(33,))


def test_three_sources_and_query_offset():
    op = Concat(sources=(ref.CompleteBlocks(8, 4), ref.Window(5), ref.Full()), shared=(2, None, None), heads=(4, 2),
                takes=("sink", "q_offset"))
    for offset in (-2, 0, 13, 100):
        op.check(lengths=(6, 30, 3), q_offset=offset)


def test_only_summaries_need_a_position():
    op = Concat(sources=(ref.CompleteBlocks(2), ref.CompleteBlocks(4)), takes=("q_offset",))
    op.check(lengths=(10, 5), q_offset=3)


@pytest.mark.parametrize("layout", ["bhsd", "bshd"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_layouts_and_types(layout, dtype):
    Concat(layout=layout, dtype=dtype, dims=(40, 24), score_mod=ref.SoftCap(3.0)).check()


def test_sources_do_not_double_the_sink():
    """Keys split over two sources give the result of one source (specification §1.3: the sink joins once)."""
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(1, h, 12, 16)).astype(np.float32) for h in (4, 1, 1))
    sink = np.array([0, 2, 4, -3], np.float32)
    split = Concat(sources=(ref.Full(), ref.Full()), shared=(None, None), takes=("sink", "q_offset"))
    halves = [x[:, :, part] for x in (key, value) for part in (slice(0, 5), slice(5, 12))]
    got = compile_function(split.asm())(query, *halves, sink, 0)
    want = ref.attention(query, key, value, keys=ref.Full(), sink=sink, return_lse=True)
    for name, mine, theirs in zip(("out", "lse"), got, want):
        assert_matches(name, mine, theirs)
