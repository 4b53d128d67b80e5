"""Enumerates the campaign's plans: F1 to F4 at every effective write of every workload (of those that repeat another one
at every third), seeded samples for the rest. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from tests.faults.plan import BEGIN, Plan, Target
from tests.faults.streams import Death
from tests.faults.workloads import WORKLOADS

CODES = (409, 429, 500, 503, 504, 401, 403, 422)
WATCHED = (
    "modeldeployments",
    "deployments",
    "services",
    "configmaps",
    "controllerrevisions",
    "poddisruptionbudgets",
    "jobs",
    "replicasets",
    "pods",
)
# How many of each sampled kind; the dice are seeded with the campaign's seed and the kind.
SAMPLES = {"F5": 100, "F6": 50, "F7": 40, "F8": 40, "F9": 80, "F10": 40, "wipe": 30, "down": 20}
# Of a workload that repeats another one's moves under other circumstances, so many writes are passed over.
STRIDE = 3

Labels = Mapping[str, int]  # label → effective writes of it in the undisturbed action


def writes(workload: str, labels: Labels) -> list[tuple[str, Target]]:
    """The moments of one workload: every effective write, or every third one where it repeats another's."""
    every = [(workload, Target(label, nth + 1)) for label, count in sorted(labels.items()) for nth in range(count)]
    return every[:: STRIDE if WORKLOADS[workload].repeats else 1]


def exhaustive(moments: list[tuple[str, Target]]) -> Iterator[Plan]:
    """F1 to F4 at each of these writes. F3 is one plan with all eight codes one after another, the first one another each
    time, or, at every eighth write, one code that lasts; F4 is in one of its four ways, each in turn."""
    for index, (workload, target) in enumerate(moments):

        def plan(fault: str, **parameters: object) -> Plan:
            facts = {key: str(value) for key, value in parameters.items()}
            return Plan(workload=workload, fault=fault, target=target, parameters=facts)  # noqa: B023 - used at once

        yield plan("F1")
        yield plan("F2")
        if index % 3 == 0:
            yield plan("F1-after")
        turn = index % len(CODES)
        yield plan("F3", codes="+".join(str(code) for code in (*CODES[turn:], *CODES[:turn])))
        if turn == 0:
            code = CODES[index // len(CODES) % len(CODES)]
            yield plan("F3", codes=code, times=3)
            yield plan("F3", codes=code, seconds=20)
        yield plan("F4", way=("reset", "500", "504", "hang")[index % 4])


def sampled(moments: list[tuple[str, Target]], seed: int) -> Iterator[Plan]:
    """F5 to F10, a lost status, and an operator that is away."""
    begins = [(name, Target(BEGIN)) for name in {workload: None for workload, _ in moments}]
    for fault, count in SAMPLES.items():
        dice = random.Random(f"{seed}/{fault}")
        places = begins if fault == "down" else [*moments, *begins * 4]
        drawn: dict[str, Plan] = {}
        for _ in range(20 * count):  # a small catalogue has fewer different plans than asked for
            if len(drawn) == count:
                break
            workload, target = dice.choice(places)
            facts = {key: str(value) for key, value in _PARAMETERS[fault](dice).items()}
            plan = Plan(workload=workload, fault=fault, target=target, parameters=facts)
            drawn.setdefault(plan.id, plan)
        yield from drawn.values()


def _resource(dice: random.Random) -> str:
    return dice.choice([*WATCHED, "deployments+pods", "all", "all"])


def _stale(dice: random.Random) -> dict[str, object]:
    seconds = dice.choice([2, 4, 8])
    return {"by": dice.choice(["crash", "crash", "relist"]), "resource": _resource(dice), "seconds": seconds}


def _gated(dice: random.Random) -> dict[str, object]:
    return {"resource": _resource(dice), "seconds": dice.choice([1, 3, 6, 12])}


def _deaths(dice: random.Random) -> dict[str, object]:
    # A stream that is half open is found after 70 s: few of those.
    ways = [way.value for way in Death if way is not Death.SILENT] * 3 + [Death.SILENT.value, "no-bookmarks"]
    way = dice.choice(ways)
    facts: dict[str, object] = {"way": way, "resource": _resource(dice)}
    return facts | {"times": dice.choice([1, 3])} if way.startswith("rewatch") else facts


def _outage(dice: random.Random) -> dict[str, object]:
    return {"way": dice.choice(["refuse", "503", "hang"]), "seconds": dice.choice([3, 8, 15, 30])}


_PARAMETERS: Mapping[str, Callable[[random.Random], dict[str, object]]] = {
    "F5": _stale,
    "F6": _gated,
    "F7": _gated,
    "F8": _gated,
    "F9": _deaths,
    "F10": _outage,
    "wipe": lambda dice: {"by": dice.choice(["crash", "somebody"])},
    "down": lambda dice: {"seconds": dice.choice([1, 2, 4, 7, 12, 20])},
}


def catalogue(labels: Mapping[str, Labels], seed: int) -> list[Plan]:
    """Every plan once, in an order in which any beginning is a fair sample of the whole: what is stopped early, or split
    into shards, still covers all of it."""
    moments = [moment for workload, counts in labels.items() for moment in writes(workload, counts)]
    plans = [*exhaustive(moments), *sampled(moments, seed)]
    random.Random(seed).shuffle(plans)
    return plans


def shard(plans: Iterable[Plan], part: int, parts: int) -> list[Plan]:
    """Part 1 of 4, 2 of 4, …"""
    return list(islice(plans, part - 1, None, parts))
