"""What the client writes, judged by a real API server: preconditions, field ownership, and the errors of refusals."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import telemetry
from slipway.adapters import managed_fields
from slipway.adapters.access import KubeconfigFile
from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import CONFIG_MAPS, DEPLOYMENTS, MODEL_DEPLOYMENTS, PODS
from slipway.api.names import ANNOTATION_POKE
from slipway.errors import AlreadyExists, Conflict, NotFound, Rejected
from tests.cluster.certificates import Identity
from tests.cluster.controlplane import ControlPlane
from tests.integration.cluster.objects import config_map, deployment, model_deployment, pod
from tests.support.kube_api import KubeApi


def identity(obj: dict[str, Any]) -> dict[str, Any]:
    return {"uid": obj["metadata"]["uid"], "resource_version": obj["metadata"]["resourceVersion"], "live": obj}


def managers(obj: dict[str, Any]) -> list[tuple[str, str, str]]:
    return sorted(
        (entry["manager"], entry["operation"], entry.get("subresource", ""))
        for entry in obj["metadata"]["managedFields"]
    )


def requests(verb: str, resource: str) -> float:
    return sum(
        sample.value
        for metric in telemetry.kube_requests.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and (sample.labels["verb"], sample.labels["resource"]) == (verb, resource)
    )


async def test_a_second_create_of_a_name_says_that_it_is_taken(cluster: Cluster, namespace: str) -> None:
    created = await cluster.create(config_map(namespace, key="1"))
    assert created["kind"] == "ConfigMap"
    with pytest.raises(AlreadyExists, match=rf"create ConfigMap {namespace}/fraud-r1: 409 AlreadyExists"):
        await cluster.create(config_map(namespace, key="2"))
    assert (await cluster.get(CONFIG_MAPS, namespace, "fraud-r1"))["data"] == {"key": "1"}


async def test_a_field_left_out_of_the_next_apply_disappears_and_foreign_fields_stay(
    cluster: Cluster, kube_api: KubeApi, namespace: str
) -> None:
    """Fields of a POST belong to an Update entry; without turning that into an Apply entry `old` would stay for ever."""
    created = await cluster.create(config_map(namespace, kept="1", old="1"))
    path = CONFIG_MAPS.path(namespace, "fraud-r1")
    foreign = {"data": {"foreign": "1"}, "metadata": {"annotations": {"someone.example/else": "1"}}}
    live = kube_api.request("PATCH", path, foreign, content_type="application/merge-patch+json").expect(200)
    assert created["metadata"]["uid"] == live["metadata"]["uid"]

    written = await cluster.apply(config_map(namespace, kept="2"), **identity(live))

    assert written["data"] == {"kept": "2", "foreign": "1"}
    assert written["metadata"]["annotations"] == {"someone.example/else": "1"}
    assert [entry for entry in managers(written) if entry[0] == "slipway"] == [("slipway", "Apply", "")]


async def test_an_environment_variable_left_out_of_a_deployment_disappears(cluster: Cluster, namespace: str) -> None:
    created = await cluster.create(deployment(namespace, "A", "B"))
    written = await cluster.apply(deployment(namespace, "A"), **identity(created))
    container = written["spec"]["template"]["spec"]["containers"][0]
    assert [entry["name"] for entry in container["env"]] == ["A"]


async def test_the_fields_of_the_post_are_taken_over_once_and_not_asked_for_again(
    cluster: Cluster, namespace: str
) -> None:
    created = await cluster.create(config_map(namespace, key="1"))
    gets, patches = requests("get", "configmaps"), requests("patch", "configmaps")
    first = await cluster.apply(config_map(namespace, key="2"), **identity(created))
    assert (requests("get", "configmaps") - gets, requests("patch", "configmaps") - patches) == (0, 1)
    second = await cluster.apply(config_map(namespace), **identity(first))
    assert (requests("get", "configmaps") - gets, requests("patch", "configmaps") - patches) == (0, 1)
    assert "data" not in second


async def test_the_fields_of_the_post_are_taken_over_from_what_the_cache_keeps_and_from_a_read_where_it_knows_nothing(
    cluster: Cluster, kube_api: KubeApi, namespace: str
) -> None:
    await cluster.create(config_map(namespace, kept="1", old="1"))
    foreign = {"data": {"foreign": "1"}}
    path = CONFIG_MAPS.path(namespace, "fraud-r1")
    live = kube_api.request("PATCH", path, foreign, content_type="application/merge-patch+json").expect(200)
    kept = live["metadata"] | {"managedFields": managed_fields.trimmed(live["metadata"]["managedFields"])}
    gets = requests("get", "configmaps")
    written = await cluster.apply(config_map(namespace, kept="2"), **identity({**live, "metadata": kept}))
    assert written["data"] == {"kept": "2", "foreign": "1"}
    assert requests("get", "configmaps") == gets

    other = await cluster.create(config_map(namespace, "fraud-r2", kept="1", old="1"))
    written = await cluster.apply(config_map(namespace, "fraud-r2", kept="2"), **{**identity(other), "live": None})
    assert written["data"] == {"kept": "2"}
    assert requests("get", "configmaps") == gets + 1


@pytest.mark.parametrize("trimmed", [False, True], ids=["first apply", "later apply"])
async def test_an_apply_on_an_outdated_read_is_a_conflict_and_changes_nothing(
    cluster: Cluster, kube_api: KubeApi, namespace: str, trimmed: bool
) -> None:
    live = await cluster.create(config_map(namespace, key="1"))
    if trimmed:
        live = await cluster.apply(config_map(namespace, key="1"), **identity(live))
    path = CONFIG_MAPS.path(namespace, "fraud-r1")
    kube_api.request("PATCH", path, {"data": {"f": "1"}}, content_type="application/merge-patch+json").expect(200)
    with pytest.raises(Conflict):
        await cluster.apply(config_map(namespace, key="2"), **identity(live))
    assert (await cluster.get(CONFIG_MAPS, namespace, "fraud-r1"))["data"] == {"key": "1", "f": "1"}


async def test_an_apply_never_touches_a_namesake_and_never_creates(cluster: Cluster, namespace: str) -> None:
    live = await cluster.create(config_map(namespace, key="1"))
    live = await cluster.apply(config_map(namespace, key="1"), **identity(live))
    await cluster.delete(CONFIG_MAPS, namespace, "fraud-r1", uid=live["metadata"]["uid"])
    with pytest.raises((Conflict, NotFound)):
        await cluster.apply(config_map(namespace, key="2"), **identity(live))
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAPS, namespace, "fraud-r1")
    await cluster.create(config_map(namespace, key="namesake"))
    with pytest.raises(Conflict):
        await cluster.apply(config_map(namespace, key="2"), **identity(live))
    assert (await cluster.get(CONFIG_MAPS, namespace, "fraud-r1"))["data"] == {"key": "namesake"}


@pytest.mark.usefixtures("crd")
async def test_status_is_ours_alone_and_what_is_left_out_disappears(
    cluster: Cluster, kube_api: KubeApi, namespace: str
) -> None:
    path = MODEL_DEPLOYMENTS.path(namespace)
    live = kube_api.request("POST", path, model_deployment(namespace)).expect(201)
    manifest = {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {"name": "fraud", "namespace": namespace},
    }
    uid = live["metadata"]["uid"]
    await cluster.apply_status(
        MODEL_DEPLOYMENTS, {**manifest, "status": {"observedGeneration": 1, "replicas": 1}}, uid=uid
    )
    written = await cluster.apply_status(MODEL_DEPLOYMENTS, {**manifest, "status": {"observedGeneration": 1}}, uid=uid)
    assert written["status"] == {"observedGeneration": 1}
    assert written["spec"] == live["spec"]
    assert written["metadata"]["generation"] == live["metadata"]["generation"]
    assert [entry for entry in managers(written) if entry[0].startswith("slipway")] == [
        ("slipway-status", "Apply", "status")
    ]


@pytest.mark.usefixtures("crd")
async def test_the_status_of_a_namesake_is_left_alone(cluster: Cluster, kube_api: KubeApi, namespace: str) -> None:
    path = MODEL_DEPLOYMENTS.path(namespace, "fraud")
    old = kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace)).expect(201)
    kube_api.request("DELETE", path).expect(200)
    kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace)).expect(201)
    manifest = {key: value for key, value in model_deployment(namespace).items() if key != "spec"}
    manifest["status"] = {"observedGeneration": 7}
    with pytest.raises(Conflict):
        await cluster.apply_status(
            MODEL_DEPLOYMENTS,
            manifest,
            uid=old["metadata"]["uid"],
            resource_version=old["metadata"]["resourceVersion"],
        )
    assert "status" not in kube_api.request("GET", path).expect(200)
    with pytest.raises(Conflict):  # without a version it is written, and noticed
        await cluster.apply_status(MODEL_DEPLOYMENTS, manifest, uid=old["metadata"]["uid"])


@pytest.mark.usefixtures("crd")
async def test_the_status_of_a_resource_that_is_gone_is_not_found(cluster: Cluster, namespace: str) -> None:
    manifest = {key: value for key, value in model_deployment(namespace).items() if key != "spec"}
    manifest["status"] = {"observedGeneration": 1}
    with pytest.raises((NotFound, Conflict)):
        await cluster.apply_status(MODEL_DEPLOYMENTS, manifest, uid="00000000-0000-0000-0000-000000000000")
    found = await cluster.list(MODEL_DEPLOYMENTS, namespace=namespace)
    assert found[0] == []


async def test_a_delete_hits_only_the_object_that_was_meant(cluster: Cluster, namespace: str) -> None:
    live = await cluster.create(config_map(namespace, key="1"))
    uid = live["metadata"]["uid"]
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, namespace, "fraud-r1", uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, namespace, "fraud-r1", uid=uid, resource_version="1")
    await cluster.get(CONFIG_MAPS, namespace, "fraud-r1")
    await cluster.delete(
        CONFIG_MAPS, namespace, "fraud-r1", uid=uid, resource_version=live["metadata"]["resourceVersion"]
    )
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAPS, namespace, "fraud-r1")
    await cluster.delete(CONFIG_MAPS, namespace, "fraud-r1", uid=uid)  # gone already: nothing to complain about


async def test_a_poke_changes_one_annotation_of_that_very_pod(cluster: Cluster, namespace: str) -> None:
    live = await cluster.create(pod(namespace))
    uid = live["metadata"]["uid"]
    first = await cluster.patch_annotation(PODS, namespace, "router", ANNOTATION_POKE, "1", uid=uid)
    second = await cluster.patch_annotation(PODS, namespace, "router", ANNOTATION_POKE, "2", uid=uid)
    assert second["metadata"]["annotations"] == {ANNOTATION_POKE: "2"}
    assert second["spec"] == first["spec"] == live["spec"]
    with pytest.raises(Conflict):
        await cluster.patch_annotation(
            PODS, namespace, "router", ANNOTATION_POKE, "3", uid="00000000-0000-0000-0000-000000000000"
        )
    with pytest.raises(NotFound):
        await cluster.patch_annotation(PODS, namespace, "absent", ANNOTATION_POKE, "3", uid=uid)


@pytest.mark.usefixtures("crd")
async def test_an_event_is_found_where_kubectl_describe_looks(
    cluster: Cluster, kube_api: KubeApi, namespace: str
) -> None:
    live = kube_api.request("POST", MODEL_DEPLOYMENTS.path(namespace), model_deployment(namespace)).expect(201)
    await cluster.create_event(live, type_="Warning", reason="ModelLoadFailed", message="ü" * 3000)
    selector = f"involvedObject.uid={live['metadata']['uid']}"
    found = kube_api.request("GET", f"/api/v1/namespaces/{namespace}/events", query={"fieldSelector": selector}).expect(
        200
    )["items"]
    assert [(event["type"], event["reason"], event["reportingComponent"]) for event in found] == [
        ("Warning", "ModelLoadFailed", "slipway")
    ]
    assert 990 < len(found[0]["message"].encode()) <= 1000


async def test_what_a_retry_cannot_cure_is_rejected_with_the_servers_words(cluster: Cluster, namespace: str) -> None:
    wrong = deployment(namespace)
    wrong["spec"]["selector"]["matchLabels"] = {"app": "other"}
    with pytest.raises(Rejected, match="`selector` does not match template `labels`") as caught:
        await cluster.create(wrong)
    assert caught.value.code == 422
    with pytest.raises(NotFound, match=r"namespaces .* not found"):
        await cluster.create(config_map("no-such-namespace"))


async def test_a_missing_permission_is_rejected_and_names_verb_and_kind(
    control_plane: ControlPlane, namespace: str
) -> None:
    kubeconfig = control_plane.issue_kubeconfig("nobody", Identity(user="nobody-in-particular"))
    powerless = await Cluster.connect(KubeconfigFile(path=str(kubeconfig)), SystemClock())
    try:
        with pytest.raises(Rejected, match=r"list Deployment .*: 403 Forbidden: .*cannot list") as caught:
            await powerless.list(DEPLOYMENTS)
        assert caught.value.code == 403
    finally:
        await powerless.close()


async def test_read_only_mappings_of_a_plan_can_be_written(cluster: Cluster, namespace: str) -> None:
    from types import MappingProxyType

    manifest = MappingProxyType({**config_map(namespace), "data": MappingProxyType({"key": "1"})})
    assert (await cluster.create(manifest))["data"] == {"key": "1"}
