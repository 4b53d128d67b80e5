"""The few objects that these tests write."""

from __future__ import annotations

from typing import Any

from slipway.api.names import API_VERSION, KIND, LABEL_DEPLOYMENT


def config_map(namespace: str, name: str = "fraud-r1", deployment: str = "fraud", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": {LABEL_DEPLOYMENT: deployment}},
        "data": data,
    }


def deployment(namespace: str, *env: str) -> dict[str, Any]:
    labels = {"app": "fraud"}
    container = {"name": "triton", "image": "triton", "env": [{"name": name, "value": "1"} for name in env]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": "fraud-r1"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def pod(namespace: str, name: str = "router") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"containers": [{"name": "envoy", "image": "envoy"}]},
    }


def model_deployment(namespace: str, name: str = "fraud") -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"model": {"version": "1.4.0", "storageUri": "pvc://models/fraud/1.4.0"}},
    }


def annotated(manifest: dict[str, Any], **annotations: str) -> dict[str, Any]:
    """With annotations."""
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def simple(kind: str, namespace: str) -> dict[str, Any]:
    """The least of each kind of child that the API server takes."""
    selector = {"app": "fraud"}
    rest: dict[str, dict[str, Any]] = {
        "Deployment": deployment(namespace),
        "ConfigMap": config_map(namespace),
        "Service": {"apiVersion": "v1", "spec": {"clusterIP": "None", "selector": selector, "ports": [{"port": 8000}]}},
        "ControllerRevision": {"apiVersion": "apps/v1", "revision": 1, "data": {}},
        "Job": {
            "apiVersion": "batch/v1",
            "spec": {
                "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "gate", "image": "fetch"}]}},
            },
        },
        "PodDisruptionBudget": {
            "apiVersion": "policy/v1",
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}},
        },
    }
    labels = {LABEL_DEPLOYMENT: "fraud"}
    return {**rest[kind], "kind": kind, "metadata": {"namespace": namespace, "name": "fraud-r1", "labels": labels}}
