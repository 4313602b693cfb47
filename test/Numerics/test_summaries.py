"""chunk_summarize against the reference."""

from itertools import product

import numpy as np
from harness import Suite, normal, to_layout

from sparseattn import reference as ref

SUITE = Suite()
B, H, D = 2, 3, 24

# (keys, block, stride, complete_only): ends inside, at and one after a chunk; overlap; gaps; fewer keys than a chunk.
GRIDS = [(37, 16, 16, False), (37, 16, 16, True), (32, 16, 16, False), (33, 16, 16, False), (33, 16, 16, True),
         (50, 32, 16, False), (50, 32, 16, True), (29, 4, 9, False), (5, 16, 16, False), (5, 16, 16, True),
         (7, 1, 1, True), (0, 4, 4, False)]


def case(mode, grid, *, layout="bhsd", element="f32", operands=None, dynamic=False, **attributes):
    keys, block, stride, complete_only = grid
    arrays = dict(key=to_layout(normal(1, B, H, keys, D, element=element), layout), **(operands or {}))
    text = f"sparseattn.chunk_summarize $key block {block} stride {stride} mode({mode})"
    text += "".join(f" {name}(${name})" for name in arrays if name != "key")
    text += " complete_only" * complete_only
    text += "".join(f" {name} {value:e}" for name, value in attributes.items())
    text += f" layout({layout})"
    name = f"{mode}-{keys}-{block}-{stride}{'-complete' * complete_only}-{layout}-{element}{'-dynamic' * bool(dynamic)}"
    name += "".join(f"-{n}{x.ndim}" for n, x in (operands or {}).items())

    def reference(**arrays):
        return ref.chunk_summarize(**arrays, block=block, stride=stride, mode=mode, complete_only=complete_only,
                                   layout=layout, **attributes)

    return SUITE.case(name, text, arrays, reference, dynamic=dynamic)


def chunks(grid):
    keys, block, stride, complete_only = grid
    return max(0, (keys - block) // stride + 1) if complete_only else -(-keys // stride)


def query(grid, element, per_chunk):
    return dict(summary_query=normal(2, H, *[chunks(grid)] * per_chunk, D, element=element))


def gates(grid, element, layout, position):
    result = dict(gate=to_layout(normal(3, B, H, grid[0], D, element=element, scale=3.0), layout))
    return dict(result, position=normal(4, grid[1], D, element=element)) if position else result


def mlp(grid, element, position, hidden=21, out=D):
    weights = dict(weight_in=normal(5, grid[1] * D, hidden, element=element, scale=(grid[1] * D) ** -0.5),
                   weight_out=normal(6, hidden, out, element=element, scale=hidden ** -0.5))
    return dict(dict(position=normal(4, grid[1], D, element=element)) if position else {}, **weights)


OVERLAP, ODD = GRIDS[6], GRIDS[0]
CASES = [case(mode, grid) for mode in ("mean", "minmax") for grid in GRIDS]
CASES += [case("learned_query", grid, operands=query(grid, "f32", per_chunk))
          for grid, per_chunk in product(GRIDS, (False, True))]
CASES += [case("gated_softmax", grid, operands=gates(grid, "f32", "bhsd", position))
          for grid, position in product(GRIDS, (False, True))]
CASES += [case("mlp", grid, operands=mlp(grid, "f32", position))
          for grid, position in product([g for g in GRIDS if g[3]], (False, True))]
for element, layout, dynamic in [("f16", "bhsd", False), ("bf16", "bshd", False), ("f32", "bshd", False),
                                 ("bf16", "bhsd", True), ("f32", "bshd", "all")]:
    options = dict(layout=layout, element=element, dynamic=dynamic)
    CASES += [case("mean", ODD, **options), case("minmax", ODD, **options),
              case("learned_query", ODD, operands=query(ODD, element, True), **options),
              case("gated_softmax", ODD, operands=gates(ODD, element, layout, True), **options),
              case("mlp", OVERLAP, operands=mlp(OVERLAP, element, True), **options | dict(dynamic=bool(dynamic)))]
# A query of 0 is the mean (specification 4.1); large scales make one key win.
CASES.append(case("learned_query", ODD, operands=dict(summary_query=np.zeros((H, D), np.float32))))
CASES.append(case("learned_query", ODD, operands=query(ODD, "f32", False), scale=40.0))

test_summaries = SUITE.tests(CASES)
