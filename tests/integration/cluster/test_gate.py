"""The gate of writes against a real API server: what is not let through never arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.adapters.access import KubeconfigFile
from slipway.adapters.clock import SystemClock
from slipway.adapters.cluster import Cluster
from slipway.adapters.resources import CONFIG_MAPS, MODEL_DEPLOYMENTS, PODS
from slipway.errors import LeadershipLost, NotFound, TransientError
from tests.cluster.controlplane import ControlPlane
from tests.integration.cluster.misbehaving import Server, answer
from tests.integration.cluster.objects import config_map, model_deployment
from tests.support.kube_api import KubeApi


class Door:
    """A gate that is open for the first `lets` questions."""

    def __init__(self, lets: int, left_s: float = 10.0) -> None:
        self.lets = lets
        self.left_s = left_s
        self.asked = 0

    def seconds_left(self) -> float:
        self.asked += 1
        if self.asked > self.lets:
            raise LeadershipLost("not sent")
        return self.left_s


Gated = Callable[[Door], AbstractAsyncContextManager[Cluster]]


@pytest.fixture
def gated(control_plane: ControlPlane) -> Gated:
    @asynccontextmanager
    async def connect(door: Door) -> AsyncIterator[Cluster]:
        access = KubeconfigFile(path=str(control_plane.kubeconfig))
        cluster = await Cluster.connect(access, SystemClock(), gate=door)
        try:
            yield cluster
        finally:
            await cluster.close()

    return connect


async def every_write(cluster: Cluster, namespace: str, live: dict[str, Any]) -> list[Any]:
    """One of each kind that the operator sends; what each ended with."""
    uid, version = live["metadata"]["uid"], live["metadata"]["resourceVersion"]
    regarding = model_deployment(namespace)
    regarding["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    return await asyncio.gather(
        cluster.create(config_map(namespace)),
        cluster.apply(config_map(namespace), uid=uid, resource_version=version, live=live),
        cluster.apply_status(MODEL_DEPLOYMENTS, {**regarding, "status": {}}, uid="u", resource_version="1"),
        cluster.delete(CONFIG_MAPS, namespace, "fraud-r1", uid="u"),
        cluster.patch_annotation(PODS, namespace, "router", "slipway.dev/poke", "1", uid="u"),
        cluster.remove_annotations(MODEL_DEPLOYMENTS, namespace, "fraud", {"a": "1"}, uid="u"),
        cluster.create_event(regarding, type_="Normal", reason="Serving", message="m"),
        return_exceptions=True,
    )


@pytest.mark.parametrize("lets", [0, 1], ids=["when it is made", "in the last moment before it is sent"])
async def test_a_write_that_the_gate_refuses_never_arrives(
    gated: Gated, kube_api: KubeApi, namespace: str, lets: int
) -> None:
    async with gated(Door(lets)) as cluster:
        with pytest.raises(LeadershipLost):
            await cluster.create(config_map(namespace))
        await asyncio.sleep(0.3)
        assert kube_api.request("GET", CONFIG_MAPS.path(namespace, "fraud-r1")).code == 404
        with pytest.raises(NotFound):
            await cluster.get(CONFIG_MAPS, namespace, "fraud-r1")  # a read asks no gate, and the pool still works


async def test_no_kind_of_write_goes_round_the_gate(gated: Gated, kube_api: KubeApi, namespace: str) -> None:
    live = kube_api.request("POST", CONFIG_MAPS.path(namespace), config_map(namespace)).expect(201)
    door = Door(0)
    async with gated(door) as cluster:
        ends = await every_write(cluster, namespace, live)
        assert [type(end) for end in ends] == [LeadershipLost] * 7
        assert door.asked == 7


async def test_a_write_that_is_let_through_asks_twice(gated: Gated, namespace: str) -> None:
    door = Door(99)
    async with gated(door) as cluster:
        await cluster.create(config_map(namespace))
    assert door.asked == 2


async def test_kopfs_session_has_the_same_gate(gated: Gated, namespace: str) -> None:
    async with gated(Door(0)) as cluster, cluster.new_session() as session:
        url = cluster.server + CONFIG_MAPS.path(namespace)
        async with session.get(url) as listed:
            assert listed.status == 200
        with pytest.raises(LeadershipLost):
            await session.post(url, json=config_map(namespace))


async def test_a_write_takes_no_longer_than_the_term_and_tells_the_server_so(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    async def slow(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        seen.append((request.method, request.query.get("timeout", "")))
        await asyncio.sleep(5)
        return await answer(200)(request)

    server = Server(lists=[slow], watches=[slow])
    async with server.running(tmp_path) as access:
        cluster = await Cluster.connect(access, SystemClock(), gate=Door(9, left_s=1.0))
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TransientError):
            await cluster.create(config_map("ns"))
        assert 0.9 < loop.time() - began < 4.0
        await cluster.close()
    assert seen == [("POST", "1.000s")]
