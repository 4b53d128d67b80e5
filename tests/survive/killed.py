"""Story: the operator is killed in every stage of two rollouts; one is promoted, the other aborted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.survive.scene import Scene
from tests.survive.service import is_leaving

NAME = "operator killed"
STAGES = ("Provisioning", "Stepping", "Paused", "Promoting", "Draining", "Loading", "Aborting")

Moment = Callable[[Any, Any], bool]


def story(scene: Scene) -> None:
    service = scene.service
    first = service.settle()
    second = service.other()

    service.apply(second)
    _kill(scene, "Provisioning", _in_stage("Provisioning"))
    _kill(scene, "Stepping", _in_stage("Stepping"))
    service.paused_openly()
    _kill(scene, "Paused", _in_stage("Paused"))
    service.act("promote")
    _kill(scene, "Promoting", _in_stage("Promoting"))
    _kill(scene, "Draining", lambda status, _: status.get("rollout") is None and is_leaving(status))
    service.serves(second)

    service.apply(first)
    _kill(scene, "Loading", lambda _, ready: ready["reason"] == "Loading")
    service.paused_openly()
    service.act("abort")
    _kill(scene, "Aborting", lambda status, ready: ready["reason"] == "Aborted" and is_leaving(status))
    service.until(
        "be alone again", lambda status, _: [line["version"] for line in status.get("revisions", [])] == [second]
    )
    service.settle()


def fault_name(stage: str) -> str:
    return f"operator killed while {stage}"


def _kill(scene: Scene, stage: str, moment: Moment) -> None:
    """At that moment, and go on when its successor is ready."""
    with scene.operator.aimed_at() as killer:
        scene.service.until(f"be {stage}", moment)
        with scene.diary.fault(fault_name(stage)) as fault:
            killer.kill()
            scene.operator.wait_ready()
            fault.recovered()


def _in_stage(stage: str) -> Moment:
    return lambda status, _: (status.get("rollout") or {}).get("stage") == stage
