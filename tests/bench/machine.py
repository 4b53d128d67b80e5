"""What the machine is and what it did: CPU and memory of processes, and how much of the CPU others took. Reads /proc."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
MEBIBYTE = 1024 * 1024


def describe() -> str:
    """One line for the report."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown CPU")
    total = int(Path("/proc/meminfo").read_text().split()[1]) // MEBIBYTE
    system = f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    return f"{os.cpu_count()} × {model}, {total} GiB, {system}"


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, children that it has waited for left out; 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The command's name in parentheses may hold anything: count from its last ")".
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident now, and at its peak."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


def busy_s() -> float:
    """CPU seconds that all of the machine has spent on anything but waiting."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds between two moments."""

    wall_s: float
    by_process: Mapping[str, float]
    own_s: float  # this process: the load generator
    machine_s: float  # everybody on the machine

    @property
    def bed_s(self) -> float:
        """The processes that were watched, without the load generator."""
        return sum(self.by_process.values())

    @property
    def others_percent(self) -> float:
        """How much of all CPUs went to what has nothing to do with the benchmark."""
        others = max(0.0, self.machine_s - self.bed_s - self.own_s)
        return 100 * others / (self.wall_s * (os.cpu_count() or 1))


class Meter:
    """Running since it was made; `stop` may be asked as often as one likes."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._began = self._read()

    @classmethod
    def over(cls, **pids: int) -> Self:
        return cls(pids)

    def stop(self) -> Usage:
        wall, own, machine, processes = self._read()
        before_wall, before_own, before_machine, before = self._began
        return Usage(
            wall_s=wall - before_wall,
            by_process={name: processes[name] - before[name] for name in processes},
            own_s=own - before_own,
            machine_s=machine - before_machine,
        )

    def _read(self) -> tuple[float, float, float, dict[str, float]]:
        processes = {name: cpu_s(pid) for name, pid in self._pids.items()}
        return time.monotonic(), time.process_time(), busy_s(), processes
