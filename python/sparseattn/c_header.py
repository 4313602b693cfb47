"""A C header for the kernels of an artefact: one typed function each, over libSparseAttnRuntime's C interface.

It compiles as C11 and as C++17 without warnings. Names in it are the manifest's, so
they are identifiers already; words that C or C++ reserve get an underscore behind.
"""

import re

_DTYPES = {name: f"SPARSEATTN_{name.upper()}" for name in ("f16", "bf16", "f32", "f64", "i1", "i8", "i16", "i32", "i64")}
_C_TYPES = {"i32": "int32_t", "i64": "int64_t", "f32": "float"}
# Of C11 and C++17, and the other parameters of the functions below.
_RESERVED = frozenset(
    """alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const const_cast
    constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern false float for
    friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
    public register reinterpret_cast restrict return short signed sizeof static static_assert static_cast struct switch
    template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
    while xor xor_eq artefact attributes device kernel operands stream tensors""".split()
)


def identifier(text: str) -> str:
    """`text` as an identifier of C: other characters become underscores."""
    name = re.sub(r"\W", "_", text, flags=re.A).strip("_") or "kernels"
    return f"m{name}" if name[0].isdigit() else name


def _parameter(name: str) -> str:
    return f"{name}_" if name in _RESERVED else name


def _comment(text: str) -> str:
    """Text that cannot end the comment it stands in."""
    return text.replace("*/", "* /")


def _sizes(kernel: dict) -> list[str]:
    """Names of the sizes that the call decides, in the order in which operands name them."""
    return list(dict.fromkeys(size for operand in kernel["operands"] for size in operand["shape"] if isinstance(size, str)))


def _describe_operand(operand: dict) -> str:
    shape = ", ".join(map(str, operand["shape"]))
    text = f" *   {operand['name']}: {operand['role']}, [{shape}] {operand['dtype']}; axes {', '.join(operand['axes'])}"
    if "contiguous" in operand:
        text += f"; dense in {', '.join(operand['contiguous'])}"
    if "alignment" in operand:
        text += f"; address and other strides multiples of {operand['alignment']} bytes"
    return _comment(text)


def _describe(kernel: dict) -> list[str]:
    info = kernel.get("info") or {}
    kind = f", {info['kind']}" if info.get("kind") else ""
    lines = [f"/* Kernel {kernel['name']}{_comment(kind)}, for {kernel['chip']} only. Operands:"]
    lines += map(_describe_operand, kernel["operands"])
    for attribute in kernel.get("attributes", []):
        default = f", default {attribute['default']}" if "default" in attribute else ", no default"
        lines.append(f" *   {attribute['name']}: attribute, {attribute['type']}{default}")
    zeros = kernel.get("zero_sizes", {})
    if skipped := [name for name, what in zeros.items() if what == "skip"]:
        lines.append(f" * Where one of {', '.join(skipped)} is 0, nothing is launched, and the call succeeds.")
    return lines


def _launch_arguments(kernel: dict) -> tuple[list[str], list[str]]:
    """Parameters for the attributes without a default, and the lines that pack them."""
    needed = [entry for entry in kernel.get("attributes", []) if "default" not in entry]
    parameters = [f"{_C_TYPES[entry['type']]} {_parameter(entry['name'])}" for entry in needed]
    if not needed:
        return parameters, []
    lines = ["  const SparseAttnAttribute attributes[] = {"]
    for entry in needed:
        name = _parameter(entry["name"])
        values = f"0, 0, {name}" if entry["type"] == "f32" else f"1, {name}, 0.0"
        lines.append(f"    {{\"{entry['name']}\", {values}}},")
    return parameters, [*lines, "  };"]


