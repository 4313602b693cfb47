"""KV caches: what reads return while tokens are appended, against the reference's cache."""

from itertools import product

import numpy as np
from harness import FUZZ, Suite, normal, to_layout
from hypothesis import given
from hypothesis import strategies as st

from sparseattn import reference as ref

SUITE = Suite()
OPTIMISED = Suite(opt_level=3)
LENGTH, D, DV, B = 16, 8, 6, 2
FULL, RING = ref.FullCache(), ref.RingCache
KINDS = {"full": [FULL] * 2, "ring": [RING(4)] * 2, "one": [RING(1)] * 3, "wide": [RING(20)] * 2,
         "ragged": [FULL, RING(4), RING(7), FULL]}


def kind_attribute(kinds):
    names = ["#sparseattn.full_cache" if kind == FULL else f"#sparseattn.ring<{kind.w}>" for kind in kinds]
    return names[0] if len(set(names)) == 1 else f"#sparseattn.head_caches<[{', '.join(names)}]>"


def head_shape(layout, heads, tokens, dim):
    return (B, tokens, heads, dim) if layout == "bshd" else (B, heads, tokens, dim)


def tensor(shape, element):
    return "tensor<" + "".join(f"{'?' if n is None else n}x" for n in shape) + element + ">"


def program(kinds, steps, layout="bhsd", element="f32"):
    """A function that appends ``steps`` tokens at a time to an empty cache and reads everything after each step.

    The last read is of the cache before the last append, which that append must not change.
    """
    types = [tensor(head_shape(layout, len(kinds), n, d), element) for n, d in product(steps, (D, DV))]
    read_types = [tensor(head_shape(layout, len(kinds), None, d), element) for d in (D, DV)]
    cache = f"!sparseattn.kv_cache<kind = {kind_attribute(kinds)}, batch = {B}, heads = {len(kinds)}, length = {LENGTH}, " \
            f"key_dim = {D}, value_dim = {DV}, dtype = {element}>"
    view = cache[:-1] + ", access = read_only>"
    arguments = ", ".join(f"%x{n}: {t}" for n, t in enumerate(types))
    lines, results = [f"%c0 = sparseattn.kv_cache.create : {cache}"], []

    def read(cache_name, count):
        n = len(results)
        lines.extend([f"%v{n} = sparseattn.kv_cache.view {cache_name} : ({cache}) -> {view}",
                      f"%n{n} = arith.constant {count} : index",
                      f"%r{n}, %r{n + 1} = sparseattn.kv_cache.read %v{n} length %n{n} layout({layout}) "
                      f": ({view}, index) -> ({', '.join(read_types)})"])
        results.extend([f"%r{n}", f"%r{n + 1}"])

    position = 0
    for s, count in enumerate(steps):
        k, v = types[2 * s:2 * s + 2]
        lines.extend([f"%p{s} = arith.constant {position} : index",
                      f"%c{s + 1} = sparseattn.kv_cache.append %c{s}, %x{2 * s}, %x{2 * s + 1} at %p{s} layout({layout}) "
                      f": ({cache}, {k}, {v}, index) -> {cache}"])
        position += count
        read(f"%c{s + 1}", position)
    read(f"%c{len(steps) - 1}", position - steps[-1])
    result_types = read_types * (len(results) // 2)
    body = "\n  ".join(lines)
    return SUITE.function(f"({arguments}) -> ({', '.join(result_types)}) {{\n  {body}\n"
                          f"  return {', '.join(results)} : {', '.join(result_types)}\n}}\n")


def expected_reads(cache, layout):
    """[keys, values] by token position, 0 where a head has dropped the token."""
    reads = [np.zeros((B, len(cache.kinds), cache.length, d), np.float32) for d in (D, DV)]
    for head in range(len(cache.kinds)):
        for read, held in zip(reads, cache.read_head(head)):
            read[:, head, cache.positions(head)] = held
    return [to_layout(x, layout) for x in reads]


def run(kernel, kinds, steps, layout="bhsd", element="f32"):
    tokens = [normal(n, *head_shape(layout, len(kinds), steps[n // 2], (D, DV)[n % 2]), element=element)
              for n in range(2 * len(steps))]
    found = kernel(*tokens)
    caches = [ref.KVCache.create(tuple(kinds), batch=B, d=D, dv=DV)]
    for key, value in zip(tokens[::2], tokens[1::2]):
        caches.append(caches[-1].append(key, value, layout=layout))
    expected = [x for cache in [*caches[1:], caches[-2]] for x in expected_reads(cache, layout)]
    assert len(found) == len(expected)
    for n, (f, e) in enumerate(zip(found, expected)):
        np.testing.assert_array_equal(f.astype(np.float32), e, err_msg=f"result {n}")


# Around the ring of 4: one token at a time, w-1, w and w+1 at once, more than once around, nothing, to the brim.
STEPS = [(1,) * 6, (3, 1), (4, 1), (5, 2), (11, 5), (2, 0, 3), (16,), (0,)]
OPTIONS = [(name, steps, "bhsd", "f32") for name, steps in product(("ring", "ragged"), STEPS)]
OPTIONS += [(name, steps, "bhsd", "f32") for name, steps in product(("full", "one", "wide"), [(4, 1), (16,)])]
OPTIONS += [(name, (3, 2), layout, element) for name, (layout, element) in
            product(("ring", "ragged"), [("bshd", "f32"), ("bhsd", "bf16"), ("bshd", "f16")])]
PROGRAMS = {option: program(KINDS[option[0]], *option[1:]) for option in OPTIONS}


def pytest_generate_tests(metafunc):
    if "option" in metafunc.fixturenames:
        metafunc.parametrize("option", OPTIONS, ids=lambda option: "-".join(map(str, option)))


def test_reads_while_appending(option):
    name, *rest = option
    run(PROGRAMS[option], KINDS[name], *rest)


def decode_program(layout="bhsd"):
    """Appends tokens one by one in a loop, through a call, and returns the keys and the ragged storage's reads."""
    kinds = KINDS["ragged"]
    cache = f"!sparseattn.kv_cache<kind = {kind_attribute(kinds)}, batch = {B}, heads = 4, length = {LENGTH}, " \
            f"key_dim = {D}, value_dim = {D}, dtype = f32>"
    whole, one = tensor((B, 4, LENGTH, D), "f32"), tensor((B, 4, 1, D), "f32")
    return f"""(%x: {whole}, %n: index) -> {tensor((B, 4, None, D), "f32")} {{
  %zero = arith.constant 0 : index
  %step = arith.constant 1 : index
  %empty = sparseattn.kv_cache.create : {cache}
  %full = scf.for %t = %zero to %n step %step iter_args(%c = %empty) -> ({cache}) {{
    %token = tensor.extract_slice %x[0, 0, %t, 0] [{B}, 4, 1, {D}] [1, 1, 1, 1] : {whole} to {one}
    %next = sparseattn.kv_cache.append %c, %token, %token at %t : ({cache}, {one}, {one}, index) -> {cache}
    scf.yield %next : {cache}
  }}
  %k, %v = sparseattn.kv_cache.read %full length %n : ({cache}, index) -> ({tensor((B, 4, None, D), "f32")}, {tensor((B, 4, None, D), "f32")})
  return %k : {tensor((B, 4, None, D), "f32")}
}}
"""


DECODE = OPTIMISED.function(decode_program())


@FUZZ
@given(st.integers(0, LENGTH))
def test_decode_loop(count):
    tokens = normal(1, B, 4, LENGTH, D)
    cache = ref.KVCache.create(tuple(KINDS["ragged"]), batch=B, d=D).append(tokens[:, :, :count], tokens[:, :, :count])
    (found,) = DECODE(tokens, count)
    expected = np.zeros((B, 4, count, D), np.float32)
    for head in range(4):
        expected[:, head, cache.positions(head)] = cache.read_head(head)[0]
    np.testing.assert_array_equal(found, expected)
