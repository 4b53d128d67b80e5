"""What stands around a real Envoy in these tests: a DNS server and Triton pods, all on loopback addresses of their own.

Every pod has its own address of 127.0.0.0/8, so the production ports stay as they are and no generated file is edited.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
from aiohttp import web
from tritonclient.grpc import service_pb2, service_pb2_grpc

_block = itertools.count(1)


def loopback_address() -> str:
    """An address that nobody else in this run uses; two runs at once differ by their process id."""
    number = next(_block)
    # Two octets count: a run of all tests takes more addresses than one octet has.
    return f"127.{1 + os.getpid() % 250}.{number // 250}.{1 + number % 250}"


class FakeDns(asyncio.DatagramProtocol):
    """Answers A questions from a table; everything else is NXDOMAIN. Source: RFC 1035 section 4.1."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.questions: list[str] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        self._transport = transport

    def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, position = [], 12
        while data[position]:
            length = data[position]
            labels.append(data[position + 1 : position + 1 + length].decode())
            position += length + 1
        question = data[12 : position + 5]
        name = ".".join(labels)
        self.questions.append(name)
        addresses = self.records.get(name, []) if question[-4:-2] == b"\x00\x01" else []
        code = 0 if name in self.records else 3
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(addresses), 0, 0)
        answers = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + bytes(map(int, address.split(".")))
            for address in addresses
        )
        assert self._transport is not None
        self._transport.sendto(head + question + answers, addr)


@dataclass
class Seen:
    """One request as a pod saw it."""

    path: str
    headers: dict[str, str]
    size: int = 0


@dataclass
class FakeTriton:
    """One pod: Triton's HTTP and gRPC ports, as far as a router can tell the difference."""

    address: str
    ready: bool = True
    resets: int = 0  # so many of the next HTTP inferences lose their connection after the whole body was read
    resets_grpc: bool = False  # every gRPC connection is reset with the calls on it; fixed when the pod starts
    status: int = 200  # of HTTP inferences
    grpc_code: grpc.StatusCode = grpc.StatusCode.OK
    delay_s: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    checks: int = 0

    async def start(self) -> None:
        self._grpc: grpc.aio.Server | None = None
        self._resetting: asyncio.Server | None = None
        if self.resets_grpc:
            self._resetting = await asyncio.start_server(self._reset, self.address, 8001)
        else:
            options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
            self._grpc = grpc.aio.server(options=options)
            service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(self), self._grpc)
            assert self._grpc.add_insecure_port(f"{self.address}:8001") == 8001
            await self._grpc.start()
        # HTTP last: it answers the health checks of both ports.
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._http)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, 8000).start()

    async def stop(self) -> None:
        if self._grpc is not None:
            await self._grpc.stop(grace=None)
        if self._resetting is not None:
            self._resetting.close()
        await self._runner.cleanup()

    async def _reset(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)  # HTTP/2 preface, settings and the first call
        self.seen.append(Seen("/ModelInfer", {}))
        await asyncio.sleep(0.01)
        writer.transport.abort()

    def inferences(self) -> list[Seen]:
        return [request for request in self.seen if request.path.endswith(("/infer", "/ModelInfer"))]

    async def _http(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("user-agent", "").startswith("Envoy/HC"):
            self.checks += 1
            return web.Response(status=200 if self.ready else 400)
        body = await request.read()
        self.seen.append(Seen(request.path, dict(request.headers.items()), len(body)))
        if request.path.endswith(("/infer", "/generate", "/generate_stream")):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.resets > 0:
                self.resets -= 1
                assert request.transport is not None
                request.transport.abort()
            return web.json_response({"path": request.path}, status=self.status, headers={"x-slipway-revision": "lie"})
        return web.json_response({"path": request.path}, status=200 if self.ready else 400)


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, pod: FakeTriton) -> None:
        self._pod = pod

    def _note(self, method: str, context: grpc.aio.ServicerContext, size: int = 0) -> None:
        headers = {key: str(value) for key, value in context.invocation_metadata() or ()}
        self._pod.seen.append(Seen(f"/{method}", headers, size))

    async def ServerLive(self, request: object, context: grpc.aio.ServicerContext) -> object:  # noqa: N802
        self._note("ServerLive", context)
        return service_pb2.ServerLiveResponse(live=True)

    async def ServerReady(self, request: object, context: grpc.aio.ServicerContext) -> object:  # noqa: N802
        self._note("ServerReady", context)
        return service_pb2.ServerReadyResponse(ready=True)

    async def ServerMetadata(self, request: object, context: grpc.aio.ServicerContext) -> object:  # noqa: N802
        self._note("ServerMetadata", context)
        return service_pb2.ServerMetadataResponse(name="triton")

    async def ModelReady(self, request: object, context: grpc.aio.ServicerContext) -> object:  # noqa: N802
        self._note("ModelReady", context)
        return service_pb2.ModelReadyResponse(ready=True)

    async def ModelMetadata(self, request: object, context: grpc.aio.ServicerContext) -> object:  # noqa: N802
        self._note("ModelMetadata", context)
        return service_pb2.ModelMetadataResponse(name="fraud")

    async def ModelInfer(  # noqa: N802
        self, request: service_pb2.ModelInferRequest, context: grpc.aio.ServicerContext
    ) -> object:
        self._note("ModelInfer", context, request.ByteSize())
        if self._pod.delay_s:
            await asyncio.sleep(self._pod.delay_s)
        if self._pod.grpc_code is not grpc.StatusCode.OK:
            await context.abort(self._pod.grpc_code, "the model said no")
        return service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)

    async def ModelStreamInfer(  # noqa: N802
        self, requests: AsyncIterator[service_pb2.ModelInferRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[object]:
        self._note("ModelStreamInfer", context)
        async for request in requests:
            yield service_pb2.ModelStreamInferResponse(
                infer_response=service_pb2.ModelInferResponse(model_name="fraud", id=request.id)
            )
