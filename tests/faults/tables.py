"""Which table each router really holds: the stand-in's word, sampled all through the campaign past the operator."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

import aiohttp

from tests.faults.client import PATIENCE_S
from tests.simulated.control import RouterState, read_router

INTERVAL_S = 0.3


@dataclass(frozen=True, slots=True)
class Sample:
    asked_at: float  # monotonic
    answered_at: float
    routers: tuple[RouterState, ...]


@dataclass(slots=True)
class Tables:
    """The samples of one namespace."""

    samples: list[Sample] = field(default_factory=list)

    def after(self, moment: float) -> Sample | None:
        """The first look that began after this moment."""
        index = bisect_left([sample.asked_at for sample in self.samples], moment)
        return self.samples[index] if index < len(self.samples) else None


class Sampler:
    """One poll for all namespaces."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._tables: dict[str, Tables] = defaultdict(Tables)
        self._task: asyncio.Task[None] | None = None

    def tables(self, namespace: str) -> Tables:
        return self._tables[namespace]

    def forget(self, namespace: str) -> None:
        self._tables.pop(namespace, None)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sampler")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def check(self) -> None:
        if self._task is not None and self._task.done():
            self._task.result()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session:
            while True:
                asked_at = loop.time()
                try:
                    async with session.get(f"{self._url}/routers") as answer:
                        answer.raise_for_status()
                        found = [read_router(item) for item in await answer.json()]
                except (aiohttp.ServerDisconnectedError, TimeoutError):
                    continue  # a starved machine; no look is better than a wrong one
                by_namespace: dict[str, list[RouterState]] = defaultdict(list)
                for router in found:
                    by_namespace[router.namespace].append(router)
                for namespace, tables in list(self._tables.items()):
                    tables.samples.append(Sample(asked_at, loop.time(), tuple(by_namespace[namespace])))
                await asyncio.sleep(INTERVAL_S)
