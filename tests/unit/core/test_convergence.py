"""Convergence and stillness of the planner, from any state: the two properties that define a finished change."""

from __future__ import annotations

import copy

from hypothesis import given

from slipway.core.planner import plan_pass
from tests.support.builders import accepted, model_deployment
from tests.support.disturbances import Disturbance, disturb, examples, histories, mend
from tests.support.world import World


@examples(40)
@given(histories(24))
def test_from_any_state_repeated_passes_reach_rest_and_then_plan_nothing(events: list[Disturbance]) -> None:
    """The world guards every write on the way (tests/support/world.py). At rest either the newest spec serves, or it was
    given up, by a failure or a person, and stable serves."""
    it = World(resource=model_deployment(status=accepted()))
    for kind, value in events:
        disturb(it, kind, value)
    mend(it)
    plan = it.rest()
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
    # What somebody hid from every cache by taking its labels goes with its owner, by Kubernetes' garbage collector.
    seen = [key for key, item in it.objects.items() if item["metadata"]["labels"]]
    deployments = {name for kind, name in seen if kind == "Deployment"}
    assert deployments == {"fraud-router", f"fraud-r{state['stable']}"}, "what left is gone"


@examples(40)
@given(histories(24))
def test_reconciling_and_stalled_are_never_both_true_and_ready_excludes_them(events: list[Disturbance]) -> None:
    it = World(resource=model_deployment())
    for kind, value in events:
        disturb(it, kind, value)
        status = it.plan().status
        assert status is not None
        words = {item["type"]: item["status"] for item in status["conditions"]}
        assert [words["Ready"], words["Reconciling"], words["Stalled"]].count("True") == 1, words


@examples(40)
@given(histories(24))
def test_the_same_snapshot_always_gives_the_same_plan_and_is_not_changed(events: list[Disturbance]) -> None:
    it = World(resource=model_deployment(status=accepted()))
    for kind, value in events:
        disturb(it, kind, value)
    snapshot = it.snapshot()
    kept = copy.deepcopy(snapshot)
    assert plan_pass(snapshot) == plan_pass(snapshot)
    assert snapshot == kept
