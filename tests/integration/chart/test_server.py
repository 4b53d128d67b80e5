"""The rendered chart against a real API server: strict validation and the restricted pod profile."""

from __future__ import annotations

import pytest

from tests.integration.chart.conftest import NAMESPACE, Rendered
from tests.support.kube_api import MERGE_PATCH, KubeApi

PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}
DRY = {"dryRun": "All", "fieldValidation": "Strict"}


@pytest.fixture(scope="module")
def restricted(kube_api: KubeApi) -> str:
    """A namespace that admits restricted pods only."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    name = kube_api.namespace(NAMESPACE)  # perhaps it is there already, from another test
    patch = {"metadata": {"labels": levels}}
    kube_api.request("PATCH", f"/api/v1/namespaces/{name}", patch, content_type=MERGE_PATCH).expect(200)
    return name


def test_the_server_accepts_every_object(kube_api: KubeApi, restricted: str, local: Rendered) -> None:
    for item in local.objects:
        path = PATHS[item["kind"]].format(namespace=restricted)
        answer = kube_api.request("POST", path, item, query=DRY)
        # Roles and the CRD may stand there already, from another test.
        answer.expect(201, *((409,) if "Role" in item["kind"] or item["kind"].startswith("Custom") else ()))
        assert not answer.warnings, f"{item['kind']}: {answer.warnings}"


def test_operator_pod_passes_the_restricted_profile(kube_api: KubeApi, restricted: str, default: Rendered) -> None:
    account = default.named("ServiceAccount", "slipway")
    kube_api.request("POST", PATHS["ServiceAccount"].format(namespace=restricted), account).expect(201, 409)
    template = default.named("Deployment", "slipway")["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "operator"}}
    pods = f"/api/v1/namespaces/{restricted}/pods"
    kube_api.request("POST", pods, pod, query=DRY).expect(201)
    # The other way round: this server does refuse pods.
    weaker = {**pod, "spec": {**pod["spec"], "hostNetwork": True}}
    answer = kube_api.request("POST", pods, weaker, query=DRY)
    assert answer.code == 403
    assert "restricted" in answer.message
