"""Steady load of clients that never try again: HTTP on kept and on new connections, gRPC on one channel."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from tritonclient.grpc import service_pb2

from tests.integration.router.conftest import Bed
from tests.integration.router.samples import MODEL, eventually

INFER = f"/v2/models/{MODEL}/infer"


@dataclass
class Answers:
    """What the clients saw: answers by protocol and revision, failures in their own words."""

    by_revision: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def of(self, revision: int) -> int:
        return sum(count for (_, number), count in self.by_revision.items() if number == str(revision))

    def total(self) -> int:
        return sum(self.by_revision.values()) + len(self.failures)


async def infer_http(bed: Bed, answers: Answers, *, close: bool = False) -> None:
    headers = {"connection": "close"} if close else {}
    try:
        async with bed.session.post(bed.envoy.http + INFER, json={}, headers=headers) as answer:
            if answer.status == 200:
                answers.by_revision["http", answer.headers["x-slipway-revision"]] += 1
            else:
                answers.failures.append(f"HTTP {answer.status}: {await answer.text()}")
    except OSError as error:
        answers.failures.append(f"HTTP: {error!r}")


async def infer_grpc(bed: Bed, answers: Answers) -> None:
    try:
        call = bed.stub().ModelInfer(service_pb2.ModelInferRequest(model_name=MODEL))
        await call
        answers.by_revision["grpc", str(dict(await call.initial_metadata())["x-slipway-revision"])] += 1
    except grpc.aio.AioRpcError as error:
        answers.failures.append(f"gRPC {error.code()}: {error.details()}")


@asynccontextmanager
async def load(bed: Bed, *, pause_s: float = 0.02) -> AsyncIterator[Answers]:
    """Two clients of each kind, one request after the other, until the block ends."""
    answers, ended = Answers(), asyncio.Event()

    async def client(ask: Callable[[], Awaitable[None]]) -> None:
        while not ended.is_set():
            await ask()
            await asyncio.sleep(pause_s)

    kinds: list[Callable[[], Awaitable[None]]] = [
        lambda: infer_http(bed, answers),
        lambda: infer_http(bed, answers, close=True),
        lambda: infer_grpc(bed, answers),
    ]
    clients = [asyncio.create_task(client(ask)) for ask in kinds * 2]
    try:
        yield answers
    finally:
        ended.set()
        await asyncio.gather(*clients)


async def until_more(answers: Answers, count: int) -> None:
    """Wait for so many more answers or failures."""
    wanted = answers.total() + count

    async def enough() -> bool:
        return answers.total() >= wanted

    await eventually(f"{count} more answers", enough, timeout_s=20)
