"""`sparseattn.jax.attention`: values, the composite's contract, and the recorded fixtures."""

import json
import re

import numpy as np
import pytest
from support import FIXTURES, attend, recording, visible

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

import sparseattn.jax as sj  # noqa: E402
from sparseattn.frontend.errors import FrontendError  # noqa: E402
from sparseattn.frontend.graph import CAUSAL, FULL, window  # noqa: E402
from sparseattn.frontend.jax_export import stablehlo_text  # noqa: E402


def arrays(n_q=13, n_k=13, heads=4, kv_heads=2, d=8, dv=8, batch=2, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    make = lambda *shape: jnp.asarray(rng.standard_normal(shape), dtype)
    return make(batch, n_q, heads, d), make(batch, n_k, kv_heads, d), make(batch, n_k, kv_heads, dv), make(heads).astype(jnp.float32)


def expected(q, k, v, keys, scale, **more):
    q, k, v = (np.asarray(x, np.float64).transpose(0, 2, 1, 3) for x in (q, k, v))
    return attend(q, k, v, visible(keys, q.shape[2], k.shape[2]), scale, **more).transpose(0, 2, 1, 3)


@pytest.mark.parametrize("options, keys, shape", [
    ({}, CAUSAL, {}), ({"causal": False}, FULL, {"n_q": 5, "n_k": 9}), ({"window": 1}, window(1), {"kv_heads": 1, "dv": 3}),
    ({"window": 5}, window(5), {"kv_heads": 4}), ({"window": 40}, window(40), {}), ({"window": 4}, window(4), {"n_q": 1}),
    ({}, CAUSAL, {"n_q": 9, "n_k": 5})])
def test_values(options, keys, shape):
    q, k, v, _ = arrays(**shape)
    out = jax.jit(lambda q, k, v: sj.attention(q, k, v, **options))(q, k, v)
    np.testing.assert_allclose(out, expected(q, k, v, keys, 8**-0.5), atol=2e-6)


@pytest.mark.parametrize("n_q, n_k", [(13, 13), (9, 5)])  # the latter has queries that see no key
def test_sink_softcap_scale(n_q, n_k):
    q, k, v, sink = arrays(n_q=n_q, n_k=n_k)
    out = jax.jit(lambda q, k, v, s: sj.attention(q, k, v, sink=s, softcap=2.0, scale=0.7, window=4))(q, k, v, sink)
    np.testing.assert_allclose(out, expected(q, k, v, window(4), 0.7, sink=np.asarray(sink, np.float64), softcap=2.0), atol=2e-6)


def test_low_precision_keeps_its_type():
    q, k, v, _ = arrays(dtype=jnp.bfloat16)
    out = sj.attention(q, k, v)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), expected(*(x.astype(jnp.float32) for x in (q, k, v)), CAUSAL, 8**-0.5), atol=0.02)


@pytest.mark.parametrize("change, message", [
    (lambda q, k, v, s: sj.attention(q[0], k, v), "rank 4"),
    (lambda q, k, v, s: sj.attention(q, k.astype(jnp.float16), v), "one floating-point dtype"),
    (lambda q, k, v, s: sj.attention(q[:1], k, v), "differ in batch or head dimension"),
    (lambda q, k, v, s: sj.attention(q, k, v[:, :5]), "differ in batch, tokens or heads"),
    (lambda q, k, v, s: sj.attention(q[:, :, :3], k, v), "3 query heads cannot be grouped"),
    (lambda q, k, v, s: sj.attention(q, k, v, window=0), "window >= 1"),
    (lambda q, k, v, s: sj.attention(q, k, v, window=3, causal=False), "with causal=True"),
    (lambda q, k, v, s: sj.attention(q, k, v, softcap=0.0), "softcap > 0"),
    (lambda q, k, v, s: sj.attention(q, k, v, sink=s[:2]), "sink of shape [Hq]"),
])
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        change(*arrays())


