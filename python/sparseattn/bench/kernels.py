"""Our kernels: compiled ahead from the dialect, or on the spot; launched by the runtime."""

from __future__ import annotations

import math
import pathlib
import tempfile

from .. import compiler, gpu_artefact
from .cases import LIST_QUERIES, Case

SOFTCAP = 30.0


def name(case: Case) -> str:
    """One kernel serves all lengths, batches and numbers of heads."""
    mask = case.mask + (str(case.window) if case.window else "") + (f"x{case.kv_heads}" if case.mask == "mixed" else "")
    variant = [value for value, usual in ((case.dtype, "bf16"), (case.layout, "bhsd")) if value != usual]
    if case.block:
        variant.append(f"blocks{case.block}")
    if case.documents and case.layout != "thd":
        variant.append("documents")
    return "_".join([case.dims, mask, *case.extras, *variant])


def keys(case: Case) -> str:
    """The key pattern of a case."""
    if case.mask in ("window", "prefix"):
        return f"#sparseattn.{'window' if case.mask == 'window' else 'prefix_lm'}<{case.window}>"
    if case.mask == "mixed":
        half = case.kv_heads // 2
        entries = ["#sparseattn.causal"] * half + [f"#sparseattn.window<{case.window}>"] * (case.kv_heads - half)
        return f"#sparseattn.head_table<[{', '.join(entries)}]>"
    return f"#sparseattn.{case.mask}"


def source(case: Case) -> str:
    """The kernel of a case in the dialect (level L0), sizes left open."""
    packed = case.layout == "thd"
    batch = "" if packed else "?x"
    tensor, values = (f"tensor<{batch}?x?x{dim}x{case.dtype}>" for dim in (case.dim, case.value_dim))
    results = [values] + ([f"tensor<{batch}?x?xf32>"] if "lse" in case.extras else [])
    operands = {"%q": tensor, "%k": tensor, "%v": values}
    clauses = f"keys({keys(case)})"
    if case.block:
        clauses = f"selection(%selection) block {case.block} query_block {LIST_QUERIES} " + clauses
        operands["%selection"] = "tensor<?x?x?x?xi32>"
    if "sink" in case.extras:
        operands["%sink"] = "tensor<?xf32>"
    if case.documents and not packed:
        operands["%range"] = "tensor<?x?x2xi32>"
    if packed:
        operands |= {"%starts": "tensor<?xi32>", "%key_starts": "tensor<?xi32>"}
    arguments, types = list(operands), list(operands.values())
    if "softcap" in case.extras:
        clauses += f" score(#sparseattn.softcap<{SOFTCAP}>)"
    if "sink" in case.extras:
        clauses += " sink(%sink)"
    if case.documents and not packed:
        clauses += " valid_range(%range)"
    if packed:
        clauses += " cu_seqlens(%starts, %key_starts)"
    if "lse" in case.extras:
        clauses += " return_lse"
    if case.layout != "bhsd":
        clauses += f" layout({case.layout})"
    count = len(results)
    value = "%r" + (f":{count}" if count > 1 else "")
    returned = ", ".join(f"%r#{i}" for i in range(count)) if count > 1 else "%r"
    signature = ", ".join(f"{argument}: {type_}" for argument, type_ in zip(arguments, types))
    return (f"func.func @{name(case)}({signature}) -> ({', '.join(results)}) {{\n"
            f"  {value} = sparseattn.{'sparse_attention' if case.block else 'attention'} %q, %k, %v {clauses}\n"
            f"    : ({', '.join(types)}) -> ({', '.join(results)})\n"
            f"  return {returned} : {', '.join(results)}\n}}\n")


def prepare(folder: pathlib.Path, cases: list[Case]) -> int:
    """Compiles the kernels of `cases` into sub-folders of `folder`."""
    ptxas = gpu_artefact.find_ptxas()
    for case in {name(case): case for case in cases}.values():
        target = folder / name(case)
        target.mkdir(parents=True, exist_ok=True)
        compiler.compile_gpu(source(case), target, name=name(case), ptxas=ptxas)
        print(f"{name(case)}: {'cubin' if ptxas else 'PTX'}", flush=True)
    return 0


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
            selection = random_lists(case, q.device)
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

    def program(self, case: Case, q, k, v) -> Program:
        from .. import runtime

        key = name(case)
        if key not in self.loaded:
            if self.scratch and not (self.folder / key).exists():
                prepare(self.folder, [case])
            self.loaded[key] = runtime.load(self.folder / key)(key)
        return Program(self.loaded[key], case, q, k, v)
