"""block_logits, block_softmax, pool_scores and select_topk against the reference."""

from itertools import product

import numpy as np
from harness import FUZZ, Suite, array, normal, to_layout
from hypothesis import given
from hypothesis import strategies as st

from sparseattn import reference as ref

SUITE = Suite()
OPTIMISED = Suite(opt_level=3)
B, NQ, D = 2, 19, 40


# ---- block_logits

def logits(name, *, hq=4, hkv=2, blocks=6, layout="bhsd", element="f32", q_offset=None, weighted=False, bound="dot",
           dynamic=False, **attributes):
    operands = dict(query=to_layout(normal(1, B, hq, NQ, D, element=element), layout),
                    summary=to_layout(normal(2, B, hkv, blocks, D, element=element), layout))
    text = "sparseattn.block_logits $query, $summary"
    if bound == "minmax":
        operands["summary_max"] = operands["summary"] + abs(normal(3, *operands["summary"].shape, element=element))
        text += " max($summary_max)"
    if weighted:
        operands["head_weight"] = normal(4, B, NQ, hq)
        text += " head_weight($head_weight)"
    if q_offset is not None:
        operands["q_offset"] = q_offset
        text += " q_offset($q_offset)"
    attributes.setdefault("block", 4)
    for attribute, value in attributes.items():
        wrapped = {"scale": f" {value}", "block": f" {value}", "stride": f" {value}"}.get(attribute, f"({value})")
        text += f" {attribute}{wrapped}"
    order = ["block", "stride", "scale", "activation", "visibility"]
    assert list(attributes) == [a for a in order if a in attributes]
    text += f" bound({bound}) layout({layout})"
    attributes.setdefault("visibility", "before_own")

    def reference(**operands):
        return ref.block_logits(**operands, bound=bound, layout=layout, **attributes)

    return SUITE.case(f"logits-{name}", text, operands, reference, element="f32", dynamic=dynamic)


VISIBILITIES = ("all", "before_own", "complete", "own_inf")
CASES = [logits(f"{v}-{offset}", block=4, visibility=v, q_offset=offset)
         for v, offset in product(VISIBILITIES, (None, 0, 7, 30))]
CASES += [logits(f"{hq}-{hkv}", hq=hq, hkv=hkv) for hq, hkv in [(1, 1), (6, 2), (4, 1), (16, 1), (5, 5)]]
CASES += [logits(f"{e}-{layout}-{d}", element=e, layout=layout, dynamic=d, block=8, stride=2, visibility="complete")
          for e, layout, d in [("f16", "bhsd", False), ("bf16", "bshd", False), ("f32", "bshd", True)]]
CASES += [
    logits("weighted", weighted=True, hq=6, hkv=1, block=1, scale=0.5, activation="relu", visibility="complete"),
    logits("weighted-bshd", weighted=True, layout="bshd", element="bf16", block=4, visibility="all"),
    logits("relu", block=4, activation="relu", visibility="all"),
    logits("minmax", bound="minmax", block=4, visibility="own_inf"),
    logits("minmax-bf16", bound="minmax", element="bf16", layout="bshd", dynamic=True, block=4, visibility="all"),
    logits("no-blocks", blocks=0), logits("one-block", blocks=1, block=4, visibility="own_inf", q_offset=3),
]


# ---- block_softmax, pool_scores

def scores(seed, *shape, holes=0.3, empty_rows=True):
    """Gaussian scores with -inf entries and, if asked for, one row of nothing else."""
    z = normal(seed, *shape, scale=3.0)
    z[np.random.default_rng(seed + 1).random(shape) < holes] = -np.inf
    if empty_rows and z.size:
        z[0, :, 0] = -np.inf
    return z


def softmax(heads, kv_heads, group, blocks=13, dynamic=False):
    return SUITE.case(f"softmax-{heads}-{kv_heads}-{group}-{blocks}{'-dynamic' * bool(dynamic)}",
                      f"sparseattn.block_softmax $logits kv_heads {kv_heads} group({group})",
                      dict(logits=scores(5, B, heads, 7, blocks)),
                      lambda logits: ref.block_softmax(logits, kv_heads=kv_heads, group=group), dynamic=dynamic)


CASES += [softmax(h, kv, group) for (h, kv), group in product([(4, 2), (3, 1), (16, 1), (2, 2)],
                                                              ("none", "max", "sum", "mean"))]
CASES += [softmax(4, 2, "sum", blocks=n) for n in (0, 1)] + [softmax(6, 2, "mean", dynamic=True)]


def pooling(blocks, kernel, stride, pad, mode, ceil_mode, dynamic=False):
    return SUITE.case(f"pool-{blocks}-{kernel}-{stride}-{pad}-{mode}{'-ceil' * ceil_mode}{'-dynamic' * bool(dynamic)}",
                      f"sparseattn.pool_scores $scores kernel {kernel} stride {stride} pad {pad} mode({mode})"
                      + " ceil_mode" * ceil_mode,
                      dict(scores=scores(6, B, 2, 3, blocks)),
                      lambda scores: ref.pool_scores(scores, kernel=kernel, stride=stride, pad=pad, mode=mode,
                                                     ceil_mode=ceil_mode), dynamic=dynamic)


