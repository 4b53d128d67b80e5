"""Chapters about places: Replace, and Auto with and without room for the new pods.

A node is filled by a pod that only asks for memory, so much that no further pod of the model fits beside it. The scheduler
then says no of its own, and yes again when a pod of the model has gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from slipway.api import names
from slipway.build.quantities import parse_quantity
from tests.cluster.errors import ClusterError
from tests.cluster.kube import Object
from tests.rollouts.expectations import note, require, told
from tests.rollouts.pods import most_pods, wait_rest
from tests.rollouts.prepared import DELAYS
from tests.survive.scene import Scene
from tests.survive.service import REPLICAS, Service

ONE_BY_ONE_S = 300.0  # a pod comes only when one has gone, and Triton takes up to 40 s to go
CHOSEN_S = 120.0  # Auto waits a minute for a place
FILLER = "filler"
PAUSE_IMAGE = "slipway.dev/pause:dev"
_ENDED = ("Succeeded", "Failed")


def replace(scene: Scene) -> None:
    service = scene.service
    new = service.other()
    steps = [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}]
    wait_rest(service, REPLICAS)
    with most_pods(service) as pods:
        service.apply(new, rollout={**DELAYS, "placement": "Replace", "canary": {"steps": steps}})
        service.serves(new, timeout_s=ONE_BY_ONE_S)
    require(
        pods.most == REPLICAS, f"{pods.most} pods at one time, expected {REPLICAS}, those on their way out included"
    )


def auto_with_room(scene: Scene) -> None:
    """The new pods come beside the old ones, and status says so."""
    service = scene.service
    new = service.other()
    wait_rest(service, REPLICAS)
    with most_pods(service) as pods:
        service.apply(new, rollout=_auto({"pause": {"durationSeconds": 2}}))
        found = service.until("be on its way", lambda status, _: _placement(status) != "")["status"]
        require(_placement(found) == "Surge", f"placement is {_placement(found)} where there is room, expected Surge")
        service.serves(new)
    require(pods.most == 2 * REPLICAS, f"{pods.most} pods at one time, expected {2 * REPLICAS}: stable stays whole")


def auto_without_room(scene: Scene) -> None:
    """For a minute it waits in the scheduler's words; then a pod of stable gives way, and status and one Event say why."""
    service = scene.service
    new, before = service.other(), told(service, "StableGivesWay")
    wait_rest(service, REPLICAS)
    with full_node(service), most_pods(service) as pods:
        service.apply(new, rollout=_auto())
        waits = service.until("wait for a place", lambda _, ready: ready["reason"] == "WaitingForCapacity")["status"]
        require(_placement(waits) == "Surge", f"placement is {_placement(waits)} while it waits, expected Surge")
        chosen = service.until(
            "let a pod of stable give way", lambda status, _: _placement(status) == "Replace", timeout_s=CHOSEN_S
        )["status"]
        why = str(chosen["rollout"].get("placementReason"))
        require("Insufficient memory" in why, f"placementReason is {why!r}, expected the scheduler's words")
        note(f"gave way: {why}")
        service.serves(new, timeout_s=ONE_BY_ONE_S)
    # The pod that waited for a place of its own holds none, but it is there.
    require(pods.most <= REPLICAS + 1, f"{pods.most} pods at one time, expected {REPLICAS + 1} at most")
    events = told(service, "StableGivesWay") - before
    require(events == 1, f"{events} Events StableGivesWay, expected 1")


def _auto(*more: dict[str, Any]) -> dict[str, Any]:
    return {**DELAYS, "placement": "Auto", "canary": {"steps": [{"setWeight": 50}, *more]}}


def _placement(status: Mapping[str, Any]) -> str:
    return str((status.get("rollout") or {}).get("placement", ""))


@contextmanager
def full_node(service: Service) -> Iterator[None]:
    """The node has no room for one more pod of the model, but for the half of one."""
    kube, namespace = service.journey.kube, service.journey.namespace
    pods = [pod for pod in kube.list("pods", namespace, _models_of(service)) if _takes_room(pod)]
    free, one = _free_memory(service), memory_of(pods[0])
    require(free > 2 * one, f"the node has {free} bytes to give, too few to tell a full one from it")
    kube.apply(_filler(int(free - one / 2)), namespace=namespace)
    try:
        kube.wait(f"pod/{FILLER}", "run", lambda pod: pod["status"].get("phase") == "Running", namespace=namespace)
        yield
    finally:
        kube.delete(f"pod/{FILLER}", namespace)


def _models_of(service: Service) -> str:
    return f"{names.LABEL_DEPLOYMENT}={service.name},{names.LABEL_COMPONENT}={names.COMPONENT_MODEL}"


def _takes_room(pod: Object) -> bool:
    return pod["status"].get("phase") not in _ENDED


def _free_memory(service: Service) -> float:
    """Bytes of the only node that no pod has asked for."""
    kube = service.journey.kube
    nodes = kube.list("nodes")
    if len(nodes) != 1:
        raise ClusterError(f"{len(nodes)} nodes, expected one: a pod could go elsewhere")
    text = kube.kubectl("get", "pods", "--all-namespaces", "--output=json")
    pods = [pod for pod in json.loads(text)["items"] if _takes_room(pod)]
    return float(parse_quantity(nodes[0]["status"]["allocatable"]["memory"])) - sum(map(memory_of, pods))


def memory_of(pod: Object) -> float:
    """Bytes that the scheduler counts for it: the containers together, or the largest init container (Kubernetes, "Init
    Containers", resource sharing)."""

    def asked(container: Mapping[str, Any]) -> float:
        requests = (container.get("resources") or {}).get("requests") or {}
        return float(parse_quantity(requests.get("memory", "0")))

    spec = pod["spec"]
    together = sum(asked(container) for container in spec["containers"])
    return max([together, *(asked(container) for container in spec.get("initContainers") or ())])


def _filler(size: int) -> Object:
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "pause",
        "image": PAUSE_IMAGE,
        "imagePullPolicy": "Never",
        "resources": {"requests": {"memory": str(size)}},
        "securityContext": security,
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": FILLER}, "spec": spec}
