"""Part `passes`: what one pass costs inside the operator's process, without a network, and where the time goes.

The passes are the operator's own (observe, plan, apply, report) over caches that the operator itself has filled; the API
server, routers and Tritons answer from memory (memory.py). CPU time, not wall time: other processes do not count.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.memory import Population
from tests.bench.results import Figure, Part, Series, Table

SIZES = (1, 100, 500, 1000, 2000, 5000)
NAMESPACES = 10
SAMPLES = 200
STEPS: list[dict[str, Any]] = [{"setWeight": weight} for weight in (25, 50, 75)]
FLAT = 1.5  # a pass among the most may cost so many times what it costs alone


def spec(version: str = "1.0.0", *, replicas: int = 1) -> dict[str, Any]:
    return {
        "model": {"version": version, "storageUri": f"pvc://models/fraud/{version}"},
        "runtime": {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
        "replicas": replicas,
        "rollout": {"canary": {"steps": STEPS}, "scaleDownDelaySeconds": 0},
    }


def place(number: int) -> tuple[str, str]:
    """Namespace and name of one of many."""
    return f"team-{number % NAMESPACES}", f"model-{number}"


def measure(sizes: Sequence[int] = SIZES) -> Part:
    return asyncio.run(_measure(sizes))


async def _measure(sizes: Sequence[int]) -> Part:
    fleet, still, against, filling, present = Population(), [], [], [], 0
    alone = Population()  # the floor: one ModelDeployment, asked in turns with the others
    alone.add(*place(0), spec())
    await alone.settle(*place(0))
    for size in sizes:
        began = time.process_time()
        while present < size:
            fleet.add(*place(present), spec())
            await fleet.settle(*place(present))
            present += 1
        filling.append(time.process_time() - began)
        cost, floor = await _still_passes_ms(fleet, present, alone)
        still.append(cost)
        against.append(cost / floor)
    creation, created = await _whole_life_ms(fleet, present, "1.0.0")
    rollout, rolled = await _whole_life_ms(fleet, present, "2.0.0")
    return Part(
        name="passes",
        title="A pass inside the operator's process",
        about=__doc__.partition("\n\n")[2].strip() if __doc__ else "",
        figures=(
            Figure(what=f"no-op pass with {sizes[0]} present", value=round(still[0], 2), unit="ms CPU"),
            Figure(
                what=f"no-op pass with {sizes[-1]} present, against one alone",
                value=round(against[-1], 2),
                unit="×",
                goal=FLAT,
                note="the cost of a pass is flat to 5,000; passes of both in turns",
            ),
            Figure(
                what="created → Ready, all passes of one",
                value=round(creation, 1),
                unit="ms CPU",
                note=f"{created} passes",
            ),
            Figure(
                what="rollout in three steps, all passes of one",
                value=round(rollout, 1),
                unit="ms CPU",
                note=f"{rolled} passes, 1 replica, 2 routers",
            ),
        ),
        tables=(
            Table(
                title="One no-op pass, by the number of ModelDeployments present",
                columns=("present", "median, ms CPU", "× one alone, in turns", "filling the caches, s CPU"),
                rows=tuple(
                    (size, round(cost, 3), round(ratio, 2), round(seconds, 1))
                    for size, cost, ratio, seconds in zip(sizes, still, against, filling, strict=True)
                ),
            ),
        ),
        series=(
            Series(
                plot="passes",
                title="CPU of one no-op pass",
                x_label="ModelDeployments present",
                y_label="ms",
                label="no-op pass",
                x=tuple(float(size) for size in sizes),
                y=tuple(round(cost, 3) for cost in still),
            ),
        ),
    )


async def _still_passes_ms(fleet: Population, present: int, alone: Population) -> tuple[float, float]:
    """Medians of a pass in the fleet, and of one alone right after it: a machine that is slower for a while is so for both.
    The fleet's are of different ModelDeployments: one again and again would be served from the CPU's caches."""
    among, floor = [], []
    gc.collect()
    before = fleet.cluster.calls.total() + alone.cluster.calls.total()
    for sample in range(SAMPLES):
        among.append(await _pass_ms(fleet, place(sample * 7919 % present)))
        floor.append(await _pass_ms(alone, place(0)))
    if fleet.cluster.calls.total() + alone.cluster.calls.total() != before:
        raise AssertionError(f"a no-op pass made a call: {dict(fleet.cluster.calls)} {dict(alone.cluster.calls)}")
    return statistics.median(among), statistics.median(floor)


async def _pass_ms(population: Population, where: tuple[str, str]) -> float:
    began = time.process_time_ns()
    await population.reconciler.reconcile(*where)
    return (time.process_time_ns() - began) / 1e6


async def _whole_life_ms(fleet: Population, present: int, version: str) -> tuple[float, int]:
    """Median CPU and passes from a new spec to rest, over ten ModelDeployments (new ones for the first version)."""
    costs, passes = [], []
    for number in range(present, present + 10):
        fleet.add(*place(number), spec(version))
        began = time.process_time_ns()
        passes.append(await fleet.settle(*place(number)))
        costs.append((time.process_time_ns() - began) / 1e6)
    return statistics.median(costs), round(statistics.median(passes))


def profile(directory: Path) -> str:
    """Where a no-op pass and a rollout spend their time; the two profiles also lie in `directory` for a viewer."""
    directory.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_profile(directory))


async def _profile(directory: Path) -> str:
    fleet = Population()
    fleet.add(*place(0), spec())
    await fleet.settle(*place(0))
    told = []
    with cProfile.Profile() as still:
        for _ in range(200):
            await fleet.reconciler.reconcile(*place(0))
    told.append(_top(still, directory / "no-op.pstats", "200 no-op passes"))
    with cProfile.Profile() as rolling:
        for number in range(20):
            fleet.add(*place(0), spec(f"2.0.{number}"))
            await fleet.settle(*place(0))
    told.append(_top(rolling, directory / "rollout.pstats", "20 rollouts"))
    return "\n".join(told)


def _top(found: cProfile.Profile, path: Path, title: str, lines: int = 25) -> str:
    found.dump_stats(path)
    statistics_ = pstats.Stats(found)
    rows = []
    for (file, line, name), (_, calls, own, total, _) in statistics_.stats.items():  # type: ignore[attr-defined]
        rows.append((total, own, calls, f"{Path(file).name}:{line}({name})"))
    rows.sort(reverse=True)
    head = f"{title}\n{'total s':>9} {'own s':>8} {'calls':>9}  where"
    return "\n".join([head, *(f"{t:9.3f} {o:8.3f} {c:9d}  {where}" for t, o, c, where in rows[:lines])])
