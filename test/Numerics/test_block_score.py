"""Block scores of attention and the top-k of them, compiled, against the reference (specification §2.1)."""

import numpy as np
import pytest
from attention_ops import Attention
from compare import assert_matches, assert_selects
from dataclasses import replace
from sparseattn import reference as ref

KINDS = ["prob_max", "log_prob_max", "logit_max"]
GROUPS = ["none", "max", "sum", "mean"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", GROUPS)
def test_kinds_and_groups(kind, group):
    """Lengths that are no multiple of the block, one block, none; rows without keys."""
    op = Attention(heads=(6, 2), block_score=ref.BlockScore(8, kind, group))
    for nq, nk in [(21, 37), (1, 5), (9, 4), (16, 64), (3, 0)]:
        op.check(op.inputs(batch=2, nq=nq, nk=nk))


@pytest.mark.parametrize("block", [1, 7, 64, 100])
def test_blocks(block):
    op = Attention(heads=(4, 1), block_score=ref.BlockScore(block, "prob_max", "max"), sizes=(1, 3, 130))
    op.check(op.inputs())


@pytest.mark.parametrize("keys", [ref.Window(11), ref.Full(), ref.HeadTable((ref.Causal(), ref.Window(3)))], ids=str)
def test_invisible_blocks(keys):
    """Blocks outside the pattern score 0 or -inf, rows without keys everywhere; the sink joins the denominator."""
    for kind in ("prob_max", "log_prob_max"):
        op = Attention(keys=keys, takes=("sink", "valid_range"), block_score=ref.BlockScore(8, kind, "max"))
        ranges = [(0, 0) if i % 5 == 0 else (i // 2, i + 6) for i in range(33)]
        got, _ = op.check(op.inputs(nq=33, nk=40, valid_range=[ranges]))
        assert (got["score"][0, :, 5] == (0 if kind == "prob_max" else -np.inf)).all()


@pytest.mark.parametrize("group", ["none", "max"])
def test_range_begin(group):
    """Block j starts at the row's own begin + j * block, which may lie anywhere, also before key 0."""
    op = Attention(takes=("valid_range",), block_score=ref.BlockScore(8, "prob_max", group, "range_begin"))
    ranges = [(i // 3 - 4, i + 1) for i in range(45)]
    op.check(op.inputs(nq=45, nk=45, valid_range=[ranges]))


@pytest.mark.parametrize("origin", ["absolute", "range_begin"])
def test_packed(origin):
    op = Attention(layout="thd", block_score=ref.BlockScore(4, "log_prob_max", "sum", origin))
    op.check(op.inputs(cu_seqlens_q=[0, 9, 9, 20], cu_seqlens_k=[0, 11, 13, 40]))


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_types_score_in_f32(dtype):
    op = Attention(dtype=dtype, block_score=ref.BlockScore(8, "log_prob_max", "mean"), score_mod=ref.SoftCap(5.0))
    op.check(op.inputs(nq=9, nk=30, spread=4.0))


def test_group_maximum_comes_after_each_head_has_its_lse():
    """Heads of different sharpness: the maximum of raw logits would pick other blocks (specification §2.1)."""
    probability = Attention(heads=(4, 1), block_score=ref.BlockScore(8, "prob_max", "max"))
    inputs = probability.inputs(nq=40, nk=64)
    inputs["query"] *= np.array([1, 2, 3, 4], np.float32)[:, None, None]
    _, want = probability.check(inputs, absolute=1e-4)
    logit = replace(probability, block_score=ref.BlockScore(8, "logit_max", "max")).reference(inputs)
    best, best_logit = (np.sort(x["score"].argsort(-1)[..., -3:]) for x in (want, logit))
    assert (best != best_logit).any(-1).mean() > 0.5


SELECTIONS = [ref.TopK(3, 8), ref.TopK(20, 8), ref.TopK(4, 8, force_first=1, force_local=2),
              ref.TopK(2, 8, force_first=1, force_local=2, count_forced=False)]


def check_selection(op, inputs):
    """The selection up to near ties of the reference's own scores."""
    got, want = op.run(inputs), op.reference(inputs)
    score = replace(op, selection=None).reference(inputs)["score"]
    assert_matches("out", got["out"], want["out"])
    assert_selects("indices", got["indices"], want["indices"], score)


@pytest.mark.parametrize("select", SELECTIONS, ids=str)
def test_fused_selection(select):
    op = Attention(heads=(8, 2), block_score=ref.BlockScore(8, "log_prob_max", "max"), selection=select)
    for nq, nk in [(40, 40), (5, 90), (1, 3), (9, 4)]:
        check_selection(op, op.inputs(batch=2, nq=nq, nk=nk))


@pytest.mark.parametrize("group", ["none", "mean"])
def test_fused_selection_of_ranges(group):
    op = Attention(takes=("valid_range", "q_offset"), selection=ref.TopK(3, 8),
                   block_score=ref.BlockScore(8, "prob_max", group, "range_begin"))
    ranges = [(i // 3, i + 1) if i % 7 else (3, 3) for i in range(45)]
    check_selection(op, op.inputs(nq=45, nk=45, valid_range=[ranges], q_offset=0))


def test_fused_token_selection():
    """HySparse2: tokens outside a forced window."""
    op = Attention(heads=(4, 1), block_score=ref.BlockScore(1, "log_prob_max", "max"),
                   selection=ref.TopK(5, 1, force_local=6, count_forced=False))
    check_selection(op, op.inputs(nq=30, nk=50))
