"""An outage ends for everybody when it ends for the first, and a server that is only busy is not asked more often."""

from __future__ import annotations

import asyncio

import pytest

from slipway.adapters.reach import OUTAGE_S, Reach
from tests.support.clocks import FakeClock
from tests.support.waiting import until


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reach(clock: FakeClock) -> Reach:
    return Reach(clock, jitter=lambda _low, _high: 0.0)


async def test_the_first_answer_after_an_outage_wakes_everybody_who_waits(reach: Reach, clock: FakeClock) -> None:
    told: list[str] = []
    reach.when_back += [lambda: told.append("queue"), lambda: told.append("supervisor")]
    waiting = [asyncio.create_task(reach.pause(3600.0)) for _ in range(3)]
    reach.failed()
    clock.advance(OUTAGE_S)
    reach.failed()
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    reach.answered()
    await until(lambda: all(task.done() for task in waiting))
    assert told == ["queue", "supervisor"]


async def test_an_answer_in_between_is_no_outage_and_shortens_no_backoff(reach: Reach, clock: FakeClock) -> None:
    told: list[int] = []
    reach.when_back.append(lambda: told.append(1))
    waiting = asyncio.create_task(reach.pause(3600.0))
    for _ in range(10):
        reach.failed()
        clock.advance(OUTAGE_S / 2)
        reach.answered()
    await asyncio.sleep(0.01)
    assert (waiting.done(), told) == (False, [])
    waiting.cancel()
    await asyncio.wait((waiting,))


async def test_an_end_that_is_past_wakes_nobody_who_waits_for_another(reach: Reach, clock: FakeClock) -> None:
    reach.failed()
    clock.advance(OUTAGE_S)
    reach.answered()
    waiting = asyncio.create_task(reach.pause(3600.0))
    reach.answered()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait((waiting,))


async def test_without_an_outage_a_pause_is_as_long_as_it_is(reach: Reach) -> None:
    async with asyncio.timeout(5):
        await reach.pause(0.01)
