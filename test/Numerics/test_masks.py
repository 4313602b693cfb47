"""mask_to_index, index_to_mask and union_tile against the reference."""

from itertools import product

import numpy as np
from harness import FUZZ, Suite, array
from hypothesis import given
from hypothesis import strategies as st

from sparseattn import reference as ref

SUITE = Suite()
OPTIMISED = Suite(opt_level=3)


def words(seed, *shape):
    """Random words, among them empty, full and sign-bit ones."""
    rng = np.random.default_rng(seed)
    full = rng.integers(-2 ** 31, 2 ** 31, size=shape)
    return array(np.where(rng.random(shape) < 0.4, rng.choice([0, -1, -2 ** 31, 1], size=shape), full), "i32")


def lists(seed, *shape, blocks=40, holes=0.3):
    """Rows of indices in any order, with -1 anywhere and indices past the last block."""
    rng = np.random.default_rng(seed)
    return array(np.where(rng.random(shape) < holes, -1, rng.integers(0, blocks + 3, size=shape)), "i32")


def mask_to_index(mask, cap, dynamic=False):
    return SUITE.case(f"to-index-{'x'.join(map(str, mask.shape))}-{cap}-{dynamic}", f"sparseattn.mask_to_index $mask cap {cap}",
                      dict(mask=mask), lambda mask: ref.mask_to_index(mask, cap=cap), element="f32", dynamic=dynamic)


def index_to_mask(indices, num_blocks, dynamic=False):
    return SUITE.case(f"to-mask-{'x'.join(map(str, indices.shape))}-{num_blocks}-{dynamic}",
                      f"sparseattn.index_to_mask $indices num_blocks {num_blocks}", dict(indices=indices),
                      lambda indices: ref.index_to_mask(indices, num_blocks=num_blocks), element="f32", dynamic=dynamic)


def union_tile(indices, tile, cap=None, dynamic=False):
    return SUITE.case(f"union-{'x'.join(map(str, indices.shape))}-{tile}-{cap}-{dynamic}",
                      f"sparseattn.union_tile $indices tile {tile}" + (f" cap {cap}" if cap else ""),
                      dict(indices=indices), lambda indices: ref.union_tile(indices, tile=tile, cap=cap),
                      element="f32", dynamic=dynamic)


CASES = [mask_to_index(words(1, *shape), cap) for shape, cap in
         product([(2, 3, 5, 2), (4, 1), (3,), (2, 0), (0, 2)], (1, 7, 64, 100))]
CASES += [index_to_mask(lists(2, *shape, blocks=n), n) for shape, n in
          product([(2, 3, 5, 6), (4, 1), (9,), (3, 0), (0, 4)], (1, 31, 32, 33, 70))]
CASES += [union_tile(lists(3, 2, 2, queries, 4), tile, cap) for queries, tile, cap in
          product((1, 8, 13), (1, 4, 16), (None, 3, 33))]
CASES += [union_tile(lists(4, 1, 2, 6, 3, blocks=2), 4), union_tile(lists(4, 1, 1, 6, 3, holes=1.0), 4),
          union_tile(lists(4, 1, 1, 0, 3), 4), union_tile(lists(4, 1, 1, 5, 0), 2, 1),
          mask_to_index(words(5, 2, 3, 2), 9, dynamic="all"), index_to_mask(lists(6, 2, 3, 5), 40, dynamic="all"),
          union_tile(lists(7, 1, 2, 9, 3), 4, 9, dynamic="all"), union_tile(lists(7, 1, 2, 9, 3), 4, dynamic=True)]

test_masks = SUITE.tests(CASES)

TO_MASK = OPTIMISED.kernel("sparseattn.index_to_mask $i num_blocks 70", {"i": "tensor<?x?xi32>"}, ["tensor<?x3xi32>"])
TO_INDEX = OPTIMISED.kernel("sparseattn.mask_to_index $m cap 96", {"m": "tensor<?x?xi32>"}, ["tensor<?x96xi32>", "tensor<?xi32>"])
UNION = OPTIMISED.kernel("sparseattn.union_tile $i tile 3 cap 40", {"i": "tensor<?x?x?x?xi32>"},
                     ["tensor<?x?x?x?xi32>", "tensor<?x?x?x?xi32>"])


@FUZZ
@given(st.sets(st.integers(0, 69)), st.randoms(use_true_random=False))
def test_round_trip(blocks, random):
    shuffled = list(blocks)
    random.shuffle(shuffled)
    (mask,) = TO_MASK(array([shuffled], "i32").reshape(1, -1))
    indices, count = TO_INDEX(mask)
    assert count == len(blocks)
    assert indices[0, :len(blocks)].tolist() == sorted(blocks) and (indices[0, len(blocks):] == -1).all()


@FUZZ
@given(st.integers(0, 8), st.integers(0, 5), st.data())
def test_union_of_any_lists(queries, width, data):
    entry = st.one_of(st.integers(-1, 6), st.integers(-2 ** 31, 2 ** 31 - 1))
    lists = data.draw(st.lists(entry, min_size=queries * width, max_size=queries * width))
    indices = array(lists, "i32").reshape(1, 1, queries, width)
    for found, expected in zip(UNION(indices), ref.union_tile(indices, tile=3, cap=40)):
        np.testing.assert_array_equal(found, expected)
