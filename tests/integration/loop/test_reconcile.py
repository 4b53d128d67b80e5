"""The loop against a real API server: what it writes, what it leaves, and that it is still when nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api import names
from slipway.errors import TransientError
from tests.integration.loop.conftest import Bench
from tests.support.kube_api import MERGE_PATCH

APPS = "/apis/apps/v1"
OUR_API = f"/apis/{names.API_VERSION}"


async def test_a_manifest_becomes_its_children_and_every_one_of_them_is_accepted_by_the_api_server(
    bench: Bench,
) -> None:
    bench.claim()
    await bench.apply()
    await bench.passes(2)
    for path in (
        bench.path("controllerrevisions", "fraud-r1", APPS),
        bench.path("deployments", "fraud-r1", APPS),
        bench.path("deployments", "fraud-router", APPS),
        bench.path("services", "fraud-r1"),
        bench.path("services", "fraud"),
        bench.path("configmaps", "fraud-r1"),
        bench.path("configmaps", "fraud-router"),
    ):
        child = bench.api.request("GET", path).expect(200)
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["controller"]) == ("ModelDeployment", True)


async def test_a_no_op_pass_makes_no_request_at_all(bench: Bench) -> None:
    """What the API server made of our objects (defaults, rewritten quantities) is not drift."""
    bench.claim()
    resources = {"limits": {"cpu": "1000m", "memory": "1024Mi", "nvidia.com/gpu": 1}, "requests": {"memory": "0.5Gi"}}
    await bench.apply(runtime={"resources": resources, "shmSize": "1024Mi"})
    await bench.passes(3)
    bench.cluster.calls.clear()
    for _ in range(5):
        await bench.passes(1)
    assert bench.cluster.calls == []


async def test_the_user_s_object_gets_no_annotation_no_finalizer_and_no_spec_change(bench: Bench) -> None:
    bench.claim()
    await bench.apply()
    before = bench.live()
    await bench.passes(3)
    after = bench.live()
    assert after["spec"] == before["spec"]
    changed = {"resourceVersion", "managedFields"}
    assert {key: value for key, value in after["metadata"].items() if key not in changed} == {
        key: value for key, value in before["metadata"].items() if key not in changed
    }
    (ours,) = [entry for entry in after["metadata"]["managedFields"] if entry["manager"].startswith("slipway")]
    assert ours["subresource"] == "status"


async def test_unknown_is_written_before_the_first_child(bench: Bench) -> None:
    bench.claim()
    await bench.apply()
    await bench.passes(1)
    assert (bench.condition("Ready")["status"], bench.condition("Ready")["reason"]) == ("Unknown", "Accepted")
    assert bench.api.request("GET", bench.path("deployments", "fraud-r1", APPS)).code == 404


async def test_a_claim_may_appear_later(bench: Bench) -> None:
    await bench.apply()
    recheck_s = await bench.passes(2)
    assert bench.condition("Stalled")["reason"] == "ClaimNotFound"
    assert recheck_s == 10
    bench.claim()
    await bench.passes(1)
    bench.api.request("GET", bench.path("deployments", "fraud-r1", APPS)).expect(200)
    assert bench.condition("Stalled")["status"] == "False"


@pytest.mark.parametrize(
    ("plural", "group", "manifest"),
    [
        ("services", "/api/v1", {"kind": "Service", "metadata": {"name": "fraud"}, "spec": {"ports": [{"port": 80}]}}),
        ("configmaps", "/api/v1", {"kind": "ConfigMap", "metadata": {"name": "fraud-router"}, "data": {"mine": "yes"}}),
    ],
)
async def test_a_stranger_s_object_of_our_name_is_named_and_left_untouched(
    bench: Bench, plural: str, group: str, manifest: dict[str, Any]
) -> None:
    bench.claim()
    before = bench.api.request("POST", bench.path(plural, group=group), manifest).expect(201)
    await bench.apply()
    await bench.passes(3)
    name = manifest["metadata"]["name"]
    stalled = bench.condition("Stalled")
    assert stalled["reason"] == "NameCollision"
    assert f"{manifest['kind']} {name} exists" in stalled["message"]
    after = bench.api.request("GET", bench.path(plural, name, group)).expect(200)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    bench.api.request("DELETE", bench.path(plural, name, group)).expect(200)
    await bench.passes(1)
    assert bench.condition("Stalled")["status"] == "False"


async def test_drift_is_repaired_and_foreign_fields_stay(bench: Bench) -> None:
    bench.claim()
    await bench.apply(replicas=2)
    await bench.passes(3)
    path = bench.path("deployments", "fraud-r1", APPS)
    edit = {"metadata": {"annotations": {"team": "risk"}}, "spec": {"replicas": 7}}
    edited = bench.api.request("PATCH", path, edit, content_type=MERGE_PATCH).expect(200)
    await _seen(bench, edited)
    await bench.passes(1)
    live = bench.api.request("GET", path).expect(200)
    assert live["spec"]["replicas"] == 2
    assert live["metadata"]["annotations"]["team"] == "risk"


async def test_labels_that_somebody_took_off_are_put_back(bench: Bench) -> None:
    """Without them the object is in no cache: creating it again is refused, and the refusal leads to the repair."""
    bench.claim()
    await bench.apply()
    await bench.passes(3)
    path = bench.path("services", "fraud-r1")
    bench.api.request("PATCH", path, {"metadata": {"labels": None}}, content_type=MERGE_PATCH).expect(200)
    await bench.until(lambda: bench.stores.services.get(bench.namespace, "fraud-r1") is None)
    await bench.passes(1)
    live = bench.api.request("GET", path).expect(200)
    assert live["metadata"]["labels"][names.LABEL_DEPLOYMENT] == "fraud"


async def test_a_write_on_a_stale_basis_is_refused_and_the_next_pass_reads_again(bench: Bench) -> None:
    bench.claim()
    await bench.apply(replicas=2)
    await bench.passes(3)
    path = bench.path("deployments", "fraud-r1", APPS)
    stale = bench.stores.deployments.get(bench.namespace, "fraud-r1")
    assert stale is not None
    edited = bench.api.request("PATCH", path, {"spec": {"replicas": 7}}, content_type=MERGE_PATCH).expect(200)
    await _seen(bench, edited)
    older = {**stale, "spec": {**stale["spec"], "replicas": 3}}
    # What a lagging watch would still show.
    bench.stores.deployments._objects.put((bench.namespace, "fraud-r1"), older)
    with pytest.raises(TransientError):
        await bench.passes(1)
    live = bench.api.request("GET", path).expect(200)
    assert live["spec"]["replicas"] == 7


async def test_events_tell_each_transition_once(bench: Bench) -> None:
    await bench.apply()
    await bench.passes(4)
    bench.claim()
    await bench.passes(4)
    found = bench.api.request("GET", bench.path("events", group="/apis/events.k8s.io/v1")).expect(200)["items"]
    said = sorted(item["reason"] for item in found if item["regarding"]["name"] == "fraud")
    assert said == ["ClaimNotFound", "RevisionCreated", "RolloutStarted"]


async def test_a_terminating_namespace_is_no_error(bench: Bench) -> None:
    bench.claim()
    await bench.apply()
    await bench.passes(1)
    bench.api.request("DELETE", f"/api/v1/namespaces/{bench.namespace}").expect(200)
    assert await bench.passes(1) == 10.0


async def test_a_deleted_resource_gets_no_more_writes(bench: Bench) -> None:
    bench.claim()
    await bench.apply()
    await bench.passes(3)
    bench.api.request("DELETE", bench.path(names.PLURAL, "fraud", OUR_API)).expect(200)
    await bench.until(lambda: bench.stores.model_deployments.get(bench.namespace, "fraud") is None)
    bench.cluster.calls.clear()
    assert await bench.passes(1) is None
    assert bench.cluster.calls == []


async def _seen(bench: Bench, edited: dict[str, Any]) -> None:
    """Until the cache has the edit of an outsider."""
    name, version = edited["metadata"]["name"], edited["metadata"]["resourceVersion"]

    def holds() -> bool:
        cached = bench.stores.deployments.get(bench.namespace, name)
        return cached is not None and int(cached["metadata"]["resourceVersion"]) >= int(version)

    await bench.until(holds)
