"""Decides which addresses may be put under load: loopback, and the local cluster's from inside its own network.

The cluster's ranges mean the cluster only inside its network namespace, which has no way out; anywhere else the same
numbers may be somebody's network. Names are refused: a resolver decides what they mean.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import Layout
from tests.cluster.state import State, read_state

OWN_NETWORK = Path("/proc/self/ns/net")


class TargetError(Exception):
    """An address that is not ours to load; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What this process may ask besides loopback."""

    ranges: tuple[str, ...] = ()  # CIDR

    @classmethod
    def current(cls, layout: Layout | None = None) -> Reach:
        layout = layout or Layout.current()
        state = read_state(layout.state)
        return cls(cluster_ranges(state)) if state is not None and _is_inside(layout.namespace_file) else cls()


def cluster_ranges(state: State) -> tuple[str, ...]:
    return (state.addresses.pods, state.addresses.services, state.addresses.link)


def allowed(target: str, reach: Reach) -> str:
    """`HOST:PORT` as it will be asked. Raises TargetError."""
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise TargetError(f"{target!r} is no target: expected ADDRESS:PORT; nothing was sent")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError as error:
        raise TargetError(
            f"{target!r} has a name: expected an IP address of loopback or of the local cluster; nothing was sent"
        ) from error
    if not address.is_loopback and not any(address in ipaddress.ip_network(cidr) for cidr in reach.ranges):
        raise TargetError(
            f"{target!r} is neither loopback nor, as seen from this process, the local cluster; run it inside the "
            "cluster's network: python -m tests.cluster exec -- python -m tests.load …; nothing was sent"
        )
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _is_inside(namespace_file: Path) -> bool:
    try:
        return OWN_NETWORK.stat().st_ino == namespace_file.stat().st_ino
    except OSError:
        return False