def _functions(prefix: str, kernel: dict) -> list[str]:
    name = f"{prefix}_{kernel['name']}"
    operands = kernel["operands"]
    attributes, packing = _launch_arguments(kernel)
    count = f"{len(attributes)}"
    packed = "attributes" if packing else "NULL"
    fields = "".join(f"  SparseAttnTensor {_parameter(operand['name'])};\n" for operand in operands)
    by_struct = [f"const {name}_operands *operands", *attributes, "void *stream"]
    pointers = [
        f"{'const ' if operand['role'] == 'input' else ''}void *{_parameter(operand['name'])}" for operand in operands
    ]
    sizes = [f"int64_t {_parameter(size)}" for size in _sizes(kernel)]
    dense = ["SparseAttnKernel *kernel", "int32_t device", *sizes, *pointers, *attributes, "void *stream"]
    lines = [
        *_describe(kernel),
        " *",
        f" * {name}_find: the kernel, from the opened artefact.",
        f" * {name}_launch: on tensors with any strides that it takes.",
        f" * {name}: on dense row-major tensors in the memory of `device` (an ordinal, or -1 to ask the driver).",
        " * Sizes and strides are in elements. Launches are queued on `stream`, a CUstream or cudaStream_t of that",
        " * device; NULL is the default stream. Every result is a status; sparseattnRuntimeError() says why. */",
        f"#define {name.upper()}_NAME \"{kernel['name']}\"",
        "",
        f"typedef struct {name}_operands {{",
        fields.rstrip("\n"),
        f"}} {name}_operands;",
        "",
        f"static inline SparseAttnStatus {name}_find(SparseAttnArtefact *artefact, SparseAttnKernel **kernel) {{",
        f"  return sparseattnArtefactFindKernel(artefact, {name.upper()}_NAME, kernel);",
        "}",
        "",
        f"static inline SparseAttnStatus {name}_launch(SparseAttnKernel *kernel, {', '.join(by_struct)}) {{",
        "  const SparseAttnTensor tensors[] = {",
        *(f"    operands->{_parameter(operand['name'])}," for operand in operands),
        "  };",
        *packing,
        f"  return sparseattnKernelLaunch(kernel, tensors, {len(operands)}, {packed}, {count}, stream);",
        "}",
        "",
        f"static inline SparseAttnStatus {name}({', '.join(dense)}) {{",
    ]
    for operand in operands:
        shape = ", ".join(str(size) if isinstance(size, int) else _parameter(size) for size in operand["shape"])
        lines.append(f"  const int64_t sizes_of_{operand['name']}[] = {{{shape}}};")
    lines.append(f"  const {name}_operands operands = {{")
    for operand in operands:
        lines.append(
            f"    {{(void *){_parameter(operand['name'])}, {_DTYPES[operand['dtype']]}, {len(operand['shape'])}, device, "
            f"sizes_of_{operand['name']}, NULL}},"
        )
    names = "".join(f", {parameter.split()[-1]}" for parameter in attributes)
    lines += ["  };", f"  return {name}_launch(kernel, &operands{names}, stream);", "}", ""]
    return lines


def make_header(manifest: dict, prefix: str, source: str) -> str:
    """The text of `prefix`.h for a manifest (lib/Runtime/README.md).

    prefix: an identifier that all names begin with. source: what the kernels were compiled from.
    """
    guard = f"SPARSEATTN_KERNELS_{prefix.upper()}_H"
    lines = [
        f"/* Attention kernels of {_comment(source)}, compiled for a GPU. Made by sparseattn-compile from manifest.json.",
        " * Needs sparseattn-c/Runtime.h and libSparseAttnRuntime.so:",
        " *",
        " *   SparseAttnArtefact *artefact;",
        " *   SparseAttnKernel *kernel;",
        " *   if (sparseattnArtefactOpen(folder, &artefact) != SPARSEATTN_OK ||",
        f" *       {prefix}_{manifest['kernels'][0]['name']}_find(artefact, &kernel) != SPARSEATTN_OK)",
        " *     fputs(sparseattnRuntimeError(), stderr);",
        " */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        '#include "sparseattn-c/Runtime.h"',
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
    ]
    for kernel in manifest["kernels"]:
        lines += _functions(prefix, kernel)
    return "\n".join([*lines, "#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {guard} */", ""])
