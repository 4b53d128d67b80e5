"""Invariants 4, 5, 6 and 22 of the study of rollouts: traffic goes first, then pods, and nothing is left behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api import names
from slipway.core.ownership import controller_of
from tests.support import guards
from tests.support.builders import accepted
from tests.support.disturbances import Disturbance, disturb, examples, happen, histories
from tests.support.stages import DELAY_S, DRAIN_S, STAGES, WITH_WEIGHT, at, rollout, stages
from tests.support.world import World

DRAIN_OF_ROUTERS_S = 8 + 300  # build/router.py: clients go away, then what is in flight


@examples(15)
@given(stages(), histories(8))
def test_4_nothing_is_deleted_or_scaled_down_while_any_route_names_it(stage: str, events: list[Disturbance]) -> None:
    """4: No Service, slot or pod is deleted, unloaded or scaled down while any route rule names it with weight > 0 or as
    header/mirror target. (Every revision of the table can be pinned, so each entry counts, at 0 % too.)"""
    happen(at(stage, guards=(guards.nothing_routed_is_removed,)), events)


@pytest.mark.parametrize("silent", [False, True], ids=["an old table", "no answer"])
def test_4_pods_and_service_stay_while_one_router_may_still_name_them(silent: bool) -> None:
    """4: the record has dropped the revision; what a router has in force, or does not tell, decides about its pods."""
    it = at("removing")
    assert 2 not in it.weights()
    if silent:
        it.silent = {"fraud-router-1"}
        it.run(120)
    else:
        _run_with_a_deaf_router(it, 40)
    assert {("Deployment", "fraud-r2"), ("Service", "fraud-r2")} <= set(it.objects)
    it.silent = set()
    it.rest()
    assert not {("Deployment", "fraud-r2"), ("Service", "fraud-r2")} & set(it.objects)


@examples(15)
@given(stages(), histories(8))
def test_5_scale_down_follows_the_weight_that_routers_confirm_never_the_desired_one(
    stage: str, events: list[Disturbance]
) -> None:
    """5: Scale-down follows observed weight, never desired weight."""
    happen(at(stage, guards=(guards.scale_down_follows_the_routers,)), events)


@pytest.mark.parametrize("stage", WITH_WEIGHT)
def test_5_steps_edited_to_less_take_no_pod_while_a_router_still_sends_the_old_share(stage: str) -> None:
    """5, 20: an edit that asks for 10 % writes 0 % first; the pods of 50 % stay as long as a router has not heard."""
    it = at(stage)
    it.follow()
    pods = it.objects["Deployment", "fraud-r2"]["spec"]["replicas"]
    it.edit(rollout=rollout([{"setWeight": 10}, {"pause": {}}]))
    _run_with_a_deaf_router(it, 40)
    assert it.weights()[2] == 0
    assert it.objects["Deployment", "fraud-r2"]["spec"]["replicas"] == pods


@examples(12)
@given(st.integers(0, 60), st.sampled_from(["promoting", "aborting"]))
def test_6_delay_clocks_start_when_every_router_confirms_zero(deaf_s: int, stage: str) -> None:
    """6: Delay clocks start at verified zero. However late the last router is, the whole delay comes after it."""
    it = at(stage)
    old = 1 if stage == "promoting" else 2
    _run_with_a_deaf_router(it, deaf_s)
    it.follow()
    verified_at: datetime = it.now
    assert old in it.weights()
    while old in it.weights():
        it.run_pass()
        it.follow()
    waited = it.now - verified_at
    assert waited >= timedelta(seconds=DELAY_S if stage == "promoting" else 0)
    assert ("Deployment", f"fraud-r{old}") in it.objects, "pods go after the routers confirmed a table without them"


@examples(12)
@given(st.integers(1, DRAIN_S + 20), st.sampled_from(["promoting", "aborting", "holding the old"]))
def test_6_requests_in_flight_finish_or_have_had_the_whole_drain_timeout(busy_s: int, stage: str) -> None:
    """6: in-flight requests finish. What a router still waits for keeps its revision in the table until drainTimeout."""
    it = at(stage, active={1: 1, 2: 1})
    old = 2 if stage == "aborting" else 1
    it.follow()
    start = it.now
    hold_s = 0 if old == 2 else DELAY_S
    while old in it.weights():
        if it.now >= start + timedelta(seconds=busy_s):
            it.active = {}
        it.run_pass()
        it.follow()
    passed_s = (it.now - start).total_seconds()
    assert passed_s >= min(busy_s, hold_s + DRAIN_S)
    assert passed_s <= max(busy_s, hold_s) + DRAIN_S + 10, "and not for ever"


@examples(20)
@given(stages(), histories(6))
def test_22_deleting_the_resource_writes_nothing_and_leaves_no_orphan(stage: str, events: list[Disturbance]) -> None:
    """22: Deleting the resource drains, leaves no orphan route/Service. Kubernetes' garbage collector removes what the
    resource controls, with the operator up or down; pods drain in their preStop."""
    it = happen(at(stage), events, then_s=1)
    for (kind, name), item in it.objects.items():
        controller = controller_of(item)
        assert controller is not None, f"{kind} {name} would stay for ever"
        assert controller["uid"] == it.resource["metadata"]["uid"]
    it.resource["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    writes = it.writes
    it.run_pass()
    assert it.writes == writes, "a write could recreate what the garbage collector has removed"


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "starting"])
def test_22_every_pod_that_goes_with_the_resource_drains_before_it_stops(stage: str) -> None:
    """22: Deleting the resource drains. Nobody is there any more to take shares away first, so each pod does it itself: it
    leaves the endpoints, waits for its clients to have heard of it, and has the time for what it still answers."""
    it = at(stage)
    deployments = [item for (kind, _), item in it.objects.items() if kind == "Deployment"]
    assert len(deployments) >= 2
    for item in deployments:
        pod = item["spec"]["template"]["spec"]
        serving = [entry for entry in pod["containers"] if "lifecycle" in entry]
        assert serving, f"{item['metadata']['name']} has no container that waits"
        for container in serving:
            hook = container["lifecycle"]["preStop"]
            waits_s = hook["sleep"]["seconds"] if "sleep" in hook else DRAIN_OF_ROUTERS_S
            assert pod["terminationGracePeriodSeconds"] > waits_s


@pytest.mark.parametrize("stage", STAGES)
def test_22_a_resource_of_the_same_name_waits_for_the_last_child_of_the_old_one(stage: str) -> None:
    """22: nothing of a deleted deployment is adopted, and nothing is written beside it."""
    it = at(stage)
    it.resource["metadata"] = {**it.resource["metadata"], "uid": "uid-another", "annotations": {}}
    it.resource["status"] = accepted()
    for key in [key for key in it.objects if key[0] == "PodDisruptionBudget"]:
        del it.objects[key]  # a budget routes nothing: who meets one of the old name waits for it alone
    while it.objects:
        assert it.run_pass().actions == ()
        it.objects.pop(next(iter(it.objects)))
    it.pods.clear()
    it.tables.clear()
    it.rest()
    assert it.weights() == {1: 100}


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap"])
@examples(8)
@given(stages(), histories(4))
def test_16_objects_of_others_are_never_modified(kind: str, stage: str, events: list[Disturbance]) -> None:
    """16: foreign routes are never modified. Nor is any object that carries our labels and is not ours."""
    it = at(stage)
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "fraud", "uid": "uid-stranger", "controller": True}
    metadata: dict[str, Any] = {"name": "fraud-r8", "namespace": "risk", "uid": "uid-foreign", "resourceVersion": "1"}
    metadata |= {"labels": names.revision_labels("fraud", 8), "ownerReferences": [owner]}
    template = {"metadata": {"labels": metadata["labels"]}}
    foreign = {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": {"replicas": 0, "template": template}}
    it.objects[kind, "fraud-r8"] = foreign
    for event in events:
        disturb(it, *event)
        assert it.objects[kind, "fraud-r8"] is foreign
    it.run(30)
    assert it.objects[kind, "fraud-r8"] is foreign


def _run_with_a_deaf_router(it: World, seconds: float) -> None:
    """One router keeps the table that it has now."""
    held = it.tables["fraud-router-1"]
    end = it.now + timedelta(seconds=seconds)
    while it.now < end:
        it.run_pass()
        it.follow()
        it.tables["fraud-router-1"] = held


def test_4_what_a_lost_record_forgets_to_be_leaving_leaves_all_the_same() -> None:
    """The old revision keeps its place at 0 % for a while; the record that said why is gone."""
    it = at("holding the old")
    it.follow()
    assert it.weights() == {1: 0, 2: 100}
    del it.objects["ConfigMap", "fraud-router"]
    it.rest()
    assert it.weights() == {2: 100}
    assert it.pods_of(1) == []
