"""rope, rms_norm, kv_bridge and kv_share against the reference."""

from itertools import product

import numpy as np
from harness import Suite, normal, to_layout

from sparseattn import reference as ref

SUITE = Suite()
SHAPE = (2, 3, 13, 24)


def rope(dims, *, q_offset=None, layout="bhsd", element="f32", tail=False, dynamic=False, shape=SHAPE, **attributes):
    operands = dict(x=to_layout(normal(1, *shape, element=element), layout))
    text = f"sparseattn.rope $x dims {dims}"
    text += f" base {attributes['base']:e}" if "base" in attributes else ""
    text += "".join(f" {flag}" for flag in ("inverse", "interleaved") if attributes.get(flag)) + " tail" * tail
    if q_offset is not None:
        operands["q_offset"] = q_offset
        text += " q_offset($q_offset)"
    passed = shape[-1] - dims if tail else 0

    def reference(x, q_offset=None):
        # The last channels are the first ones of the row turned by as many places.
        turned = ref.rope(np.roll(np.asarray(x, np.float64), -passed, axis=-1), q_offset=q_offset, dims=dims,
                          layout=layout, **attributes)
        return np.roll(turned, passed, axis=-1)

    shown = "-".join(f"{n}{v}" for n, v in attributes.items())
    return SUITE.case(f"rope-{dims}-{q_offset}-{layout}-{element}{'-tail' * tail}-{shown}-{dynamic}",
                      text + f" layout({layout})", operands, reference, dynamic=dynamic)


CASES = [rope(dims, q_offset=offset, inverse=inverse, interleaved=interleaved, tail=tail)
         for dims, offset, inverse, interleaved, tail in
         product((24, 8, 2), (None, 1000), (False, True), (False, True), (False, True))]
# Angles of long contexts: f32 would lose them.
CASES += [rope(24, q_offset=1 << 20), rope(16, q_offset=1 << 20, base=640000.0, tail=True)]
CASES += [rope(16, layout="bshd", element=element, dynamic=dynamic, q_offset=5)
          for element, dynamic in [("bf16", False), ("f16", True), ("f32", True)]]
CASES.append(rope(8, shape=(1, 2, 0, 8)))


def norm(shape, weighted, element="f32", dynamic=False, eps=1e-6):
    operands = dict(x=normal(1, *shape, element=element, scale=5.0))
    if weighted:
        operands["weight"] = normal(2, shape[-1], element=element)
    return SUITE.case(f"norm-{'x'.join(map(str, shape))}-{weighted}-{element}-{dynamic}-{eps}",
                      "sparseattn.rms_norm $x" + " weight($weight)" * weighted + f" eps {eps:e}", operands,
                      lambda x, weight=None: ref.rms_norm(x, weight, eps=eps), dynamic=dynamic)


CASES += [norm(shape, weighted) for shape, weighted in product([SHAPE, (5, 7), (33,), (0, 4), (3, 1)], (False, True))]
CASES += [norm(SHAPE, True, element, dynamic) for element, dynamic in [("bf16", True), ("f16", "all"), ("f32", "all")]]
CASES.append(norm(SHAPE, False, eps=10.0))


def bridge(kv_heads, layout, element="f32", dynamic=False, batch=2, tokens=9, width=30, d=16, dv=5):
    operands = dict(hidden=normal(1, batch, tokens, width, element=element),
                    w_k=normal(2, width, kv_heads * d, element=element, scale=width ** -0.5),
                    w_v=normal(3, width, kv_heads * dv, element=element, scale=width ** -0.5))
    return SUITE.case(f"bridge-{kv_heads}-{layout}-{element}-{dynamic}-{tokens}",
                      f"sparseattn.kv_bridge $hidden, $w_k, $w_v source_layer 3 kv_heads {kv_heads} layout({layout})",
                      operands, lambda **o: ref.kv_bridge(**o, kv_heads=kv_heads, layout=layout), dynamic=dynamic)


CASES += [bridge(heads, layout) for heads, layout in product((1, 2, 3), ("bhsd", "bshd"))]
CASES += [bridge(2, "bshd", "bf16", True), bridge(2, "bhsd", "f16", "all"), bridge(2, "bhsd", tokens=0)]

SHARE = SUITE.function("""(%k: tensor<1x2x3x4xf32>, %v: tensor<1x2x3x4xf32>) -> (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) {
  %r:2 = sparseattn.kv_share %k, %v from 0 : tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>
  return %r#0, %r#1 : tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>
}
""")

test_glue = SUITE.tests(CASES)


def test_share_is_the_identity():
    key, value = normal(1, 1, 2, 3, 4), normal(2, 1, 2, 3, 4)
    for found, expected in zip(SHARE(key, value), (key, value)):
        np.testing.assert_array_equal(found, expected)
