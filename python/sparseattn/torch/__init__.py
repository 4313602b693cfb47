"""PyTorch side of sparseattn.

`attention` computes: compiled attention as an operator, on a Hopper GPU or the CPU;
`prepare` compiles its kernels ahead. `export_op`, `huggingface` and `capture` are for
export: the operator that attention becomes in an exported model.

Importing this package imports torch. The importers of `sparseattn.frontend` do not
need it: they read what torch wrote.
"""

from .fused_attention import attention, prepare

__all__ = ["attention", "prepare"]
