"""Storage of the values of a PyTorch graph: who is a view of whom.

Exported programs of the training dialect update tensors in place. MLIR values
are immutable, so an update makes a new version of every live value that shares
the storage.
"""

VIEWS = frozenset(
    "alias as_strided chunk contiguous detach diagonal expand expand_as flatten movedim narrow permute real reshape select "
    "slice split split_with_sizes squeeze swapaxes swapdims t to transpose type_as unbind unflatten unfold unsafe_chunk "
    "unsafe_split unsqueeze view view_as _unsafe_view view_as_real view_as_complex".split())
"""ATen operators whose results may share the storage of their first operand."""

NO_CHANGE = frozenset({"detach_", "requires_grad_"})
"""Operators that are in place by name and change no element."""


def aten_name(target):
    """"add_" of "torch.ops.aten.add_.Tensor"; None for other namespaces."""
    parts = target.removeprefix("torch.ops.").split(".")
    return parts[1] if len(parts) >= 2 and parts[0] == "aten" else None


def is_in_place(target):
    """PyTorch's naming rule: in-place operators end with one underscore."""
    name = aten_name(target)
    return name is not None and name.endswith("_") and not name.endswith("__") and name not in NO_CHANGE


def is_view(target):
    name = aten_name(target)
    return name is not None and name.removesuffix("_copy") in VIEWS or name in NO_CHANGE


class Storages:
    """Groups of framework names that share storage."""

    def __init__(self):
        self._group = {}

    def add(self, name, like=None):
        """`name` is new; with `like`, a possible view of it."""
        group = self._group.get(like)
        if group is None:
            group = [] if like is None else [like]
            if like is not None:
                self._group[like] = group
        group.append(name)
        self._group[name] = group

    def others(self, name, is_live):
        """Names that share storage with `name`, without it, that `is_live`.
        The dead are forgotten, so that many updates stay cheap."""
        group = self._group.get(name, [])
        group[:] = [n for n in group if n == name or is_live(n)]
        return [n for n in group if n != name]
