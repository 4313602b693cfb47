"""The `.pt2` reader on hand-made programs: operators, data flow, in-place updates."""

import json

import pytest
from support import SDPA, attention_program, custom_program, node, program, tensor

from sparseattn.frontend import pt2
from sparseattn.frontend.emit import emit
from sparseattn.frontend.graph import FULL, Extern, window


def read(content):
    return pt2.from_json(json.dumps(content).encode())


def only_remark(content):
    """The reason for which the one attention of `content` is refused."""
    graph = read(content)
    assert not graph.attentions and len(graph.nodes) == 1 and isinstance(graph.nodes[0], Extern)
    remark, none = graph.remarks
    assert none.reason == "no attention was recognised" and remark.node == "attn" and remark.advice
    return remark.reason.removeprefix("attention left to the framework: ")


def test_custom_operator():
    (a,) = read(custom_program(window=5, layer=3, kv_source=1, softcap=30.0)).attentions
    assert (a.keys, a.scale, a.softcap, a.layer, a.kv_source, a.sink) == (window(5), 0.25, 30.0, 3, 1, None)


def test_unknown_layer_is_left_out():
    (a,) = read(custom_program(layer=-1, kv_source=-1)).attentions
    assert a.layer is None and a.kv_source is None
    assert "layer" not in emit(read(custom_program(layer=-1, kv_source=-1))).split("fx =")[1]


def test_sink():
    graph = read(custom_program(sink="s", extra=[("s", tensor(4))]))
    assert graph.attentions[0].sink.name == "s" and "sink(%s)" in emit(graph)


def test_integer_scale_and_not_causal():
    (a,) = read(custom_program(scale=1, causal=False)).attentions
    assert a.scale == 1.0 and a.keys == FULL


@pytest.mark.parametrize("changes, reason", [
    ({"sink": "s", "extra": [("s", tensor(5))]}, "expected a sink of type tensor<4xf32>, found tensor<5xf32>"),
    ({"sink": "s", "extra": [("s", tensor(4, dtype=13))]}, "expected a sink of type tensor<4xf32>, found tensor<4xbf16>"),
    ({"window": 0}, "expected window of at least 1 key, found 0"),
    ({"window": 4, "causal": False}, "a window of 4 keys without causality"),
    ({"window": 2.5}, "argument 'window' is 2.5, expected a constant integer"),
    ({"causal": None}, "argument 'causal' is None, expected true or false"),
    ({"scale": {"as_string": "x"}}, "argument 'scale' is 'x', expected a constant number"),
    ({"softcap": -1.0}, "expected a positive finite softcap, found -1.0"),
    ({"layer": 2, "kv_source": 3}, "layer 2 cannot take K and V from layer 3: the producer comes first"),
    ({"layer": -7}, "layer -7 cannot take K and V from layer 0: the producer comes first"),
    ({"dtype": 8}, "expected one element type of f16, bf16, f32 for q, k and v, found f64, f64, f64"),
    ({"shapes": ((1, 4, 8, 16), (1, 3, 8, 16), (1, 3, 8, 16))}, "the 4 query heads cannot be grouped over 3 key/value heads"),
    ({"shapes": ((1, 4, 8, 16), (2, 2, 8, 16), (1, 2, 8, 16))}, "q, k and v have batch sizes 1, 2, 1"),
    ({"shapes": ((1, 4, 8, 16), (1, 2, 8, 32), (1, 2, 8, 16))}, "q has head dimension 16, k has 32"),
    ({"shapes": ((1, 4, 8, 16), (1, 2, 8, 16), (1, 2, 9, 16))}, "differ in heads or tokens"),
    ({"shapes": ((1, 4, 8, "d"), (1, 2, 8, "d"), (1, 2, 8, 16))}, "expected a static number of head dimension"),
    ({"shapes": ((1, 4, 8, 2048), (1, 2, 8, 2048), (1, 2, 8, 16))}, "expected head dimensions up to 1024, found 2048"),
    ({"shapes": ((4, 8, 16), (2, 8, 16), (2, 8, 16))}, "expected q, k and v of rank 4"),
])
def test_refusals_of_the_custom_operator(changes, reason):
    assert reason in only_remark(custom_program(**changes))


