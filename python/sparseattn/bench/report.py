"""What a run found: tables for people, JSON for machines, a plot."""

from __future__ import annotations

import json
import math
import statistics

REGIMES = ("burst", "sustained")


def rates(row: dict, regime: str) -> dict:
    """TFLOP/s of each program of a row."""
    return {name: row["flops"] / statistics.median(times[regime]) * 1e-12 for name, times in row["times"].items()}


def geometric_mean(values) -> float:
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def ratios(rows: list[dict], peer: str, regime: str) -> list[float]:
    """Ours over `peer`, of the rows that have both."""
    found = [rates(row, regime) for row in rows]
    return [rate["ours"] / rate[peer] for rate in found if "ours" in rate and peer in rate]


def table(rows: list[dict], peers: list[str]) -> str:
    """Markdown: TFLOP/s as burst/sustained, and the ratio to the first peer that ran."""
    columns = ["ours", *peers]
    lines = ["| case | error | " + " | ".join(columns) + " | ours / peer |", "|---|---|" + "---|" * (len(columns) + 1)]
    for row in rows:
        found = {regime: rates(row, regime) for regime in REGIMES}
        cells = ["/".join(f"{found[regime][name]:.0f}" for regime in REGIMES) if name in row["times"] else "–" for name in columns]
        peer = next((name for name in peers if name in row["times"]), None)
        ratio = "–"
        if peer and "ours" in row["times"]:
            ratio = "/".join(f"{found[regime]['ours'] / found[regime][peer]:.2f}" for regime in REGIMES)
        lines.append(f"| {row['case']} | {row['error']:.1e} | " + " | ".join(cells) + f" | {ratio} |")
    return "\n".join(lines)


def groups(rows: list[dict], peer: str) -> str:
    """Markdown: geometric mean and least ratio of ours over `peer`, for each group of rows."""
    names = list(dict.fromkeys(row["group"] for row in rows))
    lines = [f"| group | ours / {peer}, geometric mean, burst/sustained | least |", "|---|---|---|"]
    for name in names:
        members = [row for row in rows if row["group"] == name]
        by_regime = [ratios(members, peer, regime) for regime in REGIMES]
        if all(by_regime):
            means = "/".join(f"{geometric_mean(values):.2f}" for values in by_regime)
            least = "/".join(f"{min(values):.2f}" for values in by_regime)
            lines.append(f"| {name} | {means} | {least} |")
    return "\n".join(lines)


def write_json(path, machine: dict, rows: list[dict]) -> None:
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def plot(path, rows: list[dict], peers: list[str]) -> None:
    """Bars of the sustained rates, one group of bars a case. `path` ends with .png or .svg."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in ("ours", *peers) if any(name in row["times"] for row in rows)]
    figure, axes = plt.subplots(figsize=(max(6, 0.5 * len(rows) + 2), 5), layout="constrained")
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        heights = [rates(row, "sustained").get(name, 0.0) for row in rows]
        axes.bar([place + index * width for place in range(len(rows))], heights, width, label=name)
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(rows))], [row["case"] for row in rows],
                    rotation=70, ha="right", fontsize=7)
    axes.set_ylabel("TFLOP/s, sustained")
    axes.legend()
    figure.savefig(path)
