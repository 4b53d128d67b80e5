"""The network of the bed: every pod's address is here, and nothing else is anywhere."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Network
from itertools import pairwise

import pytest

from tests.simulated import network
from tests.simulated.nodes import MAX_NODES, build_nodes


def test_one_listener_answers_for_every_pod_and_knows_which_was_called() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        for address in ("10.98.0.1", "10.98.255.255", "10.99.17.3"):
            with socket.create_connection((address, port), timeout=2):
                accepted, _ = server.accept()
                with accepted:
                    assert accepted.getsockname()[0] == address


def test_no_other_machine_can_be_reached() -> None:
    with socket.socket() as client, pytest.raises(OSError, match="unreachable") as refused:
        client.connect(("192.0.2.1", 80))
    assert refused.value.errno == errno.ENETUNREACH


def test_nodes_hand_out_addresses_of_the_pods_range_and_never_the_same() -> None:
    ranges = [IPv4Network(node["spec"]["podCIDR"]) for node in build_nodes(MAX_NODES)]
    assert all(pods.subnet_of(network.POD_RANGE) for pods in ranges)
    assert not any(one.overlaps(other) for one, other in pairwise(sorted(ranges)))
    with pytest.raises(ValueError, match="expected 1"):
        build_nodes(MAX_NODES + 1)