@pytest.mark.parametrize("changes, reason", [
    ({"attn_mask": "m", "extra": [("m", tensor(8, 8))]}, "mask tensor"),
    ({"dropout_p": 0.1}, "dropout_p is 0.1"),
    ({"is_causal": True, "shapes": ((1, 2, 1, 16), (1, 2, 8, 16), (1, 2, 8, 16))}, "is_causal with 1 queries and 8 keys"),
    ({"is_causal": True, "shapes": ((1, 2, "n", 16), (1, 2, "m", 16), (1, 2, "m", 16))}, "is_causal with n queries and m keys"),
    ({"shapes": ((1, 4, 8, 16),) + ((1, 2, 8, 16),) * 2}, "4 query and 2 key/value heads without enable_gqa"),
    ({"shapes": ((4, 8, 16),) * 3}, "expected q, k and v of rank 4"),
    ({"shapes": ((1, 2, 8, "d"),) * 3}, "the default scale needs a static head dimension"),
])
def test_refusals_of_sdpa(changes, reason):
    assert reason in only_remark(attention_program(SDPA, **changes))


def test_sdpa_with_one_symbolic_length():
    shapes = ((1, 2, "n", 16),) * 3
    graph = read(attention_program(SDPA, shapes=shapes, is_causal=True))
    assert len(graph.attentions) == 1 and "tensor<1x2x?x16xf32>" in emit(graph)


@pytest.mark.parametrize("target, reason", [
    ("torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default", "a decomposed attention operator"),
    ("torch.ops.higher_order.flex_attention", "flex_attention"),
])
def test_other_attention_operators_are_named(target, reason):
    content = program({"q": tensor(2), "o": tensor(2)}, ["q"], [node(target, ["o"], "attn", query="q")], ["o"])
    assert reason in only_remark(content)


def test_attention_inside_a_branch_is_named():
    inner = {"nodes": [node(SDPA, ["x"], query="a", key="a", value="a")]}
    branch = {"as_graph": {"name": "true_graph_0", "graph": inner}}
    content = program({"q": tensor(2), "o": tensor(2)}, ["q"],
                      [node("torch.ops.higher_order.cond", ["o"], "cond_1", pred="q", true_fn=branch)], ["o"])
    assert any("inside a branch or loop" in r.reason and r.node == "cond_1" for r in read(content).remarks)


# Data flow


def flow(nodes, names="abcdefgh", outputs=("z",), buffers=()):
    """Graph of `nodes` on inputs x, y, with every name a tensor<4xf32>."""
    tensors = {n: tensor(4) for n in "xyz" + names}
    return read(program(tensors, ["x", "y"], nodes, list(outputs), buffers))


def edges(graph):
    """Printable form: result names <- target(operand names)."""
    return [f"{','.join(r.name for r in n.results)}<-{n.target.split('.')[1]}({','.join(o.name for o in n.operands)})"
            for n in graph.nodes]


def test_an_update_of_a_view_renews_the_base():
    graph = flow([node("torch.ops.aten.add.Tensor", ["a"], self="x", other="y"),
                  node("torch.ops.aten.select.int", ["b"], self="a", dim=0),
                  node("torch.ops.aten.copy_.default", ["c"], self="b", src="y"),
                  node("torch.ops.aten.mul.Tensor", ["z"], self="a", other="b")])
    assert edges(graph) == ["a<-add(x,y)", "b<-select(a)", "c,a<-copy_(b,y,a)", "z<-mul(a,c)"]
    add, _, copy, mul = graph.nodes
    assert mul.operands[0] is copy.results[1] and mul.operands[0] is not add.results[0]
    assert mul.operands[1] is copy.results[0]


