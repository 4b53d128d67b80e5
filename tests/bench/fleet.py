"""Part `fleet`: N ModelDeployments in the simulated bed, from their creation to a restart of the operator over them.

    floors ▸ create N ▸ idle minute ▸ touch all ▸ restart ▸ 30 spec changes, one at a time

Nodes and pods are simulated (a pod is Ready within a few hundred milliseconds), the control plane and the operator are
real, everything shares this machine's cores; the controllers' own client limits are raised (2000/s), or they would set the
pace. Times against the floor of the same run; calls are counted in the API server's audit log, watches and leases left out.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from slipway.api import names
from tests.bench import audit, floors
from tests.bench.audit import Call
from tests.bench.client import all_at_once, watching
from tests.bench.floors import Floor
from tests.bench.machine import Usage, cpu_s, memory_mib
from tests.bench.results import quantile
from tests.bench.stage import (
    EVENTS,
    MODEL_DEPLOYMENTS,
    Stage,
    model,
    model_deployment,
    path_of,
    ready_moments,
    resource_name,
    stage,
    tenant,
)
from tests.simulated.operator import OperatorProcess

PODS_EACH = 3  # one of the model, two routers
CHANGES = 30
IDLE_S = 60.0
LABEL = f"{names.GROUP}.bench/touched"
RESTART_QUIET_S = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """`count` ModelDeployments, from the first POST until the operator had nothing more to say."""

    ready_s: float
    each_s: list[float]  # per ModelDeployment, from the first POST
    calls: Counter[str]  # by the operator, Events left out
    events: int
    usage: Usage
    passes: float
    operator_s: float  # CPU
    memory_mib: float
    peak_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """What the operator does when nothing is to be done."""

    idle_calls: Counter[str]
    idle_cpu_s: float
    touch_calls: Counter[str]
    touch_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Spec changes, one at a time: a new model version, no steps."""

    first_write_ms: list[float]  # from the API server's receiving the PATCH to its receiving the operator's first write
    ready_s: list[float]  # PATCH sent → Ready with the new version
    calls: Counter[str]
    passes: float
    operator_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    calls: Counter[str]
    quiet_s: float  # first to last API call
    passes_s: float  # first API call → every ModelDeployment had its first pass
    operator_s: float
    memory_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Everything about one N."""

    count: int
    bare: Floor | None
    children: Floor | None
    created: Created
    still: Still | None
    changed: Changed | None
    restarted: Restarted | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which stories are told; the creation always is, because the others need what it makes."""

    floors: bool = True
    still: bool = True
    changes: bool = True
    restart: bool = True
    idle_s: float = IDLE_S


async def measure(count: int, wanted: Wanted) -> Fleet:
    bare = children = None
    if wanted.floors:
        async with stage(count * PODS_EACH) as place:
            sample = await floors.sample_children(place)
            bare = await floors.measure(place, floors.bare(sample), count, _limit_s(count))
        async with stage(count * PODS_EACH) as place:
            children = await floors.measure(place, sample, count, _limit_s(count))
    async with stage(count * PODS_EACH) as place:
        with place.operator() as operator:
            created = await _create(place, operator, count)
            still = await _stand_still(place, operator, count, wanted.idle_s) if wanted.still else None
        restarted = await _restart(place, count) if wanted.restart else None
        changed = await _changes_after_start(place, count) if wanted.changes else None
    return Fleet(
        count=count,
        bare=bare,
        children=children,
        created=created,
        still=still,
        changed=changed,
        restarted=restarted,
    )


async def _create(place: Stage, operator: OperatorProcess, count: int) -> Created:
    await place.quiet(quiet_s=2.0)
    passes, meter = _passes(operator), place.meter(operator)
    began, moments = await place.apply([model_deployment(number) for number in range(count)], _limit_s(count), "1.0.0")
    usage = meter.stop()
    calls = await place.quiet()
    whole = meter.stop()
    resident, peak = memory_mib(operator.pid)
    return Created(
        ready_s=max(moments.at.values()) - began,
        each_s=[at - began for at in moments.at.values()],
        calls=audit.count(place.by_operator(calls)),
        events=sum(1 for call in audit.of_user(calls, place.operator_user) if call.resource == EVENTS),
        usage=usage,
        passes=_passes(operator) - passes,
        operator_s=whole.by_process[operator.name],
        memory_mib=resident,
        peak_mib=peak,
    )


