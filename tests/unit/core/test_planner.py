"""What one pass decides. Each test is a sentence about behaviour; the world in tests/support plays cluster."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest

from slipway.api import names
from slipway.core.plan import Apply, Create, Plan, Poke
from slipway.core.planner import plan_pass
from slipway.core.snapshot import ModelState
from slipway.core.traffic import repeated_pokes
from tests.support.builders import NOW, accepted, model_deployment, model_pod, router_pod
from tests.support.world import World


def world(**spec: Any) -> World:
    return World(resource=model_deployment(status=accepted(), **spec))


def settled(**spec: Any) -> World:
    made = world(**spec)
    made.settle()
    return made


def condition(plan: Plan, type_: str) -> dict[str, Any]:
    assert plan.status is not None
    return next(item for item in plan.status["conditions"] if item["type"] == type_)


def word(plan: Plan, type_: str = "Ready") -> tuple[str, str]:
    found = condition(plan, type_)
    return found["status"], found["reason"]


def test_first_sight_is_reported_as_unknown_before_any_work() -> None:
    """kstatus reads a resource without conditions as done, so the first write is Ready=Unknown."""
    plan = World(resource=model_deployment()).plan()
    assert plan.actions == ()
    assert word(plan) == ("Unknown", "Accepted")
    assert word(plan, "Reconciling") == ("True", "Accepted")
    assert plan.recheck_s == 0


def test_one_manifest_becomes_its_children_in_one_pass_and_the_record_comes_before_any_pod() -> None:
    plan = world().plan()
    created = [
        (action.manifest["kind"], action.manifest["metadata"]["name"])
        for action in plan.actions
        if isinstance(action, Create)
    ]
    assert created == [
        ("ControllerRevision", "fraud-r1"),
        ("ConfigMap", "fraud-router"),
        ("ConfigMap", "fraud-r1"),
        ("Service", "fraud-r1"),
        ("Deployment", "fraud-r1"),
        ("Deployment", "fraud-router"),
        ("PodDisruptionBudget", "fraud-router"),
        ("Service", "fraud"),
    ]


def test_every_child_is_owned_and_carries_the_immutable_labels() -> None:
    for action in world().plan().actions:
        assert isinstance(action, Create)
        metadata = action.manifest["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("ModelDeployment", "uid-fraud", True)
        assert metadata["labels"][names.LABEL_DEPLOYMENT] == "fraud"
        assert metadata["namespace"] == "risk"


def test_it_becomes_ready_when_every_router_confirms_and_then_lies_still() -> None:
    it = world(replicas=2)
    plan = it.settle()
    assert plan.actions == ()
    assert word(plan) == ("True", "Serving")
    assert word(plan, "Available") == ("True", "Serving")
    assert word(plan, "Reconciling")[0] == word(plan, "Stalled")[0] == "False"
    status = plan.status
    assert status is not None
    assert (status["stableRevision"], status["updateRevision"], status["weight"]) == (1, 1, 100)
    assert status["endpoints"] == {"http": "http://fraud.risk.svc:8000", "grpc": "fraud.risk.svc:8001"}
    (line,) = status["revisions"]
    assert (line["role"], line["replicas"], line["readyReplicas"], line["verifiedWeight"]) == ("Stable", 2, 2, 100)


def test_one_replica_is_said_to_be_single() -> None:
    assert word(settled(replicas=1).plan(), "Available") == ("True", "SingleReplica")


def test_the_route_stays_empty_until_a_pod_is_ready() -> None:
    """A name looked up before it exists is remembered as missing by the cluster's DNS for as long as it caches."""
    it = world()
    it.run_pass()
    route = it.objects["ConfigMap", "fraud-router"]["data"]
    assert json.loads(route[names.CLUSTERS_KEY])["resources"] == []
    it.follow()
    plan = it.run_pass()
    assert [type(action) for action in plan.actions[:2]] == [Apply, Apply]  # the digest, then the route
    route = it.objects["ConfigMap", "fraud-router"]["data"]
    assert json.loads(route[names.STATE_KEY])["routed"] == [{"revision": 1, "weight": 100}]
    assert json.loads(route[names.CLUSTERS_KEY])["resources"] != []


def test_every_router_is_poked_in_the_pass_that_writes_the_route() -> None:
    it = world()
    it.run_pass()
    it.follow()
    plan = it.run_pass()
    assert [action.pod for action in plan.actions if isinstance(action, Poke)] == ["fraud-router-0", "fraud-router-1"]


