"""Times on a GPU, in the two regimes that differ: bursts after a pause, and a device that is hot and power-limited."""

from __future__ import annotations

import random
import statistics
import time

import torch

PAUSE = 0.12
"""Seconds without work before a burst."""
SUSTAINED = 0.06
"""Seconds of one program before, and again during, a sustained measurement."""
SHORT = 5e-4
"""Seconds below which a launch shows hiccups of the host in bursts: these are measured twice as often."""


def events(run, repeats: int) -> list[float]:
    """Seconds of each of `repeats` runs, by CUDA events."""
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for begin, end in pairs:
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) * 1e-3 for begin, end in pairs]


def burst(run) -> float:
    """Median of three runs after a pause and one warm-up."""
    torch.cuda.synchronize()
    time.sleep(PAUSE)
    run()
    return statistics.median(events(run, 3))


def sustained(run, estimate: float) -> float:
    """Median over SUSTAINED seconds that follow SUSTAINED seconds of the same program."""
    for _ in range(max(2, round(SUSTAINED / estimate))):
        run()
    return statistics.median(events(run, max(5, round(SUSTAINED / estimate))))


def interleaved(programs: dict, rounds: int, seed: int) -> dict:
    """{name: {"burst": [seconds...], "sustained": [seconds...]}} of `programs` (name to callable), every round in
    another random order, so that no program always follows the same neighbour."""
    order = list(programs)
    generator = random.Random(seed)
    times = {name: {"burst": [], "sustained": []} for name in order}

    def bursts():
        for _ in range(rounds):
            generator.shuffle(order)
            for name in order:
                times[name]["burst"].append(burst(programs[name]))

    bursts()
    if any(statistics.median(times[name]["burst"]) < SHORT for name in order):
        bursts()
    for _ in range(rounds):
        generator.shuffle(order)
        for name in order:
            times[name]["sustained"].append(sustained(programs[name], statistics.median(times[name]["burst"])))
    return times
