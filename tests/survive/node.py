"""Finds the processes of a container on the local node and signals them, never anybody else's.

A process is held by a pidfd that was opened before its cgroup was looked at: a pid that the kernel gives out again
cannot be hit.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.errors import ClusterError
from tests.cluster.kube import Object
from tests.cluster.paths import Layout
from tests.cluster.processes import ProcessTable


@dataclass(frozen=True, slots=True)
class Process:
    """One living process; closed after use."""

    pid: int
    handle: int

    def send(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self.handle, number)

    def kill(self) -> None:
        """SIGKILL: nothing is finished, closed or said."""
        self.send(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self.handle)


def main_process(pod: Object, container: str) -> Process:
    """The first process of a container: the one whose parent is outside of it."""
    identity = _container_id(pod, container)
    for pid in _pids():
        if identity not in _cgroup(pid) or identity in _cgroup(_parent(pid)):
            continue
        try:
            process = Process(pid, os.pidfd_open(pid))
        except ProcessLookupError:
            continue
        if identity in _cgroup(pid):
            return process
        os.close(process.handle)
    name = pod["metadata"]["name"]
    raise ClusterError(f"container {container} of pod {name} ({identity[:12]}) has no process on this node")


def daemon(layout: Layout, name: str) -> Process:
    """One of the cluster's own daemons, such as `kubelet`."""
    found = ProcessTable(layout.processes, layout.logs).find(name)
    if found is None:
        raise ClusterError(f"{name} of cluster {layout.instance} does not run")
    return Process(found.pid, os.pidfd_open(found.pid))


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    """SIGSTOP for the block, SIGCONT after it, whatever happened in it."""
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


def _container_id(pod: Object, container: str) -> str:
    for status in pod["status"].get("containerStatuses") or ():
        if status["name"] == container and status.get("containerID") and "running" in status.get("state", {}):
            return str(status["containerID"]).removeprefix("containerd://")
    raise ClusterError(f"container {container} of pod {pod['metadata']['name']} does not run")


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The command name in parentheses may hold anything: count from its last ")".
    return int(text[text.rindex(")") + 2 :].split()[1])
