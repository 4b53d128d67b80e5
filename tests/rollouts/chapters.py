"""What is done in each chapter, and what must come of it besides that no request is lost.

A chapter finds one version serving alone with two pods and leaves it so, whichever it is; so they can be told in any order.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from tests.rollouts import baked, beside, placed
from tests.rollouts.edited import put_back
from tests.rollouts.expectations import (
    ask_pinned,
    given_up,
    note,
    ready_since,
    require,
    require_one_move,
    routed,
    since_gone,
    weight_changes,
    weights,
)
from tests.rollouts.prepared import BROKEN, DELAYS
from tests.survive.killed import Kills
from tests.survive.scene import Scene, Story
from tests.survive.service import line_of

HOLD_S = 2.0  # so long at a weight that clients see it
MIN_READY_S = 6
ABORTED_S = 5.0  # from the command to stable's 100 %, told by status


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
    require(50 not in weights(service, new, began), "promote-full went through a step that it had to skip")


def _abort(scene: Scene) -> None:
    service = scene.service
    old, new = service.stable(), service.other()
    service.apply(new)
    service.at(50, new)
    time.sleep(HOLD_S)
    asked = time.time()
    service.act("abort")
    given_up(service, "Aborted", alone=old)
    took_s = since_gone(service, new, asked)
    note(f"{took_s:.1f} s from the abort to 0 %, confirmed")
    require(
        took_s <= ABORTED_S, f"stable had everything {took_s:.1f} s after the abort, expected {ABORTED_S:g} s at most"
    )


def _broken(scene: Scene) -> None:
    service = scene.service
    old, began = service.stable(), time.time()
    service.apply(BROKEN)
    given_up(service, "ModelLoadFailed", alone=old)
    require(len(routed(service, began)) == 1, "a version that cannot load had a share")


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
    given_up(service, "RolledBack", alone=old)


def _switch(scene: Scene) -> None:
    """By itself, after a look."""
    service = scene.service
    new, began = service.other(), time.time()
    service.apply(new, rollout={**DELAYS, "strategy": "BlueGreen", "blueGreen": {"autoPromotionSeconds": 3}})
    service.serves(new)
    require_one_move(service, new, began)


def _switch_by_hand(scene: Scene) -> None:
    """The preview is a pin by header at 0 %."""
    service = scene.service
    new, began = service.other(), time.time()
    service.apply(new, rollout={**DELAYS, "strategy": "BlueGreen", "blueGreen": {"autoPromotionEnabled": False}})
    waiting = service.until("wait for a person", lambda _, ready: ready["reason"] == "PausedAtStep")
    line = line_of(waiting["status"], new)
    whole = (line["readyReplicas"], line["verifiedWeight"]) == (2, 0)
    require(whole, f"expected two ready pods of {new} at 0 % before the switch, found {line}")
    code = ask_pinned(service, service.versions[new])
    require(code == "200", f"the preview of {new} answers {code}, expected 200")
    service.act("promote")
    service.serves(new)
    require_one_move(service, new, began)


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
    require(same, f"scaling changed the rollout: {before}, then {after}")
    require(found["status"]["weight"] == 50, f"scaling changed the weight to {found['status']['weight']}")
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
    ready = ready_since(service.pods(new)[0])
    first = next(at for at, weight in weight_changes(service, new, began) if weight)
    require(
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
    "replace": ("Replace, one pod after the other", placed.replace),
    "auto": ("Auto, where there is room", placed.auto_with_room),
    "auto-full": ("Auto, where there is no room", placed.auto_without_room),
    "bake": ("slow in the bake of a canary", baked.canary),
    "bake-switch": ("slow in the bake of a colour", baked.colour),
    "header": ("header route at 0 %", beside.header),
    "mirror": ("mirror to a version that errs", beside.mirror),
    "edited": ("route edited by somebody else", put_back),
    "scale": ("scaled at 50 %, to three and back", _scale),
    "min-ready": (f"minReadySeconds {MIN_READY_S}", _min_ready),
    "routers": ("routers restarted one by one", _routers),
    "killed": ("operator killed in every stage", Kills().story),
}


# Chapters about versions that load and are bad, which take a Job to make.
NEEDS_BAD = frozenset(("bake", "bake-switch", "mirror"))


def kills_in(stage: str) -> tuple[str, Story]:
    """A chapter of the soak: in one stage only."""
    return f"operator killed while {stage}", Kills((stage,)).story
