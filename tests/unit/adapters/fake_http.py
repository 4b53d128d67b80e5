"""A stand-in for aiohttp.ClientSession with canned answers: no socket in a unit test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import aiohttp
from yarl import URL


class CannedAnswer:
    def __init__(self, status: int, chunks: Callable[[], AsyncIterator[bytes]]) -> None:
        self.status = status
        self.content = self
        self._chunks = chunks

    def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        return self._chunks()

    async def __aenter__(self) -> CannedAnswer:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class FakeSession:
    """`answers` maps "METHOD path" to (status, body), an endless body (None), or an exception to raise."""

    def __init__(self, answers: dict[str, tuple[int, Any] | Exception | None]) -> None:
        self._answers = answers
        self.asked: list[str] = []
        self.chunks_read = 0

    def request(self, method: str, url: str, **options: Any) -> CannedAnswer:
        assert options["allow_redirects"] is False
        assert options["timeout"].total is not None
        self.asked.append(url)
        answer = self._answers[f"{method} {URL(url).path}"]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            return CannedAnswer(200, self._endless)
        status, body = answer
        text = body if isinstance(body, str) else json.dumps(body)

        async def once() -> AsyncIterator[bytes]:
            yield text.encode()

        return CannedAnswer(status, once)

    async def _endless(self) -> AsyncIterator[bytes]:
        while True:
            self.chunks_read += 1
            assert self.chunks_read < 1000, "the adapter reads for ever"
            yield b"x" * 65536

    @property
    def session(self) -> aiohttp.ClientSession:
        return cast(aiohttp.ClientSession, self)
