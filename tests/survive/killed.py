"""Story: the leading operator is killed in every stage of a rollout; two are promoted, the third is aborted.

In one stage all operators are killed at once. While nobody leads nothing moves, and nothing breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from tests.survive.scene import Scene
from tests.survive.service import is_leaving

NAME = "operator killed"
STAGES = ("Provisioning", "Paused", "Promoting", "Stepping", "Draining", "Loading", "Aborting")
OUTCOMES = ["Promoted", "Promoted", "Aborted"]
EVERYONE = "Promoting"  # no standby is left

Moment = Callable[[Any, Any], bool]


@dataclass(frozen=True)
class Kills:
    """A takeover lasts up to 20 s: not every run has time for each stage."""

    stages: Collection[str] = STAGES

    def story(self, scene: Scene) -> None:
        service = scene.service
        first = service.settle()
        second = service.other()

        self._kill(scene, "Provisioning", lambda: service.apply(second), _in_stage("Provisioning"))
        service.paused_openly()
        self._kill(scene, "Paused", None, _in_stage("Paused"))
        self._kill(scene, "Promoting", lambda: service.act("promote"), _in_stage("Promoting"))
        service.serves(second)

        self._kill(scene, "Stepping", lambda: service.apply(first), _in_stage("Stepping"))
        service.paused_openly()
        self._kill(scene, "Draining", lambda: service.act("promote"), _drains)
        service.serves(first)

        self._kill(scene, "Loading", lambda: service.apply(second), lambda _, ready: ready["reason"] == "Loading")
        service.paused_openly()
        self._kill(
            scene,
            "Aborting",
            lambda: service.act("abort"),
            lambda status, ready: ready["reason"] == "Aborted" and is_leaving(status),
        )
        service.until(
            "be alone again", lambda status, _: [line["version"] for line in status.get("revisions", [])] == [first]
        )
        service.settle()

    def _kill(self, scene: Scene, stage: str, begin: Callable[[], None] | None, moment: Moment) -> None:
        """Take aim, begin what leads to the moment, kill in it, and go on when another one leads."""
        if stage not in self.stages:
            if begin is not None:
                begin()
            return
        with scene.operator.aimed_at(everyone=stage == EVERYONE) as killer:
            if begin is not None:
                begin()
            scene.service.until(f"be {stage}", moment)
            with scene.diary.fault(fault_name(stage)) as fault:
                killer.kill()
                scene.operator.wait_leader(but_not=killer.names)
                fault.recovered()


def fault_name(stage: str) -> str:
    return f"{'all operators' if stage == EVERYONE else 'leading operator'} killed while {stage}"


def _in_stage(stage: str) -> Moment:
    return lambda status, _: (status.get("rollout") or {}).get("stage") == stage


def _drains(status: Any, _: Any) -> bool:
    return status.get("rollout") is None and is_leaving(status)
