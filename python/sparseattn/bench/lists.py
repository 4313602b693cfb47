"""Lists of key blocks as a benchmark wants them, and the same as a block mask of FlexAttention."""

from __future__ import annotations

import torch

from .cases import LIST_QUERIES, listed_blocks


def diagonal_lists(case, device) -> torch.Tensor:
    """i32 [B, list heads, tiles, K] for a causal case with Nq = Nk: for each tile of queries the blocks with its own
    positions and random earlier ones, as many as `listed_blocks` says, ascending, then -1."""
    blocks, tiles = -(-case.length // case.block), -(-case.length // LIST_QUERIES)
    counts = torch.tensor([listed_blocks(case, tile) for tile in range(tiles)], device=device)
    first, seen, count = counts.unbind(1)
    column = torch.arange(blocks, device=device)
    order = torch.rand(case.batch, case.list_heads, tiles, blocks, device=device)
    order.masked_fill_(column >= first[:, None], -1.0).masked_fill_(column >= seen[:, None], 2.0)
    width = int(count.max())
    chosen = order.argsort(-1)[..., :width]
    chosen = chosen.masked_fill(torch.arange(width, device=device) >= count[:, None], blocks).sort(-1).values
    return chosen.masked_fill(chosen == blocks, -1).int().contiguous()


def flex_block_mask(case, selection, device):
    """The BlockMask, in blocks of 128 x 128, of a causal, window or full case with Nq = Nk, and of its lists.

    Blocks that no mask touches are given as full ones, as create_block_mask would find them; at 64k tokens it would
    need the whole mask in memory for that. Raises ValueError for other cases.
    """
    from torch.nn.attention.flex_attention import BlockMask

    size = LIST_QUERIES
    if case.keys or case.mask not in ("full", "causal", "window") or (selection is not None and case.block != size):
        raise ValueError(f"expected as many keys as queries, a full, causal or window mask and blocks of {size}, found {case.name}")
    tiles = -(-case.length // size)
    tile, column = torch.arange(tiles, device=device)[:, None], torch.arange(tiles, device=device)[None, :]
    far = case.length if case.mask != "window" else case.window
    behind = (tile - column) * size
    # Distances p - j of a block lie in [behind - size + 1, behind + size - 1].
    seen = behind - size + 1 < far
    whole = behind + size - 1 < far
    if case.mask != "full":
        seen = seen & (column <= tile)
        whole = whole & (column < tile)
    # The last block may be cut; a full one is not looked at again.
    whole = whole & ((column + 1) * size <= case.length)
    seen, whole = seen[None, None], whole[None, None]
    if selection is not None:
        named = torch.zeros(*selection.shape[:3], tiles + 1, dtype=torch.bool, device=device)
        named.scatter_(3, torch.where(selection >= 0, selection, tiles).long(), True)
        if selection.shape[1] not in (1, case.heads):
            named = named.repeat_interleave(case.heads // selection.shape[1], 1)
        seen, whole = seen & named[..., :tiles], whole & named[..., :tiles]

    def indices(mask):
        return mask.sum(-1, dtype=torch.int32), mask.int().argsort(dim=-1, descending=True, stable=True).int()

    def visible(batch, head, i, j):
        if case.mask == "full":
            return j >= 0
        return (j <= i) & (i - j < far)

    return BlockMask.from_kv_blocks(*indices(seen & ~whole), *indices(whole), BLOCK_SIZE=size, mask_mod=visible,
                                    seq_lengths=(case.length, case.length))