def test_a_router_that_lags_is_poked_again_with_a_fresh_value_and_called_slow_after_five_seconds() -> None:
    it = world()
    it.run_pass()
    it.follow()
    old = {pod: dict(data) for pod, data in it.tables.items()}
    it.run_pass()
    it.tables = old  # kubelet has not synced
    first = it.run_pass()
    assert word(first) == ("False", "VerifyingTraffic")
    assert [type(action) for action in first.actions] == [Poke, Poke]
    it.now += timedelta(seconds=6)
    second = it.run_pass()
    assert word(second) == ("False", "RouterSlow")
    assert {action.value for action in first.actions if isinstance(action, Poke)}.isdisjoint(
        action.value for action in second.actions if isinstance(action, Poke)
    )


def test_stable_is_recorded_only_when_all_routers_confirm() -> None:
    it = world()
    it.run_pass()
    it.follow()
    it.run_pass()
    stale = dict(it.tables["fraud-router-1"])
    it.follow()
    it.tables["fraud-router-1"] = stale
    plan = it.run_pass()
    assert json.loads(it.objects["ConfigMap", "fraud-router"]["data"][names.STATE_KEY])["stable"] is None
    assert word(plan) == ("False", "VerifyingTraffic")
    assert plan.status is not None
    assert plan.status["weight"] == 0


def test_recording_stable_changes_no_route() -> None:
    """The record lies beside the routes in one object; a new version of the table would have to be confirmed again."""
    it = world()
    for _ in range(2):
        it.run_pass()
        it.follow()
    before = it.objects["ConfigMap", "fraud-router"]["data"]
    it.run_pass()
    after = it.objects["ConfigMap", "fraud-router"]["data"]
    assert before[names.STATE_KEY] != after[names.STATE_KEY]
    assert before[names.ROUTES_KEY] == after[names.ROUTES_KEY]
    assert before[names.CLUSTERS_KEY] == after[names.CLUSTERS_KEY]


def test_a_changed_builder_or_platform_writes_no_serving_child() -> None:
    """An operator upgrade restarts no model: children of a revision follow from its ControllerRevision alone."""
    it = settled()
    plan = it.plan(dns_ttl_s=5, fetch_image="slipway.dev/fetch:2", cluster_domain="other.local", router_image="envoy:2")
    written = [
        (a.manifest["kind"], a.manifest["metadata"]["name"]) for a in plan.actions if isinstance(a, Create | Apply)
    ]
    assert written == [("Deployment", "fraud-router")]


def test_a_changed_profile_writes_nothing() -> None:
    it = settled()
    it.profiles["triton"] = it.profiles["triton"].replace("26.08", "26.09")
    assert it.plan().actions == ()
    del it.profiles["triton"]
    assert it.plan().actions == ()


def test_scaling_writes_the_deployment_and_from_two_replicas_on_a_budget() -> None:
    it = settled()
    it.resource["spec"]["replicas"] = 3
    deployment, budget = it.plan().actions
    assert isinstance(deployment, Apply)
    assert (deployment.manifest["kind"], deployment.manifest["metadata"]["name"]) == ("Deployment", "fraud-r1")
    assert deployment.manifest["spec"]["replicas"] == 3
    assert isinstance(budget, Create)
    assert (budget.manifest["kind"], budget.manifest["metadata"]["name"]) == ("PodDisruptionBudget", "fraud-r1")


