"""Time as the bed lives it. On a machine that others use too, a second in which the API server itself was starved is none:
deadlines are counted in beats, each a consistent read, and a beat that took long counts as a short one."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp

PAUSE_S = 0.5
LONGEST_READ_S = 0.1  # takes a few milliseconds on a machine of our own


class Pulse:
    """Real seconds that did not count, in all (`lost_s`) and since a moment."""

    def __init__(self, read: Callable[[], Awaitable[object]]) -> None:
        self._read = read
        self._task: asyncio.Task[None] | None = None
        self._beats: list[tuple[float, float]] = [(0.0, 0.0)]  # when, and real seconds that did not count by then

    async def start(self) -> None:
        self._task = asyncio.create_task(self._beat(), name="pulse")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def check(self) -> None:
        """Raises what it died of: without a pulse no deadline would ever pass."""
        if self._task is not None and self._task.done():
            self._task.result()

    @property
    def lost_s(self) -> float:
        return self._beats[-1][1]

    def lost_between(self, first: float, last: float) -> float:
        """Of monotonic moments."""
        return max(0.0, self._lost_by(last) - self._lost_by(first))

    def later(self, moment: float, seconds: float) -> float:
        """When so many seconds that count have passed since this moment, as far as is known now."""
        return moment + seconds + self.lost_s - self._lost_by(moment)

    def _lost_by(self, moment: float) -> float:
        return self._beats[bisect_right(self._beats, (moment, float("inf"))) - 1][1]

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(PAUSE_S)
            with suppress(aiohttp.ClientError, TimeoutError):  # no answer is as slow as it gets
                await self._read()
            took_s = loop.time() - began
            lost_s = max(0.0, took_s - PAUSE_S - LONGEST_READ_S)
            if lost_s:
                self._beats.append((loop.time(), self.lost_s + lost_s))
