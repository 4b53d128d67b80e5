"""What the operator and the users may do: the rendered roles against a table, then against a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.chart.conftest import NAMESPACE, Render, Rendered
from tests.support.kube_api import KubeApi

READ = {"get", "list", "watch"}
OWN = {*READ, "create", "patch", "delete"}
CRD = "modeldeployments.slipway.dev"
OPERATOR: dict[tuple[str, str, str], set[str]] = {
    ("slipway.dev", "modeldeployments", ""): {*READ, "patch"},  # to take off the annotations of an answered action
    ("slipway.dev", "modeldeployments/status", ""): {"get", "patch"},
    ("slipway.dev", "modeldeployments/finalizers", ""): {"update"},
    ("apps", "deployments", ""): OWN,
    ("apps", "controllerrevisions", ""): OWN,
    ("apps", "replicasets", ""): READ,
    ("", "services", ""): OWN,
    ("", "configmaps", ""): OWN,
    ("policy", "poddisruptionbudgets", ""): OWN,
    ("batch", "jobs", ""): OWN,
    ("", "pods", ""): {*READ, "patch"},
    ("", "persistentvolumeclaims", ""): {"get"},
    ("", "events", ""): {"create", "patch"},
    ("events.k8s.io", "events", ""): {"create", "patch"},
    ("apiextensions.k8s.io", "customresourcedefinitions", CRD): READ,
}
# In its own namespace only.
OPERATOR_AT_HOME: dict[tuple[str, str, str], set[str]] = {
    ("coordination.k8s.io", "leases", ""): {"create"},
    ("coordination.k8s.io", "leases", "slipway"): {"get", "patch"},
}
VIEW: dict[tuple[str, str, str], set[str]] = {
    ("slipway.dev", "modeldeployments", ""): READ,
    ("slipway.dev", "modeldeployments/status", ""): {"get"},
    ("slipway.dev", "modeldeployments/scale", ""): {"get"},
}
EDIT: dict[tuple[str, str, str], set[str]] = {
    ("slipway.dev", "modeldeployments", ""): {"create", "update", "patch", "delete", "deletecollection"},
    ("slipway.dev", "modeldeployments/scale", ""): {"update", "patch"},
}


def table(role: dict[str, Any]) -> dict[tuple[str, str, str], set[str]]:
    found: dict[tuple[str, str, str], set[str]] = {}
    for rule in role["rules"]:
        assert set(rule) <= {"apiGroups", "resources", "resourceNames", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    found.setdefault((group, resource, name), set()).update(rule["verbs"])
    return found


def test_operator_may_do_exactly_this(default: Rendered) -> None:
    assert table(default.named("ClusterRole", "slipway")) == OPERATOR
    assert table(default.named("Role", "slipway")) == OPERATOR_AT_HOME


@pytest.mark.parametrize(("name", "expected"), [("slipway-view", VIEW), ("slipway-edit", EDIT)])
def test_users_get_exactly_this(default: Rendered, name: str, expected: dict[tuple[str, str, str], set[str]]) -> None:
    assert table(default.named("ClusterRole", name)) == expected


def test_user_roles_join_the_built_in_ones(default: Rendered) -> None:
    def joins(name: str) -> set[str]:
        labels = default.named("ClusterRole", name)["metadata"]["labels"]
        return {key.rpartition("-")[2] for key, value in labels.items() if "aggregate-to" in key and value == "true"}

    assert joins("slipway-view") == {"view", "edit", "admin"}
    assert joins("slipway-edit") == {"edit", "admin"}


def test_operator_role_is_bound_to_its_account_only(default: Rendered) -> None:
    for kind in ("ClusterRole", "Role"):
        binding = default.named(f"{kind}Binding", "slipway")
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (kind, "slipway")
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "slipway", "namespace": NAMESPACE}]


def test_roles_can_be_left_to_the_admin(render: Render) -> None:
    kinds = render("--set", "rbac.create=false,rbac.aggregate=false").kinds()
    assert not {kind for kind in kinds if "Role" in kind}


@pytest.fixture(scope="module")
def installed_roles(kube_api: KubeApi, default: Rendered) -> KubeApi:
    """Roles and binding of the chart on the real API server."""
    base = "/apis/rbac.authorization.k8s.io/v1"
    kube_api.namespace(NAMESPACE)
    for item in default.objects:
        if "Role" in item["kind"]:
            scope = f"namespaces/{item['metadata']['namespace']}/" if "namespace" in item["metadata"] else ""
            kube_api.request("POST", f"{base}/{scope}{item['kind'].lower()}s", item).expect(201, 409)
    return kube_api


AS_OPERATOR = {"Impersonate-User": f"system:serviceaccount:{NAMESPACE}:slipway"}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def may(api: KubeApi, verb: str, group: str, resource: str, name: str = "", *, namespace: str = "default") -> bool:
    resource, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**attributes, "namespace": namespace}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = api.request("POST", path, review, headers=AS_OPERATOR).expect(201)
    return bool(answer["status"]["allowed"])


def test_the_server_grants_what_the_table_says(installed_roles: KubeApi) -> None:
    for (group, resource, name), verbs in OPERATOR.items():
        for verb in verbs:
            assert may(installed_roles, verb, group, resource, name), f"{verb} {group}/{resource} {name}"


def test_the_server_grants_the_lease_and_no_other_one(installed_roles: KubeApi) -> None:
    for (group, resource, name), verbs in OPERATOR_AT_HOME.items():
        for verb in verbs:
            assert may(installed_roles, verb, group, resource, name, namespace=NAMESPACE), f"{verb} {name}"
            assert not may(installed_roles, verb, group, resource, name), f"{verb} {name} in another namespace"
    for verb, name in (("get", "other"), ("patch", "other"), ("delete", "slipway"), ("list", "")):
        assert not may(installed_roles, verb, "coordination.k8s.io", "leases", name, namespace=NAMESPACE), verb


@pytest.mark.parametrize(
    ("verb", "group", "resource"),
    [
        ("get", "", "secrets"),
        ("list", "", "secrets"),
        ("create", "", "pods"),
        ("create", "", "pods/exec"),
        ("get", "", "pods/log"),
        ("get", "", "nodes"),
        ("list", "", "persistentvolumeclaims"),
        ("update", "slipway.dev", "modeldeployments"),
        ("create", "slipway.dev", "modeldeployments"),
        ("delete", "slipway.dev", "modeldeployments"),
        ("patch", "slipway.dev", "modeldeployments/scale"),
        ("create", "", "pods/eviction"),
        ("create", "batch", "cronjobs"),
        ("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
        ("escalate", "rbac.authorization.k8s.io", "clusterroles"),
        ("impersonate", "", "serviceaccounts"),
        ("create", "", "serviceaccounts/token"),
        ("patch", "apiextensions.k8s.io", "customresourcedefinitions"),
    ],
)
def test_the_server_denies_the_dangerous_rest(installed_roles: KubeApi, verb: str, group: str, resource: str) -> None:
    assert not may(installed_roles, verb, group, resource)


def test_our_crd_can_be_listed_and_watched_by_its_name_only(installed_roles: KubeApi) -> None:
    """What the operator must send: the server grants list with resourceNames to this field selector alone."""
    ours = {"fieldSelector": f"metadata.name={CRD}"}
    installed_roles.request("GET", CRDS, query=ours, headers=AS_OPERATOR).expect(200)
    installed_roles.request("GET", CRDS, headers=AS_OPERATOR).expect(403)
