"""Seconds in which the machine gave the bed nothing are lost, and no others."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults import pulse
from tests.faults.pulse import Pulse
from tests.support.waiting import until


async def test_a_beat_that_takes_long_counts_as_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PAUSE_S", 0.0)
    monkeypatch.setattr(pulse, "LONGEST_READ_S", 0.05)
    starved = asyncio.Event()

    async def read() -> None:
        await asyncio.sleep(0.2 if starved.is_set() else 0.0)

    beating = Pulse(read)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await beating.start()
    starved.set()
    await until(lambda: beating.lost_s > 0)
    starved.clear()
    await beating.stop()
    assert 0.1 < beating.lost_s < loop.time() - began
    assert beating.lost_between(began, loop.time()) == beating.lost_s
    assert beating.lost_between(loop.time(), loop.time() + 9) == 0
    assert beating.later(began, 10.0) == began + 10.0 + beating.lost_s


async def test_an_api_server_that_does_not_answer_stops_no_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PAUSE_S", 0.0)
    calls = []

    async def read() -> None:
        calls.append(1)
        await asyncio.sleep(0)
        raise TimeoutError

    beating = Pulse(read)
    await beating.start()
    await until(lambda: len(calls) > 2)
    beating.check()
    await beating.stop()