async def _stand_still(place: Stage, operator: OperatorProcess, count: int, idle_s: float) -> Still:
    place.log.take()
    before = cpu_s(operator.pid)
    await asyncio.sleep(idle_s)
    idle, idle_cpu = place.by_operator(place.log.take()), cpu_s(operator.pid) - before
    before = cpu_s(operator.pid)

    async def touch(number: int) -> None:
        await place.client.patch(path_of(number), {"metadata": {"labels": {LABEL: "yes"}}})

    await all_at_once([lambda number=number: touch(number) for number in range(count)])  # type: ignore[misc]
    touched = place.by_operator(await place.quiet(quiet_s=3.0))
    return Still(
        idle_calls=audit.count(idle),
        idle_cpu_s=idle_cpu,
        # The supervisor lists all ModelDeployments once a minute, whatever happens: that is no answer to a touch.
        touch_calls=audit.count(call for call in touched if call.what != f"list {names.PLURAL}"),
        touch_cpu_s=cpu_s(operator.pid) - before,
    )


async def _changes_after_start(place: Stage, count: int) -> Changed:
    with place.operator() as operator:
        await place.quiet()
        return await _change(place, operator, count)


async def _change(place: Stage, operator: OperatorProcess, count: int) -> Changed:
    """Thirty changes of thirty ModelDeployments (of fewer, in turns), each Ready before the next."""
    first_ms, ready_s, calls = [], [], Counter[str]()
    cpu, passes = 0.0, _passes(operator)
    for change in range(CHANGES):
        number, version = change % count, f"2.0.{change}"
        place.log.take()
        before = cpu_s(operator.pid)
        async with watching(place.client, MODEL_DEPLOYMENTS, ready_moments(version)) as moments:
            sent = time.monotonic()
            await place.client.patch(path_of(number), {"spec": {"model": model(version)}})
            ready_s.append(await moments.until(1, 60) - sent)
        logged = await place.quiet(quiet_s=1.5)
        cpu += cpu_s(operator.pid) - before
        first_ms.append(1000 * _first_write_s(logged, place.operator_user, number))
        calls += audit.count(call for call in place.by_operator(logged) if call.what != f"list {names.PLURAL}")
    return Changed(
        first_write_ms=first_ms,
        ready_s=ready_s,
        calls=calls,
        passes=_passes(operator) - passes,
        operator_s=cpu,
    )


def _first_write_s(calls: list[Call], user: str, number: int) -> float:
    patched = next(
        call.received_at
        for call in calls
        if call.user != user and call.what == f"patch {names.PLURAL}" and call.name == resource_name(number)
    )
    name = resource_name(number)
    ours = [
        call.received_at
        for call in audit.without(audit.of_user(calls, user), EVENTS, "leases")
        if call.is_write
        and call.namespace == tenant(number)
        and (call.name == name or call.name.startswith((f"{name}-", f"{name}.")) or not call.name)
        and call.received_at >= patched
    ]
    return min(ours) - patched


async def _restart(place: Stage, count: int) -> Restarted:
    place.log.take()
    operator = OperatorProcess.start(place.bed, place.installation, wait=False)
    try:
        looked: list[tuple[float, float]] = []  # when, and how many passes had succeeded

        async def look() -> None:
            while True:
                looked.append((time.time(), await asyncio.to_thread(_passes, operator)))
                await asyncio.sleep(0.05)

        task = asyncio.create_task(look())
        # The minute's list of the supervisor comes every 48–72 s, long after the start is over.
        calls = await place.quiet(quiet_s=RESTART_QUIET_S)
        task.cancel()
        ours = place.by_operator(calls)
        first = min(call.received_at for call in ours)
        last = max(call.received_at for call in ours if call.received_at < first + 40)
        done = next(when for when, passes in looked if passes >= count)
        return Restarted(
            calls=audit.count(ours),
            quiet_s=last - first,
            passes_s=done - first,
            operator_s=cpu_s(operator.pid),
            memory_mib=memory_mib(operator.pid)[0],
        )
    finally:
        operator.stop()


def _passes(operator: OperatorProcess) -> float:
    code, text = operator.get("/metrics")
    lines = text.splitlines() if code == 200 else ()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("slipway_reconcile_total{"))


def _limit_s(count: int) -> float:
    return 120.0 + 0.6 * count


def share(calls: Counter[str], count: int) -> dict[str, float]:
    """Calls for each ModelDeployment."""
    return {what: number / count for what, number in sorted(calls.items())}


def writes(calls: Counter[str]) -> int:
    return sum(number for what, number in calls.items() if what.partition(" ")[0] in audit.WRITES)


def p50_and_max(values: list[float]) -> tuple[float, float]:
    return quantile(values, 0.5), max(values)
