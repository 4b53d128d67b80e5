"""A worker outlives whatever a pass does, and asks again at the right moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from slipway.adapters.election import AlwaysLeader, Leadership
from slipway.errors import Conflict, LeadershipLost, NotFound, TransientError
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


class Terms:
    """Leads while `leads` is set; what a pass does inside is noted."""

    def __init__(self, *, leads: bool) -> None:
        self.leads = leads
        self.inside = False

    def is_leader(self) -> bool:
        return self.leads

    def seconds_left(self) -> float:
        return 1.0

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        self.inside = True
        yield
        self.inside = False


async def test_a_standby_runs_no_pass_and_its_queue_stays_empty(bench: Bench) -> None:
    """Nothing is lost: at the start of a term everything is rung."""
    for key in (A, B):
        bench.queue.add(key)
        bench.queue.add_after(key, 0.0)
    await bench.run(leadership=Terms(leads=False))
    assert bench.passes == []
    assert bench.queue.depth() == 0


async def test_a_pass_runs_inside_its_term(bench: Bench) -> None:
    terms = Terms(leads=True)
    seen = []

    async def look(_: Key) -> float | None:
        seen.append(terms.inside)
        return None

    bench.outcome = look
    bench.queue.add(A)
    await bench.run(leadership=terms)
    assert (seen, terms.inside) == ([True], False)


async def test_a_pass_that_lost_the_lease_is_no_failure_and_is_looked_at_again_by_who_leads_then(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    terms = Terms(leads=True)

    async def lose(_: Key) -> float | None:
        terms.leads = False
        raise LeadershipLost("not sent")

    bench.outcome = lose
    bench.queue.add(A)
    await bench.run(leadership=terms)
    assert bench.passes == [A]
    assert (bench.queue.depth(), bench.due_s()) == (0, None)
    assert [(record.levelno, record.message) for record in caplog.records] == [(logging.INFO, "pass ended")]
