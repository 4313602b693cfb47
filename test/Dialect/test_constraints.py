"""Every numbered constraint of the .td files has a negative test, and every negative test a constraint.

A constraint `(C3)` of operation `kv_cache.read` is tested by a function whose name begins with
`kv_cache_read_c3` and which expects an error with that number; `(A3)` of an attribute, `(E3)` of an
encoding and `(T3)` of a type by a declaration that begins with `a3`, `e3` or `t3`. Keys of the tables
are `<dialect>/<name>`.
"""

import pathlib
import re

import pytest

HERE = pathlib.Path(__file__).resolve().parent
DIALECTS = ["SparseAttn", "SparseAttnNV"]
DEFINITIONS = HERE.parents[1] / "include/sparseattn/Dialect"

DEFINITION = re.compile(r"^def SparseAttn(?:NV)?_\w+ ?:(.*?)^}", re.MULTILINE | re.DOTALL)
OP_MNEMONIC = re.compile(r'SparseAttn(?:NV)?_\w*Op<"([\w.]+)"')
NUMBER = re.compile(r"\(([ACET]\d+)\)")


def declared_constraints():
    """Test-name prefix -> number, from the descriptions."""
    constraints = {}
    for path in sorted(path for dialect in DIALECTS for path in (DEFINITIONS / dialect / "IR").glob("*.td")):
        for definition in DEFINITION.findall(path.read_text()):
            mnemonic = OP_MNEMONIC.search(definition)
            for number in NUMBER.findall(definition):
                prefix = number.lower()
                if mnemonic:
                    prefix = f"{mnemonic.group(1).replace('.', '_')}_{prefix}"
                constraints[f"{path.parents[1].name}/{prefix}"] = number
    return constraints


def negative_tests():
    """Test-name prefix -> numbers that the functions of that name expect."""
    tests = {}
    for path in sorted(path for dialect in DIALECTS for path in (HERE / dialect).glob("invalid-*.mlir")):
        for chunk in path.read_text().split("// -----"):
            name = re.search(r"func\.func (?:private )?@(\w+)", chunk)
            assert name, f"{path.name}: a chunk without a function: {chunk!r}"
            prefix = re.match(r"(\w*?[acet]\d+)(?:_[a-z]\w*)?$", name.group(1))
            assert prefix, f"{path.name}: @{name.group(1)} names no constraint"
            expected = re.findall(r"expected-error@?[+-]?\d* *\{\{\(([ACET]\d+)\)", chunk)
            tests.setdefault(f"{path.parent.name}/{prefix.group(1)}", []).extend(expected)
    return tests


DECLARED = declared_constraints()
TESTED = negative_tests()


def test_descriptions_were_found():
    for name in ("SparseAttn/attention_c5", "SparseAttn/a1", "SparseAttn/t1", "SparseAttnNV/dot_c5", "SparseAttnNV/e1"):
        assert name in DECLARED
    assert len(DECLARED) > 100


@pytest.mark.parametrize("prefix", sorted(DECLARED))
def test_constraint_has_a_negative_test(prefix):
    assert prefix in TESTED, "write a function @{1} in test/Dialect/{0}/invalid-*.mlir".format(*prefix.split("/"))


@pytest.mark.parametrize("prefix", sorted(TESTED))
def test_negative_test_expects_its_constraint(prefix):
    assert prefix in DECLARED, f"@{prefix} tests a constraint that no description states"
    assert TESTED[prefix] and set(TESTED[prefix]) == {DECLARED[prefix]}, f"@{prefix} expects {TESTED[prefix]}"
