"""Convergence and stillness of the planner, from any state: the two properties that define a finished change."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.builders import accepted, model_deployment
from tests.support.world import World

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
    ),
    max_size=14,
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
        case _:
            it.run_pass()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(disturbances)
def test_from_any_state_repeated_passes_reach_serving_and_then_plan_nothing(events: list[tuple[str, Any]]) -> None:
    it = World(resource=model_deployment(status=accepted()))
    for kind, value in events:
        disturb(it, kind, value)
    it.claim_exists = True
    plan = it.settle()
    assert plan.actions == ()
    assert plan.status is not None
    ready = next(item for item in plan.status["conditions"] if item["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Serving"), ready
    assert ready["observedGeneration"] == it.resource["metadata"]["generation"]
    assert plan.status["updateRevision"] == 1, "a number belongs to one frozen content for ever"
    assert plan.status["revisions"][0]["readyReplicas"] == it.resource["spec"]["replicas"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(disturbances)
def test_reconciling_and_stalled_are_never_both_true_and_ready_excludes_them(events: list[tuple[str, Any]]) -> None:
    it = World(resource=model_deployment())
    for kind, value in events:
        disturb(it, kind, value)
        status = it.plan().status
        assert status is not None
        words = {item["type"]: item["status"] for item in status["conditions"]}
        assert [words["Ready"], words["Reconciling"], words["Stalled"]].count("True") == 1, words


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(disturbances)
def test_the_same_snapshot_always_gives_the_same_plan_and_is_not_changed(events: list[tuple[str, Any]]) -> None:
    it = World(resource=model_deployment(status=accepted()))
    for kind, value in events:
        disturb(it, kind, value)
    from slipway.core.planner import plan_pass

    snapshot = it.snapshot()
    kept = copy.deepcopy(snapshot)
    assert plan_pass(snapshot) == plan_pass(snapshot)
    assert snapshot == kept
