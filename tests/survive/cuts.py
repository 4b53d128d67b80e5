"""Story: the operator cannot reach one router, then none; a kubelet stands still during a change of weights."""

from __future__ import annotations

import time
from typing import Any

from tests.survive.faults import cut_off, kubelet_frozen
from tests.survive.scene import Scene
from tests.survive.service import VERSIONS, is_leaving, line_of

NAME = "operator cut off"
ONE_ROUTER = "operator cut off from one router at 50 %, promoted, then aborted"
SLOW_KUBELET = "kubelet frozen during the change from 10 % to 50 %"
ALL_ROUTERS = "operator cut off from all routers at 50 %, promoted"
SILENCE_S = 60.0  # status speaks after 30


def story(scene: Scene) -> None:
    scene.service.settle()
    other = scene.service.other()
    _one_router(scene, other)
    scene.service.settle()
    _slow_kubelet(scene, other)
    _all_routers(scene, other)


def _one_router(scene: Scene, version: str) -> None:
    """What one router does not confirm is not raised. An abort counts at the router that confirms it, and nothing is
    removed before the other one does."""
    service = scene.service
    service.apply(version)
    service.paused_openly()
    with scene.diary.fault(ONE_ROUTER) as fault:
        lost = service.pods()[0]
        name = lost["metadata"]["name"]
        with cut_off(scene.operator, [lost]):
            service.act("promote")
            service.until("say RouterUnreachable", _says("RouterUnreachable", name, "9902"), timeout_s=SILENCE_S)
            service.until("have all pods for the raise", lambda s, _: line_of(s, version)["readyReplicas"] == 2)
            fault.note(f"weights meanwhile {_weights(scene, version)}")
            service.act("abort")
            service.until("name the router that did not confirm", _says("Aborted", name), timeout_s=SILENCE_S)
            fault.note(f"weights after the abort {_weights(scene, version, patience_s=10.0)}")
            found = service.until("keep the pods until it confirms", lambda status, _: is_leaving(status))
            fault.note(f"pods of the canary meanwhile {line_of(found['status'], version)['replicas']}")
        fault.over()
        service.until("be rid of the canary", lambda status, _: line_of(status, version) is None)
        fault.recovered()


def _slow_kubelet(scene: Scene, version: str) -> None:
    service = scene.service
    service.apply(version)
    service.at(10, version)
    with scene.diary.fault(SLOW_KUBELET) as fault:
        with kubelet_frozen(scene.journey.local.layout):
            service.until("say RouterSlow", _says("RouterSlow"), timeout_s=30)
            fault.note(f"weights meanwhile {_weights(scene, version)}")
        fault.over()
        service.paused_openly()
        fault.recovered()


def _all_routers(scene: Scene, version: str) -> None:
    """Clients notice nothing; what cannot be verified is not raised."""
    service = scene.service
    with scene.diary.fault(ALL_ROUTERS) as fault:
        with cut_off(scene.operator, service.pods()):
            service.until("say TrafficUnverified", _says("TrafficUnverified", "9902"), timeout_s=SILENCE_S)
            service.act("promote")
            service.until("have a second canary pod", lambda s, _: line_of(s, version)["readyReplicas"] == 2)
            fault.note(f"weights meanwhile {_weights(scene, version)}")
        fault.over()
        service.serves(version)
        fault.recovered()


def _says(reason: str, *words: str) -> Any:
    return lambda _, ready: ready["reason"] == reason and all(word in ready["message"] for word in words)


def _weights(scene: Scene, version: str, *, patience_s: float = 0.0) -> str:
    """The share of a version in every router's table, asked from the node, which is not cut off. With patience: until
    all say 0, or what they say when it ends."""
    deadline = time.monotonic() + patience_s
    while True:
        shares = [table.get(str(VERSIONS[version]), 0) for table in scene.service.tables().values()]
        if not any(shares) or time.monotonic() > deadline:
            return " and ".join(f"{share} %" for share in shares)
        time.sleep(0.5)
