"""A served model on loopback: Triton's two ports behind a router, as far as a client can see, with revisions by script."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
from aiohttp import web
from tritonclient.grpc import service_pb2, service_pb2_grpc

from slipway_runtime.golden import Sample, TensorData, golden_bytes
from tests.load.questions import raw_contents

INPUT = TensorData("x", "FP32", (1, 2), (1.0, 2.0))


def answers_of(revision: str) -> TensorData:
    """Each revision is another model."""
    return TensorData("y", "FP32", (1, 1), (float(revision) * 10,))


def write_artefact(directory: Path, revision: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    sample = Sample((INPUT,), (answers_of(revision),), rtol=0.0, atol=1e-6)
    (directory / "golden.json").write_bytes(golden_bytes([sample]))
    return directory


@dataclass
class FakeModel:
    """`revisions` answer in turn. The other fields are ways to be bad."""

    revisions: tuple[str, ...] = ("1",)
    header: str | None = None  # says another revision in the header
    value: float | None = None  # answers another value
    status: int = 200
    grpc_code: grpc.StatusCode = grpc.StatusCode.OK
    delay_s: float = 0.0
    drop: bool = False  # the HTTP connection breaks before the answer
    http: str = ""
    grpc: str = ""
    connections: set[tuple[str, int]] = field(default_factory=set)  # HTTP clients
    channels: set[str] = field(default_factory=set)  # gRPC clients
    requests: int = 0
    bodies: list[bytes] = field(default_factory=list)
    marks: list[tuple[str, str]] = field(default_factory=list)  # how it was asked, and the header x-tester
    _turn: Iterator[str] | None = None

    def next_answer(self) -> tuple[str, TensorData]:
        self.requests += 1
        if self._turn is None:
            self._turn = itertools.cycle(self.revisions)
        revision = next(self._turn)
        output = answers_of(revision)
        return revision, output if self.value is None else TensorData("y", "FP32", (1, 1), (self.value,))

    async def infer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername"))
        self.bodies.append(await request.read())
        self.marks.append(("http", request.headers.get("x-tester", "")))
        revision, output = self.next_answer()
        await asyncio.sleep(self.delay_s)
        if self.drop:
            request.transport.abort()
        body = {
            "model_name": "fraud",
            "model_version": revision,
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": list(output.shape), "data": [list(output.data)]},
            ],
        }
        headers = {"x-slipway-revision": self.header or revision}
        return web.Response(text=json.dumps(body), status=self.status, headers=headers)


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, model: FakeModel) -> None:
        self._model = model

    async def ModelInfer(  # noqa: N802
        self, request: service_pb2.ModelInferRequest, context: grpc.aio.ServicerContext
    ) -> service_pb2.ModelInferResponse:
        model = self._model
        model.channels.add(context.peer())
        metadata = dict(context.invocation_metadata() or ())
        model.marks.append(("grpc", str(metadata.get("x-tester", ""))))
        revision, output = model.next_answer()
        await asyncio.sleep(model.delay_s)
        if model.grpc_code is not grpc.StatusCode.OK:
            await context.abort(
                model.grpc_code, "the model said no", (("x-slipway-revision", model.header or revision),)
            )
        await context.send_initial_metadata((("x-slipway-revision", model.header or revision),))
        answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=revision)
        answer.outputs.add(name="y", datatype="FP32", shape=list(output.shape))
        answer.raw_output_contents.append(raw_contents(output))
        return answer


@asynccontextmanager
async def served(model: FakeModel) -> AsyncIterator[FakeModel]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(model), server)
    model.grpc = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    app = web.Application()
    app.router.add_post("/v2/models/fraud/infer", model.infer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    model.http = f"127.0.0.1:{port}"
    try:
        yield model
    finally:
        await server.stop(grace=None)
        await runner.cleanup()
