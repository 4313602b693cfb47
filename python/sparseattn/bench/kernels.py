"""Our kernels: compiled ahead from the dialect, or on the spot; launched by the runtime."""

from __future__ import annotations

import math
import pathlib
import tempfile

from .. import compiler, gpu_artefact
from ..attention_spec import AttentionSpec
from .cases import LIST_QUERIES, Case

SOFTCAP = 30.0


def spec(case: Case) -> AttentionSpec:
    """The kernel of a case. One serves all lengths, batches and numbers of heads."""
    if case.mask == "mixed":
        half = case.kv_heads // 2
        keys = ("causal",) * half + (f"window<{case.window}>",) * (case.kv_heads - half)
    else:
        keys = {"window": f"window<{case.window}>", "prefix": f"prefix_lm<{case.window}>"}.get(case.mask, case.mask)
    return AttentionSpec(keys=keys, dtype=case.dtype, dim=case.dim, value_dim=case.values_dim or None, layout=case.layout,
                         sink="sink" in case.extras, softcap=SOFTCAP if "softcap" in case.extras else None, lse="lse" in case.extras,
                         blocks=(LIST_QUERIES, case.block) if case.block else None, documents=case.documents > 0)


def sequence_keys(case: Case) -> int:
    """The keys of a sequence, or of a document: what decides on a length class of the schedule table."""
    return case.key_length // max(case.documents, 1)


def prepare(folder: pathlib.Path, cases: list[Case]) -> int:
    """Compiles the kernels of `cases`, one for each length class, into sub-folders of `folder`. Returns 1 when one
    cannot be, after the others."""
    ptxas = gpu_artefact.find_ptxas()
    status, done, refused = 0, set(), set()
    for case in cases:
        wanted = spec(case)
        if wanted in refused:
            continue
        try:
            keys = gpu_artefact.length_class(wanted, sequence_keys(case))
            if (wanted, keys) not in done:
                place = gpu_artefact.compile_spec(wanted, folder, expected_keys=keys, ptxas=ptxas)
                print(f"{place.name}: {'cubin' if ptxas else 'PTX'}", flush=True)
                done.add((wanted, keys))
        except compiler.CompilerError as error:
            print(f"{wanted.name}: skipped, because it cannot be compiled: {error}", flush=True)
            refused.add(wanted)
            status = 1
    return status


