"""Names and texts of attention functions; needs no torch."""

import itertools
import re

import pytest

from sparseattn.attention_spec import AttentionSpec
from sparseattn.compiler import run_pipeline

CHOICES = {
    "keys": ["full", "causal", "window<128>", "prefix_lm<1>", ("causal", "window<12>"), ("window<1>", "window<2>") * 64],
    "dtype": ["bf16", "f16", "f32"],
    "value_dim": [None, 64],
    "layout": ["bhsd", "bshd"],
    "scale": [None, 0.1, 1e-5, -1.0, 1.0],
    "softcap": [None, 30.0, 2.5],
    "sink": [False, True],
    "lse": [False, True],
    "blocks": [None, (128, 64)],
    "documents": [False, True],
}
PACKED = [AttentionSpec(keys, layout="thd", lse=lse) for keys in ("causal", "window<12>") for lse in (False, True)]
SPECS = [AttentionSpec(**dict(zip(CHOICES, values))) for values in itertools.product(*CHOICES.values())]


def test_names_are_distinct_identifiers():
    names = {spec.name for spec in SPECS + PACKED}
    assert len(names) == len(SPECS + PACKED)
    assert all(re.fullmatch(r"[A-Za-z_]\w{0,99}", name, re.A) for name in names)
    assert AttentionSpec("causal", "f16", 64, scale=0.5, sink=True).name == "d64_causal_sink_scale0p5_f16"


@pytest.mark.parametrize("spec", SPECS[::97] + PACKED, ids=lambda spec: spec.name)
def test_text_is_valid(spec):
    text = run_pipeline(spec.text())
    assert f"@{spec.name}(" in text
    assert text.count("->") >= 1 and ("sparse_attention" in text) == (spec.blocks is not None)


def test_text_says_it_all():
    spec = AttentionSpec(("causal", "window<3>"), "f16", 64, 128, "bshd", 1e-5, 2.5, True, True)
    assert spec.text() == """func.func @d64_v128_table_1xcausal_1xwindow3_sink_softcap2p5_lse_scale1em05_f16_bshd(%query: tensor<?x?x?x64xf16>, %key: tensor<?x?x?x64xf16>, %value: tensor<?x?x?x128xf16>, %sink: tensor<?xf32>) -> (tensor<?x?x?x128xf16>, tensor<?x?x?xf32>) {
  %out, %lse = sparseattn.attention %query, %key, %value keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<3>]>) scale 1.0e-05 score(#sparseattn.softcap<2.5>) sink(%sink) return_lse layout(bshd)
    : (tensor<?x?x?x64xf16>, tensor<?x?x?x64xf16>, tensor<?x?x?x128xf16>, tensor<?xf32>) -> (tensor<?x?x?x128xf16>, tensor<?x?x?xf32>)
  return %out, %lse : tensor<?x?x?x128xf16>, tensor<?x?x?xf32>
}
"""
