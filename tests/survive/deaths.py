"""Story: pods are deleted, processes in them killed, one kind after the other; each is replaced before the next."""

from __future__ import annotations

from typing import Any

from slipway.api import names
from tests.cluster.kube import Object
from tests.survive.faults import delete_pod, kill_container
from tests.survive.scene import Scene
from tests.survive.service import is_alone, line_of, ready_pods

NAME = "pods die"
REMOVALS = "pods leave on purpose"
STABLE_DELETED = "one of two stable pods deleted"
SCALED_DOWN = "scaled from two pods to one"
TRITON_KILLED = "Triton killed in one of two stable pods"
ROUTER_DELETED = "one of two routers deleted"
ROUTER_KILLED = "Envoy killed in one of two routers"
CANARY_DELETED = "the only canary pod deleted at 50 %"
CANARY_KILLED = "Triton killed in the only canary pod at 50 %"
IN_FLIGHT = "what was in flight on it, and connections to it until kube-proxy knows"
GONE_S = 150.0


def story(scene: Scene) -> None:
    version = scene.service.settle()
    _stable(scene, version)
    _routers(scene)
    _canary(scene, scene.service.other())
    scene.service.settle()


def removals(scene: Scene) -> None:
    """Only what depends on how long DNS answers are kept: pods that leave on purpose."""
    version = scene.service.settle()
    _delete_stable(scene, version)
    _scale_down(scene, version)


def _stable(scene: Scene, version: str) -> None:
    _delete_stable(scene, version)
    with scene.diary.fault(TRITON_KILLED) as fault:
        kill_container(scene.service.pods(version)[0], names.CONTAINER_TRITON)
        scene.service.until("say that one pod serves", _one_serves)
        scene.service.serves(version)
        fault.recovered()
    _scale_down(scene, version)


def _delete_stable(scene: Scene, version: str) -> None:
    with scene.diary.fault(STABLE_DELETED) as fault:
        leaving = scene.service.pods(version)[0]
        delete_pod(scene.journey, leaving)
        scene.service.until("say that one pod serves", _one_serves)
        scene.service.serves(version)
        fault.recovered()
        _wait_gone(scene, leaving)


def _scale_down(scene: Scene, version: str) -> None:
    before = scene.service.pods(version)
    with scene.diary.fault(SCALED_DOWN) as fault:
        scene.service.apply(version, replicas=1)
        scene.service.until("have one pod", lambda status, ready: status["replicas"] == 1 and _serves(status, ready))
        fault.recovered()
        staying = {pod["metadata"]["name"] for pod in scene.service.pods(version)}
        for pod in before:
            if pod["metadata"]["name"] not in staying:
                _wait_gone(scene, pod)
    scene.service.apply(version)
    scene.service.serves(version)


def _routers(scene: Scene) -> None:
    with scene.diary.fault(ROUTER_DELETED) as fault:
        leaving = scene.service.pods()[0]
        delete_pod(scene.journey, leaving)
        scene.service.wait_pods(2)
        fault.recovered()
        _wait_gone(scene, leaving)
    with scene.diary.fault(ROUTER_KILLED, may_cost=IN_FLIGHT) as fault:
        victim = scene.service.pods()[0]
        kill_container(victim, names.CONTAINER_ROUTER)
        scene.journey.kube.wait(
            f"pod/{victim['metadata']['name']}",
            "be ready again",
            lambda pod: _restarts(pod) > _restarts(victim) and bool(ready_pods([pod])),
            namespace=scene.journey.namespace,
            timeout_s=90,
        )
        fault.recovered()


def _canary(scene: Scene, version: str) -> None:
    service = scene.service
    service.apply(version)
    service.paused_openly()
    with scene.diary.fault(CANARY_DELETED) as fault:
        leaving = service.pods(version)[0]
        delete_pod(scene.journey, leaving)
        service.until("miss the canary", lambda status, _: line_of(status, version)["readyReplicas"] == 0)
        service.until("have the canary back", lambda status, ready: _paused_with_pod(status, ready, version))
        fault.recovered()
        _wait_gone(scene, leaving)
    with scene.diary.fault(CANARY_KILLED) as fault:
        kill_container(service.pods(version)[0], names.CONTAINER_TRITON)
        service.until("give the canary up", lambda _, ready: ready["reason"] == "ContainerFailed")
        service.until("be rid of the canary", lambda status, _: line_of(status, version) is None)
        fault.recovered()


def _one_serves(status: Any, _: Any) -> bool:
    return any(item["type"] == "Available" and item["reason"] == "SingleReplica" for item in status["conditions"])


def _serves(status: Any, ready: Any) -> bool:
    lines = status.get("revisions") or [{"version": ""}]
    return is_alone(status, ready, lines[0]["version"])


def _paused_with_pod(status: Any, ready: Any, version: str) -> bool:
    line = line_of(status, version)
    return bool(ready["reason"] == "PausedAtStep" and line["readyReplicas"] == 1 and line["verifiedWeight"] == 50)


def _restarts(pod: Object) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])


def _wait_gone(scene: Scene, pod: Object) -> None:
    """Its last moment is when connections can be cut: it belongs to the fault."""
    name = pod["metadata"]["name"]
    scene.journey.kube.wait_gone(f"pod/{name}", namespace=scene.journey.namespace, timeout_s=GONE_S)
