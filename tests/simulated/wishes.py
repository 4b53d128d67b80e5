"""What a test has asked for: how routers treat whoever asks them, and what is in flight. By deployment, so later pods obey too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.simulated.control import Mode
from tests.simulated.pods import Pod

Place = tuple[str, str]  # namespace, deployment


@dataclass(slots=True)
class Wishes:
    faults: dict[tuple[Place, str | None], tuple[Mode, float]] = field(default_factory=dict)  # None: every router
    active: dict[Place, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))  # revision → requests

    def fault_of(self, pod: Pod) -> tuple[Mode, float]:
        """Mode and delay in seconds; what was said of this very pod goes before what was said of all."""
        place = (pod.namespace, pod.deployment)
        return self.faults.get((place, pod.name)) or self.faults.get((place, None)) or (Mode.OK, 0.0)

    def active_of(self, pod: Pod) -> Mapping[int, int]:
        return dict(self.active[pod.namespace, pod.deployment])

    def forget(self) -> None:
        self.faults.clear()
        self.active.clear()
