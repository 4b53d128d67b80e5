"""A worker outlives whatever a pass does, and asks again at the right moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from slipway.adapters.election import AlwaysLeader, Leadership
from slipway.errors import Conflict, NotFound, TransientError
from slipway.loop.queue import Key, WorkQueue
from slipway.loop.worker import Worker
from tests.support.clocks import FakeClock

A, B = Key("ns", "a"), Key("ns", "b")


async def nothing() -> None:
    return


class Bench:
    """One worker on a queue whose clock stands still; `passes` is what it did."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.queue = WorkQueue(self.clock, jitter=lambda _low, high: high)
        self.passes: list[Key] = []
        self.outcome: Callable[[Key], Awaitable[float | None]] = self._well

    async def _well(self, _: Key) -> float | None:
        return None

    async def _reconcile(self, namespace: str, name: str) -> float | None:
        self.passes.append(Key(namespace, name))
        return await self.outcome(Key(namespace, name))

    async def run(
        self, leadership: Leadership | None = None, synced: Callable[[], Awaitable[None]] = nothing, pass_s: float = 10
    ) -> None:
        """Works until nothing is ready any more."""
        worker = Worker(
            self.queue,
            self._reconcile,
            leadership=leadership or AlwaysLeader(),
            wait_until_synced=synced,
            pass_s=pass_s,
        )
        task = asyncio.create_task(worker.run())
        for _ in range(30):
            await asyncio.sleep(0)
        self.queue.close()
        async with asyncio.timeout(5):
            await task

    def raises(self, error: BaseException) -> None:
        async def fail(_: Key) -> float | None:
            raise error

        self.outcome = fail

    def due_s(self) -> float | None:
        due_s = self.queue.next_due_s()
        return None if due_s is None else round(due_s, 6)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_pass_that_asks_to_be_repeated_later_is(bench: Bench) -> None:
    async def later(_: Key) -> float | None:
        return 42.0

    bench.outcome = later
    bench.queue.add(A)
    await bench.run()
    assert (bench.passes, bench.due_s()) == ([A], 42.0)


async def test_a_pass_that_is_content_is_not_repeated(bench: Bench) -> None:
    bench.queue.add(A)
    await bench.run()
    assert (bench.passes, bench.due_s()) == ([A], None)


@pytest.mark.parametrize(
    ("error", "due_s", "level"),
    [
        (Conflict("somebody wrote"), 0.05, logging.INFO),
        (TransientError("busy", retry_after_s=7), 7, logging.INFO),
        (NotFound("a bug: nobody caught it"), 1.0, logging.ERROR),
        (ZeroDivisionError("a bug"), 1.0, logging.ERROR),
    ],
)
async def test_a_failed_pass_is_repeated_and_a_bug_leaves_a_traceback(
    bench: Bench, caplog: pytest.LogCaptureFixture, error: Exception, due_s: float, level: int
) -> None:
    caplog.set_level(logging.INFO)
    bench.raises(error)
    bench.queue.add(A)
    await bench.run()
    assert bench.due_s() == due_s
    (record,) = caplog.records
    assert record.levelno == level
    assert (record.exc_info is not None) == (level == logging.ERROR)
    assert vars(record)["deployment"] == "a"
    assert str(error) in vars(record)["cause"]


async def test_one_poisoned_key_does_not_stop_the_next(bench: Bench) -> None:
    async def poisoned(key: Key) -> float | None:
        if key == A:
            raise ZeroDivisionError
        return None

    bench.outcome = poisoned
    bench.queue.add(A)
    bench.queue.add(B)
    await bench.run()
    assert bench.passes == [A, B]


async def test_a_pass_that_hangs_is_given_up(bench: Bench) -> None:
    async def hang(_: Key) -> float | None:
        await asyncio.Event().wait()
        return None

    bench.outcome = hang
    bench.queue.add(A)
    await bench.run(pass_s=0.0)
    assert bench.due_s() == 0.05


async def test_a_helper_that_kopf_cancels_fails_the_pass_and_not_the_worker(bench: Bench) -> None:
    async def helped(_: Key) -> float | None:
        helper = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(helper.cancel)
        await asyncio.gather(helper)
        return None

    bench.outcome = helped
    bench.queue.add(A)
    bench.queue.add(B)
    await bench.run()
    assert bench.passes == [A, B]
    assert bench.due_s() == 0.05


async def test_a_cancelled_worker_stops(bench: Bench) -> None:
    async def hang(_: Key) -> float | None:
        await asyncio.Event().wait()
        return None

    bench.outcome = hang
    bench.queue.add(A)
    worker = Worker(bench.queue, bench._reconcile, leadership=AlwaysLeader(), wait_until_synced=nothing)
    task = asyncio.create_task(worker.run())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.queue.drain()  # its key was given back


async def test_no_pass_runs_before_the_caches_are_filled(bench: Bench) -> None:
    filled = asyncio.Event()
    bench.queue.add(A)

    async def synced() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        assert bench.passes == []
        filled.set()

    await bench.run(synced=synced)
    assert filled.is_set()
    assert bench.passes == [A]


class LostLeadership:
    def is_leader(self) -> bool:
        return False

    async def wait_until_leader(self) -> None:
        await asyncio.sleep(0)


async def test_a_worker_that_lost_the_lease_while_waiting_runs_no_pass_and_keeps_the_key(bench: Bench) -> None:
    bench.queue.add(A)
    await bench.run(leadership=LostLeadership())
    assert bench.passes == []
    assert bench.queue.depth() == 1
