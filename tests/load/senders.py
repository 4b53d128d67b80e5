"""One sender for each way to ask: HTTP on kept connections, HTTP on a new connection each time, gRPC on one channel.

None of them tries again, follows a proxy, or opens a second channel: what a client would see is what is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import quote

import aiohttp
import grpc
import grpc.aio
from tritonclient.grpc import service_pb2_grpc

from slipway_runtime.failures import FormatError
from slipway_runtime.golden import TensorData
from tests.load.questions import MAX_ANSWER_BYTES, Question, read_grpc_answer, read_json_answer
from tests.load.tally import Answer

HTTP_KEPT, HTTP_NEW, GRPC = "http-keepalive", "http-new", "grpc"
PROTOCOLS = (HTTP_KEPT, HTTP_NEW, GRPC)
HEADER_REVISION = "x-slipway-revision"
KEPT_S = 300.0  # an idle connection is kept that long; the load leaves none idle for a second

_CHANNEL = (
    ("grpc.enable_retries", 0),  # transparent ones too
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a channel of this sender's own
    # A channel whose connection is gone fails everything until it tries again: the default second is a client's
    # setting, not a property of the service.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # The time that one attempt may take, not a pause: on a busy machine a handshake needs more than a tenth of a second.
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Checked addresses, see targets.allowed."""

    http: str | None
    grpc: str | None
    model: str
    timeout_s: float
    headers: Mapping[str, str] = field(default_factory=dict)  # with every request; gRPC: metadata, so in lower case


class Sender(Protocol):
    protocol: str

    async def ask(self, question: Question) -> Answer:
        """Never raises for what a server or a network does; `seconds` is left to the caller."""

    async def close(self) -> None: ...


class HttpSender:
    def __init__(self, target: Target, *, keep: bool, concurrency: int) -> None:
        self.protocol = HTTP_KEPT if keep else HTTP_NEW
        self._headers = {"Content-Type": "application/json", **target.headers}
        self._url = f"http://{target.http}/v2/models/{quote(target.model, safe='')}/infer"
        connector = (
            aiohttp.TCPConnector(limit=concurrency, keepalive_timeout=KEPT_S)
            if keep
            else aiohttp.TCPConnector(limit=concurrency, force_close=True)
        )
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=target.timeout_s), trust_env=False
        )

    async def ask(self, question: Question) -> Answer:
        try:
            async with self._session.post(self._url, data=question.json_body, headers=self._headers) as answer:
                body = await answer.read()
                status, revision = answer.status, answer.headers.get(HEADER_REVISION)
        except TimeoutError:
            return _failed(self.protocol, "no answer in time")
        except (aiohttp.ClientError, OSError) as error:
            return _failed(self.protocol, f"{type(error).__name__}: {error}")
        if status != 200:
            return _failed(self.protocol, f"HTTP {status}: {body[:200].decode('utf-8', 'replace')}", revision)
        try:
            model_version, outputs = read_json_answer(body)
        except (ValueError, KeyError, TypeError, FormatError) as error:
            return _failed(self.protocol, f"an answer that cannot be read: {error}", revision)
        return _judged(self.protocol, question, revision, model_version, outputs)

    async def close(self) -> None:
        await self._session.close()


class GrpcSender:
    protocol = GRPC

    def __init__(self, target: Target) -> None:
        self._channel = grpc.aio.insecure_channel(target.grpc, options=_CHANNEL)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._timeout_s = target.timeout_s
        self._metadata = tuple(target.headers.items())

    async def ask(self, question: Question) -> Answer:
        call = self._stub.ModelInfer(
            question.grpc_request, timeout=self._timeout_s, metadata=self._metadata, wait_for_ready=False
        )
        try:
            answer = await call
            revision = dict(await call.initial_metadata()).get(HEADER_REVISION)
        except grpc.aio.AioRpcError as error:
            return _failed(self.protocol, f"gRPC {error.code().name}: {error.details()}", _revision_of(error))
        try:
            model_version, outputs = read_grpc_answer(answer)
        except (ValueError, TypeError) as error:
            return _failed(self.protocol, f"an answer that cannot be read: {error}", revision)
        return _judged(self.protocol, question, revision, model_version, outputs)

    async def close(self) -> None:
        await self._channel.close()


def open_senders(target: Target, protocols: Sequence[str], concurrency: int) -> tuple[Sender, ...]:
    """Must be called in the running loop."""
    return tuple(
        GrpcSender(target)
        if protocol == GRPC
        else HttpSender(target, keep=protocol == HTTP_KEPT, concurrency=concurrency)
        for protocol in protocols
    )


async def close_senders(senders: Sequence[Sender]) -> None:
    await asyncio.gather(*(sender.close() for sender in senders))


def timed(answer: Answer, seconds: float) -> Answer:
    return replace(answer, seconds=seconds)


def _revision_of(error: grpc.aio.AioRpcError) -> str | None:
    """Who refused: an answer without a body has its only headers at the end (gRPC over HTTP2, "Trailers-Only")."""
    found = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
    return found.get(HEADER_REVISION)


def _failed(protocol: str, text: str, revision: str | None = None) -> Answer:
    return Answer(protocol=protocol, seconds=0.0, failure=text, revision=revision)


def _judged(
    protocol: str, question: Question, revision: str | None, model_version: str, outputs: Sequence[TensorData]
) -> Answer:
    checked = revision in question.expected
    return Answer(
        protocol=protocol,
        seconds=0.0,
        revision=revision,
        model_version=model_version,
        checked=checked,
        problem=question.problem(revision, outputs) if checked else None,
    )