def test_drift_of_an_owned_field_is_reverted_and_a_foreign_field_is_left() -> None:
    it = settled()
    live = it.objects["Deployment", "fraud-r1"]
    live["metadata"]["annotations"]["mesh.example.com/injected"] = "yes"
    live["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "mesh"})
    assert it.plan().actions == ()
    live["spec"]["replicas"] = 7
    (action,) = it.plan().actions
    assert isinstance(action, Apply)
    assert action.manifest["spec"]["replicas"] == 1


def test_wiping_status_changes_nothing_for_clients() -> None:
    it = settled()
    del it.resource["status"]
    before = {key: item["metadata"]["resourceVersion"] for key, item in it.objects.items()}
    plan = it.settle()
    assert word(plan) == ("True", "Serving")
    assert before == {key: item["metadata"]["resourceVersion"] for key, item in it.objects.items()}


def test_a_missing_claim_stalls_with_its_path_and_is_looked_at_again() -> None:
    it = world()
    it.claim_exists = False
    plan = it.plan()
    assert plan.actions == ()
    assert word(plan, "Stalled") == ("True", "ClaimNotFound")
    message = condition(plan, "Stalled")["message"]
    assert message.startswith("spec.model.storageUri")
    assert "'models'" in message
    assert plan.recheck_s == 10
    it.claim_exists = True
    assert word(it.settle()) == ("True", "Serving")


def test_an_unknown_profile_stalls_and_names_those_that_exist() -> None:
    plan = world(runtime={"profile": "gpu-big"}).plan()
    assert word(plan, "Stalled") == ("True", "ProfileNotFound")
    assert "cpu, triton" in condition(plan, "Stalled")["message"]


def test_a_broken_profile_stalls_and_says_where() -> None:
    it = world()
    it.profiles["triton"] = "image: x\nbackend: [python]\n"
    plan = it.plan()
    assert word(plan, "Stalled") == ("True", "ProfileInvalid")
    assert "unknown fields: backend" in condition(plan, "Stalled")["message"]


def test_an_invalid_field_stalls_and_changes_nothing_that_serves() -> None:
    it = settled()
    it.resource["spec"]["replicas"] = 0
    plan = it.plan()
    assert plan.actions == ()
    assert word(plan, "Stalled") == ("True", "InvalidSpec")
    assert "spec.replicas: is 0" in condition(plan, "Stalled")["message"]
    assert word(plan, "Available")[0] == "True"
    assert plan.status is not None
    assert plan.status["stableRevision"] == 1


def test_children_of_a_predecessor_are_waited_for() -> None:
    it = settled()
    it.resource["metadata"]["uid"] = "uid-new"
    it.resource["status"] = accepted()
    plan = it.plan()
    assert plan.actions == ()
    assert word(plan, "Reconciling") == ("True", "WaitingForDeletion")
    assert plan.recheck_s == 2


def test_a_look_alike_with_our_labels_is_neither_adopted_nor_touched() -> None:
    it = world()
    foreign = {
        "kind": "Deployment",
        "metadata": {"name": "fraud-r9", "namespace": "risk", "uid": "x", "labels": names.revision_labels("fraud", 9)},
    }
    it.objects["Deployment", "fraud-r9"] = foreign
    plan = it.plan()
    touched = [action.manifest["metadata"]["name"] for action in plan.actions if isinstance(action, Apply)]
    assert touched == []


def test_a_number_that_any_child_carries_is_never_given_again() -> None:
    it = world()
    it.objects["Service", "left"] = {
        "kind": "Service",
        "metadata": {"name": "left", "namespace": "risk", "uid": "x", "labels": names.revision_labels("fraud", 4)},
    }
    first = it.plan().actions[0]
    assert isinstance(first, Create)
    assert first.manifest["metadata"]["name"] == "fraud-r5"


def test_a_terminating_resource_gets_no_writes_and_no_status() -> None:
    it = settled()
    it.resource["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    assert it.plan() == Plan(actions=(), status=None)


def test_a_damaged_record_changes_nothing_and_says_so() -> None:
    it = settled()
    it.objects["ConfigMap", "fraud-router"]["data"][names.STATE_KEY] = "{"
    plan = it.plan()
    assert plan.actions == ()
    assert word(plan, "Stalled") == ("True", "RecordDamaged")


def test_a_deleted_router_config_map_is_rebuilt_from_the_revision() -> None:
    it = settled()
    del it.objects["ConfigMap", "fraud-router"]
    assert word(it.settle()) == ("True", "Serving")


def test_the_first_verified_digest_is_frozen_beside_the_pod_template() -> None:
    it = settled()
    assert it.objects["ConfigMap", "fraud-r1"]["data"][names.FROZEN_DIGEST_KEY] == f"sha256:{1:064x}"
    template = it.objects["Deployment", "fraud-r1"]["spec"]["template"]
    assert f"{1:064x}" not in json.dumps(template)


def test_a_pod_that_fetched_other_bytes_is_called_drift() -> None:
    it = settled(replicas=2)
    it.pods["fraud-r1-1"] = model_pod("fraud-r1-1", digest="sha256:" + "b" * 64)
    plan = it.plan()
    assert word(plan, "Stalled") == ("True", "DigestDrift")
    assert "fraud-r1-1" in condition(plan, "Stalled")["message"]


def test_triton_s_own_reason_reaches_the_condition() -> None:
    it = world()
    it.run_pass()
    it.pods["fraud-r1-0"] = model_pod("fraud-r1-0", ready=False)
    snapshot = it.snapshot()
    state = ModelState(pod="fraud-r1-0", ready=False, state="UNAVAILABLE", reason="PytorchStreamReader failed")
    plan = plan_pass(dataclasses.replace(snapshot, models=(state,)))
    assert word(plan, "Stalled") == ("True", "ModelLoadFailed")
    assert "PytorchStreamReader failed" in condition(plan, "Stalled")["message"]
    assert plan.recheck_s is not None
    assert plan.recheck_s <= 15


def test_a_silent_router_is_no_doubt_for_thirty_seconds_and_then_named() -> None:
    it = settled()
    snapshot = it.snapshot()
    first, second = snapshot.routers
    blink = dataclasses.replace(first, answer=None, error="timed out", unreachable_s=3.0)
    assert word(plan_pass(dataclasses.replace(snapshot, routers=(blink, second)))) == ("True", "Serving")
    lost = dataclasses.replace(blink, unreachable_s=31.0)
    plan = plan_pass(dataclasses.replace(snapshot, routers=(lost, second)))
    assert word(plan, "Stalled") == ("True", "RouterUnreachable")
    assert "fraud-router-0, port 9902" in condition(plan, "Stalled")["message"]


def test_without_any_answer_the_service_is_available_and_the_weight_unverified() -> None:
    it = settled(replicas=2)
    snapshot = it.snapshot()
    lost = tuple(
        dataclasses.replace(view, answer=None, error="refused", unreachable_s=31.0) for view in snapshot.routers
    )
    plan = plan_pass(dataclasses.replace(snapshot, routers=lost))
    assert word(plan, "Available") == ("True", "Serving")
    assert word(plan) == ("False", "TrafficUnverified")
    assert plan.status is not None
    assert plan.status["weight"] == 0


def test_transition_times_move_only_with_the_status_of_the_condition() -> None:
    it = settled()
    before = condition(it.plan(), "Ready")["lastTransitionTime"]
    it.now += timedelta(hours=1)
    assert condition(it.plan(), "Ready")["lastTransitionTime"] == before


def test_each_transition_is_announced_once() -> None:
    it = world()
    said = []
    for _ in range(8):
        said += [(news.type, news.reason) for news in it.run_pass().announcements]
        it.follow()
    assert said == [
        ("Normal", "RevisionCreated"),
        ("Normal", "RolloutStarted"),
        ("Normal", "Promoted"),
        ("Normal", "Serving"),
    ]


def test_a_router_that_runs_and_waits_for_its_route_is_not_called_starting() -> None:
    """Its readiness is the model's: before the route is confirmed no router is ready, and that is no trouble of theirs."""
    it = world()
    it.run_pass()
    it.follow()
    for pod in it.pods.values():
        if pod["metadata"]["labels"][names.LABEL_COMPONENT] == names.COMPONENT_ROUTER:
            pod["status"]["conditions"][0]["status"] = "False"
    assert word(it.plan()) == ("False", "VerifyingTraffic")


def test_dying_pods_of_a_predecessor_are_not_ours_whatever_their_labels_say() -> None:
    """Deleted and applied again at once: the old pod reports the old artefact's digest, which must not be frozen anew."""
    it = world()
    it.run_pass()
    ghost = model_pod("old-fraud-r1-x", digest="sha256:" + "c" * 64, deleting=True)
    it.pods["old-fraud-r1-x"] = ghost
    it.run_pass()
    assert names.FROZEN_DIGEST_KEY not in it.objects["ConfigMap", "fraud-r1"]["data"]
    del it.pods["old-fraud-r1-x"]
    assert word(it.settle()) == ("True", "Serving")


def test_ready_waits_for_a_router_that_clients_can_reach() -> None:
    """A router confirms before the kubelet calls it ready: Ready was True for a moment while the Service had no endpoint."""
    it = world()
    for _ in range(6):
        it.run_pass()
        it.follow()
        for pod in it.pods.values():
            if pod["metadata"]["labels"][names.LABEL_COMPONENT] == names.COMPONENT_ROUTER:
                pod["status"]["conditions"][0]["status"] = "False"
        assert word(it.plan())[0] != "True"
    assert word(it.plan()) == ("False", "WaitingForRouter")


@pytest.mark.parametrize(
    ("age_s", "since_last_s", "expected"),
    [(1, 0.4, 0), (1, 0.6, 1), (20, 0.6, 0), (20, 1.1, 1), (300, 4, 0), (300, 6, 1)],
)
def test_a_lagging_router_is_poked_soon_again_at_first_and_rarely_when_it_is_stuck(
    age_s: float, since_last_s: float, expected: int
) -> None:
    pod = router_pod(poked=(NOW - timedelta(seconds=since_last_s)).isoformat())
    again = repeated_pokes([pod], [pod["metadata"]["name"]], NOW - timedelta(seconds=age_s), NOW)
    assert len(again) == expected
