"""One Envoy with its pods per test: `bed.router({1: 100})` starts everything and waits until the pods are healthy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from slipway.adapters.router import Routers
from slipway.build.route_table import NOTHING, Beside
from slipway.core.snapshot import RouterAnswer
from tests.integration.router.envoy import Envoy
from tests.integration.router.fakes import FakeDns, FakeTriton, loopback_address
from tests.integration.router.samples import eventually, route_files, service_name


class Bed:
    """Pods by revision, one router, and clients."""

    def __init__(self, session: aiohttp.ClientSession, dns: FakeDns, directory: Path) -> None:
        self.session = session
        self.dns = dns
        self.pods: dict[int, list[FakeTriton]] = {}
        self.envoy = Envoy(loopback_address(), directory, dns.port, session)
        self.expects_warnings = False
        self._channel: grpc.aio.Channel | None = None

    async def add_pods(self, revision: int, count: int = 1) -> list[FakeTriton]:
        pods = [FakeTriton(loopback_address()) for _ in range(count)]
        for pod in pods:
            await pod.start()
        self.pods.setdefault(revision, []).extend(pods)
        self.dns.records[service_name(revision)] = [pod.address for pod in self.pods[revision]]
        return pods

    async def router(
        self, weights: dict[int, int], stable: int | None = None, pods: int = 1, beside: Beside = NOTHING
    ) -> Envoy:
        for revision in weights:
            if revision not in self.pods:
                await self.add_pods(revision, pods)
        await self.envoy.start(route_files(weights, stable, beside=beside))
        for revision in weights:
            ready = sum(pod.ready for pod in self.pods[revision])
            await self.until_members(revision, ready)
        return self.envoy

    async def until_members(self, revision: int, count: int) -> None:
        async def seen() -> bool:
            return (await self.inspect()).healthy_members.get(revision) == count

        await eventually(f"revision {revision} has {count} healthy members", seen)

    async def inspect(self) -> RouterAnswer:
        return await Routers(self.session).inspect(self.envoy.address)

    def stub(self) -> service_pb2_grpc.GRPCInferenceServiceStub:
        if self._channel is None:
            options = [("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1)]
            self._channel = grpc.aio.insecure_channel(self.envoy.grpc, options=options)
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
        await self.envoy.stop()
        for pods in self.pods.values():
            for pod in pods:
                await pod.stop()


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    dns = FakeDns()
    await dns.start()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        bed = Bed(session, dns, tmp_path)
        try:
            yield bed
        finally:
            await bed.close()
            dns.stop()
    if bed.envoy.log.exists() and not bed.expects_warnings:
        assert bed.envoy.warnings() == [], "Envoy accepted the configuration with complaints"
