"""The watches that run through the proxy, and what can happen to them: held, coalesced, dropped, or dead in eleven ways.

Order within one stream is never changed: a hold stops the whole stream, because a real API server cannot tell of a later
change before an earlier one of the same kind. What is dropped is followed by a 410, so that a list brings what was lost.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import aiohttp
from aiohttp import web

from tests.faults.calls import Call


class Mode(StrEnum):
    OPEN = "open"
    HOLD = "hold"  # nothing passes; all of it in order afterwards
    COALESCE = "coalesce"  # nothing passes; of each object only the last event afterwards
    DROP = "drop"  # lost; 410 afterwards


class Death(StrEnum):
    CLOSE = "close"
    RESET = "reset"
    SILENT = "silent"  # half open: the connection stands, nothing comes any more
    ERROR_500 = "error-500"
    ERROR_410 = "error-410"
    HTTP_410 = "http-410"  # reset, and 410 to the next watch
    TRUNCATED = "truncated"
    REWATCH_429 = "rewatch-429"
    REWATCH_503 = "rewatch-503"
    REWATCH_403 = "rewatch-403"
    REWATCH_401 = "rewatch-401"


_LINGER = struct.pack("ii", 1, 0)


def reset(transport: asyncio.BaseTransport | None) -> None:
    """End a connection with RST instead of a goodbye."""
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def error_event(code: int) -> bytes:
    """The ERROR event of a watch. Source: apimachinery, Status with reasons Expired and InternalError."""
    reason = "Expired" if code == 410 else "InternalError"
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "injected by the fault proxy",
        "reason": reason,
        "code": code,
    }
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


@dataclass(slots=True)
class Gate:
    """How the streams of one resource pass at present."""

    mode: Mode = Mode.OPEN
    opened: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False, slots=True)
class Stream:
    """One watch under way."""

    call: Call
    response: web.StreamResponse
    transport: asyncio.BaseTransport | None
    sentence: asyncio.Future[Death] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    lines: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)  # an empty one: the upstream has ended
    silent: bool = False
    dropped: bool = False
    delivered: int = 0

    def die(self, way: Death) -> None:
        if way is Death.SILENT:
            self.silent = True
        elif not self.sentence.done():
            self.sentence.set_result(way)


class Streams:
    """All watches of one operator; the levers of F5 to F9."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._gates: dict[str, Gate] = {}
        self._refusals: dict[str, list[int]] = {}  # resource → codes for the next watches
        self._timers: set[asyncio.TimerHandle] = set()
        self.no_bookmarks = False
        self.events_touched = 0  # held, coalesced or dropped: a plan that touched nothing proves nothing

    # ── levers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def of(self, resources: Iterable[str]) -> list[Stream]:
        wanted = set(resources)
        return [stream for stream in self._streams if stream.call.resource in wanted or not wanted]

    def known(self) -> tuple[str, ...]:
        return tuple(sorted({stream.call.resource for stream in self._streams}))

    def gate(self, resource: str, mode: Mode, seconds: float) -> None:
        """From now on for so long; afterwards the gate opens by itself."""
        gate = Gate(mode)
        self._gates[resource] = gate
        self._later(seconds, lambda: self._open(resource, gate))

    def kill(self, resources: Iterable[str], way: Death, times: int = 1) -> int:
        """The streams of these resources (none named: of all) die; how many did."""
        victims = self.of(resources)
        if way.value.startswith(("rewatch-", "http-")):
            code = int(way.value.rpartition("-")[2])
            for stream in victims:
                self._refusals.setdefault(stream.call.resource, []).extend([code] * times)
        for stream in victims:
            stream.die(way)
        return len(victims)

    def refusal(self, call: Call) -> int | None:
        """The code that the next watch of this resource is to be refused with."""
        waiting = self._refusals.get(call.resource)
        return waiting.pop(0) if waiting else None

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for gate in self._gates.values():
            gate.opened.set()
        for stream in list(self._streams):
            stream.die(Death.RESET)
        self._gates.clear()
        self._refusals.clear()

    def _later(self, seconds: float, action: object) -> None:
        assert callable(action)
        self._timers.add(asyncio.get_running_loop().call_later(seconds, action))

    def _open(self, resource: str, gate: Gate) -> None:
        if self._gates.get(resource) is gate:
            del self._gates[resource]
        gate.opened.set()
        if gate.mode is Mode.DROP:
            for stream in self.of([resource]):
                if stream.dropped:
                    stream.die(Death.ERROR_410)

    # ── one stream ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def pump(self, stream: Stream, upstream: aiohttp.ClientResponse) -> None:
        """Copies events until one side ends or the stream is told to die."""
        self._streams.add(stream)
        reader = asyncio.ensure_future(_read(upstream, stream.lines))
        try:
            while line := await self._next(stream):
                for piece in await self._admit(stream, line):
                    await stream.response.write(piece)
                    stream.delivered += 1
            await self._end(stream)
        except ConnectionError:
            reset(stream.transport)
        finally:
            self._streams.discard(stream)
            reader.cancel()

    async def _next(self, stream: Stream, gate: Gate | None = None) -> bytes:
        """The next line; nothing at the end of the upstream, when the stream is to die, or when `gate` opens."""
        reading = asyncio.ensure_future(stream.lines.get())
        watched: set[asyncio.Future[Any]] = {reading, stream.sentence}
        opening = asyncio.ensure_future(gate.opened.wait()) if gate is not None else None
        if opening is not None:
            watched.add(opening)
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            return b"" if stream.sentence.done() or not reading.done() else reading.result()
        finally:
            reading.cancel()
            if opening is not None:
                opening.cancel()

    async def _admit(self, stream: Stream, line: bytes) -> list[bytes]:
        if stream.silent or (self.no_bookmarks and b'"type":"BOOKMARK"' in line[:40]):
            return []
        gate = self._gates.get(stream.call.resource)
        if gate is None:
            return [line]
        self.events_touched += 1
        if gate.mode is Mode.DROP:
            stream.dropped = True
            return []
        if gate.mode is Mode.COALESCE:
            return await self._coalesce(stream, gate, line)
        opening = asyncio.ensure_future(gate.opened.wait())
        try:
            await asyncio.wait((opening, stream.sentence), return_when=asyncio.FIRST_COMPLETED)
        finally:
            opening.cancel()
        return [] if stream.silent else [line]

    async def _coalesce(self, stream: Stream, gate: Gate, line: bytes) -> list[bytes]:
        """Of each object the last event, in the order of those last events."""
        kept: dict[tuple[str, str], bytes] = {}
        while line:
            key = _object_of(line)
            kept.pop(key, None)
            kept[key] = line
            line = await self._next(stream, gate)
            self.events_touched += bool(line)
        return list(kept.values())

    async def _end(self, stream: Stream) -> None:
        way = stream.sentence.result() if stream.sentence.done() else Death.CLOSE
        if way in (Death.ERROR_500, Death.ERROR_410):
            await stream.response.write(error_event(500 if way is Death.ERROR_500 else 410))
        elif way is Death.TRUNCATED:
            await stream.response.write(b'{"type":"MODIFIED","object":{"kind":"Pod","metadata":{"name":"cut')
        elif way is not Death.CLOSE:
            reset(stream.transport)
            return
        await stream.response.write_eof()


async def _read(upstream: aiohttp.ClientResponse, lines: asyncio.Queue[bytes]) -> None:
    try:
        while line := await upstream.content.readline():
            lines.put_nowait(line)
    except (aiohttp.ClientError, ConnectionError):
        pass  # the API server is gone: for the operator the stream ends
    lines.put_nowait(b"")


def _object_of(line: bytes) -> tuple[str, str]:
    metadata = json.loads(line)["object"].get("metadata", {})
    return metadata.get("namespace", ""), metadata.get("name", "BOOKMARK")
