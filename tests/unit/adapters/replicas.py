"""Several replicas with one Lease in virtual time: they can be stopped, killed, cut off; each tries to write all the time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from slipway.adapters.elector import Elector
from slipway.adapters.lease import Pace
from slipway.errors import LeadershipLost, Unreachable
from tests.support.fake_lease import FakeLease, Shelf
from tests.support.virtual_time import VirtualTime

WRITE_EVERY_S = 0.7


@dataclass(frozen=True, slots=True)
class Write:
    at: float
    given_up_at: float  # when its sender stops waiting for it
    by: str


@dataclass
class World:
    time: VirtualTime = field(default_factory=VirtualTime)
    shelf: Shelf = field(default_factory=Shelf)
    pace: Pace = field(default_factory=Pace)
    writes: list[Write] = field(default_factory=list)
    begins: list[tuple[float, str]] = field(default_factory=list)  # when somebody else's name came onto the Lease
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def replica(self, name: str, *, rate: float = 1.0) -> Replica:
        replica = Replica(self, name, rate)
        replica.start()
        return replica

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        for result in await asyncio.gather(*self.tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError | None), result

    def writers(self, since: float = 0.0) -> set[str]:
        return {write.by for write in self.writes if write.at >= since}

    def note_holder(self) -> None:
        record = self.shelf.record
        holder = "" if record is None else record.holder
        if holder and (not self.begins or self.begins[-1][1] != holder):
            self.begins.append((self.time.monotonic(), holder))


class Replica:
    """One process. `rate`: how fast its clock runs."""

    def __init__(self, world: World, name: str, rate: float) -> None:
        self.name = name
        self.refreshes = 0
        self.rung = 0
        self.lists_fail = False
        self._world = world
        self._rate = rate
        self._stopped: asyncio.Event | None = None
        self.lease = FakeLease(world.shelf, world.pace)
        self.elector = Elector(
            self.lease,
            name,
            pace=world.pace,
            refresh=self._refresh,
            begin=self._begin,
            clock=world.time,
            now=self.now,
            sleep=self._sleep,
            jitter=lambda low, high: (low + high) / 2,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def now(self) -> float:
        return self._world.time.monotonic() * self._rate

    def start(self) -> None:
        for work in (self.elector.run(), self.elector.prepare_terms(), self._write_for_ever()):
            self._tasks.append(asyncio.create_task(work))
        self._world.tasks += self._tasks

    def stop(self) -> None:
        """SIGSTOP: time goes on, nothing else."""
        self._stopped = self._stopped or asyncio.Event()

    def go_on(self) -> None:
        """SIGCONT."""
        if self._stopped is not None:
            self._stopped.set()
            self._stopped = None

    def kill(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def resign(self) -> None:
        """As at SIGTERM, when every write was answered; a stopped process hears no signal."""
        if self._stopped is None:
            now = self._world.time.monotonic()
            self._world.writes = [
                replace(write, given_up_at=min(write.given_up_at, now)) if write.by == self.name else write
                for write in self._world.writes
            ]
            await self.elector.resign()

    def try_to_write(self) -> None:
        """What a connection does in the last moment before it sends."""
        now = self._world.time.monotonic()
        left_s = self.elector.seconds_left()
        self._world.writes.append(Write(now, now + left_s / self._rate, self.name))

    async def _write_for_ever(self) -> None:
        """Passes of two writes, with a moment in which everything can happen between decision and sending."""
        while True:
            if self.elector.is_leader():
                with self.elector.one_pass():
                    try:
                        self.try_to_write()
                        await self._sleep(WRITE_EVERY_S)
                        self.try_to_write()
                    except LeadershipLost:
                        pass
            await self._sleep(WRITE_EVERY_S)

    async def _sleep(self, seconds: float) -> None:
        self._world.note_holder()
        await self._world.time.sleep(seconds / self._rate)
        while self._stopped is not None:
            await self._stopped.wait()
        self._world.note_holder()

    async def _refresh(self, since: float) -> None:
        assert since <= self._world.time.monotonic()
        if self.lists_fail or self.lease.away:
            raise Unreachable("no list")
        self.refreshes += 1

    def _begin(self) -> None:
        self.rung += 1
