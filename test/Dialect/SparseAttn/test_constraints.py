"""Every numbered constraint of the .td files has a negative test, and every negative test a constraint.

A constraint `(C3)` of operation `kv_cache.read` is tested by a function whose name begins with
`kv_cache_read_c3` and which expects an error with that number; `(A3)` of an attribute and `(T3)` of a
type by a declaration that begins with `a3` or `t3`.
"""

import pathlib
import re

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TD_DIR = HERE.parents[2] / "include/sparseattn/Dialect/SparseAttn/IR"

DEFINITION = re.compile(r"^def SparseAttn_\w+ ?:(.*?)^}", re.MULTILINE | re.DOTALL)
OP_MNEMONIC = re.compile(r'SparseAttn_\w*Op<"([\w.]+)"')
NUMBER = re.compile(r"\(([ACT]\d+)\)")


def declared_constraints():
    """Test-name prefix -> number, from the descriptions."""
    constraints = {}
    for path in sorted(TD_DIR.glob("*.td")):
        for definition in DEFINITION.findall(path.read_text()):
            mnemonic = OP_MNEMONIC.search(definition)
            for number in NUMBER.findall(definition):
                prefix = number.lower()
                if mnemonic:
                    prefix = f"{mnemonic.group(1).replace('.', '_')}_{prefix}"
                constraints[prefix] = number
    return constraints


def negative_tests():
    """Test-name prefix -> numbers that the functions of that name expect."""
    tests = {}
    for path in sorted(HERE.glob("invalid-*.mlir")):
        for chunk in path.read_text().split("// -----"):
            name = re.search(r"func\.func (?:private )?@(\w+)", chunk)
            assert name, f"{path.name}: a chunk without a function: {chunk!r}"
            prefix = re.match(r"(\w*?[act]\d+)(?:_[a-z]\w*)?$", name.group(1))
            assert prefix, f"{path.name}: @{name.group(1)} names no constraint"
            expected = re.findall(r"expected-error@?[+-]?\d* *\{\{\(([ACT]\d+)\)", chunk)
            tests.setdefault(prefix.group(1), []).extend(expected)
    return tests


DECLARED = declared_constraints()
TESTED = negative_tests()


def test_descriptions_were_found():
    assert "attention_c5" in DECLARED and "a1" in DECLARED and "t1" in DECLARED
    assert len(DECLARED) > 100


@pytest.mark.parametrize("prefix", sorted(DECLARED))
def test_constraint_has_a_negative_test(prefix):
    assert prefix in TESTED, f"write a function @{prefix} in test/Dialect/SparseAttn/invalid-*.mlir"


@pytest.mark.parametrize("prefix", sorted(TESTED))
def test_negative_test_expects_its_constraint(prefix):
    assert prefix in DECLARED, f"@{prefix} tests a constraint that no description states"
    assert TESTED[prefix] and set(TESTED[prefix]) == {DECLARED[prefix]}, f"@{prefix} expects {TESTED[prefix]}"
