"""Alive and ready, and why not."""

from __future__ import annotations

import asyncio

import pytest

from slipway.handlers.health import STUCK_S, Health
from tests.support.clocks import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def health(clock: FakeClock) -> Health:
    return Health(clock=clock)


async def test_a_task_that_died_is_a_reason_to_restart(health: Health) -> None:
    async def die() -> None:
        raise ZeroDivisionError

    health.tasks["informer pods"] = task = asyncio.create_task(die())
    assert health.troubles() == ()
    await asyncio.wait((task,))
    assert health.troubles() == ("task informer pods has ended",)
    assert isinstance(task.exception(), ZeroDivisionError)


def test_a_part_without_progress_is_stuck_and_one_that_retries_is_not(health: Health, clock: FakeClock) -> None:
    started = clock.monotonic()
    health.progress = {"hangs": lambda: started, "retries": clock.monotonic}
    clock.advance(STUCK_S)
    assert health.troubles() == ()
    clock.advance(1)
    assert health.troubles() == (f"hangs has made no progress for {STUCK_S + 1:.0f} s",)


def test_ready_means_every_cache_is_filled(health: Health) -> None:
    health.caches = {"pods": asyncio.Event(), "services": asyncio.Event()}
    health.caches["pods"].set()
    assert health.missing() == ("cache services is not filled yet",)
    health.caches["services"].set()
    assert health.missing() == ()


def test_a_process_that_stops_is_not_ready_and_not_to_be_killed(health: Health, clock: FakeClock) -> None:
    health.progress = {"informer": lambda: 0.0}
    health.stopping = True
    assert health.troubles() == ()
    assert health.missing() == ("stopping",)
