"""Where everything of the local cluster lies on disk. Pure: nothing here is created.

<cache>/bin/<module>-<key>/          binaries, kept for ever
<cache>/images/                      image build areas, stamps, buildah's storage
<cache>/clusters/<instance>/         one cluster
    kubeconfig state.json processes.json audit/ logs/ pki/ …   gone after `down`
    containerd/                      images live here and survive `down`
/run/slipway-<instance>/             sockets and containerd's state
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
# Interface names are at most 15 characters and carry the instance's name after "slw-".
INSTANCE_PATTERN = re.compile(r"[a-z]([a-z0-9-]{0,9}[a-z0-9])?")


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """`$SLIPWAY_CACHE`, or `slipway` below the user's cache directory; always outside the checkout."""
    if explicit := environment.get("SLIPWAY_CACHE"):
        return Path(explicit).expanduser().resolve()
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(base).expanduser() / "slipway").resolve()


def instance_name(environment: Mapping[str, str] = os.environ) -> str:
    """`$SLIPWAY_CLUSTER`, default `dev`: several clusters can stand side by side."""
    name = environment.get("SLIPWAY_CLUSTER") or "dev"
    if not INSTANCE_PATTERN.fullmatch(name):
        raise ClusterError(
            f"SLIPWAY_CLUSTER is {name!r}, expected at most 11 of a-z, 0-9 and '-', beginning with a letter; nothing was started"
        )
    return name


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path and kernel name of one cluster."""

    instance: str
    cache: Path

    @classmethod
    def current(cls) -> Layout:
        return cls(instance=instance_name(), cache=cache_directory())

    @property
    def home(self) -> Path:
        return self.cache / "clusters" / self.instance

    @property
    def run(self) -> Path:
        return Path("/run") / f"slipway-{self.instance}"

    @property
    def namespace(self) -> str:
        """Name of the network namespace; also of the cgroup and of the node."""
        return f"slipway-{self.instance}"

    @property
    def namespace_file(self) -> Path:
        return Path("/run/netns") / self.namespace

    @property
    def host_interface(self) -> str:
        return f"slw-{self.instance}"

    @property
    def lock(self) -> Path:
        return self.cache / "clusters" / f"{self.instance}.lock"

    @property
    def containerd_root(self) -> Path:
        return self.home / "containerd"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.home / "pki"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def audit_log(self) -> Path:
        return self.home / "audit" / "audit.log"

    @property
    def state(self) -> Path:
        return self.home / "state.json"

    @property
    def processes(self) -> Path:
        return self.home / "processes.json"

    @property
    def volumes(self) -> Path:
        """Directories behind the PersistentVolumes."""
        return self.home / "volumes"

    @property
    def images(self) -> Path:
        return self.cache / "images"
