"""Puts the elector together: its identity, its own connection, and what happens at the start of a term."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from slipway.adapters.clock import Clock
from slipway.adapters.connection import Connection
from slipway.adapters.election import AlwaysLeader
from slipway.adapters.elector import Elector
from slipway.adapters.lease import KubeLease, Pace
from slipway.settings import Settings


class Listed(Protocol):
    """A cache: an informer, the supervisor."""

    @property
    def listed_from(self) -> float:
        """Monotonic time at which its last list was asked for."""
        ...

    async def list_once(self) -> Any: ...


@dataclass(slots=True, kw_only=True)
class TermStart:
    """Filled while the process is put together; empty until then, as the elector comes before everything else."""

    filled: Iterable[asyncio.Event] = ()
    caches: Iterable[Listed] = ()
    forgetful: list[Callable[[], None]] = field(default_factory=list)  # memories of an earlier term
    ring: Callable[[], None] = lambda: None

    async def refresh(self, since: float) -> None:
        """Returns when each cache holds what a list knew that was asked for after `since`: all that an earlier leader
        has written. One after the other, and without tasks, which kopf could cancel."""
        for flag in self.filled:
            await flag.wait()
        for cache in self.caches:
            if cache.listed_from < since:
                await cache.list_once()

    def begin(self) -> None:
        for forget in self.forgetful:
            forget()
        self.ring()


async def make_elector(settings: Settings, clock: Clock, start: TermStart, cleanup: AsyncExitStack) -> Elector | None:
    """None without a lease: one process is all there is."""
    if not settings.lease_name:
        return None
    connection = await Connection.connect(settings.access, AlwaysLeader())
    cleanup.push_async_callback(connection.close)
    pace = Pace(settings.lease_s)
    lease = KubeLease(connection, clock, namespace=settings.namespace, name=settings.lease_name, pace=pace)
    # A restarted process is another one: what its predecessor decided is not its own.
    identity = f"{settings.pod_name}_{uuid.uuid4()}"
    return Elector(lease, identity, pace=pace, refresh=start.refresh, begin=start.begin, clock=clock)
