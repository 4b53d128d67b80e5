"""What a simulated router knows, and since when: the delays that a rollout must live with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from slipway.api import names
from slipway.build.router import RouteFiles
from tests.integration.router.samples import route_files
from tests.simulated import simulation as simulation_module
from tests.simulated.control import Mode
from tests.simulated.envoy import SimulatedEnvoy
from tests.simulated.pods import Pod
from tests.simulated.simulation import Simulation
from tests.support.waiting import until

ONE = route_files({1: 100}, stable=1)
TWO = route_files({1: 90, 2: 10}, stable=1)


def envoy(files: RouteFiles, members: Mapping[int, int], clusters: RouteFiles | None = None) -> SimulatedEnvoy:
    loaded = SimulatedEnvoy()
    loaded.load({names.ROUTES_KEY: files.routes, names.CLUSTERS_KEY: (clusters or files).clusters})
    loaded.members = dict(members)
    return loaded


@pytest.mark.parametrize(
    ("members", "lost"),
    [
        ({1: 1, 2: 1}, 0.0),
        ({1: 1, 2: 0}, 0.0),  # the canary's share falls back to stable
        ({1: 0, 2: 1}, 90.0),  # stable's does not fall on the canary
        ({}, 100.0),
    ],
)
def test_requests_are_lost_where_no_level_of_a_cluster_has_a_healthy_pod(members: dict[int, int], lost: float) -> None:
    assert envoy(TWO, members).lost_percent() == lost


def test_requests_to_a_cluster_that_is_not_there_are_lost() -> None:
    assert envoy(TWO, {1: 1, 2: 1}, clusters=ONE).lost_percent() == 10.0


def test_a_blind_router_sees_nobody_and_loses_everything() -> None:
    blind = envoy(TWO, {1: 1, 2: 1})
    blind.mode = Mode.BLIND
    assert (blind.sees(1), blind.lost_percent(), blind.is_ready()) == (0, 100.0, False)


class Cluster:
    """One router pod of `risk/fraud` and what the API server says of it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bool]] = []
        self.simulation = Simulation(self._set_ready, seed=7)

    def _set_ready(self, pod: Pod, ready: bool) -> None:
        self.said.append((pod.name, ready))

    def write(self, files: RouteFiles) -> None:
        data = {names.ROUTES_KEY: files.routes, names.CLUSTERS_KEY: files.clusters}
        self.simulation.files_changed({"metadata": self._metadata("fraud-router"), "data": data})

    def router(self, poke: str = "") -> None:
        metadata = {**self._metadata("fraud-router-a"), "uid": "a", "annotations": {names.ANNOTATION_POKE: poke}}
        status = {"podIP": "10.98.0.9", "containerStatuses": [{"name": "envoy", "state": {"running": {}}}]}
        self.simulation.pod_changed({"metadata": metadata, "spec": {"containers": [{}]}, "status": status})

    def pods(self, revision: int, count: int) -> None:
        metadata = {**self._metadata(f"fraud-r{revision}-x"), "labels": names.revision_labels("fraud", revision)}
        endpoints = [{"addresses": ["10.98.0.1"], "conditions": {"ready": True}}] * count
        self.simulation.slice_changed({"metadata": metadata, "endpoints": endpoints})

    def held(self) -> SimulatedEnvoy:
        router = self.simulation.router_at("10.98.0.9")
        assert router is not None
        return router.envoy

    @staticmethod
    def _metadata(name: str) -> dict[str, Any]:
        return {"name": name, "namespace": "risk", "labels": names.base_labels("fraud", names.COMPONENT_ROUTER)}


@pytest.fixture
async def cluster() -> Cluster:
    """Version one in force, its pod seen, the router ready."""
    cluster = Cluster()
    cluster.pods(1, 1)
    cluster.write(ONE)
    cluster.router()
    await until(lambda: cluster.said == [("fraud-router-a", True)], lambda: cluster.said)
    return cluster


async def test_a_changed_config_map_alone_does_not_reach_a_router_soon(cluster: Cluster) -> None:
    cluster.write(TWO)
    await asyncio.sleep(0.5)
    assert cluster.held().routes_version == ONE.routes_version


async def test_a_poke_brings_the_new_files_within_a_third_of_a_second(cluster: Cluster) -> None:
    cluster.write(TWO)
    cluster.router(poke="1")
    await until(lambda: cluster.held().routes_version == TWO.routes_version, deadline_s=0.4)


async def test_the_kubelet_s_own_sync_brings_them_without_a_poke(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation_module, "OWN_SYNC_S", (0.2, 0.3))
    cluster.write(TWO)
    await until(lambda: cluster.held().routes_version == TWO.routes_version, deadline_s=0.5)


async def test_a_stuck_router_keeps_its_table_until_it_is_free_again(cluster: Cluster) -> None:
    cluster.simulation.set_fault(("risk", "fraud"), "fraud-router-a", Mode.STUCK, 0.0)
    cluster.write(TWO)
    cluster.router(poke="1")
    await asyncio.sleep(0.5)
    assert cluster.held().routes_version == ONE.routes_version
    cluster.simulation.reset()
    await until(lambda: cluster.held().routes_version == TWO.routes_version, deadline_s=0.5)


async def test_a_router_that_starts_during_a_write_may_begin_with_the_table_of_before() -> None:
    cluster = Cluster()
    cluster.pods(1, 1)
    cluster.write(ONE)
    cluster.simulation._random.seed(0)  # its first draw, the age of the volume, is above half a second
    await asyncio.sleep(0.3)
    cluster.write(TWO)
    cluster.router()
    await until(lambda: cluster.held().is_open)
    assert cluster.held().routes_version == ONE.routes_version


async def test_a_router_is_ready_no_longer_when_stable_s_pods_have_gone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation_module, "UNREADY_S", (0.1, 0.2))
    cluster.pods(1, 0)
    await until(lambda: cluster.said[-1] == ("fraud-router-a", False), lambda: cluster.said, deadline_s=2.0)