def composites(text):
    """(operand names, attributes, operand types) of every composite in generic text."""
    found = []
    for match in re.finditer(r'"stablehlo.composite"\((.*?)\) <\{composite_attributes = \{(.*?)\}, .*?name = "(.*?)", version = (\d+)'
                             r' : i32\}> : \((.*?)\) ->', text):
        assert match[3] == "sparseattn.attention" and match[4] == "1"
        attributes = dict(a.split(" = ") for a in match[2].split(", "))
        found.append((match[1].split(", "), attributes, re.findall(r"tensor<.*?>", match[5])))
    return found


def test_contract_of_the_composite():
    q, k, v, sink = arrays()
    fn = lambda s, q, k, v: sj.attention(q, k, v, sink=s, window=5, softcap=3.0, layer=2, scale=0.25)
    ((operands, attributes, types),) = composites(stablehlo_text(fn, sink, q, k, v))
    assert len(operands) == 4 and types[0] == "tensor<4xf32>" and types[1] == "tensor<2x13x4x8xf32>"
    assert attributes == {"layout": '"BTNH"', "causal": "true", "scale": "2.500000e-01 : f64", "window": "5 : i64",
                          "softcap": "3.000000e+00 : f64", "layer": "2 : i64", "sink": "true"}


def test_absent_attributes():
    q, k, v, _ = arrays()
    ((operands, attributes, _),) = composites(stablehlo_text(lambda q, k, v: sj.attention(q, k, v, causal=False), q, k, v))
    assert len(operands) == 3 and set(attributes) == {"layout", "causal", "scale"} and attributes["causal"] == "false"


def test_text_from_shapes_and_jitted_functions():
    q, k, v, _ = arrays()
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    fn = jax.jit(lambda q, k, v: sj.attention(q, k, v))
    text = stablehlo_text(fn, shape(q), shape(k), shape(v))
    assert len(composites(text)) == 1 and "loc(" not in text and text.startswith('"builtin.module"')


def test_functions_that_do_not_lower():
    with pytest.raises(FrontendError, match="JAX could not lower the function to StableHLO; found: TypeError"):
        stablehlo_text(lambda x: x + object(), jnp.zeros(3))


# Fixtures


def read_pattern(attributes):
    return window(int(attributes["window"].split()[0])) if "window" in attributes else CAUSAL if attributes["causal"] == "true" else FULL


@pytest.mark.parametrize("name, layers", [("jax_window", 1), ("jax_shared_kv", 2), ("jax_sinks", 1), ("jax_hoisted", 1)])
def test_recorded_outputs_follow_from_the_attributes(name, layers):
    """q, k, v last, sink before them; what the attributes say is what JAX computed."""
    meta, x = recording(name)
    found = composites((FIXTURES / f"{name}.mlir").read_text())
    assert len(found) == layers and all(a["layout"] == '"BTNH"' for _, a, _ in found)
    first_arg = 1 if name == "jax_sinks" else 0
    q, k, v = (x[f"in{first_arg + i}"] for i in range(3))
    for i, (operands, attributes, types) in enumerate(found):
        assert len(operands) == 3 + (name in ("jax_sinks", "jax_hoisted"))
        sink = x["in0"] if attributes.get("sink") == "true" else None
        scale = float(attributes["scale"].split()[0])
        bound = 0.02 if "bf16" in types[-1] else 1e-5
        np.testing.assert_allclose(expected(q, k, v, read_pattern(attributes), scale, sink=sink), x[f"out{i}"], atol=bound)
        q = x[f"out{i}"]


def test_shared_fixture_reads_one_key():
    first, second = composites((FIXTURES / "jax_shared_kv.mlir").read_text())
    assert first[0][1:] == second[0][1:] and first[0][0] != second[0][0]
    assert [json.loads(c[1]["layer"].split()[0]) for c in (first, second)] == [0, 1]


def test_fixture_without_layout():
    ((_, attributes, _),) = composites((FIXTURES / "jax_no_layout.mlir").read_text())
    assert "layout" not in attributes
