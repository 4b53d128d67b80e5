"""The simulated nodes, as plain data: what they offer, and the slice of the pods' range that each hands out."""

from __future__ import annotations

from itertools import islice
from typing import Any

from tests.simulated.network import POD_RANGE

PODS_PREFIX = 22  # a thousand addresses a node
MAX_NODES = 2 ** (PODS_PREFIX - POD_RANGE.prefixlen)
OFFERS = {"cpu": "64", "memory": "256Gi", "pods": "900", "nvidia.com/gpu": "8", "ephemeral-storage": "1Ti"}


def build_nodes(count: int) -> list[dict[str, Any]]:
    """`sim-0` … with a zone each of three. ValueError for more than the pods' range has room for."""
    if not 1 <= count <= MAX_NODES:
        raise ValueError(
            f"{count} nodes asked for, expected 1..{MAX_NODES}: each takes a /{PODS_PREFIX} of {POD_RANGE}"
        )
    return [
        _node(number, str(pods)) for number, pods in enumerate(islice(POD_RANGE.subnets(new_prefix=PODS_PREFIX), count))
    ]


def _node(number: int, pods: str) -> dict[str, Any]:
    name = f"sim-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/zone": f"zone-{number % 3}",
            },
        },
        "spec": {"podCIDR": pods, "podCIDRs": [pods]},
        "status": {"capacity": dict(OFFERS), "allocatable": dict(OFFERS)},
    }
