"""gated_combine, lse_merge and hard_concrete_gate against the reference."""

from itertools import product

import numpy as np
from harness import Suite, array, normal, to_layout

from sparseattn import reference as ref

SUITE = Suite()
SHAPE = (2, 3, 11, 20)


def combine(count, gate, activation, layout="bhsd", element="f32", dynamic=False, shape=SHAPE):
    inputs = {f"o{n}": to_layout(normal(n, *shape, element=element), layout) for n in range(count)}
    gates = {f"g{n}": to_layout(normal(n + 10, *(shape if gate == "elementwise" else shape[:-1]), element=element,
                                       scale=4.0), layout) for n in range(count)}
    names = lambda group: ", ".join(f"${n}" for n in group)
    return SUITE.case(f"combine-{count}-{gate}-{activation}-{layout}-{element}-{'x'.join(map(str, shape))}-{dynamic}",
                      f"sparseattn.gated_combine {names(inputs)} gates({names(gates)}) gate({gate}) "
                      f"activation({activation})", inputs | gates,
                      lambda **o: ref.gated_combine([o[n] for n in inputs], [o[n] for n in gates], gate=gate,
                                                    activation=activation), dynamic=dynamic)


CASES = [combine(n, gate, activation) for n, gate, activation in
         product((1, 2, 3), ("elementwise", "headwise"), ("sigmoid", "none"))]
CASES += [combine(2, gate, "sigmoid", layout, element, dynamic) for gate, (layout, element, dynamic) in
          product(("elementwise", "headwise"), [("bshd", "f32", False), ("bhsd", "bf16", True), ("bshd", "f16", "all")])]
CASES += [combine(2, "headwise", "sigmoid", shape=(7, 3, 5)), combine(2, "headwise", "sigmoid", shape=(9,)),
          combine(2, "elementwise", "sigmoid", shape=()), combine(2, "headwise", "sigmoid", shape=(2, 0, 3))]


def merge(count, layout, sink, element="f32", dynamic=False):
    """Partial attentions, some of whose rows are empty; the first row is empty in all of them."""
    packed = layout == "thd"
    shape = (11, 3, 20) if packed else SHAPE
    operands, rows = {}, (3, 11) if packed else SHAPE[:3]
    lses = []
    for n in range(count):
        lse = normal(n + 20, *rows, scale=30.0)
        lse[np.random.default_rng(n).random(rows) < 0.3] = -np.inf
        lse[..., 0] = -np.inf
        out = normal(n + 30, *rows, SHAPE[-1])
        out = np.where(np.isneginf(lse)[..., None], 0.0, out)
        out = out.swapaxes(0, 1) if packed else to_layout(out, layout)
        assert out.shape == (shape if packed or layout == "bhsd" else (2, 11, 3, 20))
        operands[f"o{n}"] = array(out, element)
        lses.append((f"l{n}", lse))
    operands.update(lses)
    names = lambda letter: ", ".join(f"${letter}{n}" for n in range(count))
    text = f"sparseattn.lse_merge {names('o')} lse({names('l')})"
    if sink:
        operands["sink"] = array([-80.0, 0.5, 60.0])
        text += " sink($sink)"
    return SUITE.case(f"merge-{count}-{layout}-{'sink' * sink}-{element}-{dynamic}", text + f" layout({layout})", operands,
                      lambda sink=None, **o: ref.lse_merge([o[f"o{n}"] for n in range(count)],
                                                           [o[f"l{n}"] for n in range(count)], sink=sink, layout=layout),
                      element=(element, "f32"), dynamic=dynamic)


CASES += [merge(n, layout, sink) for n, layout, sink in product((1, 2, 4), ("bhsd", "bshd", "thd"), (False, True))]
CASES += [merge(2, "thd", True, "bf16", "all"), merge(3, "bshd", False, "f16", True)]


def gate(shape, dynamic=False, **attributes):
    operands = dict(log_alpha=normal(1, *shape, scale=3.0),
                    noise=array(np.random.default_rng(2).uniform(1e-6, 1 - 1e-6, size=shape)))
    text = "sparseattn.hard_concrete_gate $log_alpha, $noise" + "".join(f" {n} {v}" for n, v in attributes.items())
    flat = lambda x: x.reshape(-1)
    return SUITE.case(f"gate-{'x'.join(map(str, shape))}-{len(attributes)}-{dynamic}", text, operands,
                      lambda log_alpha, noise: [x.reshape(shape) for x in ref.hard_concrete_gate(
                          flat(log_alpha), flat(noise), **attributes)], dynamic=dynamic)


CASES += [gate((500,)), gate((500,), beta=0.5, gamma=-0.3, zeta=1.5), gate((3, 4), dynamic="all"), gate(()), gate((0,))]

test_combine = SUITE.tests(CASES)
