"""The operators of sparseattn in NumPy float64: slow, plain, exact.

One function for each operator of the dialect, with the operator's attribute names as keyword arguments.
Everything here is independent of the compiler, so that the two can be compared. See README.md.
"""

from . import compositions
from .attention import attention, concat_kv_attention, sparse_attention
from .attributes import Bisect, BlockScore, Halley, SoftCap, Softmax, Sort, TopK
from .blocks import block_logits, block_softmax, chunk_summarize, pool_scores
from .cache import FullCache, KVCache, RingCache, kv_bridge, kv_share
from .combine import gated_combine, hard_concrete_gate, lse_merge, sigmoid
from .entmax import entmax, entmax_route
from .masks import index_to_mask, mask_to_index, pack_bits, union_tile, unpack_bits
from .patterns import Causal, CompleteBlocks, Full, HeadTable, PrefixLM, Window
from .rotary import rms_norm, rope
from .select import select_topk

__all__ = [
    "Bisect", "BlockScore", "Causal", "CompleteBlocks", "Full", "FullCache", "Halley", "HeadTable", "KVCache", "PrefixLM",
    "RingCache", "SoftCap", "Softmax", "Sort", "TopK", "Window", "attention", "block_logits", "block_softmax",
    "chunk_summarize", "compositions", "concat_kv_attention", "entmax", "entmax_route", "gated_combine",
    "hard_concrete_gate", "index_to_mask", "kv_bridge", "kv_share", "lse_merge", "mask_to_index", "pack_bits",
    "pool_scores", "rms_norm", "rope", "select_topk", "sigmoid", "sparse_attention", "union_tile", "unpack_bits",
]