def test_an_update_of_the_base_renews_its_views():
    graph = flow([node("torch.ops.aten.add.Tensor", ["a"], self="x", other="y"),
                  node("torch.ops.aten.view.default", ["b"], self="a"),
                  node("torch.ops.aten.mul_.Tensor", ["c"], self="a", other="y"),
                  node("torch.ops.aten.neg.default", ["z"], self="b")])
    assert edges(graph)[2:] == ["c,b<-mul_(a,y,b)", "z<-neg(b)"]
    assert graph.nodes[3].operands[0] is graph.nodes[2].results[1]


def test_dead_views_are_not_renewed():
    graph = flow([node("torch.ops.aten.add.Tensor", ["a"], self="x", other="y"),
                  node("torch.ops.aten.view.default", ["b"], self="a"),
                  node("torch.ops.aten.mul_.Tensor", ["c"], self="a", other="y"),
                  node("torch.ops.aten.neg.default", ["z"], self="c")])
    assert edges(graph)[2:] == ["c<-mul_(a,y)", "z<-neg(c)"]


def test_copies_are_not_renewed():
    graph = flow([node("torch.ops.aten.clone.default", ["a"], self="x"),
                  node("torch.ops.aten.mul_.Tensor", ["b"], self="a", other="y"),
                  node("torch.ops.aten.neg.default", ["z"], self="x")])
    assert edges(graph) == ["a<-clone(x)", "b<-mul_(a,y)", "z<-neg(x)"]
    assert [p.name for p in graph.outputs] == ["z"]


def test_an_updated_input_leaves_the_function():
    graph = flow([node("torch.ops.aten.view.default", ["a"], self="y"),
                  node("torch.ops.aten.add_.Tensor", ["b"], self="a", other="x"),
                  node("torch.ops.aten.neg.default", ["z"], self="x")], buffers=("y",))
    assert [(p.name, p.role) for p in graph.outputs] == [("z", "output"), ("y", "buffer")]
    assert graph.outputs[1].value is graph.nodes[1].results[1]


def test_assertions_carry_no_data():
    graph = flow([node("torch.ops.aten._assert_tensor_metadata.default", [], a="x"),
                  node("torch.ops.aten.neg.default", ["z"], self="x")])
    assert edges(graph) == ["z<-neg(x)"]


def test_optional_and_listed_tensors_are_operands():
    some = {"as_optional_tensors": [{"as_none": True}, {"as_tensor": {"name": "y"}}]}
    several = {"as_tensors": [{"name": "x"}, {"name": "y"}]}
    one = {"as_optional_tensor": {"as_tensor": {"name": "y"}}}
    graph = flow([node("torch.ops.aten.index_put.default", ["a"], self="x", indices=some),
                  node("torch.ops.aten.cat.default", ["b"], tensors=several),
                  node("torch.ops.my.op.default", ["z"], a="a", b="b", c=one)])
    assert edges(graph) == ["a<-index_put(x,y)", "b<-cat(x,y)", "z<-op(a,b,y)"]


def test_symbolic_numbers_are_values():
    size = {"as_sym_int": {"as_name": "n"}}
    graph = flow([node("torch.ops.aten.sym_size.int", [size], self="x", dim=0),
                  node("torch.ops.aten.view.default", ["z"], self="y",
                       size={"as_sym_ints": [{"as_int": 2}, {"as_name": "n"}]})])
    assert edges(graph) == ["n<-sym_size(x)", "z<-view(y,n)"]
    assert graph.nodes[0].results[0].type == "index"
    assert "(tensor<4xf32>, index) -> (tensor<4xf32>)" in emit(graph)


def test_names_are_made_readable_and_unique():
    tensors = {n: tensor(4) for n in ("x", "0", "a b", "é", "v")}
    graph = read(program(tensors, ["x"], [node("torch.ops.aten.neg.default", [n], n, self="x") for n in ("0", "a b", "é", "v")],
                         ["0", "a b", "é", "v"]))
    text = emit(graph)
    assert "return %v, %v_1, %v_2, %v_3" in text
    assert '{fx = "\\C3\\A9"}' in text
