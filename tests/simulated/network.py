"""Gives this process a network of its own, in which every address of a simulated pod is an address of this machine.

    isolate()          build what the bed runs, then become `unshare --net -- <the same command>`
    prepare()          loopback up, and the pods' range local to it (Linux "AnyIP"): who listens on 0.0.0.0 answers for all

The namespace has loopback and nothing else, so nothing that runs in it can reach an address outside this machine. It has no
name, and goes when the last process in it ends.
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys

from tests.cluster.binaries import helm, simulator_binaries
from tests.cluster.errors import ClusterError
from tests.cluster.progress import Progress
from tests.cluster.shell import run

POD_RANGE = ipaddress.IPv4Network("10.98.0.0/15")


def isolate() -> None:
    """Return inside a network of our own, prepared. The first call replaces the process image: make it the first thing.

    Interpreter options and `-m` are kept. Needs root. On a machine that is new, the bed's programs are built first: no
    module can be downloaded from inside.
    """
    if not is_isolated():
        progress = Progress()
        simulator_binaries(progress)
        helm(progress)
        command = ["unshare", "--net", "--", sys.executable, *sys.orig_argv[1:]]
        os.execvp(command[0], command)
    prepare()


def is_isolated() -> bool:
    """Is there no way out of here: no interface that is up, but for loopback?"""
    links = json.loads(run(["ip", "-json", "link", "show", "up"]) or "[]")
    # What the filter leaves out appears as {}.
    return all(link["ifname"] == "lo" for link in links if link)


def prepare() -> None:
    """Set up loopback and the pods' range; again is fine. ClusterError where the network is not our own."""
    if not is_isolated():
        raise ClusterError(
            "this process shares the machine's network, expected one of its own: run it below `unshare --net`, "
            "or call tests.simulated.network.isolate() first; nothing was changed"
        )
    run(["ip", "link", "set", "lo", "up"])
    run(["ip", "route", "replace", "local", str(POD_RANGE), "dev", "lo"])
