"""What is done in each chapter, and what must come of it besides that no request is lost.

A chapter finds one version serving alone with two pods and leaves it so, whichever it is; so they can be told in any order.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.cluster.errors import ClusterError
from tests.rollouts.pods import most_pods, wait_rest
from tests.rollouts.prepared import BROKEN, DELAYS
from tests.survive.killed import Kills
from tests.survive.scene import Scene, Story
from tests.survive.service import REPLICAS, Service, line_of

HOLD_S = 2.0  # so long at a weight that clients see it
MIN_READY_S = 6
ONE_BY_ONE_S = 300.0  # a pod comes only when one has gone, and Triton takes up to 40 s to go


def _promote(scene: Scene) -> None:
    service = scene.service
    new = service.other()
    service.apply(new)
    service.at(10, new)
    service.paused_openly()
    time.sleep(HOLD_S)
    service.act("promote")
    service.serves(new)


def _promote_full(scene: Scene) -> None:
    service = scene.service
    new = service.other()
    service.apply(new)
    service.at(10, new)
    time.sleep(HOLD_S)
    began = time.time()
    service.act("promote-full")
    service.serves(new)
    _require(50 not in _weights(service, new, began), "promote-full went through a step that it had to skip")


def _abort(scene: Scene) -> None:
    service = scene.service
    old, new = service.stable(), service.other()
    service.apply(new)
    service.at(50, new)
    time.sleep(HOLD_S)
    service.act("abort")
    _given_up(service, "Aborted", alone=old)


def _broken(scene: Scene) -> None:
    service = scene.service
    old, began = service.stable(), time.time()
    service.apply(BROKEN)
    _given_up(service, "ModelLoadFailed", alone=old)
    _require(len(_routed(service, began)) == 1, "a version that cannot load had a share")


def _revert(scene: Scene) -> None:
    service = scene.service
    old, new = service.stable(), service.other()
    service.apply(new)
    service.at(10, new)
    time.sleep(HOLD_S)
    service.apply(old)
    service.serves(old)


def _supersede(scene: Scene) -> None:
    service = scene.service
    first, second = service.others()
    service.apply(first)
    service.at(10, first)
    time.sleep(HOLD_S)
    service.apply(second)
    service.at(10, second)
    service.paused_openly()
    service.act("promote")
    service.serves(second)


def _roll_back(scene: Scene) -> None:
    service = scene.service
    old, new = service.stable(), service.other()
    service.apply(new)
    service.at(10, new)
    service.act("promote-full")
    service.serves(new)
    service.act("rollback")
    _given_up(service, "RolledBack", alone=old)


def _switch(scene: Scene) -> None:
    """By itself, after a look."""
    service = scene.service
    new, began = service.other(), time.time()
    service.apply(new, rollout={**DELAYS, "strategy": "BlueGreen", "blueGreen": {"autoPromotionSeconds": 3}})
    service.serves(new)
    _require_one_move(service, new, began)


def _switch_by_hand(scene: Scene) -> None:
    """The preview is a pin by header at 0 %."""
    service = scene.service
    new, began = service.other(), time.time()
    service.apply(new, rollout={**DELAYS, "strategy": "BlueGreen", "blueGreen": {"autoPromotionEnabled": False}})
    waiting = service.until("wait for a person", lambda _, ready: ready["reason"] == "PausedAtStep")
    line = line_of(waiting["status"], new)
    whole = (line["readyReplicas"], line["verifiedWeight"]) == (2, 0)
    _require(whole, f"expected two ready pods of {new} at 0 % before the switch, found {line}")
    code = _ask(service, service.versions[new])
    _require(code == "200", f"the preview of {new} answers {code}, expected 200")
    service.act("promote")
    service.serves(new)
    _require_one_move(service, new, began)


def _replace(scene: Scene) -> None:
    service = scene.service
    new = service.other()
    steps = [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}]
    wait_rest(service, REPLICAS)
    with most_pods(service) as pods:
        service.apply(new, rollout={**DELAYS, "placement": "Replace", "canary": {"steps": steps}})
        service.serves(new, timeout_s=ONE_BY_ONE_S)
    _require(
        pods.most == REPLICAS, f"{pods.most} pods at one time, expected {REPLICAS}, those on their way out included"
    )


def _scale(scene: Scene) -> None:
    """The same rollout goes on: its step, its start, and the pods of both follow."""
    service = scene.service
    old, new = service.stable(), service.other()
    service.apply(new)
    before = service.paused_openly()["status"]["rollout"]
    service.kubectl("scale", f"mdep/{service.name}", "--replicas=3")
    found = service.until(
        "have three pods of stable and two of the new one, paused as before",
        lambda status, ready: (
            ready["reason"] == "PausedAtStep"
            and status["replicas"] == 3
            and line_of(status, old)["readyReplicas"] == 3
            and line_of(status, new)["readyReplicas"] == 2
        ),
    )
    after = found["status"]["rollout"]
    same = all(before[key] == after[key] for key in ("revision", "startedAt", "stepIndex", "stepHash"))
    _require(same, f"scaling changed the rollout: {before}, then {after}")
    _require(found["status"]["weight"] == 50, f"scaling changed the weight to {found['status']['weight']}")
    time.sleep(HOLD_S)
    service.kubectl("scale", f"mdep/{service.name}", "--replicas=2")
    service.paused_openly()
    service.act("promote")
    service.serves(new)


def _min_ready(scene: Scene) -> None:
    """A pod gets its first share when it has been ready for so long."""
    service = scene.service
    new, began = service.other(), time.time()
    steps = [{"setWeight": 50}, {"pause": {"durationSeconds": 2}}]
    service.apply(new, rollout={**DELAYS, "minReadySeconds": MIN_READY_S, "canary": {"steps": steps}})
    service.at(50, new)
    ready = _ready_since(service.pods(new)[0])
    first = next(at for at, weight in _weight_changes(service, new, began) if weight)
    _require(
        first - ready >= MIN_READY_S, f"the first share came {first - ready:.1f} s after ready, expected {MIN_READY_S}"
    )
    service.serves(new)


def _routers(scene: Scene) -> None:
    service = scene.service
    service.kubectl("rollout", "restart", f"deployment/{service.name}-router")
    service.kubectl("rollout", "status", f"deployment/{service.name}-router", "--timeout=180s", timeout_s=190)
    service.settle()
    time.sleep(HOLD_S)


CHAPTERS: Mapping[str, tuple[str, Story]] = {
    "promote": ("promoted at an open pause", _promote),
    "abort": ("aborted at 50 %", _abort),
    "broken": ("cannot load", _broken),
    "revert": ("reverted at 10 %", _revert),
    "supersede": ("superseded at 10 %", _supersede),
    "promote-full": ("promote-full at 10 %", _promote_full),
    "rollback": ("rolled back", _roll_back),
    "switch": ("blue/green, by itself", _switch),
    "switch-by-hand": ("blue/green, by hand", _switch_by_hand),
    "replace": ("Replace, one pod after the other", _replace),
    "scale": ("scaled at 50 %, to three and back", _scale),
    "min-ready": (f"minReadySeconds {MIN_READY_S}", _min_ready),
    "routers": ("routers restarted one by one", _routers),
    "killed": ("operator killed in every stage", Kills().story),
}


def kills_in(stage: str) -> tuple[str, Story]:
    """A chapter of the soak: in one stage only."""
    return f"operator killed while {stage}", Kills((stage,)).story


def _given_up(service: Service, reason: str, *, alone: str) -> None:
    """With this reason, and nothing else is left; then the spec names again what serves."""

    def holds(status: Any, ready: Any) -> bool:
        return bool(
            ready["reason"] == reason and [line["version"] for line in status.get("revisions") or ()] == [alone]
        )

    service.until(f"say {reason} and keep {alone} alone", holds)
    service.settle()


def _weight_changes(service: Service, version: str, since: float) -> list[tuple[float, int]]:
    """(when it was seen, percent that was asked for), from a moment on."""
    number = str(service.versions[version])
    return [
        (at, shares[number].weight if number in shares else 0) for at, shares in service.watch.shares if at >= since
    ]


def _weights(service: Service, version: str, since: float) -> set[int]:
    return {weight for _, weight in _weight_changes(service, version, since)}


def _routed(service: Service, since: float) -> set[str]:
    """Revisions that had a share."""
    return {
        name
        for at, shares in service.watch.shares
        if at >= since
        for name, share in shares.items()
        if share.weight or share.verified
    }


def _require_one_move(service: Service, version: str, since: float) -> None:
    weights = _weights(service, version, since)
    _require(weights <= {0, 100}, f"blue/green gave {version} the weights {sorted(weights)}, expected only 0 and 100")


def _ready_since(pod: Any) -> float:
    (ready,) = (item for item in pod["status"]["conditions"] if item["type"] == "Ready")
    return datetime.fromisoformat(ready["lastTransitionTime"]).timestamp()


def _ask(service: Service, revision: int) -> str:
    """The HTTP code of a question that is pinned to a revision."""
    url = f"http://{service.address()}:8000/v2/models/{service.name}/ready"
    pin = ("-H", f"x-slipway-revision: {revision}")
    return service.journey.inside("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *pin, url)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ClusterError(otherwise)
