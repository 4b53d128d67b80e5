"""What a real Triton, started with the operator's own command line, counts of a model's time, and what the operator reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from slipway.adapters.triton import Triton
from slipway.core.snapshot import Times
from slipway.errors import Unreachable
from tests.integration.router.fakes import loopback_address
from tests.integration.triton.server import MODEL, REVISION, Missing, Server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with aiohttp.ClientSession() as session:
        real = Server(address=loopback_address(), directory=tmp_path, session=session)
        try:
            await real.start()
        except Missing as reason:
            pytest.skip(f"no real Triton: {reason}")
        yield real
        await real.stop()


async def told(server: Server, revision: int = REVISION) -> Times:
    return await Triton(server.session).times(server.address, MODEL, revision)


async def told_of(server: Server, requests: int) -> Times:
    """Its counters once it has counted so many: Triton answers first and counts then."""
    async with asyncio.timeout(10):
        while True:
            found = await told(server)
            if found.requests >= requests:
                break
            await asyncio.sleep(0.05)
    assert found.requests == requests
    return found


async def test_counters_are_there_from_the_load_on_and_only_of_the_version_that_is_served(server: Server) -> None:
    assert await told(server) == Times()
    with pytest.raises(Unreachable, match=f"has no counters of model {MODEL} version 8"):
        await told(server, revision=8)


async def test_compute_is_the_time_in_the_model_and_the_queue_the_time_before_it(server: Server) -> None:
    """Ten requests one after another find an empty queue; four that come together wait for each other: 0, 1, 2 and 3 times
    what one takes."""
    for _ in range(10):
        await server.infer(20)
    alone = await told_of(server, 10)
    compute_us, queue_us = alone.mean_us("compute"), alone.mean_us("queue")
    assert compute_us is not None
    assert queue_us is not None
    assert compute_us >= 20_000
    assert queue_us < compute_us / 2
    await asyncio.gather(*(server.infer(100) for _ in range(4)))
    both = await told_of(server, 14)
    assert both.compute_us - alone.compute_us >= 400_000
    assert both.queue_us - alone.queue_us >= 500_000


async def test_a_restart_begins_at_nothing(server: Server) -> None:
    await server.infer(1)
    await told_of(server, 1)
    await server.stop()
    await server.start()
    assert await told(server) == Times()


async def test_a_profile_that_switches_metrics_off_is_told_by_name(server: Server) -> None:
    await server.stop()
    server.arguments = ("--allow-metrics=false",)
    await server.start()
    with pytest.raises(Unreachable, match="8002/metrics failed"):
        await told(server)
