"""The ModelDeployment that the story is about: applies versions, asks for actions, waits for what status says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.kube import Object
from tests.demo.journey import Journey, condition
from tests.demo.rollouts import Sight, Watch, break_copy
from tests.load.background import Load
from tests.load.senders import PROTOCOLS

NAME = "roll"
MODEL = "fraud"  # directory of the artefacts in the claim
VERSIONS = {"1.0.0": 1, "2.0.0": 2, "3.0.0": 3}  # version → seed of its training
BROKEN = "6.6.6"  # packaged without a fault, but no model
STEPS: list[dict[str, Any]] = [{"setWeight": 10}, {"pause": {"durationSeconds": 3}}, {"setWeight": 50}, {"pause": {}}]
SCALE_DOWN_DELAY_S = 3


def prepare(journey: Journey, versions: Sequence[str] = tuple(VERSIONS)) -> None:
    """These versions, trained if they are not there yet, and a broken copy of one, which nothing may be serving."""
    journey.provide({version: VERSIONS[version] for version in versions})
    break_copy(journey, MODEL, source="2.0.0", target=BROKEN)


@dataclass
class Service:
    """Two replicas of stable, steps of 10 and 50 %."""

    journey: Journey
    watch: Watch
    started: float = field(default_factory=time.monotonic)
    say: Callable[[str], None] = print

    def apply(self, version: str, *, steps: Sequence[dict[str, Any]] = STEPS) -> None:
        resources = {"requests": {"cpu": "50m", "memory": "384Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
        manifest: Object = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": NAME},
            "spec": {
                "model": {"version": version, "storageUri": f"pvc://models/{MODEL}/{version}"},
                "runtime": {"resources": resources},
                "replicas": 2,
                "rollout": {"canary": {"steps": list(steps)}, "scaleDownDelaySeconds": SCALE_DOWN_DELAY_S},
            },
        }
        self.journey.kube.apply(manifest, namespace=self.journey.namespace)

    def act(self, action: str, **more: str) -> None:
        wishes = {"action": action, **{f"action-{key}": value for key, value in more.items()}}
        annotations = [f"slipway.dev/{key}={value}" for key, value in wishes.items()]
        self._kubectl("annotate", "--overwrite", f"mdep/{NAME}", *annotations)

    def restart_routers(self) -> None:
        self._kubectl("rollout", "restart", f"deployment/{NAME}-router")
        self._kubectl("rollout", "status", f"deployment/{NAME}-router", "--timeout=180s", timeout_s=190)

    def until(self, what: str, holds: Callable[[Sight], bool], *, timeout_s: float = 300.0) -> Sight:
        """`holds` of a status that speaks of the spec applied last."""

        def look(sight: Sight) -> bool:
            return sight.is_current and holds(sight)

        found = self.watch.until(what, look, lambda _: None, timeout_s=timeout_s)
        self.say(f"{time.monotonic() - self.started:6.1f} s  {what}")
        return found

    def serves(self, version: str) -> None:
        self.until(f"serve {version} alone", lambda sight: sight.is_settled(version))

    def at(self, weight: int, version: str) -> None:
        self.until(f"have {version} at {weight} %, verified", lambda sight: _verified(sight, version) == weight)

    def pauses_openly(self) -> None:
        self.until("pause openly at 50 %", lambda sight: sight.is_open_pause(50))

    def has_ended(self, reason: str, *, alone: str) -> None:
        """The condition Ready gives this reason, and nothing but this version is left."""
        self.until(
            f"say {reason} and keep {alone} alone",
            lambda sight: (
                condition(sight.model, "Ready")["reason"] == reason
                and [line["version"] for line in sight.revisions] == [alone]
            ),
        )

    def history(self) -> list[tuple[str, str]]:
        """(version, outcome) of every rollout that ended, oldest first."""
        found = self.journey.kube.get(f"mdep/{NAME}", self.journey.namespace)
        entries = ((found or {}).get("status") or {}).get("history") or []
        return [(entry["version"], entry["outcome"]) for entry in reversed(entries)]

    def revision_of(self, version: str) -> str:
        """The number under which the version was frozen."""
        found = self.journey.kube.get(f"mdep/{NAME}", self.journey.namespace)
        lines = ((found or {}).get("status") or {}).get("revisions") or []
        return next(str(line["revision"]) for line in lines if line["version"] == version)

    def load(self, rate: float, only: Sequence[str] = PROTOCOLS, versions: Sequence[str] = tuple(VERSIONS)) -> Load:
        """Not started yet. `versions` in the order in which they were, or will be, applied first: revision 1, 2, …"""
        service = self.journey.kube.get(f"service/{NAME}", self.journey.namespace)
        if service is None:
            raise RuntimeError(f"there is no Service {self.journey.namespace}/{NAME}")
        address = service["spec"]["clusterIP"]
        folder = self.journey.volume / MODEL
        artefacts = {str(number): folder / version for number, version in enumerate(versions, start=1)}
        return Load.in_cluster(
            http=f"{address}:8000", grpc=f"{address}:8001", model=NAME, artefacts=artefacts, rate=rate, only=only
        )

    def delete(self) -> None:
        self.journey.kube.delete(f"mdep/{NAME}", self.journey.namespace)

    def _kubectl(self, *words: str, timeout_s: float = 60.0) -> None:
        self.journey.kube.kubectl(*words, f"--namespace={self.journey.namespace}", timeout_s=timeout_s)


def _verified(sight: Sight, version: str) -> int | None:
    """Percent that every router confirms, None if the version is not there."""
    return next((line["verifiedWeight"] for line in sight.revisions if line["version"] == version), None)
