"""Story: the leading operator is killed in every stage of two rollouts; one is promoted, the other aborted.

In one stage all operators are killed at once. While nobody leads nothing moves, and nothing breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from tests.survive.scene import Scene
from tests.survive.service import is_leaving

NAME = "operator killed"
STAGES = ("Provisioning", "Stepping", "Paused", "Promoting", "Draining", "Loading", "Aborting")
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

        service.apply(second)
        self._kill(scene, "Provisioning", _in_stage("Provisioning"))
        self._kill(scene, "Stepping", _in_stage("Stepping"))
        service.paused_openly()
        self._kill(scene, "Paused", _in_stage("Paused"))
        service.act("promote")
        self._kill(scene, "Promoting", _in_stage("Promoting"))
        self._kill(scene, "Draining", lambda status, _: status.get("rollout") is None and is_leaving(status))
        service.serves(second)

        service.apply(first)
        self._kill(scene, "Loading", lambda _, ready: ready["reason"] == "Loading")
        service.paused_openly()
        service.act("abort")
        self._kill(scene, "Aborting", lambda status, ready: ready["reason"] == "Aborted" and is_leaving(status))
        service.until(
            "be alone again", lambda status, _: [line["version"] for line in status.get("revisions", [])] == [second]
        )
        service.settle()

    def _kill(self, scene: Scene, stage: str, moment: Moment) -> None:
        """At that moment, and go on when another one leads."""
        if stage not in self.stages:
            return
        with scene.operator.aimed_at(everyone=stage == EVERYONE) as killer:
            scene.service.until(f"be {stage}", moment)
            with scene.diary.fault(fault_name(stage)) as fault:
                killer.kill()
                scene.operator.wait_leader(but_not=killer.names)
                fault.recovered()


def fault_name(stage: str) -> str:
    return f"{'all operators' if stage == EVERYONE else 'leading operator'} killed while {stage}"


def _in_stage(stage: str) -> Moment:
    return lambda status, _: (status.get("rollout") or {}).get("stage") == stage
