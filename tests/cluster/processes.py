"""Starts the cluster's own daemons and stops exactly those again.

A pid alone is no identity: the kernel gives it out again. A record is (boot, pid, start time); where any of the three
differs the process is somebody else's and is never touched.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Recorded:
    """One process that we started."""

    name: str
    pid: int
    start_ticks: int  # field 22 of /proc/<pid>/stat: clock ticks since boot
    boot: str
    log: str


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """When the process of this pid started; None when there is none or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name in parentheses may hold spaces and parentheses itself: count from its last ")".
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(recorded: Recorded) -> bool:
    return recorded.boot == boot_id() and start_ticks(recorded.pid) == recorded.start_ticks


class ProcessTable:
    """The processes of one cluster, remembered in a file so that a later call, or one after a crash, can stop them."""

    def __init__(self, path: Path, logs: Path) -> None:
        self._path = path
        self._logs = logs

    def records(self) -> tuple[Recorded, ...]:
        try:
            return tuple(Recorded(**entry) for entry in json.loads(self._path.read_text()))
        except FileNotFoundError:
            return ()

    def find(self, name: str) -> Recorded | None:
        """The living process of this name."""
        return next((entry for entry in self.records() if entry.name == name and is_alive(entry)), None)

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Recorded:
        """Start a detached daemon: own session, output to `<logs>/<name>.log`, recorded before this returns."""
        if self.find(name):
            raise ClusterError(f"process {name} runs already; expected none; it was left alone")
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{name}.log"
        with log.open("ab") as sink:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        # Nobody waits for this child object again; without this the interpreter warns of it at exit.
        child.returncode = 0
        ticks = start_ticks(child.pid)
        if ticks is None:
            raise ClusterError(f"process {name} ended at once; its output is in {log}")
        recorded = Recorded(name=name, pid=child.pid, start_ticks=ticks, boot=boot_id(), log=str(log))
        self._write((*(entry for entry in self.records() if entry.name != name), recorded))
        return recorded

    def stop(self, name: str, timeout_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after the timeout. Not running is success."""
        self.stop_all((name,), timeout_s)

    def stop_all(self, names: Sequence[str], timeout_s: float = 10.0) -> None:
        """Stop several at once; all share one deadline."""
        targets = [entry for entry in self.records() if entry.name in names]
        for entry in targets:
            _signal(entry, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while any(is_alive(entry) for entry in targets) and time.monotonic() < deadline:
            _reap(targets)
            time.sleep(POLL_S)
        for entry in targets:
            _signal(entry, signal.SIGKILL)
        deadline = time.monotonic() + 5.0
        while any(is_alive(entry) for entry in targets):
            _reap(targets)
            if time.monotonic() > deadline:
                stuck = ", ".join(f"{entry.name} (pid {entry.pid})" for entry in targets if is_alive(entry))
                raise ClusterError(f"{stuck}: still there 5 s after SIGKILL; the rest of the cluster was left as it is")
            time.sleep(POLL_S)
        _reap(targets)  # what ended since the last look is a zombie of ours
        gone = {entry.name for entry in targets}
        self._write(tuple(entry for entry in self.records() if entry.name not in gone))

    def _write(self, records: tuple[Recorded, ...]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps([asdict(entry) for entry in records], indent=1))
        temporary.replace(self._path)


def _signal(recorded: Recorded, number: signal.Signals) -> None:
    if is_alive(recorded):
        try:
            os.kill(recorded.pid, number)
        except ProcessLookupError:
            return


def _reap(records: Sequence[Recorded]) -> None:
    """Collect our own children: a zombie counts as gone, but it would stay in the process list."""
    for entry in records:
        try:
            os.waitpid(entry.pid, os.WNOHANG)
        except (ChildProcessError, OSError):
            continue
