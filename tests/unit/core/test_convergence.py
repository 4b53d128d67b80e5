"""Convergence and stillness of the planner, from any state: the two properties that define a finished change."""

from __future__ import annotations

import copy
import os
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.api.status import Cause, Reason
from slipway.core.planner import plan_pass
from tests.support.builders import accepted, model_deployment
from tests.support.world import World

# Seconds in the unit stage; `SLIPWAY_EXAMPLES=2000 make unit` looks longer.
EXAMPLES = int(os.environ.get("SLIPWAY_EXAMPLES", "40"))
KINDS = [
    ("ConfigMap", "fraud-r1"),
    ("Service", "fraud-r1"),
    ("Deployment", "fraud-r1"),
    ("ConfigMap", "fraud-router"),
    ("Deployment", "fraud-router"),
    ("Service", "fraud"),
]

disturbances = st.lists(
    st.one_of(
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
        st.tuples(st.just("act"), st.sampled_from(["promote", "abort", "retry", "rollback", "nonsense"])),
        st.tuples(st.just("act with id"), st.sampled_from(["promote", "abort", "retry", "rollback"])),
        st.tuples(st.just("clock"), st.integers(-30, 200)),
        st.tuples(st.just("paused"), st.booleans()),
        st.tuples(st.just("break"), st.integers(1, 3)),
        st.tuples(st.just("no node"), st.booleans()),
        st.tuples(st.just("run"), st.integers(1, 15)),
        st.tuples(st.just("in flight"), st.integers(1, 3)),
    ),
    max_size=24,
)


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
                item["metadata"]["labels"] = {}
                item["metadata"]["annotations"] = {}
                item["metadata"]["resourceVersion"] = str(it.version)
        case "apply version":
            it.edit(model={"version": value, "storageUri": f"pvc://models/fraud/{value}"})
        case "edit steps":
            it.edit(rollout={"canary": {"steps": STEPS[value]}, "scaleDownDelaySeconds": 5, "drainTimeoutSeconds": 20})
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
        case "no node":
            it.unschedulable = value
        case "run":
            it.run(value)
        case "in flight":
            it.active = {value: 1}
        case _:
            it.run_pass()


STEPS: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}],
    [{"pause": {"durationSeconds": 1}}, {"setWeight": 100}],
)


def mend(it: World) -> None:
    """All trouble ends, and every rollout can go on by itself."""
    it.claim_exists = True
    it.broken.clear()
    it.active.clear()
    it.unschedulable = False
    steps = ((it.resource["spec"].get("rollout") or {}).get("canary") or {}).get("steps")
    it.edit(paused=False, **({} if steps else {"rollout": {"scaleDownDelaySeconds": 5, "drainTimeoutSeconds": 20}}))
    it.run(90)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(disturbances)
def test_from_any_state_repeated_passes_reach_rest_and_then_plan_nothing(events: list[tuple[str, Any]]) -> None:
    """The world guards every write on the way (tests/support/world.py). At rest either the newest spec serves, or it was
    given up, by a failure or a person, and stable serves."""
    it = World(resource=model_deployment(status=accepted()))
    for kind, value in events:
        disturb(it, kind, value)
    mend(it)
    plan = it.settle()
    assert plan.actions == ()
    assert plan.status is not None
    ready = next(item for item in plan.status["conditions"] if item["type"] == "Ready")
    state = it.state()
    assert state["stable"] is not None
    assert state["rollout"] is None
    assert it.weights() == {state["stable"]: 100}
    if state["rejected"] is None:
        assert (ready["status"], ready["reason"]) == ("True", "Serving"), ready
        assert plan.status["updateRevision"] == state["stable"]
    else:
        assert (ready["status"], ready["reason"]) == ("False", state["rejected"]["reason"]), ready
    assert ready["observedGeneration"] == it.resource["metadata"]["generation"]
    serving = next(line for line in plan.status["revisions"] if line["revision"] == state["stable"])
    assert serving["readyReplicas"] == it.resource["spec"]["replicas"]
    deployments = {name for kind, name in it.objects if kind == "Deployment"}
    assert deployments == {"fraud-router", f"fraud-r{state['stable']}"}, "what left is gone"


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(disturbances)
def test_reconciling_and_stalled_are_never_both_true_and_ready_excludes_them(events: list[tuple[str, Any]]) -> None:
    it = World(resource=model_deployment())
    for kind, value in events:
        disturb(it, kind, value)
        status = it.plan().status
        assert status is not None
        words = {item["type"]: item["status"] for item in status["conditions"]}
        assert [words["Ready"], words["Reconciling"], words["Stalled"]].count("True") == 1, words


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(disturbances)
def test_the_same_snapshot_always_gives_the_same_plan_and_is_not_changed(events: list[tuple[str, Any]]) -> None:
    it = World(resource=model_deployment(status=accepted()))
    for kind, value in events:
        disturb(it, kind, value)
    snapshot = it.snapshot()
    kept = copy.deepcopy(snapshot)
    assert plan_pass(snapshot) == plan_pass(snapshot)
    assert snapshot == kept
