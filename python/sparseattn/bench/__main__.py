"""tools/bench: times our kernels beside torch's on one GPU.

    tools/bench --prepare DIR [--suite NAME...]     compile the kernels of the suites; needs no GPU
    tools/bench [--kernels DIR] [--suite NAME...] -o DIR    check, time and report; needs a Hopper GPU and torch
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from .cases import SUITES, variants


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
    for suite in options.suite:
        for number, case in enumerate(SUITES[suite]()):
            torch.manual_seed(options.seed + number)
            q, k, v = (torch.randn(case.batch, heads, case.length, case.dim, device="cuda", dtype=torch.bfloat16)
                       for heads in (case.heads, case.kv_heads, case.kv_heads))
            ours = library.program(case, q, k, v)
            ours.out.fill_(float("nan"))
            ours()
            error = check.error(case, q, k, v, ours.out, **ours.reference_options)
            if not error <= check.TOLERANCE:
                wrong.append(case.name)
                print(f"{case.name}: error {error:.2e} is above {check.TOLERANCE}: not timed", flush=True)
                continue
            programs = {"ours": ours, **peers.programs(case, q, k, v)}
            times = timing.interleaved(programs, options.rounds, options.seed)
            order += [name for name in programs if name != "ours" and name not in order]
            rows.append({"suite": suite, "group": case.group, "case": case.name, "flops": case.flops, "error": error,
                         "times": times})
            print(report.table(rows[-1:], order).splitlines()[-1], flush=True)
            report.write_json(options.output / "bench.json", machine, rows)
    text = "\n\n".join([report.table(rows, order), *(report.groups(rows, peer) for peer in order)]) + "\n"
    (options.output / "bench.md").write_text(text)
    if rows:
        report.plot(options.output / "bench.svg", rows, order)
    print(text)
    if wrong:
        print(f"wrong results: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prepare", type=pathlib.Path, metavar="DIR", help="compile the kernels into DIR and stop")
    parser.add_argument("--kernels", type=pathlib.Path, metavar="DIR", help="kernels that --prepare made")
    parser.add_argument("--suite", nargs="+", choices=list(SUITES), default=list(SUITES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("bench-results"))
    options = parser.parse_args()
    if options.prepare:
        from . import kernels

        return kernels.prepare(options.prepare, [case for suite in options.suite for case in SUITES[suite]()] + variants())
    return measure(options)


if __name__ == "__main__":
    sys.exit(main())