CASES += [pooling(*grid, mode, ceil) for grid, mode, ceil in
          product([(21, 5, 4, 1), (16, 4, 4, 0), (17, 4, 4, 0), (3, 5, 4, 1), (2, 5, 4, 1), (6, 2, 5, 1)],
                  ("max", "sum"), (False, True))] + [pooling(21, 5, 4, 1, "max", True, dynamic="all")]


# ---- select_topk

def topk(name, score, select, *, q_offset=None, valid_range=None, origin="absolute", count=True, dynamic=False):
    operands = dict(score=score)
    text = f"sparseattn.select_topk $score <k = {select.k}, block = {select.block}, force_first = {select.force_first}" \
           f", force_local = {select.force_local}, count_forced = {str(select.count_forced).lower()}> origin({origin})"
    if valid_range is not None:
        operands["valid_range"] = array(valid_range, "i32")
        text += " valid_range($valid_range)"
    if q_offset is not None:
        operands["q_offset"] = q_offset
        text += " q_offset($q_offset)"
    text += " return_count" * count
    return SUITE.case(f"topk-{name}", text, operands,
                      lambda **o: ref.select_topk(**o, select=select, origin=origin, return_count=count), dynamic=dynamic)


def tied(seed, *shape):
    """Few distinct values, both zeros, infinities and NaN: every rule about ties and holes is used."""
    choices = np.array([-1.5, -0.0, 0.0, 0.25, 0.5, 0.5, np.inf, -np.inf, np.nan], np.float32)
    return np.random.default_rng(seed).choice(choices, size=shape)


def documents(batch, queries, length=7):
    """valid_range of packed documents of ``length`` tokens, with an empty row at the end."""
    begin = np.arange(queries) // length * length
    ranges = np.stack([begin, np.minimum(np.arange(queries) + 1, begin + length)], axis=-1)
    ranges[-1] = 5
    return np.broadcast_to(ranges, (batch, queries, 2))


T = ref.TopK
SELECTS = {"plain": T(4, 4), "one": T(1, 4), "wide": T(40, 4), "tokens": T(5, 1), "first": T(4, 4, 1, 0),
           "local": T(4, 4, 0, 2), "both": T(4, 4, 1, 2), "all-forced": T(3, 4, 1, 2),
           "beside": T(3, 2, 1, 4, False), "window": T(5, 1, 0, 6, False)}
CASES += [topk(f"{name}-{kind}-{offset}", make(8, B, 2, 33, 9), select, q_offset=offset)
          for (name, select), (kind, make), offset in
          product(SELECTS.items(), {"random": scores, "tied": tied}.items(), (None, 11))]
CASES += [topk(f"{name}-{origin}", tied(9, B, 3, 33, 9), select, valid_range=documents(B, 33), origin=origin)
          for (name, select), origin in product(SELECTS.items(), ("absolute", "range_begin"))]
CASES += [topk("no-columns", tied(1, B, 2, 3, 0), T(4, 4, 1, 1)), topk("no-count", tied(2, B, 2, 3, 9), T(2, 4), count=False),
          topk("dynamic", tied(3, B, 2, 33, 9), T(4, 4, 1, 1), dynamic=True),
          topk("long", normal(4, 1, 1, 3, 4096), T(1024, 1, 0, 128, False), q_offset=4000)]

test_selection = SUITE.tests(CASES)

TOPK = {select: OPTIMISED.kernel(
    f"sparseattn.select_topk $score <k = {select.k}, block = {select.block}, force_first = {select.force_first}, "
    f"force_local = {select.force_local}, count_forced = {str(select.count_forced).lower()}> q_offset($q_offset) return_count",
    dict(score="tensor<?x?x?x?xf32>", q_offset="index"), [f"tensor<?x?x?x{select.width}xi32>", "tensor<?x?x?xi32>"])
    for select in SELECTS.values()}


@FUZZ
@given(select=st.sampled_from(list(TOPK)), columns=st.integers(0, 20), offset=st.integers(0, 60), data=st.data())
def test_topk_of_any_scores(select, columns, offset, data):
    value = st.one_of(st.floats(width=32), st.sampled_from([0.0, -0.0, 1.0, float("-inf"), float("inf"), float("nan")]))
    score = np.array(data.draw(st.lists(value, min_size=2 * columns, max_size=2 * columns)), np.float32)
    score = score.reshape(1, 1, 2, columns)
    found = TOPK[select](score, offset)
    for f, e in zip(found, ref.select_topk(score, select=select, q_offset=offset, return_count=True)):
        np.testing.assert_array_equal(f, e)
