"""How long to wait before the next try of something that must never be given up."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

Jitter = Callable[[float, float], float]  # a random number between the two


@dataclass(slots=True)
class Backoff:
    """Doubles up to `cap_s`. Jittered over its upper half: many operators must not come back in step, and none at once."""

    base_s: float = 0.5
    cap_s: float = 30.0
    jitter: Jitter = random.uniform
    failures: int = field(default=0, init=False)

    def next_s(self) -> float:
        """Seconds to wait after one more failure."""
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(self.failures, 60))
        self.failures += 1
        return self.jitter(ceiling / 2, ceiling)

    def reset(self) -> None:
        self.failures = 0
