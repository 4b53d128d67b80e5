"""How soon a bad canary is given up, and how seldom a good one: `python -m tests.bench.analysis`, with a plot.

Each simulated rollout is looked at every second, as the operator does: the evidence of that moment is what was written plus
what the routers have counted since; it is written when core/watch.py says so (every ten seconds, and every second for the
first witnesses). So what is measured is the scheme that runs, not the formula alone.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from slipway.api.types import Judging, Rollout
from slipway.core import comparison, watch
from slipway.core.analysis import e_value
from slipway.core.snapshot import RouterAnswer, RouterView, Tally
from tests.bench import plots
from tests.cluster.paths import REPOSITORY

ALPHA = 0.01
RATE = 100  # requests per second, all routers together
ROUTERS = 2
START = datetime(2026, 11, 28, tzinfo=UTC)
PLOT = REPOSITORY / "docs" / "benchmarks" / "analysis.svg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    stable: float  # share of bad answers
    canary: float
    weight: int = 10


@dataclass(frozen=True, slots=True)
class Simulated:
    stopped: bool
    requests: int  # of the canary until then
    seconds: int


EQUAL = Case(name="0.5 % against 0.5 %", stable=0.005, canary=0.005)
WORSE = Case(name="5 % against 0.5 %", stable=0.005, canary=0.05)
MORE = (
    Case(name="5 % against 5 %", stable=0.05, canary=0.05),
    Case(name="2 % against 0.5 %", stable=0.005, canary=0.02),
    Case(name="50 % against 0.1 %", stable=0.001, canary=0.5),
)


def simulate(case: Case, *, runs: int, limit: int, rng: random.Random) -> list[Simulated]:
    """`limit`: canary requests after which a rollout counts as not stopped."""
    return [_rollout(case, limit, rng) for _ in range(runs)]


def _rollout(case: Case, limit: int, rng: random.Random) -> Simulated:
    judging, rollout = Judging(), Rollout()
    tallies = [(Tally(), Tally())] * ROUTERS
    kept = watch.begin(2, 1, case.weight, judging, _views(tallies), START)
    for second in range(1, 100_000):
        now = START + timedelta(seconds=second)
        tallies = [_second(case, canary, stable, rng) for canary, stable in tallies]
        seen = watch.advanced(kept, judging, _views(tallies))
        requests = sum(canary.requests for canary, _ in tallies)
        # The whole judgement is asked only where it can be a failure: what it asks besides takes most of the time.
        is_possible = e_value(seen.evidence[watch.ERRORS]) >= 1 / ALPHA
        if is_possible and comparison.failure(comparison.findings(seen, rollout, 0)) is not None:
            return Simulated(stopped=True, requests=requests, seconds=second)
        if requests >= limit:
            return Simulated(stopped=False, requests=requests, seconds=second)
        if watch.is_due(kept, seen, weight=case.weight, now=now):
            kept = watch.written(kept, seen, weight=case.weight, now=now)
    raise AssertionError("no request reached the canary")


def _second(case: Case, canary: Tally, stable: Tally, rng: random.Random) -> tuple[Tally, Tally]:
    count = RATE // ROUTERS
    share = _hits(rng, count, case.weight / 100)
    return (
        _grown(canary, share, _hits(rng, share, case.canary)),
        _grown(stable, count - share, _hits(rng, count - share, case.stable)),
    )


def _hits(rng: random.Random, count: int, probability: float) -> int:
    """A binomial draw, from one hit to the next by geometric gaps: as many draws as there are hits."""
    hits, place = 0, 0
    while True:
        place += 1 + int(math.log(1.0 - rng.random()) / math.log1p(-probability))
        if place > count:
            return hits
        hits += 1


def _grown(tally: Tally, requests: int, bad: int) -> Tally:
    return Tally(requests=tally.requests + requests, bad=tally.bad + bad, attempts=tally.attempts + requests)


def _views(tallies: Sequence[tuple[Tally, Tally]]) -> list[RouterView]:
    return [
        RouterView(
            pod=f"router-{number}",
            key=f"router-{number}",
            answer=RouterAnswer(
                routes_version="",
                clusters_version="",
                weights={},
                healthy_members={1: 1, 2: 1},
                active_requests={},
                tallies={1: stable, 2: canary},
            ),
        )
        for number, (canary, stable) in enumerate(tallies)
    ]


def figures(case: Case, runs: Sequence[Simulated]) -> str:
    hit = [run for run in runs if run.stopped]
    text = f"{case.name} at {case.weight} %: {len(hit)} of {len(runs)} stopped"
    if len(hit) * 2 > len(runs):
        # One that was not stopped within the limit counts as more than any other.
        median = statistics.median(run.requests if run.stopped else sys.maxsize for run in runs)
        seconds = statistics.median(run.seconds for run in hit)
        text += f", after a median of {median:.0f} canary requests ({seconds:.0f} s at {RATE} requests/s)"
    return text


def draw(results: Sequence[tuple[Case, Sequence[Simulated]]], limit: int, path: Path) -> None:
    """Share of rollouts that were given up, by canary requests."""
    from matplotlib.figure import Figure

    plots.fix_bytes()
    figure = Figure(figsize=(6.5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for case, runs in results:
        ends = sorted(run.requests for run in runs if run.stopped)
        x = [0, *(min(end, limit) for end in ends), limit]
        y = [0.0, *(100 * (place + 1) / len(runs) for place in range(len(ends))), 100 * len(ends) / len(runs)]
        axes.step(x, y, where="post", linewidth=1.2, label=case.name)
    axes.axhline(100 * ALPHA, linestyle=":", linewidth=1, color="grey", label="allowed for equals: 1 %")
    axes.set(
        xlabel="canary requests", ylabel="rollouts given up, %", title="errors of the canary against stable, weight 10"
    )
    axes.set_ylim(0, 101)
    axes.set_xlim(0, limit)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="center right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.analysis", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="rollouts of each of the two main cases")
    parser.add_argument("--limit", type=int, default=2000, help="canary requests of one rollout (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, default=PLOT)
    given = parser.parse_args(arguments)
    rng, results, began = random.Random(given.seed), [], time.monotonic()
    for case in (EQUAL, WORSE, *MORE):
        runs = given.runs if case in (EQUAL, WORSE) else max(1, given.runs // 5)
        results.append((case, simulate(case, runs=runs, limit=given.limit, rng=rng)))
        print(f"{figures(*results[-1])}  [{time.monotonic() - began:.0f} s]", flush=True)
    draw(results, given.limit, given.plot)
    print(f"{given.plot} is drawn")
    equal = sum(run.stopped for run in results[0][1])
    worse = statistics.median(run.requests if run.stopped else sys.maxsize for run in results[1][1])
    is_met = equal <= ALPHA * given.runs and worse <= 200
    print(
        f"false aborts ≤ {ALPHA:.0%}, and 0.5 % → 5 % found within 200 canary requests: {'met' if is_met else 'MISSED'}"
    )
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
