"""The clock as a door of its own, so that everything above can be given another one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall-clock time, aware, UTC: for what people read and what is persisted."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump: for delays and ages within this process."""
        ...


class SystemClock:
    """The real one."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
