"""What `up` decided about one cluster, kept in a file: its random id, its addresses, its binaries. Reads and writes that file only."""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError

# The first free pair wins. The /16 of pods and services are routed only inside the cluster's namespace; the host sees the /30.
CANDIDATES = tuple(f"10.{second}.0.0/16" for second in range(96, 255, 4))


@dataclass(frozen=True, slots=True)
class Addresses:
    """Every address of one cluster, cut from one block 10.N.0.0/14-aligned run of three /16."""

    pods: str
    services: str
    link: str  # /30 between host and cluster

    @property
    def host(self) -> str:
        return str(ipaddress.ip_network(self.link)[1])

    @property
    def node(self) -> str:
        return str(ipaddress.ip_network(self.link)[2])

    @property
    def dns(self) -> str:
        return str(ipaddress.ip_network(self.services)[10])

    @property
    def api(self) -> str:
        """The `kubernetes` Service: the first address of the service range."""
        return str(ipaddress.ip_network(self.services)[1])


def choose_addresses(taken: Iterable[str]) -> Addresses:
    """The first candidate that overlaps with no route of the machine (`taken`: CIDRs)."""
    used = [ipaddress.ip_network(cidr, strict=False) for cidr in taken]
    for first in CANDIDATES:
        second = int(first.split(".")[1])
        ranges = [ipaddress.ip_network(f"10.{second + offset}.0.0/16") for offset in range(3)]
        if not any(candidate.overlaps(network) for candidate in ranges for network in used):
            return Addresses(pods=str(ranges[0]), services=str(ranges[1]), link=f"10.{second + 2}.0.0/30")
    raise ClusterError(
        "every address range that the local cluster knows is routed on this machine already; nothing was started"
    )


@dataclass(frozen=True, slots=True)
class State:
    """The durable facts of one `up`."""

    cluster_id: str
    addresses: Addresses
    binaries: dict[str, str]  # name → path
    dns_ttl_s: int

    @classmethod
    def new(cls, addresses: Addresses, binaries: dict[str, str], dns_ttl_s: int) -> State:
        return cls(cluster_id=secrets.token_hex(16), addresses=addresses, binaries=binaries, dns_ttl_s=dns_ttl_s)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self), indent=1))
        temporary.replace(path)


def read_state(path: Path) -> State | None:
    """The state of a cluster that is or was up; None without the file or with one of another shape (an older version's)."""
    try:
        data = json.loads(path.read_text())
        return State(**{**data, "addresses": Addresses(**data["addresses"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
