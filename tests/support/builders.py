"""Builders with the one fact that matters: a test shows its cause and its effect, nothing else."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

from slipway.api import names
from slipway.api.types import Platform

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
PROFILES = {
    "triton": "image: nvcr.io/nvidia/tritonserver:26.08-py3\ntritonRelease: '26.08'\nbackends: [pytorch, python]\n",
    "cpu": "image: slipway.dev/triton-cpu:2.51\ntritonRelease: '24.10'\nbackends: [python]\n",
}
DIGEST = "sha256:" + "a" * 64


def platform(**changes: Any) -> Platform:
    facts: dict[str, Any] = {
        "fetch_image": "slipway.dev/fetch:1",
        "router_image": "docker.io/envoyproxy/envoy:v1.40.0",
        "image_pull_policy": "IfNotPresent",
        "cluster_domain": "cluster.local",
        "dns_ttl_s": 30,
        "dns_refresh_s": 2,
        "max_request_bytes": 16 * 1024 * 1024,
        "prometheus_url": "http://prometheus.monitoring:9090",
    }
    return Platform(**{**facts, **changes})


def model_deployment(name: str = "fraud", *, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A ModelDeployment as the API server hands it out. `spec` entries replace top-level entries of the spec."""
    facts: dict[str, Any] = {
        "model": {"version": "1.4.0", "storageUri": "pvc://models/fraud/1.4.0"},
        "runtime": {},
        "replicas": 1,
    }
    resource: dict[str, Any] = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": "risk", "uid": f"uid-{name}", "generation": 1, "resourceVersion": "10"},
        "spec": {**facts, **copy.deepcopy(spec)},
    }
    if status is not None:
        resource["status"] = status
    return resource


def rollout(*steps: Any, **fields: Any) -> dict[str, Any]:
    """`spec.rollout` with these canary steps, written as in YAML, and these other fields."""
    return {"strategy": "Canary", "canary": {"steps": [*steps]}, **fields}


def accepted() -> dict[str, Any]:
    """The status after the first sight."""
    return {
        "observedGeneration": 1,
        "conditions": [
            {"type": "Ready", "status": "Unknown", "reason": "Accepted", "message": "", "observedGeneration": 1}
        ],
    }


def model_pod(
    name: str = "fraud-r1-a",
    *,
    revision: int = 1,
    ready: bool = True,
    digest: str | None = DIGEST,
    conditions: list[dict[str, Any]] | None = None,
    init: dict[str, Any] | None = None,
    triton: dict[str, Any] | None = None,
    deleting: bool = False,
) -> dict[str, Any]:
    """A Triton pod of deployment `fraud`. `init` and `triton` replace the containers' statuses."""
    report = json.dumps({"ok": True, "digest": digest, "bytes": 1, "files": 1, "seconds": 0.1})
    fetched = {"name": names.CONTAINER_FETCH, "state": {"terminated": {"exitCode": 0, "message": report}}}
    running = {"name": names.CONTAINER_TRITON, "state": {"running": {}}, "ready": ready}
    pod = _pod(name, names.COMPONENT_MODEL, ready=ready, deleting=deleting, conditions=conditions)
    pod["metadata"]["labels"][names.LABEL_REVISION] = str(revision)
    pod["status"]["initContainerStatuses"] = [{**fetched, **(init or {})}] if digest or init else []
    pod["status"]["containerStatuses"] = [{**running, **(triton or {})}]
    return pod


def router_pod(name: str = "fraud-router-a", *, ready: bool = True, poked: str | None = None) -> dict[str, Any]:
    pod = _pod(name, names.COMPONENT_ROUTER, ready=ready, deleting=False, conditions=None)
    pod["status"]["containerStatuses"] = [{"name": names.CONTAINER_ROUTER, "state": {"running": {}}, "ready": ready}]
    if poked is not None:
        pod["metadata"]["annotations"] = {names.ANNOTATION_POKE: poked}
    return pod


def gate_pod(job: dict[str, Any], report: dict[str, Any] | None, *, exit_code: int = 0) -> dict[str, Any]:
    """The pod of a gate's Job; without a report it is still at work."""
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    pod = _pod(f"{name}-a", names.COMPONENT_GATE, ready=report is None, deleting=False, conditions=None)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
    pod["metadata"] |= {"labels": job["spec"]["template"]["metadata"]["labels"], "ownerReferences": [owner]}
    state: dict[str, Any] = {"running": {}}
    if report is not None:
        state = {"terminated": {"exitCode": exit_code, "reason": "Completed", "message": json.dumps(report)}}
        pod["status"]["phase"] = "Failed" if exit_code else "Succeeded"
    pod["status"]["containerStatuses"] = [{"name": names.CONTAINER_GATE, "state": state, "ready": report is None}]
    return pod


def replica_set(deployment: str) -> dict[str, Any]:
    """The ReplicaSet between Deployment `deployment` and its pods `deployment-*`."""
    owner = {"kind": "Deployment", "name": deployment, "uid": f"uid-Deployment-{deployment}", "controller": True}
    metadata = {"name": deployment, "namespace": "risk", "uid": f"rs-{deployment}", "ownerReferences": [owner]}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata}


def _pod(
    name: str, component: str, *, ready: bool, deleting: bool, conditions: list[dict[str, Any]] | None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "risk",
        "uid": f"uid-{name}",
        "resourceVersion": "20",
        "labels": names.base_labels("fraud", component),
        "ownerReferences": [{"kind": "ReplicaSet", "name": name[:-2], "uid": f"rs-{name[:-2]}", "controller": True}],
    }
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    word = "True" if ready else "False"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.9",
            "conditions": conditions or [{"type": "Ready", "status": word}, {"type": "PodScheduled", "status": "True"}],
        },
    }
