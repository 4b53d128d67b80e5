"""The network namespace that holds the whole cluster, and the veth pair by which this machine reaches its API server.

The namespace has no default route: nothing that runs in it can reach an address outside this machine.
Commands enter it with nsenter, not with `ip netns exec`, which remounts /sys and so loses the cgroups.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.paths import Layout
from tests.cluster.shell import run, try_run
from tests.cluster.state import Addresses

INNER_INTERFACE = "uplink"


def enter(layout: Layout) -> tuple[str, ...]:
    """Prefix that runs a command inside the cluster's network; the process keeps its pid and its file system."""
    return ("nsenter", f"--net={layout.namespace_file}", "--")


def routed_ranges() -> tuple[str, ...]:
    """Destinations that this machine routes now, but for the default route."""
    routes = json.loads(run(["ip", "-json", "route"]) or "[]")
    return tuple(str(route["dst"]) for route in routes if route["dst"] != "default")


def exists(layout: Layout) -> bool:
    return layout.namespace_file.exists()


def create(layout: Layout, addresses: Addresses) -> None:
    """Namespace, veth pair, addresses, forwarding between the pods."""
    run(["ip", "netns", "add", layout.namespace])
    run(
        [
            "ip",
            "link",
            "add",
            layout.host_interface,
            "type",
            "veth",
            "peer",
            "name",
            INNER_INTERFACE,
            "netns",
            layout.namespace,
        ]
    )
    run(["ip", "address", "add", f"{addresses.host}/30", "dev", layout.host_interface])
    run(["ip", "link", "set", layout.host_interface, "up"])
    inside = ["ip", "-n", layout.namespace]
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "address", "add", f"{addresses.node}/30", "dev", INNER_INTERFACE])
    run([*inside, "link", "set", INNER_INTERFACE, "up"])
    # Clients in this namespace reach Services too; without a route the packet is refused before kube-proxy's rules see it.
    run([*inside, "route", "add", addresses.services, "dev", INNER_INTERFACE])
    run([*enter(layout), "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])


def remove(layout: Layout) -> None:
    """Delete namespace and veth pair; missing ones are fine."""
    if Path(f"/sys/class/net/{layout.host_interface}").exists():
        # Deleting one end removes both, even while the kernel still tears the namespace down.
        try_run(["ip", "link", "delete", layout.host_interface])
    if exists(layout):
        run(["ip", "netns", "delete", layout.namespace])
    # `ip netns add` makes this directory a mount of its own; with the last namespace it goes too.
    directory = layout.namespace_file.parent
    if directory.is_mount() and not any(directory.iterdir()):
        try_run(["umount", str(directory)])
