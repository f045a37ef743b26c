"""Simulated waiting times of a hospital's studies, by service time and number of analyses at once."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from itertools import product

import numpy as np
import simpy

HOUR_S = 3600.0
N_DAYS = 30
STAT_SHARE = 0.15
"""Studies from the emergency department and intensive care. Own assumption."""

DAY_SHAPE = (1, 1, 1, 1, 1, 1, 2, 4, 7, 9, 9, 9, 8, 8, 8, 8, 7, 5, 4, 3, 3, 2, 2, 2)
"""Relative arrivals in each hour of the day. Own assumption."""

SPREAD = 0.35
"""Standard deviation of the logarithm of the service time: slices differ in number, machines in load."""
STAT, ROUTINE = 0, 1


def simulate(
    n_machines: int, service_s: float, per_day: float, seed: int = 1
) -> tuple[dict[int, list[float]], float]:
    """Simulate a month: studies arrive at random, STAT ones go first, none is interrupted.

    Args:
        n_machines: analyses at the same time.
        service_s: median seconds of one study from fetch to sent.
        per_day: arrivals a day.
        seed: start of the random numbers.

    Returns:
        Seconds from each complete study to its results, for ``STAT`` and ``ROUTINE``, and the share of the
        time that the machines work.
    """
    chance = random.Random(seed)  # noqa: S311
    environment = simpy.Environment()
    machines = simpy.PriorityResource(environment, n_machines)
    waits: dict[int, list[float]] = {STAT: [], ROUTINE: []}
    worked = [0.0]

    def study(priority: int) -> Generator[simpy.Event]:
        arrived = environment.now
        with machines.request(priority) as turn:
            yield turn
            needed_s = chance.lognormvariate(np.log(service_s), SPREAD)
            worked[0] += needed_s
            yield environment.timeout(needed_s)
        waits[priority].append(environment.now - arrived)

    def arrivals() -> Generator[simpy.Event]:
        busiest = max(DAY_SHAPE) * per_day / sum(DAY_SHAPE) / HOUR_S
        while environment.now < N_DAYS * 24 * HOUR_S:
            yield environment.timeout(chance.expovariate(busiest))
            hour = int(environment.now / HOUR_S) % 24
            if chance.random() < DAY_SHAPE[hour] / max(DAY_SHAPE):  # thinning
                environment.process(study(STAT if chance.random() < STAT_SHARE else ROUTINE))

    environment.process(arrivals())
    environment.run()
    return waits, worked[0] / (n_machines * environment.now)


def run(services_s: Sequence[float], per_day: float, machines: Sequence[int]) -> None:
    """Print the table of docs/how-to/scale-out.md."""
    print("| service time, s | at once | busy | STAT: median, 95 % (min) | others: median, 95 % (min) |")
    print("|---|---|---|---|---|")
    for service_s, n_machines in product(services_s, machines):
        waits, busy = simulate(n_machines, service_s, per_day)
        cells = (
            f"{np.median(waits[priority]) / 60:.1f}, {np.percentile(waits[priority], 95) / 60:.1f}"
            for priority in (STAT, ROUTINE)
        )
        print(f"| {service_s:g} | {n_machines} | {busy:.0%} | {' | '.join(cells)} |")