def random_lists(case: Case, device):
    """i32 [B, list heads, tiles, K]: for each tile of queries a random share of the blocks that it may see, in random
    order, padded with -1 in random places. Every fifth list is empty, and some entries name blocks that do not exist."""
    import torch

    blocks = -(-case.key_length // case.block)
    tiles = -(-case.length // LIST_QUERIES)
    shape = (case.batch, case.list_heads, tiles)
    last = torch.arange(1, tiles + 1, device=device) * LIST_QUERIES + case.key_length - case.length
    seen = (last.clamp(0, case.key_length) + case.block - 1) // case.block if case.mask == "causal" else last * 0 + blocks
    width = max(1, math.ceil(case.density * blocks)) + 1
    # A random order of the blocks, of which the first of those that are seen.
    order = torch.rand(*shape, blocks, device=device).masked_fill(
        torch.arange(blocks, device=device) >= seen[:, None], 2.0).argsort(-1)[..., :width - 1]
    count = (case.density * seen).ceil()[:, None]
    entries = torch.full((*shape, width), -1, dtype=torch.int32, device=device)
    entries[..., :order.shape[-1]] = order.masked_fill(torch.arange(order.shape[-1], device=device) >= count, -1).int()
    entries[..., -1] = torch.where(torch.rand(shape, device=device) < 0.5, -7, blocks + 3)
    entries = entries.gather(-1, torch.rand(*shape, width, device=device).argsort(-1))
    entries[:, :, 4::5] = -1
    return entries.contiguous()


def random_offsets(documents: int, length: int, device):
    """i32 [documents + 1]: where documents of random lengths begin, and the end of the last one. Every third is empty."""
    import torch

    cuts = torch.randint(length + 1, (documents - 1,), device=device).sort().values
    cuts[2::3] = cuts[1::3][:cuts[2::3].numel()]
    ends = torch.tensor([length], device=device)
    return torch.cat([ends * 0, cuts, ends]).int()


def locate(starts, key_starts, length: int):
    """i64 [length, 3]: for each query the first key and the end of its document, and its position among all keys."""
    import torch

    queries = torch.arange(length, device=starts.device)
    document = torch.searchsorted(starts[1:].contiguous(), queries, right=True)
    begin, end = key_starts[document].long(), key_starts[document + 1].long()
    position = end - (starts[document + 1] - queries)
    return torch.stack([begin, end, position], 1)


def arrange(layout: str, x):
    """A tensor [B, H, S, D] as the kernel takes it."""
    return {"bhsd": lambda: x, "bshd": lambda: x.transpose(1, 2), "thd": lambda: x[0].transpose(0, 1)}[layout]().contiguous()


def restore(layout: str, x):
    """The opposite."""
    return {"bhsd": lambda: x, "bshd": lambda: x.transpose(1, 2), "thd": lambda: x.transpose(0, 1)[None]}[layout]()


class Program:
    """A launch of a kernel on given tensors: call it, then read `out`."""

    def __init__(self, kernel, case: Case, q, k, v):
        import torch

        # The case's tensors are [B, H, S, D]; the kernel's may lie otherwise.
        self.layout = case.layout
        self.operands = [arrange(case.layout, x) for x in (q, k, v)]
        self.reference_options = {}
        if case.block:
            from .lists import diagonal_lists

            selection = (diagonal_lists if case.diagonal else random_lists)(case, q.device)
            self.operands.append(selection)
            self.reference_options["selection"] = selection
        if "sink" in case.extras:
            sink = torch.randn(case.heads, device=q.device)
            self.operands.append(sink)
            self.reference_options["sink"] = sink
        if case.documents:
            self.add_documents(case, q.device)
        if "softcap" in case.extras:
            self.reference_options["softcap"] = SOFTCAP
        self.inputs = len(self.operands)
        self.operands.append(self.operands[0].new_empty(*self.operands[0].shape[:-1], case.value_dim))
        self.lse = None
        if "lse" in case.extras:
            self.lse = torch.empty(q.shape[:3], device=q.device, dtype=torch.float32)
            self.operands.append(self.lse[0] if case.layout == "thd" else self.lse)
        self.kernel = kernel

    def add_documents(self, case: Case, device) -> None:
        """Offsets for layout thd, else the range of keys of each query."""
        import torch

        if case.layout == "thd":
            starts = random_offsets(case.documents, case.length, device)
            key_starts = random_offsets(case.documents, case.keys, device) if case.keys else starts
            self.operands += [starts, key_starts]
            self.reference_options["documents"] = locate(starts, key_starts, case.length)[None]
            return
        starts = [random_offsets(case.documents, case.length, device) for _ in range(case.batch)]
        documents = torch.stack([locate(x, x, case.length) for x in starts])
        self.operands.append(documents[..., :2].int().contiguous())
        self.reference_options["documents"] = documents

    @property
    def out(self):
        """[B, H, S, D]."""
        return restore(self.layout, self.operands[self.inputs])

    def use_output(self, out) -> None:
        """Writes to `out`, in the kernel's layout, from now on."""
        self.operands[self.inputs] = out

    def __call__(self):
        self.kernel(*self.operands)
        return self.out


class Library:
    """Kernels by case, from a folder that `prepare` made or compiled when first needed."""

    def __init__(self, folder: pathlib.Path | None):
        self.scratch = tempfile.TemporaryDirectory() if folder is None else None
        self.folder = pathlib.Path(self.scratch.name) if folder is None else folder
        self.loaded = {}

    def place(self, case: Case) -> pathlib.Path:
        """The sub-folder of the case's kernel. Raises ValueError, with the reason, when there is none."""
        wanted = spec(case)
        if self.scratch:
            try:
                keys = gpu_artefact.length_class(wanted, sequence_keys(case))
            except compiler.CompilerError as error:
                raise ValueError(f"no kernel {wanted.name}: {error}") from error
            if not gpu_artefact.spec_folder(wanted, self.folder, keys).exists():
                prepare(self.folder, [case])
        place = gpu_artefact.find_spec(wanted, self.folder, sequence_keys(case))
        if place is None:
            raise ValueError(f"no kernel {wanted.name} in {self.folder}")
        return place

    def program(self, case: Case, q, k, v) -> Program:
        """Raises as `place`."""
        from .. import runtime

        place = self.place(case)
        if place not in self.loaded:
            self.loaded[place] = runtime.load(place)(spec(case).name)
        return Program(self.loaded[place], case, q, k, v)
