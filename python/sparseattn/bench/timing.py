"""Times on a GPU, in the two regimes that differ: bursts after a pause, and a device that is hot and power-limited.

What is timed is the kernel, not the host: the device is kept waiting until launches are queued. Where a program of a case is
short, the L2 cache is flushed before every launch, or what the last launch left there would be measured.
"""

from __future__ import annotations

import random
import statistics
import time

import torch

PAUSE = 0.12
"""Seconds without work before a burst."""
SUSTAINED = 0.2
"""Seconds of one program before, and again during, a sustained measurement. The power limit of an H100 takes 0.1 to 0.2 s to
settle the clock: until then a program runs faster after a pause, or slower after another program, than it goes on."""
SHORT = 5e-4
"""Seconds below which a program finds part of its operands in the L2 cache when it runs again and again."""
FLUSHED_BYTES = 192 << 20
"""What a flush writes: several times the L2 cache of a Hopper GPU (50 MB)."""
HOST_CYCLES = 8_000_000
"""How long the device waits for the host: 4 ms at 2 GHz. After a pause, a first call from Python takes 0.3 to 0.5 ms."""


def events(run, repeats: int, flushed: torch.Tensor | None = None) -> list[float]:
    """Seconds of each of `repeats` runs, by CUDA events that are queued with them. `flushed` is written before each."""
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    torch.cuda._sleep(HOST_CYCLES)
    for begin, end in pairs:
        if flushed is not None:
            flushed.zero_()
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) * 1e-3 for begin, end in pairs]


def burst(run, flushed: torch.Tensor | None = None) -> float:
    """Median of three runs after a pause and one warm-up."""
    torch.cuda.synchronize()
    time.sleep(PAUSE)
    run()
    return statistics.median(events(run, 3, flushed))


def sustained(run, estimate: float, flushed: torch.Tensor | None = None) -> float:
    """Median over SUSTAINED seconds that follow SUSTAINED seconds of the same program."""
    for _ in range(max(2, round(SUSTAINED / estimate))):
        run()
    return statistics.median(events(run, max(5, round(SUSTAINED / estimate)), flushed))


def interleaved(programs: dict, rounds: int, seed: int) -> tuple[dict, bool]:
    """({name: {"burst": [seconds...], "sustained": [seconds...]}}, whether the L2 cache was flushed before each run) of
    `programs` (name to callable), every round in another random order, so that no program always follows the same neighbour."""
    order = list(programs)
    generator = random.Random(seed)
    times = {name: {"burst": [], "sustained": []} for name in order}
    estimates = {name: burst(run) for name, run in programs.items()}
    short = min(estimates.values()) < SHORT
    flushed = torch.empty(FLUSHED_BYTES, dtype=torch.uint8, device="cuda") if short else None
    for measure in ("burst", "sustained"):
        for _ in range(rounds):
            generator.shuffle(order)
            for name in order:
                run = programs[name]
                seconds = burst(run, flushed) if measure == "burst" else sustained(run, estimates[name], flushed)
                times[name][measure].append(seconds)
    return times, short
