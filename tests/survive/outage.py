"""Story: no API server, first gone, then silent; an edit waits for it both times."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from tests.cluster.errors import ClusterError
from tests.cluster.paths import Layout
from tests.demo.journey import condition
from tests.survive.faults import api_server_silent, api_server_stopped
from tests.survive.scene import Scene
from tests.survive.service import NAME as DEPLOYMENT

NAME = "API server away"
BACK_S = 120.0


@dataclass(frozen=True)
class Outage:
    """How long each."""

    stopped_s: float
    silent_s: float  # 0: left out

    @property
    def stopped(self) -> str:
        return f"API server stopped for {self.stopped_s:.0f} s, edits at once after it"

    @property
    def silent(self) -> str:
        return f"API server silent for {self.silent_s:.0f} s (SIGSTOP), edits at once after it"

    def story(self, scene: Scene) -> None:
        scene.service.settle()
        _away(scene, self.stopped, self.stopped_s, api_server_stopped)
        if self.silent_s:
            _away(scene, self.silent, self.silent_s, api_server_silent)


def _away(scene: Scene, name: str, seconds: float, away: Callable[[Layout], AbstractContextManager[None]]) -> None:
    service, operator = scene.service, scene.operator
    version = service.other()
    restarts = operator.restarts()
    with scene.diary.fault(name) as fault:
        with away(scene.journey.local.layout):
            time.sleep(seconds)
        fault.over()
        _persist("apply the other version", lambda: service.apply(version))
        fault.note(f"edit accepted {fault.since_over_s:.1f} s after its return")
        # Where pods look for it: a leaving API server takes itself out of its Service, and kube-proxy must hear it again.
        _persist("reach the API server through its Service", lambda: _require_service(scene))
        fault.note(f"its Service open again {fault.since_over_s:.1f} s after its return")
        _persist("see the edit taken up", lambda: _require_taken_up(scene))
        fault.recovered()
        if (now := operator.restarts()) != restarts:
            fault.note(f"operator restarted: {restarts} before, {now} after")
        if _node_turned(scene, fault.began):
            fault.note("the controller manager called the node NotReady for a while")
        service.paused_openly()
        service.act("promote")
        service.serves(version)


def _require_service(scene: Scene) -> None:
    url = f"https://{scene.journey.local.state.addresses.api}/livez"
    code = scene.journey.inside("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "2", url)
    if code != "200":
        raise ClusterError(f"{url} answers {code}")


def _require_taken_up(scene: Scene) -> None:
    found = scene.journey.kube.get(f"mdep/{DEPLOYMENT}", scene.journey.namespace)
    assert found is not None, "the ModelDeployment is gone"
    if condition(found, "Ready")["observedGeneration"] != found["metadata"]["generation"]:
        raise ClusterError("the operator has not seen the edit yet")


def _node_turned(scene: Scene, since: float) -> bool:
    """Silence of the kubelet for too long makes all its pods NotReady, whatever they do."""
    (node,) = scene.journey.kube.list("nodes")
    (ready,) = (item for item in node["status"]["conditions"] if item["type"] == "Ready")
    return datetime.fromisoformat(ready["lastTransitionTime"]).timestamp() > since


def _persist(what: str, attempt: Callable[[], None]) -> None:
    """As a person with a script does: again and again until it works."""
    deadline = time.monotonic() + BACK_S
    while True:
        try:
            return attempt()
        except ClusterError as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"could not {what} within {BACK_S:.0f} s: {error}") from error
            time.sleep(0.25)
