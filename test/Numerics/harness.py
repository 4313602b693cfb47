"""Runs operators through the compiler and compares them with the reference.

A test file collects its cases in one ``Suite``, so that the file costs one compilation:

    SUITE = Suite()
    CASES = [SUITE.case("mean", "sparseattn.chunk_summarize $key block 4", dict(key=keys),
                        lambda key: ref.chunk_summarize(key, block=4))]
    test_summaries = SUITE.tests(CASES)

``$name`` in the text stands for an operand; the operands are given in the operator's own order and the types are
added here: those of the operands from the arrays, those of the results from what the reference returns. The
reference sees the arrays as they are after rounding to their element type.

``Suite.kernel`` gives a function, for instance with dynamic sizes, that is then called with many arrays (hypothesis).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pytest
from compare import DTYPES, ELEMENT_TYPES, assert_matches
from hypothesis import settings

from sparseattn.compiler import Module, compile_cpu

FUZZ = settings(max_examples=150)


def array(values, element="f32"):
    """``values`` in the element type named ``element``."""
    return np.array(values, order="C").astype(DTYPES[element])


def normal(seed, *shape, element="f32", scale=1.0):
    """Gaussian array that depends on ``seed`` alone."""
    return array(np.random.default_rng(seed).normal(scale=scale, size=shape), element)


def to_layout(x, layout):
    """[B,H,N,d] (or [B,H,N]) in the order of ``layout``."""
    return np.ascontiguousarray(x.swapaxes(1, 2)) if layout == "bshd" else x


def type_asm(shape, element):
    return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"


def type_of(value, dynamic=False):
    """MLIR type of an operand. ``dynamic``: False, True (all dimensions but the last) or "all"."""
    if isinstance(value, (int, np.integer)):
        return "index"
    return type_asm(sizes_of(value, dynamic), ELEMENT_TYPES[value.dtype])


def sizes_of(value, dynamic):
    if not dynamic:
        return value.shape
    kept = value.shape[-1:] if dynamic is True else ()
    return ("?",) * (value.ndim - len(kept)) + kept


def as_tuple(x):
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


@dataclass
class Kernel:
    """A compiled function with the operator of ``text`` as its body."""

    suite: Suite
    symbol: str

    def __call__(self, *operands):
        return as_tuple(self.suite.module()(self.symbol)(*operands))


@dataclass
class Case:
    """One call, with what the reference says about it."""

    kernel: Kernel
    name: str
    operands: dict
    expected: tuple
    check: object

    def run(self):
        found = self.kernel(*self.operands.values())
        assert len(found) == len(self.expected)
        if self.check is not None:
            self.check(found, self.expected)
            return
        for n, (f, e) in enumerate(zip(found, self.expected)):
            assert_matches(f"{self.name}, result {n}", f, e)


@dataclass
class Suite:
    """Functions compiled together on first use.

    The default does not optimise, which makes many cases cheap; what is called with many arrays is worth level 3.
    """

    opt_level: int = 0
    functions: dict = field(default_factory=dict)
    compiled: Module | None = None

    def kernel(self, text, operand_types, result_types):
        """The function whose body is ``text``; ``operand_types`` maps the names in it to MLIR types."""
        names = {name: f"%{name}" for name in operand_types}
        body = re.sub(r"\$(\w+)", lambda m: names[m[1]], text)
        arguments = ", ".join(f"{names[n]}: {t}" for n, t in operand_types.items())
        results = [f"%r{n}" for n in range(len(result_types))]
        types = ", ".join(result_types)
        signature = f"({', '.join(operand_types.values())}) -> ({types})"
        source = f"({arguments}) -> ({types}) {{\n  {', '.join(results)} = {body} : {signature}\n" \
                 f"  return {', '.join(results)} : {types}\n}}\n"
        return self.function(source)

    def function(self, source):
        """A function given as ``(arguments) -> (types) { body }``."""
        if source not in self.functions:
            assert self.compiled is None, "declare every function before the first one runs"
            self.functions[source] = f"f{len(self.functions)}"
        return Kernel(self, self.functions[source])

    def case(self, name, text, operands, reference, *, element=None, dynamic=False, check=None):
        """A call of the operator in ``text``.

        ``reference(**operands)`` gives the expected results; float results get the element type ``element``, one
        name for all or one for each result (default: that of the first float operand). ``dynamic``: see
        ``type_of``. ``check(found, expected)`` replaces the comparison.
        """
        expected = tuple(map(np.asarray, as_tuple(reference(**operands))))
        if element is None:
            element = next(ELEMENT_TYPES[x.dtype] for x in operands.values()
                           if isinstance(x, np.ndarray) and x.dtype != np.int32)
        elements = (element,) * len(expected) if isinstance(element, str) else element
        kernel = self.kernel(text, {n: type_of(x, dynamic) for n, x in operands.items()},
                             [type_asm(sizes_of(e, dynamic), "i32" if np.issubdtype(e.dtype, np.integer) else t)
                              for e, t in zip(expected, elements, strict=True)])
        return Case(kernel, name, operands, expected, check)

    def module(self):
        if self.compiled is None:
            text = "".join(f"func.func @{symbol}{source}" for source, symbol in self.functions.items())
            self.compiled = compile_cpu(text, opt_level=self.opt_level)
        return self.compiled

    @staticmethod
    def tests(cases):
        """A pytest function over ``cases``."""

        @pytest.mark.parametrize("case", cases, ids=lambda case: case.name)
        def test(case):
            case.run()

        return test
