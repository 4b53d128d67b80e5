"""What can happen to a ModelDeployment and its cluster, as data for property tests: people's edits, lost and stale things,
crashes, clocks. `disturb` lets one of them happen in a World.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from slipway.api.reasons import Reason
from slipway.api.status import Cause
from tests.support.world import World

Disturbance = tuple[str, Any]


def examples(count: int) -> Callable[[Any], Any]:
    """Settings of a property test. The unit stage asks the same `count` questions each time, so that it is red for the
    change at hand and for nothing else; `SLIPWAY_EXAMPLES=2000 make unit` looks longer, and elsewhere each time."""
    longer = os.environ.get("SLIPWAY_EXAMPLES")
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=int(longer or count), derandomize=longer is None, deadline=None, suppress_health_check=slow
    )


KINDS = [
    ("ConfigMap", "fraud-r1"),
    ("Service", "fraud-r1"),
    ("Deployment", "fraud-r1"),
    ("ConfigMap", "fraud-r2"),
    ("Service", "fraud-r2"),
    ("Deployment", "fraud-r2"),
    ("ConfigMap", "fraud-router"),
    ("Deployment", "fraud-router"),
    ("Service", "fraud"),
]

ACTIONS = ("promote", "promote-full", "pause", "resume", "abort", "retry", "restart", "rollback", "refresh")

DISTURBANCES: st.SearchStrategy[Disturbance] = st.one_of(
    st.tuples(st.just("crash"), st.integers(0, 8)),
    st.tuples(st.just("delete"), st.sampled_from(KINDS)),
    st.tuples(st.just("scale"), st.integers(1, 4)),
    st.tuples(st.just("routers"), st.integers(1, 3)),
    st.tuples(st.just("wipe status"), st.none()),
    st.tuples(st.just("lose pod"), st.integers(0, 5)),
    st.tuples(st.just("claim"), st.booleans()),
    st.tuples(st.just("stale router"), st.integers(0, 2)),
    st.tuples(st.just("cluster follows"), st.none()),
    st.tuples(st.just("hand edit"), st.sampled_from(KINDS)),
    st.tuples(st.just("pass"), st.none()),
    st.tuples(st.just("apply version"), st.sampled_from(["1", "2", "3"])),
    st.tuples(st.just("edit steps"), st.integers(0, 2)),
    st.tuples(st.just("act"), st.sampled_from([*ACTIONS, "nonsense"])),
    st.tuples(st.just("act with id"), st.sampled_from(ACTIONS)),
    st.tuples(st.just("clock"), st.integers(-30, 200)),
    st.tuples(st.just("paused"), st.booleans()),
    st.tuples(st.just("break"), st.integers(1, 3)),
    st.tuples(st.just("down"), st.integers(1, 3)),
    st.tuples(st.just("up"), st.integers(1, 3)),
    st.tuples(st.just("no node"), st.booleans()),
    st.tuples(st.just("run"), st.integers(1, 15)),
    st.tuples(st.just("in flight"), st.integers(1, 3)),
)


def histories(most: int) -> st.SearchStrategy[list[Disturbance]]:
    """Up to so many of them, one after another."""
    return st.lists(DISTURBANCES, max_size=most)


def disturb(it: World, kind: str, value: Any) -> None:
    match kind:
        case "crash":
            it.run_pass(crash_after=value)
        case "delete":
            it.objects.pop(value, None)
        case "scale":
            it.resource["spec"]["replicas"] = value
            it.resource["metadata"]["generation"] += 1
        case "routers":
            it.resource["spec"]["traffic"] = {"router": {"replicas": value}}
            it.resource["metadata"]["generation"] += 1
        case "wipe status":
            it.resource.pop("status", None)
        case "lose pod":
            for name in sorted(it.pods)[value : value + 1]:
                del it.pods[name]
                it.tables.pop(name, None)
        case "claim":
            it.claim_exists = value
        case "stale router":
            for name in sorted(it.tables)[value : value + 1]:
                old = it.tables[name]
                it.follow()
                it.tables[name] = old
        case "cluster follows":
            it.follow()
        case "hand edit":
            if value in it.objects:
                item = it.objects[value]
                bare = {"labels": {}, "annotations": {}, "resourceVersion": str(it.version)}
                it.objects[value] = {**item, "metadata": {**item["metadata"], **bare}}
        case "apply version":
            it.edit(model={"version": value, "storageUri": f"pvc://models/fraud/{value}"})
        case "edit steps":
            it.edit(rollout={"canary": {"steps": STEPS[value]}, "scaleDownDelaySeconds": 5, "drainTimeoutSeconds": 20})
        case "strategy":
            it.edit(rollout=VARIANTS[value])
        case "act":
            it.annotate(action=value)
        case "act with id":
            it.annotate(action=value, id=f"{value}-{it.version}")
        case "clock":
            it.now += timedelta(seconds=value)
        case "paused":
            it.edit(paused=value)
        case "break":
            it.broken[value] = Cause(reason=Reason.MODEL_LOAD_FAILED, message="words")
        case "down":
            it.down.add(value)
        case "up":
            it.down.discard(value)
        case "no node":
            it.unschedulable = value
        case "run":
            it.run(value)
        case "in flight":
            it.active = {value: 1}
        case _:
            it.run_pass()


def header_route(name: str, value: str | None = None) -> dict[str, Any]:
    """The step that begins the route, or, without a value, ends it."""
    match = [{"headerName": f"x-{name}", "headerValue": {"exact": value}}] if value is not None else []
    return {"setHeaderRoute": {"name": name, "match": match}}


DELAYS: dict[str, Any] = {"scaleDownDelaySeconds": 5, "drainTimeoutSeconds": 20}
# Every way to roll out that goes on by itself; each may take another's place in mid-rollout.
VARIANTS: dict[str, dict[str, Any]] = {
    "canary": {
        **DELAYS,
        "canary": {"steps": [{"setWeight": 30}, {"pause": {"durationSeconds": 3}}, {"setWeight": 60}]},
    },
    "scaled": {
        **DELAYS,
        "abortScaleDownDelaySeconds": 7,
        "canary": {
            "steps": [
                {"setCanaryScale": {"weight": 100}},
                {"setWeight": 10},
                {"setCanaryScale": {"matchTrafficWeight": True}},
                {"setWeight": 50},
                {"setCanaryScale": {"replicas": 1}},
                {"pause": {"durationSeconds": 3}},
            ]
        },
    },
    "fast": {
        **DELAYS,
        "stableUnhealthy": "FastForward",
        "canary": {"steps": [{"setWeight": 30}, {"pause": {"durationSeconds": 20}}, {"setWeight": 60}]},
    },
    "bake": {**DELAYS, "canary": {"steps": [{"setWeight": 30}, {"bake": {"durationSeconds": 8}}]}},
    "blue/green": {**DELAYS, "strategy": "BlueGreen", "blueGreen": {"autoPromotionSeconds": 3}},
    "replace": {
        **DELAYS,
        "placement": "Replace",
        "rollbackWindow": {"revisions": 1},
        "canary": {"steps": [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}]},
    },
    "auto": {
        **DELAYS,
        "placement": "Auto",
        "canary": {"steps": [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}]},
    },
    "recreate": {**DELAYS, "strategy": "Recreate"},
    "directed": {
        **DELAYS,
        "canary": {
            "steps": [
                {"setMirrorRoute": {"name": "all", "percentage": 20}},
                header_route("qa", "1"),
                {"setWeight": 10},
                header_route("staff", "2"),
                header_route("qa"),
                {"setMirrorRoute": {"name": "some", "match": [{"headers": {"x-a": {"exact": "1"}}}]}},
                {"setMirrorRoute": {"name": "all"}},
                {"pause": {"durationSeconds": 3}},
                {"setWeight": 60},
            ]
        },
    },
}


STEPS: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}],
    [{"pause": {"durationSeconds": 1}}, {"setWeight": 100}],
)


def mend(it: World) -> None:
    """All trouble ends, and every rollout can go on by itself."""
    it.claim_exists = True
    it.broken.clear()
    it.down.clear()
    it.active.clear()
    it.unschedulable = False
    rollout = it.resource["spec"].get("rollout") or {}
    goes_on = rollout in VARIANTS.values() or (rollout.get("canary") or {}).get("steps")
    it.edit(paused=False, **({} if goes_on else {"rollout": DELAYS}))
    if rollout.get("placement") == "Replace" and it.resource["spec"]["replicas"] < 2:
        it.edit(replicas=2)
    it.annotate(action="resume", id=f"mend-{it.version}")
    it.rest()


def happen(it: World, events: list[Disturbance], *, then_s: float = 25.0) -> World:
    """One after another, and then some time; the world's guards look at every write."""
    for kind, value in events:
        disturb(it, kind, value)
    it.run(then_s)
    return it
