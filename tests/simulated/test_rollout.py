"""Whole rollouts by the real operator process: first version, promotion in steps, rejection of versions that do not work."""

from __future__ import annotations

import pytest

from tests.simulated.bed import Bed
from tests.simulated.control import Mode
from tests.simulated.installation import Installation
from tests.simulated.operator import OperatorProcess
from tests.simulated.tenant import Resource, Tenant, condition, is_ready

STEPS = {
    "strategy": "Canary",
    "canary": {"steps": [{"setWeight": 20}, {"pause": {"durationSeconds": 1}}, {"setWeight": 60}]},
    "progressDeadlineSeconds": 600,  # a busy machine is not a bad version
    "scaleDownDelaySeconds": 0,
    "drainTimeoutSeconds": 5,
}

pytestmark = pytest.mark.usefixtures("operator")


def serve_first(tenant: Tenant, replicas: int = 2) -> Resource:
    tenant.apply("1.0.0", replicas=replicas, rollout=STEPS)
    return tenant.wait("version 1.0.0 is Ready", lambda resource: is_ready(resource, "1.0.0"))


def test_a_version_is_served_and_the_next_one_promoted_in_steps(tenant: Tenant) -> None:
    serve_first(tenant)
    seen: set[int] = set()
    tenant.apply("2.0.0", replicas=2, rollout=STEPS)

    def promoted(resource: Resource) -> bool:
        held = tenant.bed.stand_in.routers(tenant.namespace)
        seen.update(router.weights.get(2, 0) for router in held)
        assert all(router.lost_percent == 0 for router in held if router.ready), held
        return is_ready(resource, "2.0.0")

    resource = tenant.wait("version 2.0.0 is promoted", promoted)
    assert resource["status"]["history"][0]["outcome"] == "Promoted"
    assert {20, 60, 100} <= seen


@pytest.mark.parametrize(
    ("profile", "reason"),
    [("simulated-bad-load", "ModelLoadFailed"), ("simulated-bad-fetch", "ArtifactNotFound")],
)
def test_a_version_that_cannot_start_is_rejected_and_stable_goes_on(tenant: Tenant, profile: str, reason: str) -> None:
    serve_first(tenant)
    tenant.apply("2.0.0", profile=profile, replicas=2, rollout=STEPS)

    def rejected(resource: Resource) -> bool:
        stalled = condition(resource, "Stalled")
        return stalled.get("status") == "True" and stalled.get("reason") == reason

    resource = tenant.wait(f"version 2.0.0 is rejected for {reason}", rejected)
    assert condition(resource, "Available")["status"] == "True"
    assert resource["status"]["stableRevision"] == 1
    held = tenant.bed.stand_in.routers(tenant.namespace, "fraud")
    assert [router.weights.get(1) for router in held] == [100, 100]
    assert [router.lost_percent for router in held] == [0, 0]


@pytest.mark.parametrize(("version", "reason"), [("2.0.0", "Serving"), ("2.0.0-wrong", "GoldenFailed")])
def test_a_gate_runs_once_as_a_job_and_what_it_finds_decides(tenant: Tenant, version: str, reason: str) -> None:
    """The Job controller, the garbage collector and the informers are real; only the pod's measurement is played."""
    gated = {**STEPS, "canary": {"steps": [{"golden": {}}, {"setWeight": 20}]}}
    serve_first(tenant)
    tenant.apply(version, replicas=2, rollout=gated)

    def decided(resource: Resource) -> bool:
        held = tenant.bed.stand_in.routers(tenant.namespace)
        assert reason == "Serving" or not any(router.weights.get(2) for router in held), held
        ready = condition(resource, "Ready")
        return ready.get("reason") == reason and resource["status"].get("updateRevision") == 2

    resource = tenant.wait(f"version {version} ends as {reason}", decided)
    assert resource["status"]["history"][0]["outcome"] == ("Promoted" if reason == "Serving" else "Aborted")
    jobs = tenant.bed.kubectl("get", "jobs", "--namespace", tenant.namespace, "--output", "name").split()
    pods = tenant.bed.kubectl(
        "get", "pods", "--selector", "slipway.dev/component=gate", "--namespace", tenant.namespace, "--output", "name"
    ).split()
    assert len(jobs) == (0 if reason == "Serving" else 1), "what failed is kept for its log"
    assert len(pods) <= 1


def test_a_weight_rises_only_when_every_router_has_confirmed(tenant: Tenant) -> None:
    serve_first(tenant)
    stuck, other = (router.pod for router in tenant.bed.stand_in.routers(tenant.namespace, "fraud"))
    tenant.bed.stand_in.set_routers(tenant.namespace, "fraud", Mode.STUCK, pod=stuck)
    tenant.apply("2.0.0", replicas=2, rollout=STEPS)
    tenant.wait("a router is slow", lambda resource: "RouterSlow" in str(condition(resource, "Reconciling")))
    held = {router.pod: router for router in tenant.bed.stand_in.routers(tenant.namespace, "fraud")}
    assert held[stuck].weights == {1: 100}
    assert held[other].weights.get(2, 0) == 0
    tenant.bed.stand_in.set_routers(tenant.namespace, "fraud", Mode.OK, pod=stuck)
    tenant.wait("version 2.0.0 is promoted", lambda resource: is_ready(resource, "2.0.0"))


def test_a_version_without_a_node_waits_for_one(tenant: Tenant) -> None:
    serve_first(tenant)
    tenant.apply(
        "2.0.0",
        replicas=2,
        rollout=STEPS,
        runtime={"profile": "triton", "resources": {"limits": {"nvidia.com/gpu": "64"}}},
    )
    resource = tenant.wait(
        "the version waits for capacity",
        lambda resource: condition(resource, "Ready").get("reason") == "WaitingForCapacity",
    )
    assert condition(resource, "Available")["status"] == "True"


def test_an_operator_that_is_killed_in_a_rollout_goes_on_where_it_was(
    bed: Bed, installation: Installation, operator: OperatorProcess, tenant: Tenant
) -> None:
    serve_first(tenant)
    tenant.apply("2.0.0", replicas=2, rollout=STEPS)
    tenant.wait("the first step", lambda resource: (resource["status"].get("rollout") or {}).get("stage") == "Stepping")
    operator.kill()
    assert bed.processes.find(operator.name) is None
    OperatorProcess.start(bed, installation)  # it ends with the bed
    resource = tenant.wait("version 2.0.0 is promoted", lambda resource: is_ready(resource, "2.0.0"))
    assert [entry["outcome"] for entry in resource["status"]["history"]] == ["Promoted", "Promoted"]
