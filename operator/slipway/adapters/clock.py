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


def seconds_since_boot() -> float:
    """Monotonic seconds that also count while the machine sleeps: for the term of a lease, which goes on meanwhile.

    CLOCK_MONOTONIC goes on while a process is stopped (SIGSTOP, a frozen cgroup) but stands still while the machine is
    suspended; CLOCK_BOOTTIME does not. Neither sees a virtual machine that its host froze. Source: clock_gettime(2).
    Where it does not exist (macOS, for development) CLOCK_MONOTONIC has to do.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
