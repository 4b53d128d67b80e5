"""Time that passes only in a test's `run`: sleepers wake in order, at their moment, and nobody waits for real."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from tests.support.clocks import FakeClock

SETTLE = 12  # turns of the loop after which everybody who can go on has gone on


class VirtualTime(FakeClock):
    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    async def sleep(self, seconds: float) -> None:
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.monotonic() + max(0.0, seconds), next(self._order), waker))
        await waker

    async def run(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, waker = heapq.heappop(self._sleepers)
            self.advance(max(0.0, due - self.monotonic()))
            if not waker.done():
                waker.set_result(None)
            await self._settle()
        self.advance(max(0.0, end - self.monotonic()))

    @staticmethod
    async def _settle() -> None:
        for _ in range(SETTLE):
            await asyncio.sleep(0)
