"""tools/bench: times our kernels beside torch's on one GPU.

    tools/bench --prepare DIR [--suite NAME...]     compile the kernels of the suites; needs no GPU
    tools/bench [--kernels DIR] [--suite NAME...] -o DIR    check, time and report; needs a Hopper GPU and torch
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys

from .cases import SUITES, variants

PEER_NAMES = ("cudnn", "fa2", "flex", "triton")


def selected(options) -> list:
    """(suite, number, case) of what is asked for; the number makes the seed."""
    found = [(suite, number, case) for suite in options.suite for number, case in enumerate(SUITES[suite]())]
    return [entry for entry in found if options.only.search(entry[2].name)]


def measure(options) -> int:
    import torch

    from . import check, kernels, peers, report, timing

    device = torch.cuda.get_device_properties(0)
    machine = {"gpu": device.name, "torch": torch.__version__, "cuda": torch.version.cuda,
               "cudnn": torch.backends.cudnn.version(), "seed": options.seed, "rounds": options.rounds}
    print(f"{machine}", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    library = kernels.Library(options.kernels)
    rows, wrong, order = [], [], []
    for suite, number, case in selected(options):
        torch.manual_seed(options.seed + number)
        q, k, v = (torch.randn(case.batch, heads, case.length, case.dim, device="cuda", dtype=torch.bfloat16)
                   for heads in (case.heads, case.kv_heads, case.kv_heads))
        try:
            ours = library.program(case, q, k, v)
        except ValueError as reason:
            wrong.append(case.name)
            print(f"{case.name}: skipped: {reason}", flush=True)
            continue
        ours.out.fill_(float("nan"))
        ours()
        error = check.error(case, q, k, v, ours.out, **ours.reference_options)
        if not error <= check.TOLERANCE:
            wrong.append(case.name)
            print(f"{case.name}: error {error:.2e} is above {check.TOLERANCE}: not timed", flush=True)
            continue
        others, missing = peers.programs(case, q, k, v, ours.reference_options.get("selection"), options.peers)
        programs = {"ours": ours, **others}
        times, flushed = timing.interleaved(programs, options.rounds, options.seed)
        order += [name for name in others if name not in order]
        rows.append({"suite": suite, "group": case.group, "case": case.name, "flops": case.flops, "error": error,
                     "flushed": flushed, "times": times, "missing": missing})
        print(report.table(rows[-1:], order).splitlines()[-1], flush=True)
        report.write_json(options.output / "bench.json", machine, rows)
    text = "\n\n".join([report.table(rows, order), *(report.groups(rows, peer) for peer in order)]) + "\n"
    (options.output / "bench.md").write_text(text)
    if rows:
        report.plot(options.output / "bench.svg", rows, order)
    print(text)
    if wrong:
        print(f"wrong or without a kernel: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def peer_names(text: str) -> list[str]:
    """The names in a list with commas; peers.PEERS has them, but needs torch."""
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in PEER_NAMES]:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(PEER_NAMES)}, found {','.join(unknown)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepare", type=pathlib.Path, metavar="DIR", help="compile the kernels into DIR and stop")
    parser.add_argument("--kernels", type=pathlib.Path, metavar="DIR", help="kernels that --prepare made")
    parser.add_argument("--suite", nargs="+", choices=list(SUITES), default=list(SUITES))
    parser.add_argument("--only", type=re.compile, metavar="REGEX", default=re.compile(""), help="cases whose names it is found in")
    parser.add_argument("--peers", type=peer_names, metavar="NAMES",
                        help=f"of {','.join(PEER_NAMES)}; named ones also where they are not usual (default: all, where usual)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="bursts and sustained measurements of each program")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("bench-results"))
    options = parser.parse_args()
    if options.prepare:
        from . import kernels

        more = [case for case in variants() if options.only.search(case.name)]
        return kernels.prepare(options.prepare, [case for _, _, case in selected(options)] + more)
    return measure(options)


if __name__ == "__main__":
    sys.exit(main())
