"""Objects of somebody else in the tenant's namespace: namesakes, and look-alikes that carry our labels. Plain data."""

from __future__ import annotations

from typing import Any

from tests.faults.stage import NAME
from tests.faults.truth import Object

PATHS = {
    "Pod": "/api/v1/namespaces/{}/pods",
    "Service": "/api/v1/namespaces/{}/services",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ControllerRevision": "/apis/apps/v1/namespaces/{}/controllerrevisions",
}
IMAGE = "somebody.example/else:1"


def namesake(revision: int) -> Object:
    """A Deployment that has the name of a revision's, and nothing to do with us."""
    return _deployment(f"{NAME}-r{revision}", {"app": "mine"})


def look_alikes(revision: int, number: int, owner: Object) -> list[Object]:
    """With all of our labels: pods that claim to serve a revision and to route, a table, a frozen revision of a high
    number, and a Deployment that another ModelDeployment, `owner`, is said to control."""
    model = marks("model", revision)
    foreign = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
    reference = {**foreign, "uid": owner["metadata"]["uid"], "controller": True}
    owned = _deployment("owned-elsewhere", marks("model", 7))
    owned["metadata"]["ownerReferences"] = [reference]
    return [
        _pod("looks-like-a-model", model, "triton"),
        _pod("looks-like-a-router", marks("router"), "envoy"),
        {
            **_head("v1", "ConfigMap", "looks-like-a-table", marks("router")),
            "data": {"state.json": "{}", "digest": "sha256:0"},
        },
        {
            **_head("apps/v1", "ControllerRevision", "looks-frozen", marks("model", number)),
            "revision": number,
            "data": {},
        },
        owned,
    ]


def marks(component: str, revision: int | None = None) -> dict[str, str]:
    found = {
        "slipway.dev/deployment": NAME,
        "slipway.dev/component": component,
        "app.kubernetes.io/managed-by": "slipway",
    }
    return found if revision is None else {**found, "slipway.dev/revision": str(revision)}


def _head(api_version: str, kind: str, name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": dict(labels)}}


def _pod(name: str, labels: dict[str, str], container: str) -> Object:
    spec = {"containers": [{"name": container, "image": IMAGE}]}
    return {**_head("v1", "Pod", name, labels), "spec": spec}


def _deployment(name: str, labels: dict[str, str]) -> Object:
    template = {
        "metadata": {"labels": dict(labels)},
        "spec": {"containers": [{"name": "else", "image": IMAGE}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": dict(labels)}, "template": template}
    return {**_head("apps/v1", "Deployment", name, labels), "spec": spec}
