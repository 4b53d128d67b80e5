"""What the builders make, before a real API server: strict validation and Pod Security `restricted`."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from slipway.build.disruption import build_revision_disruption_budget, build_router_disruption_budget
from slipway.build.router import build_route_files, build_router_config_map, build_router_deployment
from slipway.build.service import build_client_service
from slipway.build.workload import build_revision_config_map, build_revision_service, build_serving
from tests.support.kube_api import APPLY_PATCH, KubeApi
from tests.unit.build.samples import PLATFORM, PROFILE, SPEC, clusters_of, model_deployment, table

STRICT = {"fieldValidation": "Strict"}
APPLY = {**STRICT, "fieldManager": "slipway"}
PLURALS = {
    "Deployment": "apis/apps/v1",
    "Service": "api/v1",
    "ConfigMap": "api/v1",
    "PodDisruptionBudget": "apis/policy/v1",
}

CHILDREN: dict[str, dict[str, Any]] = {
    "model deployment": model_deployment(),
    "revision service": build_revision_service(namespace="risk", deployment="fraud", revision=3),
    "revision config map": build_revision_config_map(
        namespace="risk",
        deployment="fraud",
        revision=3,
        serving=build_serving(revision=3, spec=SPEC, profile=PROFILE),
        frozen_digest="sha256:" + "a" * 64,
    ),
    "client service": build_client_service("risk", "fraud"),
    "router config map": build_router_config_map(
        "risk", "fraud", build_route_files(table({3: 100}), clusters_of(3)), {"stable": None}
    ),
    "revision budget": build_revision_disruption_budget(namespace="risk", deployment="fraud", revision=3),
    "router budget": build_router_disruption_budget(namespace="risk", deployment="fraud"),
    "router deployment": build_router_deployment(namespace="risk", deployment="fraud", replicas=2, platform=PLATFORM),
}


@pytest.fixture
def restricted(kube_api: KubeApi) -> str:
    """A namespace that admits only restricted pods and warns about templates of others."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    namespace = kube_api.namespace(f"build-{uuid.uuid4().hex[:8]}", labels)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    kube_api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account).expect(201, 409)
    return namespace


@pytest.mark.parametrize("child", list(CHILDREN))
def test_every_child_is_accepted_without_a_warning_and_a_second_apply_changes_nothing(
    kube_api: KubeApi, restricted: str, child: str
) -> None:
    manifest = {**CHILDREN[child], "metadata": {**CHILDREN[child]["metadata"], "namespace": restricted}}
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    path = f"/{PLURALS[kind]}/namespaces/{restricted}/{kind.lower()}s/{name}"

    def apply() -> Any:
        answer = kube_api.request("PATCH", path, manifest, query=APPLY, content_type=APPLY_PATCH)
        assert answer.warnings == ""
        return answer.expect(200, 201)

    first, second = apply(), apply()
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


@pytest.mark.parametrize("child", ["model deployment", "router deployment"])
def test_a_restricted_namespace_admits_our_pods(kube_api: KubeApi, restricted: str, child: str) -> None:
    template = CHILDREN[child]["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "pod", "namespace": restricted},
        "spec": template["spec"],
    }
    answer = kube_api.request("POST", f"/api/v1/namespaces/{restricted}/pods", pod, query=STRICT)
    assert answer.warnings == ""
    stored = answer.expect(201)
    mounted = [mount for container in stored["spec"]["containers"] for mount in container["volumeMounts"]]
    assert not any("serviceaccount" in mount["mountPath"] for mount in mounted)


def test_that_namespace_refuses_a_pod_that_forgets_one_field(kube_api: KubeApi, restricted: str) -> None:
    """Otherwise the test above shows nothing."""
    spec = model_deployment()["spec"]["template"]["spec"]
    del spec["containers"][0]["securityContext"]["capabilities"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
    answer = kube_api.request("POST", f"/api/v1/namespaces/{restricted}/pods", pod)
    assert answer.code == 403
    assert "unrestricted capabilities" in answer.message
