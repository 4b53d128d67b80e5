"""Invariants 1, 2, 3 and 7 of the study of rollouts: pods before shares, and what answers stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.reasons import Reason
from slipway.api.status import Cause
from tests.support import guards
from tests.support.disturbances import Disturbance, examples, happen, histories
from tests.support.stages import FIRST_WEIGHT, ON_TRIAL, REPLICAS, STAGES, WITH_WEIGHT, at, condition, rollout, stages
from tests.support.world import World


@examples(15)
@given(stages(), histories(8))
def test_1_ready_stable_replicas_are_never_below_replicas_through_any_event_order(
    stage: str, events: list[Disturbance]
) -> None:
    """1: Ready stable replicas never below `replicas` through any event order. (What pods do by themselves is not ours:
    no write takes one away, and only a revision that is whole becomes stable.)"""
    happen(at(stage, guards=(guards.stable_is_never_starved,)), events)


@pytest.mark.parametrize("left", range(REPLICAS))
def test_1_a_revision_that_lost_pods_on_the_way_to_100_percent_does_not_become_stable(left: int) -> None:
    """1: the old stable is whole; it leaves only for one that is whole too."""
    it = at("promoting")
    it.unschedulable = True
    for name in sorted(it.ready_pods(2))[left:]:
        del it.pods[name]
    it.run(60)
    assert it.state()["stable"] == 1
    assert len(it.ready_pods(1)) == REPLICAS
    it.unschedulable = False
    it.rest()
    assert it.state()["stable"] == 2


@examples(15)
@given(stages(), histories(8))
def test_2_a_weight_needs_ready_capacity_before_the_write_also_on_abort_and_rollback(
    stage: str, events: list[Disturbance]
) -> None:
    """2: A revision's applied weight w needs ready capacity >= w before the write; also on abort, rollback, promoteFull."""
    happen(at(stage, guards=(guards.capacity_comes_before_weight,)), events)


@pytest.mark.parametrize("stage", WITH_WEIGHT)
@pytest.mark.parametrize("way", ["abort", "revert", "supersede", "edited steps"])
def test_2_nothing_is_taken_from_what_answers_for_a_stable_without_a_ready_pod(stage: str, way: str) -> None:
    """2, 7: capacity before weight in every direction: the share goes back as soon as one pod of stable is ready."""
    it = at(stage)
    it.follow()
    it.unschedulable = True
    for name in it.ready_pods(1):
        del it.pods[name]
    it.follow()
    before = it.weights()
    _leave(it, way)
    it.run(30)
    assert it.weights() == before
    it.unschedulable = False
    it.follow()
    it.run_pass()
    assert it.weights()[1] == 100


def _leave(it: World, way: str) -> None:
    match way:
        case "abort":
            it.annotate(action="abort")
        case "revert":
            it.edit(model={"version": "1", "storageUri": "pvc://models/fraud/1"})
        case "supersede":
            it.edit(model={"version": "3", "storageUri": "pvc://models/fraud/3"})
        case _:
            it.edit(rollout=rollout([{"pause": {}}, {"setWeight": 10}]))


@examples(15)
@given(stages(), histories(8))
def test_3_no_weight_or_pin_to_a_revision_without_a_ready_endpoint_as_the_routers_see_it(
    stage: str, events: list[Disturbance]
) -> None:
    """3: No weight, header or mirror to a revision without a ready endpoint and the version READY in Triton, as seen in
    EndpointSlices (here: by every router), not in our status."""
    happen(at(stage, guards=(guards.routers_agree_before_weight,)), events)


@pytest.mark.parametrize("stage", ["provisioning", "in the table", "raising", "timed pause", "open pause"])
def test_3_pods_that_no_router_sees_get_no_further_weight(stage: str) -> None:
    """3: a confirmed table proves nothing about endpoints, nor does kubelet's readiness."""
    it = at(stage)
    it.follow()
    it.blind = {2}
    before = it.weights().get(2, 0)
    it.annotate(action="promote")
    it.run(60)
    assert it.weights().get(2, 0) == before
    it.annotate(action="promote", id="again")
    it.blind = set()
    it.run(60)
    assert it.weights()[2] > before


