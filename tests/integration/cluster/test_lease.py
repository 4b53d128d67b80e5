"""The Lease on a real API server: the contract of the fake one, and what people see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from slipway.adapters.access import KubeconfigFile
from slipway.adapters.clock import SystemClock
from slipway.adapters.connection import Connection
from slipway.adapters.election import AlwaysLeader
from slipway.adapters.lease import KubeLease, Pace
from slipway.adapters.resources import LEASES
from tests.cluster.controlplane import ControlPlane
from tests.support.kube_api import KubeApi
from tests.support.lease_contract import LeaseContract


@pytest.fixture
async def connection(control_plane: ControlPlane) -> AsyncIterator[Connection]:
    opened = await Connection.connect(KubeconfigFile(path=str(control_plane.kubeconfig)), AlwaysLeader())
    yield opened
    await opened.close()


@pytest.fixture
def lease(connection: Connection, namespace: str) -> KubeLease:
    return KubeLease(connection, SystemClock(), namespace=namespace, name="slipway", pace=Pace())


class TestKubeLease(LeaseContract):
    """The fixtures above."""


async def test_people_see_who_holds_it_and_since_when(lease: KubeLease, kube_api: KubeApi, namespace: str) -> None:
    created = await lease.create("slipway-0_x")
    path = LEASES.path(namespace, "slipway")
    before = kube_api.request("GET", path).expect(200)["spec"]
    await lease.renew(created)
    after = kube_api.request("GET", path).expect(200)["spec"]
    assert before["holderIdentity"] == "slipway-0_x"
    assert before["acquireTime"] == after["acquireTime"]
    assert before["renewTime"] < after["renewTime"]
