"""Installs the Debian packages that the node and the image builds need, and only those that are missing."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.paths import Layout
from tests.cluster.progress import Progress
from tests.cluster.shell import stream, try_run

NODE_PACKAGES = (
    "busybox-static",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "nftables",
    "openssl",
    "runc",
)
IMAGE_PACKAGES = ("buildah", "busybox-static", "ca-certificates", "debootstrap", "tar")


def missing(packages: tuple[str, ...]) -> tuple[str, ...]:
    """Those that dpkg does not know as installed."""
    listed = try_run(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *packages]).stdout
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return tuple(package for package in packages if package not in installed)


def ensure_packages(layout: Layout, packages: tuple[str, ...], progress: Progress) -> None:
    """Install what is missing; a daemon that a package would start is kept from starting."""
    wanted = missing(packages)
    if not wanted:
        return
    if os.geteuid() != 0:
        raise ClusterError(
            f"packages {', '.join(wanted)} are missing and this is not root; install them, nothing was started"
        )
    log = layout.cache / "packages.log"
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"Install Debian packages {' '.join(wanted)}") as step, _no_daemons():
        stream(["apt-get", "update", "-q"], log, step.note, environment=environment)
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted]
        stream(command, log, step.note, environment=environment)
        step.note("")


class _no_daemons:  # noqa: N801 - reads as a statement of the `with` line
    """Debian asks this file before a package starts its service; 101 means no. An existing one is left alone."""

    _policy = Path("/usr/sbin/policy-rc.d")

    def __enter__(self) -> None:
        self._ours = not self._policy.exists()
        if self._ours:
            self._policy.write_text("#!/bin/sh\nexit 101\n")
            self._policy.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self._ours:
            self._policy.unlink(missing_ok=True)
