"""Chapters about bakes: a version that is well in every step, and slow once it has all traffic, is taken back by evidence.

Slow, because its answers are right: so ordinary clients get none that is wrong or missing, though it has every request.
"""

from __future__ import annotations

import time
from typing import Any

from tests.rollouts.expectations import given_up, note, require, require_one_move, since_gone
from tests.rollouts.models import TURNS
from tests.rollouts.prepared import DELAYS
from tests.survive.scene import Scene
from tests.survive.service import REPLICAS, Service, line_of

BAKE = {"durationSeconds": 90}
LIMIT_MS = 60  # of the colour's answers 5 % may take longer; those that are late take 80 more than usual
TAKEN_BACK_S = 80.0


def canary(scene: Scene) -> None:
    """Measured by what stable had before. Both pods are there from the beginning: each counts its own calls."""
    steps: list[dict[str, Any]] = [
        {"setCanaryScale": {"replicas": REPLICAS}},
        {"setWeight": 10},
        {"pause": {"durationSeconds": 6}},
        {"bake": BAKE},
    ]
    judged = {"latency": {"percentile": 95, "maxIncreasePercent": 5}}
    _taken_back(scene.service, {**DELAYS, "canary": {"steps": steps}, "analysis": judged})


def colour(scene: Scene) -> None:
    """Measured by a limit, as both colours never had traffic at one time."""
    judged = {"latency": {"percentile": 95, "maxMilliseconds": LIMIT_MS}}
    began = time.time()
    _taken_back(scene.service, {**DELAYS, "strategy": "BlueGreen", "blueGreen": {"bake": BAKE}, "analysis": judged})
    require_one_move(scene.service, TURNS, began)


def _taken_back(service: Service, rollout: dict[str, Any]) -> None:
    old, began = service.stable(), time.time()
    service.apply(TURNS, rollout=rollout)
    baking = service.until("bake", lambda status, _: (status.get("rollout") or {}).get("stage") == "Baking")["status"]
    line = line_of(baking, old)
    whole = (line["role"], line["readyReplicas"], line["weight"]) == ("Stable", REPLICAS, 0)
    require(whole, f"expected {old} to be stable and whole at 0 % in the bake, found {line}")
    since = time.time()
    found = service.until(
        "be taken back", lambda _, ready: ready["reason"] == "AnalysisFailed", timeout_s=TAKEN_BACK_S
    )["status"]
    told_s = time.time() - since
    newest = found["history"][0]
    require((newest["version"], newest["outcome"]) == (TURNS, "Aborted"), f"the history's newest entry is {newest}")
    note(f"after {told_s:.1f} s of its bake: {newest['reason']}")
    given_up(service, "AnalysisFailed", alone=old)
    note(f"{since_gone(service, TURNS, since + told_s - 0.5) - 0.5:.1f} s later every router had given all to {old}")
    require(service.stable() == old, f"{service.stable()} is stable, expected {old}")
    seen = {turn.reason for turn in service.watch.turns if turn.at >= began}
    require("NoReadyReplica" not in seen, "there was a moment in which nothing could answer")
