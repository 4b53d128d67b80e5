"""/livez /readyz /metrics. Alive: every task of ours runs and makes progress. Ready: every cache was filled once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from slipway import telemetry
from slipway.adapters.clock import Clock

# Longer than a silent watch (70 s), a request (20 s) and the longest pause between tries (30 s) together.
STUCK_S = 240.0


@dataclass(slots=True, kw_only=True)
class Health:
    """What the probes ask. Filled while the process is put together."""

    clock: Clock
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    progress: dict[str, Callable[[], float]] = field(default_factory=dict)  # → monotonic time of the last progress
    caches: dict[str, asyncio.Event] = field(default_factory=dict)
    stopping: bool = False

    def troubles(self) -> tuple[str, ...]:
        """Why this process should be restarted; empty if it should not. An absent API server is no reason."""
        if self.stopping:
            return ()
        dead = [f"task {name} has ended" for name, task in self.tasks.items() if task.done()]
        now = self.clock.monotonic()
        stuck = [
            f"{name} has made no progress for {now - last():.0f} s"
            for name, last in self.progress.items()
            if now - last() > STUCK_S
        ]
        return (*dead, *stuck)

    def missing(self) -> tuple[str, ...]:
        """Why no pass can run yet; empty if it can."""
        if self.stopping:
            return ("stopping",)
        return tuple(f"cache {name} is not filled yet" for name, filled in self.caches.items() if not filled.is_set())


class HealthServer:
    """Made before kopf starts: kopf cancels every task that is younger than itself when it ends."""

    def __init__(self, health: Health, port: int) -> None:
        self._health = health
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        # No idle connections: each is a task, and kopf waits 5 s for tasks that it takes for its own when it ends.
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=0, shutdown_timeout=1.0)
        self._port = port

    async def start(self) -> int:
        """The port that is listened on. Raises OSError if it is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()
        # Every address family is bound; with port 0 each gets a port of its own, and IPv4's (a pair) is told.
        return int(min(self._runner.addresses, key=len)[1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return _verdict(self._health.troubles())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _verdict(self._health.missing())

    @staticmethod
    async def _metrics(_: web.Request) -> web.Response:
        return web.Response(body=telemetry.exposition(), headers={"Content-Type": telemetry.CONTENT_TYPE})


def _verdict(reasons: tuple[str, ...]) -> web.Response:
    return web.Response(status=503 if reasons else 200, text="\n".join(reasons) if reasons else "ok")
