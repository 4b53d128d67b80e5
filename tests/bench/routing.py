"""Part `router`: what the router adds to a request. A real Envoy with the routes that the operator writes, no cluster.

The same requests go to the pod directly and through the router, in short blocks that take turns, so that whatever else the
machine does falls on both. The pod is a stand-in for Triton in a process of its own that answers at once: the difference is
the router's, the sum is not a model's. Requests are small (16 numbers); one revision has all the traffic.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from slipway.adapters.router import Routers
from tests.bench import machine
from tests.bench.results import Figure, Part, Table, quantile
from tests.integration.router.envoy import Envoy
from tests.integration.router.fakes import FakeDns, loopback_address
from tests.integration.router.samples import MODEL, eventually, route_files, service_name

CONCURRENCIES = (1, 8, 32)
BLOCK = 200  # requests before the other side has its turn
SECONDS = 12.0  # for each protocol and concurrency, both sides together
WARM_UP = 300
GOAL_MS = 0.3
INFER = f"/v2/models/{MODEL}/infer"
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,16],"data":[' + b",".join([b"0.5"] * 16) + b"]}]}"

Ask = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Seen:
    """One way to the model."""

    latencies_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0
    envoy_s: float = 0.0  # CPU

    @property
    def rate(self) -> float:
        return len(self.latencies_ms) / self.seconds


@dataclass(frozen=True, slots=True)
class Road:
    """The pod, the router before it, and clients of both."""

    pod: str  # address
    envoy: Envoy
    envoy_pid: int
    session: aiohttp.ClientSession


def measure(seconds: float = SECONDS) -> Part:
    return asyncio.run(_measure(seconds))


async def _measure(seconds: float) -> Part:
    rows, figures = [], []
    async with _road() as road:
        for protocol in ("HTTP", "gRPC"):
            for concurrency in CONCURRENCIES:
                async with _asks(road, protocol) as (direct, routed):
                    found = await _take_turns(road, direct, routed, concurrency, seconds)
                rows.append(_row(protocol, concurrency, *found))
                if concurrency == 1:
                    figures += _figures(protocol, *found)
    return Part(
        name="router",
        title="What the router adds to a request",
        about=(__doc__ or "").partition("\n\n")[2].strip(),
        figures=tuple(figures),
        tables=(
            Table(
                title="Directly, and through the router",
                columns=(
                    *("protocol", "at once", "direct p50, ms", "p99", "router p50, ms", "p99"),
                    *("difference p50, ms", "p99", "direct, 1/s", "router, 1/s", "Envoy CPU per request, µs"),
                ),
                rows=tuple(rows),
            ),
        ),
    )


def _row(protocol: str, concurrency: int, direct: Seen, routed: Seen) -> tuple[str | int | float, ...]:
    def at(share: float) -> tuple[float, float]:
        return quantile(direct.latencies_ms, share), quantile(routed.latencies_ms, share)

    (near, far), (near_99, far_99) = at(0.5), at(0.99)
    return (
        *(protocol, concurrency, round(near, 3), round(near_99, 3), round(far, 3), round(far_99, 3)),
        *(round(far - near, 3), round(far_99 - near_99, 3), round(direct.rate), round(routed.rate)),
        round(1e6 * routed.envoy_s / len(routed.latencies_ms)),
    )


def _figures(protocol: str, direct: Seen, routed: Seen) -> list[Figure]:
    added = quantile(routed.latencies_ms, 0.5) - quantile(direct.latencies_ms, 0.5)
    cpu = 1e6 * routed.envoy_s / len(routed.latencies_ms)
    note = f"{len(routed.latencies_ms)} requests through the router, one at a time"
    return [
        Figure(what=f"router adds to {protocol}, p50", value=round(added, 3), unit="ms", goal=GOAL_MS, note=note),
        Figure(what=f"Envoy per {protocol} request", value=round(cpu), unit="µs CPU", note="one at a time"),
    ]


async def _take_turns(road: Road, direct: Ask, routed: Ask, concurrency: int, seconds: float) -> tuple[Seen, Seen]:
    near, far = Seen(), Seen()
    for ask in (direct, routed):
        await _block(ask, concurrency, WARM_UP)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for ask, seen in ((direct, near), (routed, far)):
            cpu, began = machine.cpu_s(road.envoy_pid), time.perf_counter()
            seen.latencies_ms += await _block(ask, concurrency, BLOCK)
            seen.seconds += time.perf_counter() - began
            seen.envoy_s += machine.cpu_s(road.envoy_pid) - cpu
    return near, far


async def _block(ask: Ask, concurrency: int, count: int) -> list[float]:
    latencies: list[float] = []

    async def client(share: int) -> None:
        for _ in range(share):
            began = time.perf_counter()
            await ask()
            latencies.append((time.perf_counter() - began) * 1000)

    async with asyncio.TaskGroup() as clients:
        for number in range(concurrency):
            clients.create_task(client(count // concurrency + (number < count % concurrency)))
    return latencies


@asynccontextmanager
async def _asks(road: Road, protocol: str) -> AsyncIterator[tuple[Ask, Ask]]:
    """How to ask the pod, and how to ask the router. An answer that is no success ends the benchmark."""
    if protocol == "HTTP":

        def http(address: str) -> Ask:
            async def ask() -> None:
                async with road.session.post(f"http://{address}:8000{INFER}", data=BODY) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"{address} answered {answer.status}")

            return ask

        yield http(road.pod), http(road.envoy.address)
        return
    question = service_pb2.ModelInferRequest(model_name=MODEL)
    question.inputs.add(name="x", datatype="FP32", shape=[1, 16])
    question.raw_input_contents.append(bytes(64))
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"{place}:8001", options=options) for place in (road.pod, road.envoy.address)]
    stubs = [service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in channels]

    def call(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> Ask:
        async def ask() -> None:
            await stub.ModelInfer(question)

        return ask

    try:
        yield call(stubs[0]), call(stubs[1])
    finally:
        for channel in channels:
            await channel.close()


@asynccontextmanager
async def _road() -> AsyncIterator[Road]:
    dns, pod = FakeDns(), loopback_address()
    await dns.start()
    dns.records[service_name(1)] = [pod]
    command = (sys.executable, "-m", "tests.integration.router.pod", pod, "0")
    process = await asyncio.create_subprocess_exec(*command)
    try:
        with tempfile.TemporaryDirectory(prefix="slipway-bench-") as directory:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                envoy = Envoy(loopback_address(), Path(directory), dns.port, session)
                try:
                    await envoy.start(route_files({1: 100}, 1))

                    async def healthy() -> bool:
                        return (await Routers(session).inspect(envoy.address)).healthy_members.get(1) == 1

                    await eventually("the router sees the pod", healthy, timeout_s=30)
                    yield Road(pod, envoy, envoy.pid, session)
                finally:
                    await envoy.stop()
    finally:
        process.terminate()
        await process.wait()
        dns.stop()
