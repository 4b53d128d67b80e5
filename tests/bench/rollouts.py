"""Part `rollouts`: what a rollout in three steps (25, 50, 75 %) costs, alone and a hundred at once, with 4 replicas each.

The simulated bed as in part `fleet`. A rollout runs from the PATCH with a new model version until the new version is Ready,
and its calls and CPU are counted until the operator is quiet again, so that the removal of the old version is in them.
No pauses, no delay before the removal. Every weight is confirmed by both routers before the next step: the time from the
decision to that confirmation is the operator's own metric, read from its log.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson

from slipway.api import names
from tests.bench import audit
from tests.bench.client import all_at_once, watching
from tests.bench.fleet import share, writes
from tests.bench.machine import Usage, cpu_s, memory_mib
from tests.bench.results import Figure, Part, Table, quantile
from tests.bench.stage import EVENTS, MODEL_DEPLOYMENTS, Stage, model, model_deployment, path_of, ready_moments, stage
from tests.simulated.operator import OperatorProcess

COUNT, REPLICAS, ALONE = 100, 4, 10
STEPS = [{"setWeight": weight} for weight in (25, 50, 75)]
ROLLOUT: dict[str, Any] = {"canary": {"steps": STEPS}, "scaleDownDelaySeconds": 0, "drainTimeoutSeconds": 5}
PODS_EACH = 2 * REPLICAS + 2
# Argo Rollouts' controller on such a bed (two cores, simulated pods), the same steps and replicas: calls for each rollout
# alone and at once, CPU seconds of the whole bed for a hundred at once. Measured on 22 November 2026.
PEER_ALONE_CALLS, PEER_AT_ONCE_CALLS, PEER_AT_ONCE_CPU_S = 22.4, 20.0, 82.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    count: int
    ready_s: list[float]
    calls: Counter[str]
    events: int
    operator_s: float
    usage: Usage
    confirm_s: list[float]  # decision about a table → every router confirms it


def measure(count: int = COUNT) -> Part:
    alone, at_once, memory = asyncio.run(_measure(count))
    return _part(alone, at_once, memory)


async def _measure(count: int) -> tuple[Rolled, Rolled, float]:
    async with stage(count * PODS_EACH) as place:
        with place.operator() as operator:
            resources = [model_deployment(number, replicas=REPLICAS, rollout=ROLLOUT) for number in range(count)]
            await place.apply(resources, 120 + 2.0 * count, "1.0.0")
            await place.quiet()
            alone = await _one_by_one(place, operator, min(ALONE, count))
            at_once = await _roll(place, operator, list(range(count)), "3.0.0", 120 + 3.0 * count)
            return alone, at_once, memory_mib(operator.pid)[1]


async def _one_by_one(place: Stage, operator: OperatorProcess, count: int) -> Rolled:
    # A version of its own for each: those that were rolled out before are Ready with theirs.
    found = [await _roll(place, operator, [number], f"2.0.{number}", 60.0) for number in range(count)]
    return Rolled(
        count=count,
        ready_s=[seconds for rolled in found for seconds in rolled.ready_s],
        calls=sum((rolled.calls for rolled in found), Counter()),
        events=sum(rolled.events for rolled in found),
        operator_s=sum(rolled.operator_s for rolled in found),
        usage=found[-1].usage,
        confirm_s=[seconds for rolled in found for seconds in rolled.confirm_s],
    )


async def _roll(place: Stage, operator: OperatorProcess, numbers: list[int], version: str, limit_s: float) -> Rolled:
    read = operator.log.stat().st_size
    place.log.take()
    meter, before = place.meter(operator), cpu_s(operator.pid)
    async with watching(place.client, MODEL_DEPLOYMENTS, ready_moments(version)) as moments:
        sent = time.monotonic()
        await all_at_once(
            [
                lambda number=number: place.client.patch(path_of(number), {"spec": {"model": model(version)}})  # type: ignore[misc]
                for number in numbers
            ]
        )
        await moments.until(len(numbers), limit_s)
    calls = await place.quiet(quiet_s=3.0)
    return Rolled(
        count=len(numbers),
        ready_s=[at - sent for at in moments.at.values()],
        calls=audit.count(call for call in place.by_operator(calls) if call.what != f"list {names.PLURAL}"),
        events=sum(1 for call in audit.of_user(calls, place.operator_user) if call.resource == EVENTS),
        operator_s=cpu_s(operator.pid) - before,
        usage=meter.stop(),
        confirm_s=_confirmations(operator, read),
    )


def _confirmations(operator: OperatorProcess, offset: int) -> list[float]:
    text = operator.log.read_bytes()[offset:]
    entries = [orjson.loads(line) for line in text.splitlines() if b'"route confirmed"' in line]
    return [float(entry["seconds"]) for entry in entries]


def _part(alone: Rolled, at_once: Rolled, memory: float) -> Part:
    confirm = [*alone.confirm_s]
    return Part(
        name="rollouts",
        title="A rollout in three steps",
        about=(__doc__ or "").partition("\n\n")[2].strip(),
        figures=(
            Figure(
                what="calls for each rollout, one at a time",
                value=round(alone.calls.total() / alone.count, 1),
                unit="calls",
                note=f"{REPLICAS} replicas, 2 routers; Argo Rollouts {PEER_ALONE_CALLS}, without routers of its own",
            ),
            Figure(
                what=f"CPU of the whole bed for each of {at_once.count} rollouts at once",
                value=round(at_once.usage.bed_s / at_once.count, 2),
                unit="s",
                goal=PEER_AT_ONCE_CPU_S / 100,
                note="Argo Rollouts on such a bed: 82 s for 100",
            ),
            Figure(
                what=f"CPU of the operator for each of {at_once.count} rollouts at once",
                value=round(1000 * at_once.operator_s / at_once.count),
                unit="ms",
            ),
            Figure(
                what="weight decided → confirmed by every router, p50",
                value=round(quantile(confirm, 0.5), 2),
                unit="s",
                note=f"{len(confirm)} weights; simulated routers load a table 0.05–0.3 s after they are told",
            ),
        ),
        tables=(_times(alone, at_once, memory), _calls(alone, at_once)),
    )


def _times(alone: Rolled, at_once: Rolled, memory: float) -> Table:
    def row(label: str, rolled: Rolled) -> tuple[str | int | float, ...]:
        return (
            label,
            *(round(quantile(rolled.ready_s, 0.5), 2), round(max(rolled.ready_s), 2)),
            *(round(quantile(rolled.confirm_s, 0.5), 2), round(quantile(rolled.confirm_s, 0.99), 2)),
            *(round(writes(rolled.calls) / rolled.count, 1), round(rolled.events / rolled.count, 1)),
            round(rolled.operator_s / rolled.count, 3),
            round(rolled.usage.others_percent),
        )

    return Table(
        title=f"Time, writes and CPU (peak memory of the operator: {memory:.0f} MiB)",
        columns=(
            *("", "PATCH → Ready p50, s", "max", "confirm p50, s", "p99"),
            *("writes each", "Events each", "operator CPU s each", "other load, %"),
        ),
        rows=(row("one at a time", alone), row(f"{at_once.count} at once", at_once)),
    )


def _calls(alone: Rolled, at_once: Rolled) -> Table:
    one, many = share(alone.calls, alone.count), share(at_once.calls, at_once.count)
    return Table(
        title="Calls of the operator for each rollout, Events left out",
        columns=("call", "one at a time", f"{at_once.count} at once"),
        rows=(
            *((what, round(one.get(what, 0), 2), round(many.get(what, 0), 2)) for what in sorted({*one, *many})),
            ("all", round(sum(one.values()), 1), round(sum(many.values()), 1)),
        ),
    )
