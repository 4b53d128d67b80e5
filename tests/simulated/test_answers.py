"""What the operator's own adapters hear from simulated pods: Triton's words, and routers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from slipway.adapters.router import Routers
from slipway.adapters.triton import Triton
from slipway.api import names
from slipway.core.snapshot import ModelState, Tensor
from slipway.errors import Unreachable
from tests.integration.router.fakes import loopback_address
from tests.integration.router.samples import route_files
from tests.simulated import behaviours
from tests.simulated.answers import PodPorts
from tests.simulated.control import Mode
from tests.simulated.simulation import Simulation
from tests.support.waiting import until

FILES = route_files({1: 100}, stable=1)


class Pods:
    """Simulated pods of `risk/fraud` at one address, and who asks them."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.address = loopback_address()
        self.simulation = Simulation(lambda _pod, _ready: None, seed=3)
        self.ports = PodPorts(self.simulation, self.address)
        self.routers = Routers(session, timeout_s=0.5)
        self.triton = Triton(session)

    def model(self, *, behaviour: str = behaviours.OK, ready: bool = True, running: bool = True) -> None:
        metadata = {
            "name": "fraud-r3-a",
            "namespace": "risk",
            "uid": "model",
            "labels": names.revision_labels("fraud", 3),
            "annotations": {behaviours.BEHAVIOUR: behaviour},
        }
        probe = {"httpGet": {"path": "/v2/models/fraud/versions/3/ready", "port": "http"}}
        self.simulation.pod_changed(
            {
                "metadata": metadata,
                "spec": {"containers": [{"name": "triton", "readinessProbe": probe}]},
                "status": {
                    "podIP": self.address,
                    "conditions": [{"type": "Ready", "status": str(ready)}],
                    "containerStatuses": [{"name": "triton", "state": {"running": {}} if running else {"waiting": {}}}],
                },
            }
        )

    async def router(self) -> None:
        """One that is open, with its first table."""
        labels = names.base_labels("fraud", names.COMPONENT_ROUTER)
        named: dict[str, Any] = {"name": "fraud-router", "namespace": "risk", "labels": labels}
        data = {names.ROUTES_KEY: FILES.routes, names.CLUSTERS_KEY: FILES.clusters}
        self.simulation.files_changed({"metadata": named, "data": data})
        status = {"podIP": self.address, "containerStatuses": [{"name": "envoy", "state": {"running": {}}}]}
        pod = {"metadata": {**named, "uid": "router"}, "spec": {"containers": [{}]}, "status": status}
        self.simulation.pod_changed(pod)
        await until(lambda: any(router.envoy.is_open for router in self.simulation.routers()))

    def fault(self, mode: Mode, delay_s: float = 0.0) -> None:
        self.simulation.set_fault(("risk", "fraud"), None, mode, delay_s)

    async def state(self, revision: int = 3) -> ModelState:
        return await self.triton.model_state("fraud-r3-a", self.address, "fraud", revision)


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    async with aiohttp.ClientSession() as session:
        pods = Pods(session)
        await pods.ports.start()
        yield pods
        await pods.ports.stop()


async def test_a_ready_model_says_so_and_what_its_tensors_are(pods: Pods) -> None:
    pods.model()
    assert await pods.state() == ModelState(pod="fraud-r3-a", ready=True, state="READY", reason="")
    signature = await pods.triton.signature(pods.address, "fraud", 3)
    assert signature.inputs == (Tensor(name="INPUT__0", datatype="FP32", shape=(-1, 4)),)


async def test_a_model_that_fails_to_load_gives_the_reason(pods: Pods) -> None:
    pods.model(behaviour=behaviours.LOAD_FAILS, ready=False)
    expected = ModelState(
        pod="fraud-r3-a",
        ready=False,
        state="UNAVAILABLE",
        reason="failed to load the model: simulated: a layer has the wrong shape",
    )
    assert await pods.state() == expected


async def test_another_revision_is_not_served(pods: Pods) -> None:
    pods.model()
    state = await pods.state(revision=4)
    assert (state.ready, state.state) == (False, "UNAVAILABLE")


@pytest.mark.parametrize("running", [True, False])
async def test_nobody_listens_while_a_model_loads_or_its_container_is_away(pods: Pods, *, running: bool) -> None:
    pods.model(ready=False, running=running)
    assert await pods.state() == ModelState(pod="fraud-r3-a", ready=False, state="", reason="")


async def test_a_router_answers_late_when_it_is_slow(pods: Pods) -> None:
    await pods.router()
    pods.fault(Mode.OK, delay_s=0.2)
    began = asyncio.get_running_loop().time()
    assert (await pods.routers.inspect(pods.address)).routes_version == FILES.routes_version
    assert asyncio.get_running_loop().time() - began >= 0.4, "two questions, each answered late"


@pytest.mark.parametrize(("mode", "at_least_s"), [(Mode.SILENT, 0.5), (Mode.CLOSED, 0.0)])
async def test_a_router_that_is_away_is_unreachable(pods: Pods, mode: Mode, at_least_s: float) -> None:
    await pods.router()
    pods.fault(mode)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unreachable):
        await pods.routers.inspect(pods.address)
    assert asyncio.get_running_loop().time() - began >= at_least_s
    pods.simulation.reset()
    assert (await pods.routers.inspect(pods.address)).weights == {1: 100}


async def test_requests_in_flight_are_those_that_the_test_has_set(pods: Pods) -> None:
    await pods.router()
    pods.simulation.set_active(("risk", "fraud"), 1, 4)
    assert (await pods.routers.inspect(pods.address)).active_requests == {1: 4}
