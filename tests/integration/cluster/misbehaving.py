"""A tiny HTTP server that answers lists and watches of ConfigMaps, and misbehaves exactly as told.

It knows nothing of Kubernetes' semantics; what a healthy API server does is tested against a real one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from slipway.adapters.access import InCluster

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


def item(name: str, version: int) -> dict[str, Any]:
    labels = {"slipway.dev/deployment": "fraud"}
    return {"metadata": {"namespace": "ns", "name": name, "resourceVersion": str(version), "labels": labels}}


def listing(*items: dict[str, Any], version: int, next_page: str = "") -> bytes:
    metadata = {"resourceVersion": str(version), **({"continue": next_page} if next_page else {})}
    return json.dumps({"metadata": metadata, "items": list(items)}).encode()


def event(type_: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": obj}).encode() + b"\n"


def answer(code: int, body: bytes = b"{}") -> Reply:
    async def reply(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, body=body, content_type="application/json")

    return reply


def refuse() -> Reply:
    async def reply(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    return reply


def stream(*chunks: bytes, hold: bool = False, cut: bool = False) -> Reply:
    """`hold`: stay open after the chunks; `cut`: break the connection after them instead of ending the body."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if hold:
            await asyncio.sleep(60)
        if cut and request.transport is not None:
            request.transport.close()
        return response

    return reply


@dataclass
class Server:
    """`lists` and `watches` are answered in order; the last of each for ever."""

    lists: list[Reply]
    watches: list[Reply]
    asked: list[tuple[float, str, dict[str, str]]] = field(default_factory=list)  # when, list or watch, query

    async def handle(self, request: web.Request) -> web.StreamResponse:
        kind = "watch" if request.query.get("watch") else "list"
        self.asked.append((time.monotonic(), kind, dict(request.query)))
        replies = self.watches if kind == "watch" else self.lists
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        return await reply(request)

    def count(self, kind: str) -> int:
        return sum(1 for _, asked, _ in self.asked if asked == kind)

    @asynccontextmanager
    async def running(self, directory: Path) -> AsyncIterator[InCluster]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        token = directory / "token"
        token.write_text("token")
        try:
            port = runner.addresses[0][1]
            yield InCluster(server=f"http://127.0.0.1:{port}", token_file=str(token), ca_file="")
        finally:
            await runner.cleanup()
