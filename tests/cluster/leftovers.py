"""Clears what daemons leave behind: shims, containers' processes, cgroups, mounts, files in /run.

Only what carries our own name is touched: processes in our cgroup, shims that were started with our socket's path,
mounts below our own directories.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from tests.cluster import network
from tests.cluster.errors import ClusterError
from tests.cluster.paths import Layout
from tests.cluster.shell import try_run

KILL_TIMEOUT_S = 10.0


def cgroup_mounts() -> tuple[Path, ...]:
    """Mount points of every cgroup hierarchy: one per controller with version 1."""
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return tuple(Path(fields[1]) for fields in lines if fields[2] in ("cgroup", "cgroup2"))


def clear(layout: Layout) -> None:
    """Kill what is left of pods, then remove cgroups, mounts, network namespace and /run directory."""
    _kill_all(layout)
    _remove_cgroups(layout)
    for mount in own_mounts(layout):
        try_run(["umount", "--lazy", str(mount)])
    network.remove(layout)
    shutil.rmtree(layout.run, ignore_errors=True)


def remaining(layout: Layout) -> tuple[str, ...]:
    """What is still there, in words; empty after a proper `down`."""
    found = [f"process {pid}: {_command_line(pid)[:80]}" for pid in sorted(_own_pids(layout))]
    found += [f"mount {mount}" for mount in own_mounts(layout)]
    found += [f"cgroup {mount / layout.namespace}" for mount in cgroup_mounts() if (mount / layout.namespace).exists()]
    if network.exists(layout):
        found.append(f"network namespace {layout.namespace}")
    if Path(f"/sys/class/net/{layout.host_interface}").exists():
        found.append(f"interface {layout.host_interface}")
    if layout.run.exists():
        found.append(f"directory {layout.run}")
    return tuple(found)


def own_mounts(layout: Layout) -> tuple[Path, ...]:
    """Mounts below our directories in this mount namespace, deepest first."""
    targets = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    ours = [path for path in targets if path.is_relative_to(layout.home) or path.is_relative_to(layout.run)]
    return tuple(sorted(ours, key=lambda path: len(path.parts), reverse=True))


def is_own_shim(command_line: str, socket: Path) -> bool:
    """Whether this is a containerd shim that was started by the containerd of this socket."""
    words = command_line.split()
    return bool(words) and Path(words[0]).name.startswith("containerd-shim") and str(socket) in words


def _own_pids(layout: Layout) -> set[int]:
    pids: set[int] = set()
    for mount in cgroup_mounts():
        for listing in (mount / layout.namespace).rglob("cgroup.procs"):
            try:
                pids.update(int(line) for line in listing.read_text().split())
            except OSError:
                continue  # The group went away while we looked.
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_own_shim(_command_line(int(entry.name)), layout.containerd_socket):
            pids.add(int(entry.name))
    return pids - {0, os.getpid()}


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _kill_all(layout: Layout) -> None:
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while pids := _own_pids(layout):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {sorted(pids)} of the cluster survive SIGKILL; the rest was left as it is")
        time.sleep(0.05)


def _remove_cgroups(layout: Layout) -> None:
    for mount in cgroup_mounts():
        top = mount / layout.namespace
        groups = sorted((path.parent for path in top.rglob("cgroup.procs")), key=lambda path: -len(path.parts))
        for group in groups:
            _remove_group(group)


def _remove_group(group: Path) -> None:
    # The kernel lets go of the last dead process a moment after it is gone from the list.
    for _ in range(20):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