def test_3_no_weight_rises_while_one_router_holds_an_older_table() -> None:
    """3: not even when a person skips every step that is left, and every pod is there and seen."""
    it = at("raising")
    deaf = it.tables["fraud-router-1"]
    it.annotate(action="promote-full", id="hurry")
    for _ in range(20):
        it.run_pass()
        it.follow()
        it.tables["fraud-router-1"] = deaf
    assert len(it.ready_pods(2)) == REPLICAS
    assert it.weights() == {1: 75, 2: 25}
    it.follow()
    it.run_pass()
    assert it.weights() == {1: 0, 2: 100}


@examples(20)
@given(stages(), histories(4), st.sampled_from(["all ready", "nothing there", "another stable"]))
def test_3_what_status_says_decides_nothing(stage: str, events: list[Disturbance], lie: str) -> None:
    """3, 14: status only reports; a forged, old or wiped one changes no write."""
    it = happen(at(stage), events, then_s=1)
    honest = it.plan().actions
    status: dict[str, Any] = copy.deepcopy(it.resource.get("status") or {})
    status.setdefault("conditions", [{"type": "Ready", "status": "Unknown", "reason": "Accepted", "message": ""}])
    if lie == "all ready":
        lines = [{"revision": n, "readyReplicas": 9, "weight": 100, "verifiedWeight": 100} for n in (1, 2, 3)]
        status.update(revisions=lines, weight=100)
    elif lie == "nothing there":
        status = {"conditions": status["conditions"]}
    else:
        status.update(stableRevision=3, updateRevision=3, rollout={"stage": "Idle", "stepIndex": 7})
    it.resource["status"] = status
    assert it.plan().actions == honest


@examples(15)
@given(stages(), histories(8))
def test_7_the_last_healthy_revision_is_never_removed_or_starved_whatever_the_phase(
    stage: str, events: list[Disturbance]
) -> None:
    """7: Last healthy revision is never removed or starved, whatever the phase."""
    happen(at(stage, guards=(guards.the_last_that_answers_stays,)), events)


@pytest.mark.parametrize("stage", ["holding the old", "removing"])
def test_7_an_old_revision_stays_while_the_one_with_the_traffic_has_no_ready_pod(stage: str) -> None:
    """7: the new stable dies within the delay after its promotion: what could still answer is kept for a rollback."""
    it = at(stage)
    it.follow()
    stable = it.state()["stable"]
    old = 3 - stable
    it.unschedulable = True
    for name in it.ready_pods(stable):
        del it.pods[name]
    it.run(120)
    assert len(it.ready_pods(old)) > 0
    it.unschedulable = False
    it.rest()
    assert ("Deployment", f"fraud-r{old}") not in it.objects


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "starting"])
def test_7_a_candidate_that_cannot_start_takes_nothing_from_what_serves(stage: str) -> None:
    """7: the next one fails at once, in every stage; what had the traffic has ready pods and all of it in the end."""
    it = at(stage)
    it.follow()
    it.broken = {it.state()["highestRevision"] + 1: Cause(reason=Reason.DIGEST_MISMATCH, message="words")}
    it.edit(model={"version": "3", "storageUri": "pvc://models/fraud/3"})
    for _ in range(60):
        it.run_pass()
        it.follow()
        answering = [number for number, weight in it.weights().items() if weight and it.ready_pods(number)]
        assert answering, it.weights()
    it.rest()
    stable = it.state()["stable"]
    assert it.weights() == {stable: 100}
    assert len(it.ready_pods(stable)) == REPLICAS
    assert stage not in ON_TRIAL or stable == 1


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "starting"])
@pytest.mark.parametrize("silent", [False, True], ids=["routers answer", "routers are silent"])
def test_7_a_lost_record_gives_nothing_to_what_had_less(stage: str, silent: bool) -> None:
    """7, 3: somebody deletes the router ConfigMap. The routers hold the last table, and if none answers, status names
    stable: never is it a first deployment, in which the newest spec, bad or not, takes everything at once."""
    it = at(stage)
    it.follow()
    before = it.weights()
    del it.objects["ConfigMap", "fraud-router"]
    if silent:
        it.tables.clear()
    trusted = {max(before, key=lambda number: (before[number], -number)), it.resource["status"]["stableRevision"]}
    for _ in range(3):
        it.run_pass()
        assert it.state()["stable"] in trusted
        for number, weight in it.weights().items():
            assert number in trusted or weight <= max(before.get(number, 0), FIRST_WEIGHT), "its steps begin anew"
        it.follow()
    it.rest()
    assert condition(it)[1] in ("Serving", "PausedAtStep")
